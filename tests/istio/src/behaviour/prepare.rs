//! Changes of the objects of a case that make its behaviour repeatable, quick and observable.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::cases::Case;
use super::objects::{
    ANNOTATION, Context, PORT, case_name, complete, destinations, http_routes, kind, namespace,
    virtual_services,
};
use crate::mesh;

/// The longest delay of a fault and the longest timeout, in milliseconds.
pub const DELAY: u64 = 200;
const TIMEOUT: u64 = 400;
const TRY: u64 = 150;

/// The gateway of VirtualServices that name none.
const OWN_GATEWAY: &str = "sluice-native";

/// Returns the objects of a case for a proxy.
pub fn prepare(case: &Case, context: Context) -> Vec<Value> {
    let mut objects = case.objects.clone();
    for own in &mut objects {
        match kind(own) {
            "VirtualService" => prepare_virtual_service(own, context),
            // The clusters are those of istiod on both sides; TLS and limits would hide the rest.
            "DestinationRule" => {
                remove(&mut own["spec"], "trafficPolicy");
                let subsets = own["spec"].get_mut("subsets").and_then(Value::as_array_mut);
                for subset in subsets.into_iter().flatten() {
                    remove(subset, "trafficPolicy");
                }
            }
            _ => {}
        }
    }
    objects.retain(|own| {
        let of_tcp = kind(own) == "VirtualService" && !own["spec"]["http"].is_array();
        !of_tcp && own["spec"]["hosts"].as_array().is_none_or(|hosts| !hosts.is_empty())
    });
    let missing = missing_rules(&objects);
    objects.extend(missing);
    objects
}

/// DestinationRules for subsets of hosts that have none. They are in other files, which often are
/// applied together with several of these.
fn missing_rules(objects: &[Value]) -> Vec<Value> {
    let rules = objects.iter().filter(|own| kind(own) == "DestinationRule");
    let host =
        |own: &Value, host: &Value| complete(host.as_str().unwrap_or_default(), namespace(own));
    let known: BTreeSet<_> = rules.map(|own| host(own, &own["spec"]["host"])).collect();
    let mut missing: BTreeMap<(String, String, String), BTreeSet<String>> = BTreeMap::new();
    for own in virtual_services(objects) {
        for destination in destinations(own) {
            let Some(subset) = destination["subset"].as_str() else { continue };
            let host = host(own, &destination["host"]);
            let key = (namespace(own).to_owned(), host, case_name(own).to_owned());
            if !known.contains(&key.1) {
                missing.entry(key).or_default().insert(subset.to_owned());
            }
        }
    }
    let rules =
        missing.into_iter().enumerate().map(|(index, ((namespace, host, case), subsets))| {
            let subset = |name: &String| json!({ "name": name, "labels": { "version": name } });
            let subsets: Vec<_> = subsets.iter().map(subset).collect();
            let name = format!("made-{index}");
            let spec = json!({ "host": host, "subsets": subsets });
            let text = mesh::networking("DestinationRule", &name, &namespace, &spec);
            let mut rule: Value = serde_json::from_str(&text).expect("JSON");
            rule["metadata"]["annotations"] = json!({ ANNOTATION: case });
            rule
        });
    rules.collect()
}

fn remove(object: &mut Value, name: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(name);
    }
}

fn prepare_virtual_service(object: &mut Value, context: Context) {
    let spec = &mut object["spec"];
    remove(spec, "tcp");
    remove(spec, "tls");
    let routes = spec.get_mut("http").and_then(Value::as_array_mut);
    for route in routes.into_iter().flatten() {
        prepare_route(route, context);
    }
    if !spec["hosts"].is_array() {
        return;
    }
    let is_mesh = |own: &Value| own == "mesh";
    let gateways = spec["gateways"].as_array().cloned().unwrap_or_default();
    let is_for_mesh = gateways.is_empty() || gateways.iter().any(is_mesh);
    match context {
        Context::Gateway if gateways.iter().all(is_mesh) => spec["gateways"] = json!([OWN_GATEWAY]),
        Context::Gateway => {}
        Context::Sidecar => {
            if !is_for_mesh {
                remove(spec, "gateways");
            }
            // Istio refuses this host in a mesh.
            if let Some(hosts) = spec["hosts"].as_array_mut() {
                hosts.retain(|host| host != "*");
            }
        }
    }
}

fn prepare_route(route: &mut Value, context: Context) {
    // Both values of each draw are compared: one in the gateway, the other in the sidecar.
    let share = match context {
        Context::Gateway => 100,
        Context::Sidecar => 0,
    };
    for name in ["delay", "abort"] {
        let Some(fault) = route.get_mut("fault").and_then(|own| own.get_mut(name)) else {
            continue;
        };
        draw(fault, "percentage", share);
        if let Some(1..100) = fault.get("percent").and_then(Value::as_u64) {
            fault["percent"] = share.into();
        }
        shorten(fault, "fixedDelay", DELAY);
    }
    draw(route, "mirrorPercentage", share);
    for name in ["mirrorPercent", "mirror_percent"] {
        if let Some(1..100) = route.get(name).and_then(Value::as_u64) {
            route[name] = share.into();
        }
    }
    let mirrors = route.get_mut("mirrors").and_then(Value::as_array_mut);
    for mirror in mirrors.into_iter().flatten() {
        draw(mirror, "percentage", share);
    }
    shorten(route, "timeout", TIMEOUT);
    if let Some(retries) = route.get_mut("retries") {
        shorten(retries, "perTryTimeout", TRY);
        if retries.get("attempts").and_then(Value::as_u64).is_some_and(|attempts| attempts > 3) {
            retries["attempts"] = 3.into();
        }
    }
    choose(route, context);
}

/// Sets a percentage other than 0 and 100 to `share`.
fn draw(object: &mut Value, name: &str, share: u64) {
    if let Some(value) = object.get(name).and_then(|own| own["value"].as_f64())
        && value > 0.0
        && value < 100.0
    {
        object[name]["value"] = share.into();
    }
}

/// Sets a duration to `limit` milliseconds if it is longer.
fn shorten(object: &mut Value, name: &str, limit: u64) {
    if let Some(text) = object.get(name).and_then(Value::as_str)
        && milliseconds(text).is_none_or(|own| own > limit)
    {
        object[name] = format!("{limit}ms").into();
    }
}

/// Returns the duration if it is short enough to be written in milliseconds.
pub fn milliseconds(text: &str) -> Option<u64> {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().ok(),
        None => (text == "0s" || text == "0").then_some(0),
    }
}

/// Gives one of several destinations all requests: the one with the highest weight in a gateway,
/// the one with the lowest weight that is not 0 in a sidecar.
fn choose(route: &mut Value, context: Context) {
    let targets = route.get_mut("route").and_then(Value::as_array_mut);
    let Some(targets) = targets.filter(|own| own.len() > 1) else { return };
    let weight = |target: &Value| target["weight"].as_u64().unwrap_or_default();
    let weighted = targets.iter().enumerate().filter(|(_, own)| weight(own) > 0);
    let chosen = match context {
        Context::Gateway => weighted.max_by_key(|(_, own)| weight(own)),
        Context::Sidecar => weighted.min_by_key(|(_, own)| weight(own)),
    };
    let Some(chosen) = chosen.map(|(index, _)| index) else { return };
    for (index, target) in targets.iter_mut().enumerate() {
        target["weight"] = if index == chosen { 100 } else { 0 }.into();
    }
}

/// The gateways of the VirtualServices, by namespace and name.
pub fn gateways(objects: &[Value]) -> BTreeSet<(String, String)> {
    let mut gateways = BTreeSet::new();
    for own in virtual_services(objects) {
        let names = own["spec"]["gateways"].as_array().into_iter().flatten();
        for name in names.filter_map(Value::as_str).filter(|name| *name != "mesh") {
            let parts = match name.split_once('/') {
                Some(parts) => parts,
                // istiod accepts NAME.NAMESPACE.svc.cluster.local too.
                None => match name.split_once('.') {
                    Some((name, rest)) => (rest.split('.').next().unwrap_or_default(), name),
                    None => (namespace(own), name),
                },
            };
            gateways.insert((parts.0.to_owned(), parts.1.to_owned()));
        }
    }
    gateways
}

/// The conditions of all routes.
pub fn matches(objects: &[Value]) -> impl Iterator<Item = &Value> {
    let routes = virtual_services(objects).flat_map(http_routes);
    routes.flat_map(|route| route["match"].as_array().into_iter().flatten())
}

/// The ports in conditions, and the port of gateways.
pub fn gateway_ports(objects: &[Value]) -> BTreeSet<u16> {
    let ports = matches(objects).filter_map(|own| own["port"].as_u64()?.try_into().ok());
    ports.filter(|port| *port != 0).chain([PORT]).collect()
}

/// The labels that conditions ask of the proxy.
pub fn labels(objects: &[Value]) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for own in matches(objects) {
        for (name, value) in own["sourceLabels"].as_object().into_iter().flatten() {
            labels.insert(name.clone(), value.as_str().unwrap_or_default().to_owned());
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_certain_and_waits_short() {
        let destination = |subset: &str, weight: u64| json!({ "destination": { "host": "a", "subset": subset }, "weight": weight });
        let route = json!({
            "fault": { "delay": { "fixedDelay": "7s", "percentage": { "value": 50 } } },
            "mirrorPercentage": { "value": 100 },
            "timeout": "100ms",
            "retries": { "attempts": 9, "perTryTimeout": "2s" },
            "route": [destination("v1", 0), destination("v2", 10), destination("v3", 90)],
        });
        let prepared = |context| {
            let mut route = route.clone();
            prepare_route(&mut route, context);
            let weights: Vec<_> =
                [0, 1, 2].map(|index| route["route"][index]["weight"].clone()).into();
            (route, weights)
        };
        let (gateway, weights) = prepared(Context::Gateway);
        assert_eq!(weights, [0, 0, 100]);
        assert_eq!(
            gateway["fault"]["delay"],
            json!({ "fixedDelay": "200ms", "percentage": { "value": 100 } })
        );
        assert_eq!(gateway["retries"], json!({ "attempts": 3, "perTryTimeout": "150ms" }));
        assert_eq!(gateway["timeout"], "100ms");
        let (sidecar, weights) = prepared(Context::Sidecar);
        assert_eq!(weights, [0, 100, 0]);
        assert_eq!(sidecar["fault"]["delay"]["percentage"]["value"], 0);
        assert_eq!(sidecar["mirrorPercentage"]["value"], 100);
    }
}
