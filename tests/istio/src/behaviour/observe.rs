//! What a client and the upstreams see of a request.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sluice_e2e::{Client, Connection, Response};

use super::requests::Sent;
use super::services::Upstreams;
use crate::headers;

/// Headers that differ between runs or requests.
const UNEQUAL: [&str; 7] = [
    "date",
    "x-envoy-upstream-service-time",
    "x-request-id",
    "content-length",
    "x-test-cluster",
    "x-test-id",
    NOTE,
];

/// The header with the note of the router filter.
pub const NOTE: &str = "x-test-note";

/// Delay from which a response counts as delayed.
const DELAYED: Duration = Duration::from_millis(190);

/// The result of a request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Status of the response
    pub status: u16,
    /// Headers of the response, with the values joined
    pub headers: BTreeMap<String, String>,
    /// Body of the response
    pub body: String,
    /// The cluster that answered, - if none
    pub cluster: String,
    /// Whether it came late
    pub is_delayed: bool,
    /// Whether the router filter left it to the routes of istiod
    pub is_passed: bool,
    /// The requests that upstreams received, also copies and retries
    pub received: Vec<Arrival>,
}

/// A request at an upstream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// The name of the upstream
    pub upstream: String,
    /// Method, host and path
    pub line: [String; 3],
    /// The headers
    pub headers: BTreeMap<String, String>,
}

/// Sends a request, whose `id` the upstreams record.
pub async fn see(
    client: &mut (Client, Option<Connection>),
    sent: &Sent,
    id: &str,
) -> Result<Seen, String> {
    let (client, connection) = client;
    let method = sent.method.parse().map_err(|_| "a method".to_owned())?;
    let mut request = client.request(method, &sent.target()).host(&sent.host);
    for (name, value) in &sent.headers {
        request = request.header(name, value);
    }
    request = request.header("x-test-id", id);
    let first = match connection {
        Some(connection) => connection.try_send(request.clone()).await.ok(),
        None => None,
    };
    // Envoy closes the connection after some of its own responses.
    let response = match first {
        Some(response) => response,
        None => {
            let mut new = client.connect().await;
            let response = new.try_send(request).await;
            *connection = Some(new);
            response?
        }
    };
    Ok(Seen {
        status: response.status,
        headers: headers(&response),
        body: response.text(),
        cluster: response.header("x-test-cluster").unwrap_or_else(|| "-".to_owned()),
        is_delayed: response.elapsed >= DELAYED,
        is_passed: response.header(NOTE).is_some_and(|note| note == "no virtual host"),
        received: Vec::new(),
    })
}

fn headers(response: &Response) -> BTreeMap<String, String> {
    let names: BTreeSet<_> = response.headers.keys().map(|name| name.as_str()).collect();
    let names = names.into_iter().filter(|name| !UNEQUAL.contains(name));
    names.map(|name| (name.to_owned(), response.header(name).unwrap_or_default())).collect()
}

/// All requests that upstreams received, by the id of the request of the client.
pub fn arrivals(upstreams: &Upstreams) -> BTreeMap<String, Vec<Arrival>> {
    let mut arrivals: BTreeMap<String, Vec<Arrival>> = BTreeMap::new();
    for (name, upstream) in &upstreams.0 {
        for request in upstream.received("") {
            let Some(id) = request.header("x-test-id").pop() else { continue };
            let names: BTreeSet<_> = request.headers.keys().map(|name| name.as_str()).collect();
            let names = names.into_iter().filter(|name| !UNEQUAL.contains(name));
            // The route of the test keeps these; removing them is up to the manifests.
            let names = names.filter(|name| !name.starts_with("x-sluice-mirror-"));
            let headers = names.map(|own| (own.to_owned(), request.header(own).join(";")));
            let mut headers: BTreeMap<_, _> = headers.collect();
            // What is left of a timeout depends on when a retry starts.
            let is_retry = headers.get("x-envoy-attempt-count").is_some_and(|own| own != "1");
            if let Some(rest) = headers.get_mut("x-envoy-expected-rq-timeout-ms")
                && (is_retry || request.headers.contains_key("x-test-delay"))
            {
                // A proxy may not tell which try it is, so the other side may have the value.
                headers::ANY.clone_into(rest);
            }
            let line = [request.method, request.host, request.path];
            let arrival = Arrival { upstream: name.clone(), line, headers };
            arrivals.entry(id).or_default().push(arrival);
        }
    }
    arrivals.values_mut().for_each(|own| own.sort());
    arrivals
}
