//! `--to envoy`: a complete static configuration, for an Envoy on its own.

use std::net::SocketAddr;

use super::block::{indented, scalar_text};
use super::destinations::{Cluster, Destinations, GivenEndpoint, are_addresses, number};
use super::wasm::{Place, filter, watched_cluster};
use crate::filters::Filter;
use crate::tree::{Tree, Value};

/// Addresses of the proxy.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Envoy's administration
    pub admin: SocketAddr,
    /// HTTP requests
    pub http: SocketAddr,
    /// TLS connections
    pub tls: SocketAddr,
}

/// Refuses an egress filter that would refuse everything, as it goes by the port that clients call, which is here
/// that of the listener.
///
/// # Errors
/// Which listener has a port that no ServiceEntry has, and what to do.
pub fn check_egress(
    document: &Tree,
    filters: &[Filter],
    addresses: &Addresses,
) -> Result<(), String> {
    let setting = |object: &str, name: &str| document.field(object).and_then(|own| own.field(name));
    let is = |object: &str, name: &str, value: &str| {
        setting(object, name).and_then(Tree::as_str) == Some(value)
    };
    let lets_pass =
        is("outboundTrafficPolicy", "mode", "ALLOW_ANY") || is("egress", "mode", "reportOnly");
    let has_number = matches!(
        setting("egress", "port").map(|port| &port.value),
        Some(Value::Integer(_) | Value::Float(_))
    );
    if !filters.contains(&Filter::Egress) || lets_pass || has_number {
        return Ok(());
    }
    let entries = document.field("serviceEntries").map_or(&[][..], Tree::elements).iter();
    let ports = entries.flat_map(|entry| entry.field("ports").map_or(&[][..], Tree::elements));
    let ports: Vec<_> = ports.filter_map(|port| number(port.field("number"))).collect();
    let by_host = is("egress", "port", "authority");
    for (flag, port, is_asked) in [
        ("--listen", addresses.http.port(), filters.contains(&Filter::Router) && !by_host),
        ("--listen-tls", addresses.tls.port(), filters.contains(&Filter::Sni)),
    ] {
        if is_asked && !ports.contains(&port) {
            return Err(format!(
                "the egress filter would refuse everything: it looks up the port that clients call, which is that of \
                 {flag}, {port}, and no ServiceEntry has it; set egress.port, or {flag} to a port of a ServiceEntry, \
                 or leave the filter out with --filter"
            ));
        }
    }
    Ok(())
}

/// The configuration of an Envoy with `filters`.
pub fn bootstrap(
    document: &Tree,
    filters: &[Filter],
    module: &str,
    addresses: &Addresses,
    endpoints: &[GivenEndpoint],
) -> String {
    let destinations = Destinations::new(document);
    let clusters = destinations.clusters(endpoints);
    let address = socket_address(&addresses.admin.ip().to_string(), addresses.admin.port());
    let mut text = format!(
        "# An Envoy with Sluice's filters. To check it: envoy --mode validate -c FILE\n\n\
         admin:\n\x20 address: {address}\n\nstatic_resources:\n\x20 listeners:\n"
    );
    let of_http: Vec<Filter> = filters.iter().copied().filter(|f| *f != Filter::Sni).collect();
    // The others have nothing to send requests to.
    if of_http.contains(&Filter::Router) {
        text.push_str(&http_listener(document, &of_http, module, addresses, &destinations));
    }
    if filters.contains(&Filter::Sni) {
        text.push_str(&tls_listener(document, filters, module, addresses));
    }
    let watched = destinations.watched_hosts();
    let is_watched = |cluster: &Cluster| {
        filters.contains(&Filter::Outlier)
            && watched.iter().any(|host| match host.strip_prefix('*') {
                Some(suffix) => cluster.host.ends_with(suffix),
                None => *host == cluster.host,
            })
    };
    text.push_str(if clusters.is_empty() { "\n\x20 clusters: []\n" } else { "\n\x20 clusters:\n" });
    for cluster in &clusters {
        text.push_str(&format!(
            "  # {}\n  - {}",
            cluster.origin,
            indented(&one_cluster(cluster), 4)
        ));
        if is_watched(cluster) {
            let more = watched_cluster(module, document);
            text.push_str(&format!("\n    {}", indented(&more, 4)));
        }
        text.push('\n');
    }
    text
}

fn socket_address(address: &str, port: u16) -> String {
    format!(
        "{{socket_address: {{address: {}, port_value: {port}}}}}",
        Tree::text(address).to_json()
    )
}

fn one_cluster(cluster: &Cluster) -> String {
    let name = scalar_text(&cluster.name);
    let kind = if are_addresses(&cluster.endpoints) { "STATIC" } else { "STRICT_DNS" };
    let mut text = format!(
        "name: {name}\ntype: {kind}\nconnect_timeout: 1s\nload_assignment:\n\x20 cluster_name: {name}\n\
         \x20 endpoints:\n\x20 - lb_endpoints:\n"
    );
    for (address, port) in &cluster.endpoints {
        text.push_str(&format!(
            "    - endpoint: {{address: {}}}\n",
            socket_address(address, *port)
        ));
    }
    text.trim_end().to_owned()
}

fn http_listener(
    document: &Tree,
    filters: &[Filter],
    module: &str,
    addresses: &Addresses,
    destinations: &Destinations<'_>,
) -> String {
    let address = socket_address(&addresses.http.ip().to_string(), addresses.http.port());
    let mut text = format!(
        "\x20 - name: http\n\
         \x20   address: {address}\n\
         \x20   filter_chains:\n\
         \x20   - filters:\n\
         \x20     - name: envoy.filters.network.http_connection_manager\n\
         \x20       typed_config:\n\
         \x20         \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n\
         \x20         stat_prefix: http\n\
         \x20         normalize_path: true # as Istio does\n\
         \x20         http_filters:\n"
    );
    for own in filters {
        let own = indented(&filter(*own, Place::Http, module, document), 12);
        text.push_str(&format!("          - {}\n", own.trim_end()));
    }
    let copies = if filters.contains(&Filter::Mirror) { destinations.copies() } else { Vec::new() };
    let most = copies.iter().flatten().map(|(index, _)| index + 1).max().unwrap_or(0);
    let headers = (0..most).map(|index| format!(", x-sluice-mirror-{index}")).collect::<String>();
    text.push_str(&format!(
        "          - name: envoy.filters.http.router\n\
         \x20           typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}\n\
         \x20         route_config:\n\
         \x20           virtual_hosts:\n\
         \x20           - name: sluice\n\
         \x20             domains: [\"*\"]\n\
         \x20             # Upstreams have no business with them. Envoy has read them by then.\n\
         \x20             request_headers_to_remove: [x-sluice-cluster{headers}]\n\
         \x20             routes:\n"
    ));
    for set in &copies {
        text.push_str(&format!("              - {}\n", indented(&mirrored_route(set), 16)));
    }
    text.push_str(
        "              # The router filter names the cluster, and gives a timeout where the rules have one.\n\
         \x20             - match: {prefix: /}\n\
         \x20               route: {cluster_header: x-sluice-cluster, timeout: 0s}\n",
    );
    text
}

/// The route of requests that are copied to a set of clusters.
pub fn mirrored_route(set: &[(usize, String)]) -> String {
    let names: Vec<_> = set.iter().map(|(_, cluster)| cluster.as_str()).collect();
    let mut text = format!(
        "name: {}\nmatch:\n\x20 prefix: /\n\x20 headers:\n\x20 - {{name: x-sluice-cluster, present_match: true}}\n",
        Tree::text(&format!("mirrored to {}", names.join(", "))).to_json()
    );
    for (index, cluster) in set {
        text.push_str(&format!(
            "  - name: x-sluice-mirror-{index}\n    string_match: {{exact: {}}}\n",
            Tree::text(cluster).to_json()
        ));
    }
    text.push_str(
        "route:\n  cluster_header: x-sluice-cluster\n  timeout: 0s\n  request_mirror_policies:\n",
    );
    for (_, cluster) in set {
        text.push_str(&format!(
            "  - cluster: {}\n\
             \x20   # Without it the copies' host has the suffix -shadow.\n\
             \x20   disable_shadow_host_suffix_append: true\n\
             \x20   # Credentials stay behind.\n\
             \x20   request_headers_mutations: [{{remove: authorization}}, {{remove: cookie}}]\n",
            Tree::text(cluster).to_json()
        ));
    }
    text.trim_end().to_owned()
}

fn tls_listener(
    document: &Tree,
    filters: &[Filter],
    module: &str,
    addresses: &Addresses,
) -> String {
    let address = socket_address(&addresses.tls.ip().to_string(), addresses.tls.port());
    let own = filters.iter().filter(|own| matches!(own, Filter::Egress | Filter::Sni));
    let own = own.map(|own| {
        let own = indented(&filter(*own, Place::Network, module, document), 8);
        format!("      - {}\n", own.trim_end())
    });
    let own: String = own.collect();
    format!(
        "\x20 - name: tls\n\
         \x20   address: {address}\n\
         \x20   listener_filters:\n\
         \x20   - name: envoy.filters.listener.tls_inspector\n\
         \x20     typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}\n\
         \x20   filter_chains:\n\
         \x20   - filters:\n\
         {own}\
         \x20     - name: envoy.filters.network.tcp_proxy\n\
         \x20       typed_config:\n\
         \x20         \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\n\
         \x20         stat_prefix: tls\n\
         \x20         # What has no route is closed before this is asked for.\n\
         \x20         cluster: none\n"
    )
}
