//! Objects beside the rules that change what Istio's proxies do: Gateways, and kinds that no filter
//! carries out.

use sluice_policy::document::json::Json;
use sluice_policy::document::report::Kind;
use sluice_policy::spec::proxy::MESH;

use crate::bundle::{Bundle, OtherObject};
use crate::columns::Position;
use crate::finding::{Finding, Place};
use crate::tree::{self, Tree, Value};

use super::destinations::number;

/// Groups of the API whose objects change how proxies handle traffic.
const GROUPS: [&str; 6] = [
    "networking.istio.io",
    "security.istio.io",
    "extensions.istio.io",
    "install.istio.io",
    "gateway.networking.k8s.io",
    "networking.k8s.io",
];

/// Kinds of these groups that change nothing for a single proxy.
const WITHOUT_EFFECT: [&str; 6] =
    ["ProxyConfig", "NetworkPolicy", "IngressClass", "GatewayClass", "WorkloadGroup", "Telemetry"];

/// What a rendered Envoy leaves out of other objects than the rules.
pub fn left_out(bundle: &Bundle, document: &Json) -> Vec<Finding> {
    let mut found = Vec::new();
    for other in &bundle.others {
        let text = |name| other.object.field(name).and_then(Tree::as_str).unwrap_or_default();
        let group = text("apiVersion").split('/').next().unwrap_or_default();
        let kind = text("kind");
        if kind == "Gateway" && group == "networking.istio.io" {
            if serves(document, other) {
                add_gateway(other, document, &mut found);
            }
        } else if kind == "Gateway" && group == "gateway.networking.k8s.io" {
            add_listeners(other, document, &mut found);
        } else if GROUPS.contains(&group) && !WITHOUT_EFFECT.contains(&kind) {
            add(other, "", "the rendered Envoy does not have what this object says", &mut found);
        }
    }
    found
}

fn add(other: &OtherObject, path: &str, reason: &str, found: &mut Vec<Finding>) {
    let OtherObject { file, title, object } = other;
    let Position { line, columns } = tree::find(object, path).position();
    let (file, object, path) = (file.clone(), title.clone(), path.to_owned());
    let place = Place { file, line, columns, object, path };
    let (kind, reason) = (Kind::LeftToEnvoy, reason.to_owned());
    found.push(Finding { kind, place, value: None, reason, other: None });
}

/// A Gateway opens ports. The listeners are for them, but terminate no TLS.
fn add_gateway(gateway: &OtherObject, document: &Json, found: &mut Vec<Finding>) {
    let services = document.elements("virtualServices");
    let has_tls = services.iter().any(|service| !service.elements("tls").is_empty());
    let servers = gateway.object.field("spec").map_or(&[][..], |spec| spec.list("servers"));
    for (index, server) in servers.iter().enumerate() {
        let path = format!("spec.servers[{index}]");
        if let Some(tls) = server.field("tls") {
            let mode = tls.field("mode").and_then(Tree::as_str).unwrap_or("PASSTHROUGH");
            if mode != "PASSTHROUGH" || !has_tls {
                let reason = "the rendered listener does not terminate TLS, it accepts plain HTTP";
                add(gateway, &format!("{path}.tls"), reason, found);
            }
        }
        let hosts: Vec<_> = server.list("hosts").iter().filter_map(Tree::as_str).collect();
        let hosts: Vec<_> =
            hosts.iter().map(|host| host.rsplit('/').next().unwrap_or_default()).collect();
        let is_wider = |host: &str| !hosts.iter().any(|own| covers(own, host));
        let bound = services.iter().filter(|service| is_bound(service, gateway));
        let mut all = bound.flat_map(|service| service.elements("hosts"));
        // Several servers may share the hosts of a rule.
        let is_alone = servers.len() == 1;
        if is_alone && all.any(|host| host.as_str().is_some_and(is_wider)) {
            let reason = "rules have more hosts than the server, and the listener serves all";
            add(gateway, &format!("{path}.hosts"), reason, found);
        }
    }
}

/// The listeners of a Gateway of the Gateway API. Those for HTTP are rendered, as attached routes
/// have their hosts.
fn add_listeners(gateway: &OtherObject, document: &Json, found: &mut Vec<Finding>) {
    let proxy = document.field("proxy").filter(|own| own.field("gateways").is_some());
    if proxy.is_some_and(|proxy| !is_bound(proxy, gateway)) {
        return;
    }
    let fixed = number(document.field("proxy").and_then(|proxy| proxy.field("port")));
    let listeners = gateway.object.field("spec").map_or(&[][..], |spec| spec.list("listeners"));
    for (index, listener) in listeners.iter().enumerate() {
        let is_other = |port: u16| {
            let own = listener.field("port").map(|own| &own.value);
            !matches!(own, Some(Value::Integer(own)) if *own == i64::from(port))
        };
        if fixed.is_some_and(is_other) {
            continue;
        }
        let reason = match listener.field("protocol").and_then(Tree::as_str) {
            Some("HTTP") => continue,
            Some("HTTPS") => "the rendered listener does not terminate TLS, it accepts plain HTTP",
            _ => "the rendered Envoy has no listener for this protocol",
        };
        add(gateway, &format!("spec.listeners[{index}].protocol"), reason, found);
    }
}

/// Returns whether the proxy serves a Gateway. Without `proxy.gateways`, it serves those of the
/// VirtualServices that are not for sidecars too.
fn serves(document: &Json, gateway: &OtherObject) -> bool {
    if let Some(proxy) = document.field("proxy").filter(|own| own.field("gateways").is_some()) {
        return is_bound(proxy, gateway);
    }
    let is_for_mesh =
        |service: &Json| service.elements("gateways").iter().any(|own| own.as_str() == Some(MESH));
    let services = document.elements("virtualServices");
    services.iter().any(|service| is_bound(service, gateway) && !is_for_mesh(service))
}

/// Returns whether the list `gateways` has a Gateway of this name.
fn is_bound(owner: &Json, gateway: &OtherObject) -> bool {
    let metadata = gateway.object.field("metadata");
    let name = metadata.and_then(|own| own.field("name")?.as_str()).unwrap_or_default();
    let names = owner.elements("gateways").iter().filter_map(Json::as_str);
    names.into_iter().any(|own| own.rsplit('/').next() == Some(name))
}

/// Returns whether the host of a server has the host of a rule.
fn covers(own: &str, host: &str) -> bool {
    own == "*" || own == host || own.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix))
}
