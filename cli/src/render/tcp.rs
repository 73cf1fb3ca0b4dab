//! The listeners of `tcp` routes: Envoy's TCP proxy, without a filter.

use serde::Serialize;
use serde_json::json;

use super::cluster::Cluster;
use super::conditions::Conditions;
use super::destinations::Destinations;
use super::endpoints::Endpoint;
use super::left_out::LeftOut;
use super::listeners::{Kind, Listener};
use super::object::Object;
use super::part::Part;
use super::templates;

/// The listener of a port of `tcp` routes, as the template has it.
#[derive(Debug, Serialize)]
pub struct TcpListener {
    name: String,
    mapped_port: Option<u16>,
    #[serde(flatten)]
    listen: Endpoint,
    /// Fields of the TCP proxy as YAML
    fields: minijinja::Value,
}

/// The listeners of `tcp` routes. As in Istio, the first route of a port is used.
pub fn listeners(
    listeners: &[Listener],
    destinations: &Destinations<'_>,
    conditions: &Conditions<'_>,
    clusters: &[Cluster],
    left_out: &mut LeftOut,
) -> Vec<TcpListener> {
    let of_tcp = listeners.iter().filter(|listener| listener.kind == Kind::Tcp);
    of_tcp
        .filter_map(|listener| {
            let mut routes = conditions.routes("tcp");
            routes.retain(|route| listener.has(route) && has_any_address(route));
            let own = routes.first()?;
            for other in routes.get(1..).unwrap_or_default() {
                let reason =
                    format!("an earlier route has all connections of port {}", listener.called);
                left_out.add(&other.path, reason);
            }
            let fields = proxy(own, listener, destinations, clusters);
            Some(TcpListener {
                name: listener.name(),
                mapped_port: listener.mapped_port(),
                listen: listener.address.into(),
                fields: templates::fields(fields),
            })
        })
        .collect()
}

/// Leaves out matches for which there is no listener.
pub fn leave_out(conditions: &Conditions<'_>, left_out: &mut LeftOut) {
    for route in conditions.routes("tcp") {
        let matches = route.elements("match");
        if matches.is_empty() {
            left_out.add(&route.path, "has no match with a port, so it has no listener");
        }
        for own in matches {
            if own.port("port").is_none() {
                left_out.add(&own.path, "has no port, so it has no listener");
            }
            if let Some(subnet) = own.field("sourceSubnet") {
                left_out.add(&subnet.path, "the listener does not distinguish clients");
            }
        }
    }
}

/// Returns whether a route has a match without conditions on addresses.
fn has_any_address(route: &Part<'_>) -> bool {
    let is_free = |own: &Part<'_>| {
        ["destinationSubnets", "sourceSubnet"].iter().all(|name| own.field(name).is_none())
    };
    route.elements("match").iter().any(is_free)
}

/// The fields of the TCP proxy of a route.
fn proxy(
    route: &Part<'_>,
    listener: &Listener,
    destinations: &Destinations<'_>,
    clusters: &[Cluster],
) -> Object {
    let mut weighted = Vec::new();
    for entry in route.elements("route") {
        let Some(to) = entry.field("destination").and_then(|own| destinations.read(&own)) else {
            continue;
        };
        let name = to.cluster.at(|| Some(listener.called)).into_owned();
        weighted.push((name, entry.count("weight").unwrap_or(0)));
    }
    let mut fields = Object::default();
    fields.set("stat_prefix", listener.name());
    let cluster = |name: &str| clusters.iter().find(|cluster| cluster.name == name);
    let first = weighted.first().and_then(|(name, _)| cluster(name));
    if let Some(first) = first {
        if !first.hash_policy.is_empty() {
            fields.set("hash_policy", json!([{ "source_ip": {} }]));
        }
        fields.set_some("idle_timeout", first.tcp_idle_timeout.clone());
    }
    match &weighted[..] {
        [(name, _)] => {
            fields.set("cluster", name.clone());
        }
        all => {
            let used = all.iter().filter(|(_, weight)| *weight > 0);
            let used: Vec<_> =
                used.map(|(name, weight)| json!({ "name": name, "weight": weight })).collect();
            fields.set("weighted_clusters", json!({ "clusters": used }));
        }
    }
    fields
}
