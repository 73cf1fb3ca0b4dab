//! Every row about requests through the router filter, and through all filters in one, in a mock of
//! Envoy's host.
#![cfg(not(target_arch = "wasm32"))]

use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;
use sluice_conformance::{
    Attributes, Case, Counts, Observed, Outcome, Request, Strictness, case, lines,
};
use sluice_host::attributes::EnvoyNode;
use sluice_host::fake::FakeHost;
use sluice_host::filter::{Action, Filter, HttpStream};
use sluice_host::http::HttpHost;
use sluice_policy::spec::mirror::HEADER_PREFIX;
use sluice_policy::spec::policy::Policy;
use sluice_policy::value::header::{HeaderEdit, HeaderOperation};

include!(concat!(env!("OUT_DIR"), "/cases.rs"));

fn check(topic: &str, id: &str) {
    let case = case(topic, id);
    check_filter::<sluice_router::worker::Worker>(&case);
    check_filter::<sluice_bundle::worker::Worker>(&case);
}

fn check_filter<F: Filter<FakeHost>>(case: &Case) {
    let worker = Rc::new(worker::<F>(case));
    // The filter draws its own random numbers, so only the policy can run rows that depend on a
    // draw.
    for request in case.requests.iter().filter(|request| request.draw.is_none()) {
        let observed = observe(&worker, request);
        let differences = request.differences(&observed, Strictness::Filter);
        assert!(differences.is_empty(), "{}\n  {}", request.title(), differences.join("\n  "));
    }
    let Some(distribution) = &case.distribution else { return };
    let mut differences = Vec::new();
    for _ in 0..2 {
        let mut counts = Counts::new();
        for number in 0..distribution.requests {
            let observed = observe(&worker, &distribution.request(number));
            let Outcome::Forwarded { cluster, .. } = observed.outcome else {
                panic!("request {number} was not forwarded: {observed:?}");
            };
            *counts.entry(cluster).or_default() += 1;
        }
        differences = distribution.differences(&counts);
        if differences.is_empty() {
            return;
        }
    }
    panic!("twice in a row: {}", differences.join("\n"));
}

fn worker<F: Filter<FakeHost>>(case: &Case) -> F {
    let mut host = FakeHost::default();
    let node = ["xds", "node", "metadata"];
    if let Some(namespace) = &case.node.namespace {
        host = host.with_property(&[&node[..], &["NAMESPACE"]].concat(), namespace.as_str());
    }
    for (name, value) in &case.node.labels {
        host = host.with_property(&[&node[..], &["LABELS", name]].concat(), value.as_str());
    }
    let policy = F::Policy::compile(case.config.get().as_bytes(), &EnvoyNode(&host));
    let (policy, _) = policy.unwrap_or_else(|rejection| panic!("refused:\n{rejection}"));
    F::new(Arc::new(policy), 1, &host)
}

fn observe<F: Filter<FakeHost>>(worker: &Rc<F>, request: &Request) -> Observed {
    let host = host(request);
    let stream = worker.request(2, host.clone());
    let is_answered = stream.on_request_headers() == Action::Pause;
    let replies = host.replies();
    assert_eq!(replies.len(), usize::from(is_answered), "one answer at most: {replies:?}");
    let (outcome, response) = match replies.into_iter().next() {
        Some(reply) => (Outcome::Replied { status: reply.status, body: reply.body }, reply.headers),
        None => {
            let mut headers = lines(host.request_headers());
            // The rows are about routes.
            headers.retain(|name, _| !name.starts_with(HEADER_PREFIX));
            let cluster = headers.remove("x-sluice-cluster").unwrap_or_default();
            let cluster = String::from_utf8(cluster).unwrap();
            let upstream = request.upstream_headers.iter();
            let upstream = upstream.map(|(name, value)| (name.clone(), value.clone().into_bytes()));
            (Outcome::Forwarded { cluster, headers }, upstream.collect())
        }
    };
    // The response arrives: the upstream's or, as in Envoy, the filter's own.
    for (name, value) in &response {
        let operation = HeaderOperation::Add;
        host.edit_response_header(&HeaderEdit { operation, name, value: value.into() });
    }
    stream.on_response_headers(false);
    let route = host.notes().pop().map(|(_, text)| text);
    Observed { outcome, response: lines(host.response_headers()), route }
}

/// A mock host with a request and its attributes.
fn host(request: &Request) -> FakeHost {
    let mut host = FakeHost::default();
    for (name, value) in request.pairs() {
        host = host.with_request_header(&name, value);
    }
    if let Some(port) = request.port {
        host = host.with_property(&["destination", "port"], i64::from(port).to_le_bytes());
    }
    if let Some(source) = &request.source {
        host = host.with_property(&["source", "address"], format!("{source}:40000"));
    }
    for (path, value) in Attributes(request).claims() {
        let payload = ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", "payload"];
        let path: Vec<&str> = payload.into_iter().chain(path.iter().map(String::as_str)).collect();
        host = host.with_property(&path, claim(&value));
    }
    host
}

/// A claim in Envoy's encoding: text as it is, a list as pairs without values.
fn claim(value: &Value) -> Vec<u8> {
    let Value::Array(values) = value else {
        return value.as_str().unwrap().into();
    };
    let length = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    let values: Vec<&str> = values.iter().map(|value| value.as_str().unwrap()).collect();
    let mut bytes = length(values.len()).to_vec();
    for value in &values {
        bytes.extend([length(value.len()), length(0)].concat());
    }
    for value in &values {
        bytes.extend([value.as_bytes(), b"\0\0"].concat());
    }
    bytes
}
