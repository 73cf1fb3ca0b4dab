//! Cases are merged into batches, because the start of a proxy takes longer than its requests.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cases::Case;
use super::objects::{NAMESPACE, kind, namespace};
use super::prepare::gateway_ports;

/// Most cases of a batch.
const BATCH: usize = 60;

/// The end of the hosts of Services.
const CLUSTER: &str = ".svc.cluster.local";

/// Gives the hosts of cases names of their own, so that they have nothing in common, and moves all
/// objects to one namespace. Cases stay alone, with their names, if they are of Istio's helloworld,
/// if they have delegates or `exportTo`, or if their conditions are about the proxy.
pub fn isolate(cases: &mut [Case]) {
    for (index, case) in cases.iter_mut().enumerate() {
        case.is_alone = is_special(case);
        if !case.is_alone {
            isolate_case(case, index);
        }
    }
}

/// Merges cases that have nothing in common and the same ports.
pub fn batches(cases: Vec<Case>) -> Vec<Case> {
    let mut batches: Vec<(Case, BTreeSet<u16>, usize)> = Vec::new();
    let mut alone = Vec::new();
    for case in cases {
        if case.is_alone {
            alone.push(case);
            continue;
        }
        let ports = gateway_ports(&case.objects);
        let is_free = |own: &&mut (Case, BTreeSet<u16>, usize)| own.2 < BATCH && own.1 == ports;
        match batches.iter_mut().find(is_free) {
            Some((batch, _, count)) => {
                batch.objects.extend(case.objects);
                *count += 1;
            }
            None => batches.push((case, ports, 1)),
        }
    }
    batches.into_iter().map(|(case, ..)| case).chain(alone).collect()
}

/// Returns whether a case has to stay alone.
fn is_special(case: &Case) -> bool {
    let specs: Vec<_> = case.objects.iter().map(|own| own["spec"].to_string()).collect();
    let text = specs.join(" ");
    // These two change nothing within one namespace.
    let text = text.replace("\"exportTo\":[\".\"]", "").replace("\"exportTo\":[\"*\"]", "");
    let words = ["\"sourceLabels\"", "\"sourceNamespace\"", "\"exportTo\"", "\"delegate\""];
    words.iter().any(|word| text.contains(word))
        || case.name.starts_with("istio.io/istio: samples/helloworld/")
}

/// Gives the hosts and objects of a case names that no other case has.
fn isolate_case(case: &mut Case, index: usize) {
    // The hosts of other namespaces are a case of their own.
    let is_other = |own: &Value| kind(own) == "VirtualService" && namespace(own) != case.namespace;
    case.objects.retain(|own| !is_other(own));
    for own in &mut case.objects {
        isolate_object(own, index);
    }
    case.namespace = NAMESPACE.to_owned();
}

fn isolate_object(own: &mut Value, index: usize) {
    let own_namespace = namespace(own).to_owned();
    let rename = |host: &str| -> String {
        let full = match host {
            "*" => return format!("*.c{index}.test"),
            _ if host.contains('.') => host.to_owned(),
            _ => format!("{host}.{own_namespace}{CLUSTER}"),
        };
        match full.strip_suffix(CLUSTER) {
            Some(service) => format!("{service}-c{index}{CLUSTER}"),
            None => format!("{full}.c{index}.test"),
        }
    };
    let change = |value: &mut Value| {
        if let Some(host) = value.as_str() {
            *value = rename(host).into();
        }
    };
    let is_service = kind(own) == "Service";
    let metadata = &mut own["metadata"];
    match is_service {
        // The namespace of a Service is a part of its host.
        true => metadata["namespace"] = format!("{own_namespace}-c{index}").into(),
        false => {
            let name = metadata["name"].as_str().unwrap_or_default();
            metadata["name"] = format!("{name}-{own_namespace}-c{index}").into();
            metadata["namespace"] = NAMESPACE.into();
        }
    }
    let spec = &mut own["spec"];
    let hosts = spec.get_mut("hosts").and_then(Value::as_array_mut);
    hosts.into_iter().flatten().for_each(change);
    spec.get_mut("host").into_iter().for_each(change);
    let routes = spec.get_mut("http").and_then(Value::as_array_mut);
    for route in routes.into_iter().flatten() {
        for list in ["route", "mirrors"] {
            let targets = route.get_mut(list).and_then(Value::as_array_mut);
            let targets = targets.into_iter().flatten();
            let hosts = targets.filter_map(|own| own.get_mut("destination")?.get_mut("host"));
            hosts.for_each(change);
        }
        route.get_mut("mirror").and_then(|own| own.get_mut("host")).into_iter().for_each(change);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn case(host: &str, route: Value) -> Case {
        let object = json!({
            "kind": "VirtualService",
            "metadata": { "name": "a", "namespace": "shop" },
            "spec": { "hosts": [host], "http": [route] },
        });
        let (name, namespace) = ("case".to_owned(), "shop".to_owned());
        Case { name, objects: vec![object], namespace, is_alone: true }
    }

    #[test]
    fn equal_cases_are_merged_with_hosts_of_their_own() {
        let route = json!({ "route": [{ "destination": { "host": "b.shop.svc.cluster.local" } }] });
        let mut cases = [case("b", route.clone()), case("b", route), case("*", json!({}))];
        isolate(&mut cases);
        let batches = batches(cases.to_vec());
        assert_eq!(batches.len(), 1);
        let specs: Vec<_> = batches[0].objects.iter().map(|own| &own["spec"]).collect();
        assert_eq!(specs[1]["hosts"], json!(["b.shop-c1.svc.cluster.local"]));
        assert_eq!(specs[1]["hosts"][0], specs[1]["http"][0]["route"][0]["destination"]["host"]);
        assert_ne!(specs[0]["hosts"], specs[1]["hosts"]);
        assert_eq!(specs[2]["hosts"], json!(["*.c2.test"]));
    }

    #[test]
    fn conditions_on_the_proxy_and_on_ports_separate_cases() {
        let labels = json!({ "match": [{ "sourceLabels": { "app": "a" } }] });
        let port = json!({ "match": [{ "port": 9080 }] });
        let mut cases = [case("a", labels), case("a", port), case("a", json!({}))];
        isolate(&mut cases);
        assert_eq!(batches(cases.to_vec()).len(), 3);
        assert_eq!(cases[0].objects[0]["spec"]["hosts"], json!(["a"]));
    }
}
