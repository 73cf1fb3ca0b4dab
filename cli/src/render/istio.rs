//! `--to envoyfilter` and `--to wasmplugin`: what brings the filters into an Istio mesh.

use std::collections::BTreeSet;

use clap::ValueEnum;

use super::block::{block, indented, scalar_text};
use super::destinations::{Destinations, number};
use super::envoy::mirrored_route;
use super::wasm::{Place, failure_policy, filter, watched_cluster};
use crate::filters::Filter;
use crate::tree::Tree;

/// Which listeners of Istio's proxies get the filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Context {
    /// What arrives at a workload
    SidecarInbound,
    /// What a workload calls
    SidecarOutbound,
    /// What passes a gateway
    Gateway,
}

impl Context {
    fn name(self) -> &'static str {
        match self {
            Self::SidecarInbound => "SIDECAR_INBOUND",
            Self::SidecarOutbound => "SIDECAR_OUTBOUND",
            Self::Gateway => "GATEWAY",
        }
    }
}

/// What the resources are for.
#[derive(Debug)]
pub struct Target<'a> {
    /// The plugin document
    pub document: &'a Tree,
    /// The filters
    pub filters: &'a [Filter],
    /// The namespace of the workloads; that of the document without one
    pub namespace: Option<&'a str>,
    /// The labels of the workloads; all of the namespace without one
    pub selector: &'a [(String, String)],
    /// The listeners
    pub context: Context,
    /// The file or the address of the modules, with `{filter}` for the name
    pub module: &'a str,
    /// The SHA-256 of the module, in hexadecimal
    pub sha256: Option<&'a str>,
}

impl Target<'_> {
    fn metadata(&self, name: &str) -> String {
        let own = || self.document.field("namespace").and_then(Tree::as_str);
        let namespace = self.namespace.or_else(own);
        let namespace = namespace.map(|name| format!("  namespace: {}\n", scalar_text(name)));
        format!("metadata:\n  name: {name}\n{}", namespace.unwrap_or_default())
    }

    fn labels(&self) -> Option<String> {
        let label = |(name, value): &(String, String)| {
            format!("{}: {}", scalar_text(name), Tree::text(value).to_json())
        };
        let labels: Vec<_> = self.selector.iter().map(label).collect();
        (!labels.is_empty()).then(|| labels.join(", "))
    }

    /// The filters as EnvoyFilters, one each: their priorities are the order of the filters.
    pub fn envoy_filters(&self) -> String {
        let mut documents = Vec::new();
        for own in self.filters {
            // Each is put directly before Envoy's router, so the later stands behind the earlier.
            let (priority, patches) = match own {
                Filter::Egress if self.context == Context::SidecarOutbound => {
                    (0, vec![self.http_filter(*own), self.network_filter(*own)])
                }
                Filter::Egress => (0, vec![self.http_filter(*own)]),
                Filter::Fault => (10, vec![self.http_filter(*own)]),
                Filter::Mirror => (20, vec![self.http_filter(*own)]),
                Filter::Router => (30, [vec![self.http_filter(*own)], self.routes()].concat()),
                Filter::Outlier => {
                    (40, [vec![self.http_filter(*own)], self.watched_clusters()].concat())
                }
                Filter::Sni => (30, vec![self.network_filter(*own)]),
            };
            documents.push(self.envoy_filter(
                &format!("sluice-{}", own.name()),
                priority,
                &patches,
            ));
            if *own == Filter::Egress && self.context == Context::SidecarOutbound {
                let patches: Vec<_> = self.tls_ports().into_iter().map(tls_inspector).collect();
                if !patches.is_empty() {
                    documents.push(self.envoy_filter("sluice-egress-tls-inspector", 0, &patches));
                }
            }
            let copies = self.copies();
            if *own == Filter::Mirror && !copies.is_empty() {
                // Put in front after the router's route, which is for all requests.
                let patches = self.mirrored_routes(&copies);
                documents.push(self.envoy_filter("sluice-mirror-routes", 40, &patches));
            }
        }
        documents.join("---\n")
    }

    fn envoy_filter(&self, name: &str, priority: u32, patches: &[String]) -> String {
        let labels =
            self.labels().map(|labels| format!("  workloadSelector:\n    labels: {{{labels}}}\n"));
        let patches =
            patches.iter().map(|patch| format!("  - {}\n", indented(patch, 4).trim_end()));
        format!(
            "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n{}spec:\n\
             \x20 # The order of the filters: smaller ones are applied, and stand in the chain, before greater ones.\n\
             \x20 priority: {priority}\n{}  configPatches:\n{}",
            self.metadata(name),
            labels.unwrap_or_default(),
            patches.collect::<String>()
        )
    }

    fn http_filter(&self, own: Filter) -> String {
        let value = filter(own, Place::Http, self.module, self.document);
        // Before whatever changes the host.
        let (sub_filter, operation) = match own {
            Filter::Egress => ("", "INSERT_FIRST"),
            _ => ("          subFilter: {name: envoy.filters.http.router}\n", "INSERT_BEFORE"),
        };
        format!(
            "applyTo: HTTP_FILTER\nmatch:\n\x20 context: {}\n\x20 listener:\n\x20   filterChain:\n\x20     filter:\n\
             \x20       name: envoy.filters.network.http_connection_manager\n{}patch:\n\
             \x20 operation: {operation}\n\x20 value:\n\x20   {}",
            self.context.name(),
            sub_filter.replacen("  ", "", 1),
            indented(&value, 4)
        )
    }

    fn network_filter(&self, own: Filter) -> String {
        let value = filter(own, Place::Network, self.module, self.document);
        format!(
            "applyTo: NETWORK_FILTER\nmatch:\n\x20 context: {}\n\x20 listener:\n\x20   filterChain:\n\
             \x20     filter: {{name: envoy.filters.network.tcp_proxy}}\npatch:\n\
             \x20 operation: INSERT_BEFORE\n\x20 value:\n\x20   {}",
            self.context.name(),
            indented(&value, 4)
        )
    }

    /// What the mirror filter, if it is there, asks to be copied.
    fn copies(&self) -> Vec<Vec<(usize, String)>> {
        if self.filters.contains(&Filter::Mirror) {
            Destinations::new(self.document).copies()
        } else {
            Vec::new()
        }
    }

    /// The ports of TLS connections, which have server names.
    fn tls_ports(&self) -> BTreeSet<u16> {
        let entries = self.document.field("serviceEntries").map_or(&[][..], Tree::elements).iter();
        let ports = entries.flat_map(|entry| entry.field("ports").map_or(&[][..], Tree::elements));
        let is_tls = |port: &&Tree| {
            let protocol = port.field("protocol").and_then(Tree::as_str).unwrap_or_default();
            ["TLS", "HTTPS"].iter().any(|known| known.eq_ignore_ascii_case(protocol))
        };
        ports.filter(is_tls).filter_map(|port| number(port.field("number"))).collect()
    }

    /// The route by which Envoy takes the router's word.
    fn routes(&self) -> Vec<String> {
        let context = self.context.name();
        let mut patches = vec![
            format!(
                "# The filter names the cluster in x-sluice-cluster, and Envoy looks for the route again once it has.\n\
                 # Requests without the header take Istio's own routes.\n\
                 applyTo: HTTP_ROUTE\nmatch: {{context: {context}}}\npatch:\n\x20 operation: INSERT_FIRST\n\x20 value:\n\
                 \x20   {}\n",
                indented(STEERED, 4)
            ),
            format!(
                "# Upstreams have no business with it. Envoy has read it by then.\n\
                 applyTo: VIRTUAL_HOST\nmatch: {{context: {context}}}\npatch:\n\x20 operation: MERGE\n\x20 value:\n\
                 \x20   request_headers_to_remove: [x-sluice-cluster]\n"
            ),
        ];
        let domains = Destinations::new(self.document).domains();
        if self.context == Context::Gateway && !domains.is_empty() {
            let domains: Vec<_> = domains.iter().map(|domain| scalar_text(domain)).collect();
            let copies = self.copies();
            let removed = [vec!["x-sluice-cluster".to_owned()], mirror_headers(&copies)].concat();
            let mut routes = String::new();
            // Patches of other EnvoyFilters do not reach what is added.
            let copied = copies.iter().map(|set| mirrored_route(set));
            for route in copied.chain([STEERED.to_owned()]) {
                routes.push_str(&format!("    - {}\n", indented(&route, 6)));
            }
            patches.push(format!(
                "# Once a VirtualService of Istio's own is bound to the gateway, it has virtual hosts for the hosts of those\n\
                 # only. This is one for the filter's. Istio must not have the same.\n\
                 applyTo: VIRTUAL_HOST\nmatch: {{context: {context}}}\npatch:\n\x20 operation: ADD\n\x20 value:\n\
                 \x20   name: sluice\n\x20   domains: [{}]\n\x20   request_headers_to_remove: [{}]\n\
                 \x20   routes:\n{routes}",
                domains.join(", "),
                removed.join(", ")
            ));
        }
        patches
    }

    fn mirrored_routes(&self, copies: &[Vec<(usize, String)>]) -> Vec<String> {
        let context = self.context.name();
        // INSERT_FIRST turns their order round, and larger sets have to come first.
        let mut patches: Vec<_> = copies
            .iter()
            .rev()
            .map(|set| {
                format!(
                    "applyTo: HTTP_ROUTE\nmatch: {{context: {context}}}\npatch:\n\x20 operation: INSERT_FIRST\n\
                     \x20 value:\n\x20   {}\n",
                    indented(&mirrored_route(set), 4)
                )
            })
            .collect();
        let headers = mirror_headers(copies);
        patches.push(format!(
            "applyTo: VIRTUAL_HOST\nmatch: {{context: {context}}}\npatch:\n\x20 operation: MERGE\n\x20 value:\n\
             \x20   request_headers_to_remove: [{}]\n",
            headers.join(", ")
        ));
        patches
    }

    fn watched_clusters(&self) -> Vec<String> {
        let hosts = Destinations::new(self.document).watched_hosts();
        let patch = |host: &String| {
            format!(
                "applyTo: CLUSTER\nmatch:\n\x20 context: {}\n\x20 cluster: {{service: {}}}\npatch:\n\
                 \x20 operation: MERGE\n\x20 value:\n\x20   {}",
                self.context.name(),
                scalar_text(host),
                indented(&watched_cluster(self.module, self.document), 4)
            )
        };
        hosts.iter().map(patch).collect()
    }

    /// The filters as WasmPlugins.
    pub fn wasm_plugins(&self) -> String {
        let mode = match self.context {
            Context::SidecarInbound => "SERVER",
            Context::SidecarOutbound | Context::Gateway => "CLIENT",
        };
        let mut documents = Vec::new();
        for own in self.filters {
            let name = format!("sluice-{}", own.name());
            if *own != Filter::Egress {
                documents.push(self.wasm_plugin(*own, &name, &format!("{{mode: {mode}}}"), ""));
                continue;
            }
            let kind = |name| {
                format!(
                    "  # Before Istio's own filters, which may change the host.\n\x20 phase: AUTHN\n\x20 type: {name}\n"
                )
            };
            let of_mode = format!("{{mode: {mode}}}");
            documents.push(self.wasm_plugin(
                *own,
                &format!("{name}-http"),
                &of_mode,
                &kind("HTTP"),
            ));
            let ports = self.tls_ports();
            if self.context == Context::SidecarOutbound && !ports.is_empty() {
                let ports: Vec<_> =
                    ports.iter().map(|port| format!("{{number: {port}}}")).collect();
                let of_ports = format!("{{mode: {mode}, ports: [{}]}}", ports.join(", "));
                let name = format!("{name}-network");
                documents.push(self.wasm_plugin(*own, &name, &of_ports, &kind("NETWORK")));
            }
        }
        documents.join("---\n")
    }

    fn wasm_plugin(&self, own: Filter, name: &str, matched: &str, more: &str) -> String {
        let labels = self.labels();
        let selector = labels.map(|labels| format!("  selector:\n    matchLabels: {{{labels}}}\n"));
        // Quoted, as one of digits alone would be a number.
        let sha256 = self.sha256.map(|own| format!("  sha256: {}\n", Tree::text(own).to_json()));
        format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\n{}spec:\n{}  match: [{matched}]\n\
             {more}  url: {}\n{}  failStrategy: {}\n  pluginConfig:\n{}\n",
            self.metadata(name),
            selector.unwrap_or_default(),
            Tree::text(&self.module.replace("{filter}", own.name())).to_json(),
            sha256.unwrap_or_default(),
            failure_policy(own),
            block(self.document, 4)
        )
    }
}

/// The route of what the router filter has named a cluster for.
const STEERED: &str = "name: sluice\n\
    match:\n\
    \x20 prefix: /\n\
    \x20 headers: [{name: x-sluice-cluster, present_match: true}]\n\
    # No timeout here: the rules give one where there is to be one.\n\
    route: {cluster_header: x-sluice-cluster, timeout: 0s}";

/// The headers in which the mirror filter names clusters.
fn mirror_headers(copies: &[Vec<(usize, String)>]) -> Vec<String> {
    let most = copies.iter().flatten().map(|(index, _)| index + 1).max().unwrap_or(0);
    (0..most).map(|index| format!("x-sluice-mirror-{index}")).collect()
}

/// What reads the server name of a connection to `port`.
fn tls_inspector(port: u16) -> String {
    format!(
        "# istiod leaves it out where it chooses nothing by names.\n\
         applyTo: LISTENER_FILTER\nmatch:\n\x20 context: SIDECAR_OUTBOUND\n\x20 listener: {{portNumber: {port}}}\n\
         patch:\n\x20 operation: INSERT_FIRST\n\x20 value:\n\x20   name: sluice.tls_inspector\n\
         \x20   typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}\n"
    )
}
