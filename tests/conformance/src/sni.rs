//! Rows about server names, and their evaluation with the policy crate.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_policy::request::Draws;
use sluice_policy::request::client_hello::ClientHello;
use sluice_policy::request::connection::Connection;
use sluice_policy::sni::{Outcome, SniPolicy};
use sluice_policy::spec::policy::Policy;

use crate::client_hello::Client;
use crate::policy::{Fixed, Seeded};
use crate::rows::{Node, example};

/// A configuration, with connections and requests and their outcomes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SniCase {
    /// Identifier, unique in its file; the test name begins with it
    pub id: String,
    /// Description; the rest of the test name
    pub name: String,
    /// Source of the expected behaviour
    pub source: String,
    /// Reason for the expectation, if it is not obvious
    pub note: Option<String>,
    /// Metadata of Envoy's workload
    #[serde(default)]
    pub node: Node,
    /// The configuration of the filter
    pub config: Box<RawValue>,
    /// Connections with their outcomes
    #[serde(default)]
    pub connections: Vec<SniConnection>,
    /// Requests with what becomes of them
    #[serde(default)]
    pub requests: Vec<SniRequest>,
}

/// A connection and its outcome.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SniConnection {
    /// The SNI that Envoy read
    pub sni: Option<String>,
    /// The address that the client connected to
    pub destination: Option<IpAddr>,
    /// The port that it connected to
    pub port: Option<u16>,
    /// Its address
    pub source: Option<String>,
    /// Whether Envoy terminates its TLS
    #[serde(default)]
    pub terminated: bool,
    /// The random number. If absent, the expectation must hold for every draw
    pub draw: Option<u64>,
    /// Its first bytes
    pub client: Option<Client>,
    /// What becomes of it
    pub expect: ConnectionExpectation,
}

/// Outcome of a connection.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionExpectation {
    /// Outcome at its start: the name of a counter
    pub opens: String,
    /// The cluster that it goes to
    pub cluster: Option<String>,
    /// Name of the match in logs, if the row contains it
    pub route: Option<String>,
    /// Outcome of its first bytes, if the filter reads them
    pub hello: Option<String>,
    /// Whether the filter closes it
    #[serde(default)]
    pub closed: bool,
}

/// A request and what becomes of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SniRequest {
    /// The SNI of its connection
    pub sni: Option<String>,
    /// `example.com` if absent
    #[serde(default = "example")]
    pub host: String,
    /// Outcome: the name of a counter
    pub expect: String,
    /// Status of the response of the filter
    pub status: Option<u16>,
}

impl SniCase {
    /// Asserts that the row contains an expectation, and only possible outcomes.
    ///
    /// # Panics
    /// If it has neither connections nor requests, or an outcome is unknown.
    pub fn validate(&self) {
        let (connections, requests) = (&self.connections, &self.requests);
        assert!(!connections.is_empty() || !requests.is_empty(), "{} asserts nothing", self.id);
        let outcomes = connections.iter().flat_map(|connection| {
            std::iter::once(&connection.expect.opens).chain(&connection.expect.hello)
        });
        for name in outcomes.chain(requests.iter().map(|request| &request.expect)) {
            let is_known = Outcome::ALL.iter().any(|outcome| outcome.name() == name);
            assert!(is_known, "{}: unknown outcome {name}", self.id);
        }
    }
}

impl SniConnection {
    /// The sizes of the pieces in which its first bytes come: all at once, byte by byte, and those
    /// of Istio's test.
    pub const PIECES: [usize; 5] = [usize::MAX, 1, 10, 50, 100];

    /// Returns its label in failure messages.
    pub fn title(&self) -> String {
        format!("{:?} to {:?} {:?}, {:?}", self.sni, self.destination, self.port, self.client)
    }
}

impl Connection for SniConnection {
    fn destination_ip(&self) -> Option<IpAddr> {
        self.destination
    }

    fn destination_port(&self) -> Option<u16> {
        self.port
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        self.source.as_ref().map(|source| source.clone().into_bytes())
    }
}

/// Evaluates a row with the policy crate.
///
/// # Panics
/// If a result differs from the row.
pub fn check(case: &SniCase) {
    let policy = match SniPolicy::compile(case.config.get().as_bytes(), &case.node) {
        Ok((policy, _)) => policy,
        Err(rejection) => panic!("the configuration is refused:\n{rejection}"),
    };
    for connection in &case.connections {
        let first = connection.draw.unwrap_or_default();
        let pieces = SniConnection::PIECES.map(|size| (first, size));
        // The pieces do not depend on the draw.
        let mut draws = match connection.draw {
            Some(_) => Vec::new(),
            None => vec![1, u64::MAX],
        };
        let mut seeded = Seeded::default();
        draws.extend((0..draws.len() * 10).map(|_| seeded.draw()));
        let whole = draws.into_iter().map(|draw| (draw, usize::MAX));
        for (draw, size) in pieces.into_iter().chain(whole) {
            let found = observe(&policy, connection, draw, size);
            let title = connection.title();
            assert_eq!(found, connection.expect, "{title}, pieces of {size}, draw {draw}");
        }
    }
    for request in &case.requests {
        let sni = request.sni.as_ref().map(String::as_bytes);
        let outcome = policy.request(sni, request.host.as_bytes());
        assert_eq!(outcome.name(), request.expect, "{:?} at {}", request.sni, request.host);
        let status = policy.refuses(outcome).then_some(421);
        assert_eq!(status, request.status, "{:?} at {}", request.sni, request.host);
    }
}

fn observe(
    policy: &SniPolicy,
    connection: &SniConnection,
    draw: u64,
    size: usize,
) -> ConnectionExpectation {
    let sni = connection.sni.as_ref().map(String::as_bytes);
    let opening = policy.open(sni, connection, &mut Fixed(draw));
    let mut found = ConnectionExpectation {
        opens: opening.outcome.name().to_owned(),
        cluster: opening.cluster.map(Cow::into_owned),
        route: connection.expect.route.as_ref().map(|_| opening.route.to_owned()),
        hello: None,
        closed: policy.refuses(opening.outcome),
    };
    let Some(client) = connection.client.as_ref().filter(|_| !found.closed) else { return found };
    if !policy.reads_hello(connection.terminated) {
        return found;
    }
    let bytes = client.bytes();
    let max = policy.settings.max_client_hello;
    let end = |piece: usize| piece.saturating_mul(size).min(bytes.len());
    let pieces = (1..).map(end).scan(false, |is_over, end| {
        let is_new = !*is_over;
        *is_over = end == bytes.len();
        is_new.then_some(end)
    });
    let outcome = pieces.into_iter().find_map(|end| {
        policy.inspect(opening.name.as_ref(), &ClientHello::parse(&bytes[..end], max))
    });
    // Every client in a row sends more bytes or closes.
    let outcome = outcome.unwrap_or(Outcome::IncompleteHello);
    found.hello = Some(outcome.name().to_owned());
    found.closed = policy.refuses(outcome);
    found
}
