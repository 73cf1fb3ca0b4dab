//! The services that the objects of a case refer to, and upstreams for them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sluice_e2e::{Answer, Upstream};

use super::objects::{Context, PORT, complete, destinations, kind, namespace, virtual_services};
use crate::mesh;

/// A service, of which each label set has an upstream for each port.
pub struct Service {
    /// The complete host
    pub host: String,
    /// The namespace of the object that stands for it
    pub namespace: String,
    /// Numbers and protocols
    pub ports: Vec<(u16, String)>,
    /// The labels of its endpoints
    pub labels: Vec<Value>,
    /// Whether an object of the case has it
    pub is_given: bool,
    /// Whether that is a ServiceEntry
    pub is_entry: bool,
}

impl Service {
    /// Returns the ports of HTTP.
    pub fn http_ports(&self) -> Vec<u16> {
        let is_http = |own: &&(u16, String)| matches!(&*own.1, "HTTP" | "HTTP2" | "GRPC");
        self.ports.iter().filter(is_http).map(|(number, _)| *number).collect()
    }

    /// Returns whether the command has it as a Service, not as a ServiceEntry.
    pub fn is_of_kubernetes(&self) -> bool {
        self.host.ends_with(".svc.cluster.local") && !self.is_entry
    }

    /// The object that gives the command the ports, if the case has none.
    pub fn object(&self) -> Option<Value> {
        if self.is_given {
            return None;
        }
        let port = |(number, protocol): &(u16, String)| {
            let name = format!("{}-{number}", protocol.to_lowercase());
            (*number, name, protocol.clone())
        };
        let ports = self.ports.iter().map(port);
        let (name, _) = self.host.split_once('.').unwrap_or((&self.host, ""));
        Some(if self.is_of_kubernetes() {
            let ports: Vec<_> =
                ports.map(|(number, name, _)| json!({ "port": number, "name": name })).collect();
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": { "name": name, "namespace": self.namespace },
                "spec": { "ports": ports },
            })
        } else {
            let ports: Vec<_> = ports
                .map(|(number, name, protocol)| {
                    json!({ "number": number, "name": name, "protocol": protocol })
                })
                .collect();
            let spec = json!({ "hosts": [self.host], "ports": ports, "resolution": "DNS" });
            serde_json::from_str(&mesh::networking(
                "ServiceEntry",
                &format!("made-{}", self.host.to_lowercase()),
                &self.namespace,
                &spec,
            ))
            .expect("JSON")
        })
    }

    /// The object for istiod, whose endpoints are the upstreams.
    pub fn entry(&self, index: usize, upstreams: &Upstreams) -> String {
        let ports: Vec<_> = self
            .ports
            .iter()
            .map(|(number, protocol)| {
                json!({ "number": number, "name": format!("p-{number}"), "protocol": protocol })
            })
            .collect();
        let endpoints: Vec<_> = self
            .labels
            .iter()
            .map(|labels| {
                let target = |(number, _): &(u16, String)| {
                    let upstream = &upstreams.0[&name(&self.host, labels, *number)];
                    (format!("p-{number}"), upstream.address().port().into())
                };
                let ports: serde_json::Map<String, Value> = self.ports.iter().map(target).collect();
                json!({ "address": "127.0.0.1", "ports": ports, "labels": labels })
            })
            .collect();
        let spec = json!({
            "hosts": [self.host],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": ports,
            "endpoints": endpoints,
        });
        mesh::networking("ServiceEntry", &format!("service-{index}"), &self.namespace, &spec)
    }
}

/// The upstreams of a case by their names.
pub struct Upstreams(pub BTreeMap<String, Upstream>);

impl Upstreams {
    /// Starts an upstream for each port and label set.
    pub fn start(services: &[Service]) -> Self {
        let mut upstreams = BTreeMap::new();
        for service in services {
            for (number, _) in &service.ports {
                for labels in &service.labels {
                    let name = name(&service.host, labels, *number);
                    let upstream = Upstream::answering(&name, answer);
                    upstreams.insert(name, upstream);
                }
            }
        }
        Self(upstreams)
    }
}

/// The request says how it is answered.
fn answer(request: &sluice_e2e::Received) -> Answer {
    let number = |name: &str| request.header(name).first().and_then(|own| own.parse::<u64>().ok());
    Answer {
        status: number("x-test-status").and_then(|own| own.try_into().ok()).unwrap_or_default(),
        delay: std::time::Duration::from_millis(number("x-test-delay").unwrap_or_default()),
        headers: vec![("server", "upstream"), ("x-upstream", "yes")],
        body: Some("answered"),
    }
}

/// Name of the upstream for a port of a service.
pub fn name(host: &str, labels: &Value, port: u16) -> String {
    format!("{host} {labels} {port}")
}

/// Returns the services that the objects have or refer to.
pub fn services(objects: &[Value], context: Context) -> Vec<Service> {
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    for own in objects {
        for service in given(own) {
            services.entry(service.host.clone()).or_insert(service);
        }
    }
    let mut wanted: BTreeMap<String, (String, BTreeSet<u16>)> = BTreeMap::new();
    for own in virtual_services(objects) {
        let namespace = namespace(own);
        for destination in destinations(own) {
            let Some(host) = destination["host"].as_str() else { continue };
            let entry = wanted.entry(complete(host, namespace)).or_default();
            entry.0 = namespace.to_owned();
            let port = destination["port"]["number"].as_u64();
            entry.1.extend(port.and_then(|port| u16::try_from(port).ok()));
        }
        // Sidecars look up the hosts without a dot among the services.
        let hosts = own["spec"]["hosts"].as_array().into_iter().flatten();
        for host in hosts.filter_map(Value::as_str).filter(|_| context == Context::Sidecar) {
            if !host.contains(['.', '*']) {
                wanted.entry(complete(host, namespace)).or_default().0 = namespace.to_owned();
            }
        }
    }
    for (host, (of, mut ports)) in wanted {
        if services.contains_key(&host) || host.contains('*') {
            continue;
        }
        if ports.is_empty() {
            ports.insert(PORT);
        }
        let of_host = host.strip_suffix(".svc.cluster.local").and_then(|own| own.split_once('.'));
        let namespace = of_host.map_or(of, |(_, namespace)| namespace.to_owned());
        let ports = ports.into_iter().map(|number| (number, "HTTP".to_owned())).collect();
        let made = Service {
            host,
            namespace,
            ports,
            labels: Vec::new(),
            is_given: false,
            is_entry: false,
        };
        services.insert(made.host.clone(), made);
    }
    let mut services: Vec<_> = services.into_values().collect();
    for service in &mut services {
        service.labels = labels(objects, &service.host);
    }
    services
}

/// The services of a Service or ServiceEntry.
fn given(object: &Value) -> Vec<Service> {
    let (spec, namespace) = (&object["spec"], namespace(object));
    let hosts: Vec<_> = match kind(object) {
        "Service" => {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            vec![format!("{name}.{namespace}.svc.cluster.local")]
        }
        "ServiceEntry" => {
            let hosts = spec["hosts"].as_array().into_iter().flatten();
            let hosts = hosts.filter_map(Value::as_str).filter(|host| !host.contains('*'));
            hosts.map(|host| complete(host, namespace)).collect()
        }
        _ => Vec::new(),
    };
    let ports = spec["ports"].as_array().into_iter().flatten();
    let mut ports: Vec<_> = ports
        .filter_map(|port| {
            let number = port["number"].as_u64().or(port["port"].as_u64())?;
            Some((u16::try_from(number).ok()?, protocol(port)))
        })
        .collect();
    ports.sort();
    ports.dedup_by_key(|(number, _)| *number);
    let service = |host| Service {
        host,
        namespace: namespace.to_owned(),
        ports: ports.clone(),
        labels: Vec::new(),
        is_given: true,
        is_entry: kind(object) == "ServiceEntry",
    };
    hosts.into_iter().filter(|_| !ports.is_empty()).map(service).collect()
}

/// The protocol of a port, from its field or its name. A Service port without either is HTTP here.
fn protocol(port: &Value) -> String {
    if let Some(protocol) = port["protocol"].as_str().filter(|_| port["number"].is_u64()) {
        return protocol.to_uppercase();
    }
    let name = port["appProtocol"].as_str().or(port["name"].as_str()).unwrap_or_default();
    let name = name.split('-').next().unwrap_or_default().to_lowercase();
    match &*name {
        "grpc" | "http2" | "https" | "tls" | "tcp" | "mongo" | "mysql" | "redis" => {
            name.to_uppercase()
        }
        _ => "HTTP".to_owned(),
    }
}

/// Returns whether a destination has a port or a subset that is defined nowhere.
pub fn is_dangling(object: &Value, objects: &[Value], services: &[Service]) -> bool {
    destinations(object).into_iter().any(|destination| {
        let host = destination["host"].as_str().unwrap_or_default();
        let host = complete(host, namespace(object));
        let port = destination["port"]["number"].as_u64();
        let service = services.iter().find(|own| own.host == host);
        let has_port = |own: &Service| {
            port.is_none_or(|port| own.ports.iter().any(|(own, _)| u64::from(*own) == port))
        };
        let subset = destination["subset"].as_str();
        !service.is_none_or(has_port)
            || subset.is_some_and(|subset| !has_subset(objects, &host, subset))
    })
}

/// Returns whether a DestinationRule of a host has a subset.
fn has_subset(objects: &[Value], host: &str, subset: &str) -> bool {
    let mut rules = objects.iter().filter(|own| kind(own) == "DestinationRule");
    rules.any(|own| {
        let of = complete(own["spec"]["host"].as_str().unwrap_or_default(), namespace(own));
        let is_within = of.strip_prefix('*').is_some_and(|end| host.ends_with(end));
        let subsets = own["spec"]["subsets"].as_array();
        (of == host || is_within) && subsets.into_iter().flatten().any(|own| own["name"] == subset)
    })
}

/// The label sets of the subsets of a host, or one without labels.
fn labels(objects: &[Value], host: &str) -> Vec<Value> {
    let mut labels = Vec::new();
    for rule in objects.iter().filter(|own| kind(own) == "DestinationRule") {
        let of = complete(rule["spec"]["host"].as_str().unwrap_or_default(), namespace(rule));
        let is_within = of.strip_prefix('*').is_some_and(|end| host.ends_with(end));
        if of != host && !is_within {
            continue;
        }
        for subset in rule["spec"]["subsets"].as_array().into_iter().flatten() {
            let own = subset["labels"].clone();
            if own.is_object() && !labels.contains(&own) {
                labels.push(own);
            }
        }
    }
    if labels.is_empty() {
        labels.push(json!({}));
    }
    labels
}
