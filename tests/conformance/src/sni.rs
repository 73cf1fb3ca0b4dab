//! Rows about server names, and running them through the policy crate.

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

/// A configuration and what becomes of connections and requests under it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SniCase {
    /// Unique in its file, the start of the test's name
    pub id: String,
    /// The rest of the test's name
    pub name: String,
    /// Who says that it has to be so
    pub source: String,
    /// Why, where that is not plain
    pub note: Option<String>,
    /// What Envoy knows about its workload
    #[serde(default)]
    pub node: Node,
    /// The configuration of the filter
    pub config: Box<RawValue>,
    /// Connections with what becomes of them
    #[serde(default)]
    pub connections: Vec<SniConnection>,
    /// Requests with what becomes of them
    #[serde(default)]
    pub requests: Vec<SniRequest>,
}

/// A connection and what becomes of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SniConnection {
    /// The SNI that Envoy has seen
    pub sni: Option<String>,
    /// The address that the client connected to
    pub destination: Option<IpAddr>,
    /// The port that it connected to
    pub port: Option<u16>,
    /// Its address
    pub source: Option<String>,
    /// Whether Envoy has ended its TLS
    #[serde(default)]
    pub terminated: bool,
    /// The random number. Without one, the expectation has to hold for every draw
    pub draw: Option<u64>,
    /// What it sends first
    pub client: Option<Client>,
    /// What becomes of it
    pub expect: ConnectionExpectation,
}

/// What becomes of a connection.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionExpectation {
    /// The outcome when it opens, by the name of its counter
    pub opens: String,
    /// The cluster that it goes to
    pub cluster: Option<String>,
    /// The name of the match in logs, where a row says it
    pub route: Option<String>,
    /// The outcome of its first bytes, where they are looked at
    pub hello: Option<String>,
    /// Whether it is closed
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
    /// The outcome, by the name of its counter
    pub expect: String,
    /// The status that it is answered with
    pub status: Option<u16>,
}

impl SniCase {
    /// Asserts that the row asserts something, and nothing that cannot be.
    ///
    /// # Panics
    /// When it has neither connections nor requests, or an outcome is none.
    pub fn validate(&self) {
        let (connections, requests) = (&self.connections, &self.requests);
        assert!(!connections.is_empty() || !requests.is_empty(), "{} asserts nothing", self.id);
        let outcomes = connections.iter().flat_map(|connection| {
            std::iter::once(&connection.expect.opens).chain(&connection.expect.hello)
        });
        for name in outcomes.chain(requests.iter().map(|request| &request.expect)) {
            let is_known = Outcome::ALL.iter().any(|outcome| outcome.name() == name);
            assert!(is_known, "{}: {name} is no outcome", self.id);
        }
    }
}

impl SniConnection {
    /// The sizes of the pieces in which its first bytes come: all at once, byte by byte, and those
    /// of Istio's test.
    pub const PIECES: [usize; 5] = [usize::MAX, 1, 10, 50, 100];

    /// How a failure names it.
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

/// Runs a row through the policy.
///
/// # Panics
/// When something is not as the row says.
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
        cluster: opening.cluster.map(str::to_owned),
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
    // No row has a client that neither goes on nor ends.
    let outcome = outcome.unwrap_or(Outcome::IncompleteHello);
    found.hello = Some(outcome.name().to_owned());
    found.closed = policy.refuses(outcome);
    found
}
