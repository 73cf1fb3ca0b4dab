//! The clusters of a rendered Envoy, with the fields that istiod writes from DestinationRules.

mod fields;
mod load_balancer;
mod policy;
mod surroundings;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use super::conditions::Conditions;
use super::destinations::Destinations;
use super::endpoints::{
    Endpoint, EndpointSource, Endpoints, GivenEndpoint, is_http2, subject_alt_names,
};
use super::gateway_routes;
use super::left_out::LeftOut;
use super::listeners::{Kind, Listener};
use super::outlier::{Detection, HttpOptions};
use super::part::Found;
use super::templates;
use fields::ClusterFields;
use policy::Policies;
use surroundings::Surroundings;

/// A cluster, as the template has it.
#[derive(Debug, Serialize)]
pub struct Cluster {
    /// Its name
    pub name: String,
    source: EndpointSource,
    discovery: Discovery,
    connect_timeout: String,
    endpoints: Vec<Endpoint>,
    /// Fields of the cluster as YAML
    fields: minijinja::Value,
    /// The outlier detection
    pub detection: Option<Detection>,
    options: Option<HttpOptions>,
    /// The hash policies of the routes to the cluster
    #[serde(skip)]
    pub hash_policy: Vec<Value>,
    /// How long a connection may be idle that is no HTTP
    #[serde(skip)]
    pub tcp_idle_timeout: Option<String>,
}

/// How Envoy gets the addresses of a cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Discovery {
    Static,
    StrictDns,
    LogicalDns,
}

/// What the clusters are made from.
pub struct Sources<'s, 'a> {
    /// The destinations of the rules
    pub destinations: &'s Destinations<'a>,
    /// The proxy
    pub conditions: &'s Conditions<'a>,
    /// The listeners
    pub listeners: &'s [Listener],
    /// Endpoints that the user gives
    pub given: &'s [GivenEndpoint],
    /// The file with the certificate authorities of the system
    pub system_authorities: &'s str,
    /// Hosts and ports of Services with HTTP/2
    pub http2_ports: &'s [(String, u16)],
    /// Whether requests may be copied
    pub has_mirrors: bool,
}

/// The uses of a cluster.
struct Use<'a> {
    found: Found<'a>,
    port: Option<u16>,
    source: EndpointSource,
    endpoints: Vec<Endpoint>,
    is_for_http: bool,
    is_for_tls: bool,
    is_for_grpc: bool,
}

impl Sources<'_, '_> {
    /// The clusters of all routes and mirrors, sorted by name. `detection` has the outlier
    /// detection of the cluster with a name.
    ///
    /// # Errors
    /// The hosts with an unknown port, and what to give for them. Endpoints for other hosts than
    /// those of the rules.
    pub fn clusters(
        &self,
        detection: impl Fn(&str) -> Option<Detection>,
        left_out: &mut LeftOut,
    ) -> Result<Vec<Cluster>, String> {
        let uses = self.uses(left_out)?;
        let naming = self.destinations.naming();
        let policies = Policies::new(self.destinations.document(), naming, left_out);
        let mut clusters = Vec::new();
        for (name, own) in &uses {
            let to = &own.found.destination;
            let policy = policies.of_cluster(&to.host, to.subset.as_deref(), own.port, left_out);
            let entry = self.destinations.entry(&to.host);
            let detection = detection(name);
            let around = Surroundings {
                is_http2: own.is_for_grpc
                    || is_http2(entry.as_ref(), own.port)
                    || self
                        .http2_ports
                        .iter()
                        .any(|(host, port)| *host == to.host && Some(*port) == own.port),
                subject_alt_names: &subject_alt_names(entry.as_ref()),
                system_authorities: self.system_authorities,
                filter_selects_hosts: detection.as_ref().is_some_and(Detection::is_by_filter),
                is_for_http: own.is_for_http,
                has_mirrors: self.has_mirrors,
            };
            let fields = ClusterFields::new(&policy, around, left_out);
            let pool = policy.connection_pool.as_ref().and_then(|pool| pool.field("tcp"));
            let timeout = pool.and_then(|pool| pool.field("idleTimeout"));
            if let Some(timeout) = timeout.filter(|_| own.is_for_tls) {
                let reason = "connections of tls routes may be idle for an hour, because one \
                              listener has those of all clusters";
                left_out.add(&timeout.path, reason);
            }
            let resolution = entry.and_then(|entry| entry.text("resolution"));
            let is_round_robin = resolution == Some("DNS_ROUND_ROBIN");
            clusters.push(cluster(name, own, fields, detection, is_round_robin));
        }
        let used = uses.values().map(|own| (&*own.found.destination.host, own.port));
        let hosts = self.destinations.hosts();
        policies.leave_out_unused(&used.collect::<Vec<_>>(), &hosts, left_out);
        Ok(clusters)
    }

    /// The uses of each cluster, by its name.
    fn uses(&self, left_out: &mut LeftOut) -> Result<BTreeMap<String, Use<'_>>, String> {
        let on = |listener: &Listener| self.destinations.on(listener, self.conditions);
        let all: Vec<_> = self.listeners.iter().flat_map(on).collect();
        let mut endpoints = Endpoints::new(self.destinations, self.given);
        endpoints.check(&all)?;
        let mut uses: BTreeMap<String, Use<'_>> = BTreeMap::new();
        let mut unknown = BTreeSet::new();
        for listener in self.listeners {
            for found in on(listener) {
                let to = &found.destination;
                let name = to.cluster.at(|| Some(listener.called)).into_owned();
                let Some((source, own)) = endpoints.of(&found, listener.called, left_out) else {
                    unknown.insert((to.host.clone(), endpoints.short_name(to)));
                    continue;
                };
                let is_for_http = listener.kind == Kind::Http;
                let port = self.destinations.port(to, listener.called);
                let is_for_tls = listener.kind == Kind::Tls;
                let is_for_grpc = gateway_routes::is_of_grpc(&found.part);
                let endpoints = own;
                let own =
                    Use { found, port, source, endpoints, is_for_http, is_for_tls, is_for_grpc };
                let known = uses.entry(name).or_insert(own);
                known.is_for_http |= is_for_http;
                known.is_for_tls |= is_for_tls;
                known.is_for_grpc |= is_for_grpc;
            }
        }
        endpoints.leave_out_shared(left_out);
        if !unknown.is_empty() {
            let hosts: BTreeSet<_> = unknown.iter().map(|(host, _)| host.as_str()).collect();
            let hosts = hosts.into_iter().collect::<Vec<_>>().join(", ");
            let flags = unknown.iter().map(|(_, name)| format!("--endpoint {name}=ADDRESS:PORT"));
            return Err(format!(
                "the ports of these hosts are not known: {hosts}; write destination.port, give a \
                 file with their Services if these have one port, or use {}",
                flags.collect::<Vec<_>>().join(" ")
            ));
        }
        Ok(uses)
    }
}

fn cluster(
    name: &str,
    own: &Use<'_>,
    fields: ClusterFields,
    detection: Option<Detection>,
    is_round_robin: bool,
) -> Cluster {
    let is_static = own.endpoints.iter().all(|own| own.address.parse::<IpAddr>().is_ok());
    let discovery = match own.endpoints.len() {
        _ if is_static => Discovery::Static,
        1 if is_round_robin => Discovery::LogicalDns,
        _ => Discovery::StrictDns,
    };
    let ClusterFields { own: own_fields, http, protocol, .. } = fields;
    let options = HttpOptions::new(protocol, http, detection.as_ref(), Some(name));
    Cluster {
        name: name.to_owned(),
        source: own.source,
        discovery,
        connect_timeout: fields.connect_timeout,
        endpoints: own.endpoints.clone(),
        fields: templates::fields(own_fields),
        detection,
        options,
        hash_policy: fields.hash_policy,
        tcp_idle_timeout: fields.tcp_idle_timeout,
    }
}
