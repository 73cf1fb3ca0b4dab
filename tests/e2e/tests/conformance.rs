//! Every row of `tests/conformance/cases` through `router.wasm` (or `sluice.wasm`, with
//! `SLUICE_E2E_BUNDLE`) in a real Envoy: one listener for each row, one test with the row's name.
//! The decisions are tested there without Envoy; these tests check that Envoy applies them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use sluice_conformance::{
    Case, Counts, Distribution, Expectation, Node, Observed, Outcome, Request, Strictness, cases,
    lines,
};
use sluice_e2e::{
    Answer, Bootstrap, Client, Connection, Envoy, Listener, Received, Response, Upstream,
};
use tokio::runtime::Runtime;

/// Header with the number of the request of a row, which determines the response of the upstream.
const TEST_CASE: &str = "x-test-case";

fn main() -> ExitCode {
    let fleet = Arc::new(Fleet::new());
    let trials = CASES.iter().map(|(name, case)| {
        let fleet = Arc::clone(&fleet);
        let check = move || match is_refused(case) {
            true => fleet.check_refusal(name, case),
            false => fleet.check(name, case),
        };
        Trial::test(trial_name(name, case), check).with_ignored_flag(case.envoy.is_some())
    });
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials.collect());
    // Ends all Envoys before the process ends.
    drop(fleet);
    conclusion.exit_code()
}

/// Returns all rows with the names of their listeners.
static CASES: LazyLock<Vec<(String, Case)>> = LazyLock::new(|| {
    let named = |topic: &str, case: Case| (format!("{topic}-{}", case.id), case);
    let tables = cases().into_iter();
    tables
        .flat_map(|table| table.rows.into_iter().map(move |case| named(table.topic, case)))
        .collect()
});

/// Rows that a dynamic module refuses: it cannot read claims and the node metadata, nor set an
/// empty header.
const NOT_NATIVE: [&str; 12] =
    ["DG10", "J1", "J2", "J3", "J4", "J5", "J6", "J7", "J8", "O6", "P3", "R17c"];

fn is_refused(case: &Case) -> bool {
    sluice_e2e::is_native() && NOT_NATIVE.contains(&case.id.as_str())
}

fn trial_name(name: &str, case: &Case) -> String {
    let topic = name.split('-').next().unwrap_or_default();
    format!("{topic}::{}_{}", case.id.to_lowercase(), case.name)
}

/// One Envoy per kind of workload, started for the first row that requires it.
struct Fleet {
    runtime: Runtime,
    upstream: Upstream,
    stations: Vec<Station>,
}

struct Station {
    node: Node,
    envoy: OnceLock<Envoy>,
    was_started: AtomicBool,
}

impl Fleet {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let upstream = Upstream::answering("upstream", answer);
        let mut stations: Vec<Station> = Vec::new();
        for (_, case) in CASES.iter() {
            if !stations.iter().any(|station| station.node == case.node) {
                let (envoy, was_started) = (OnceLock::new(), AtomicBool::new(false));
                stations.push(Station { node: case.node.clone(), envoy, was_started });
            }
        }
        Self { runtime, upstream, stations }
    }

    fn envoy(&self, node: &Node) -> &Envoy {
        let station = self.stations.iter().find(|station| station.node == *node).unwrap();
        station.envoy.get_or_init(|| {
            let is_first = !station.was_started.swap(true, Ordering::Relaxed);
            // Reports only one reason, because waiting for each row takes long.
            assert!(is_first, "Envoy did not start, an earlier failure says why");
            self.runtime.block_on(Envoy::start(&self.bootstrap(node)))
        })
    }

    fn check_refusal(&self, name: &str, case: &Case) -> Result<(), Failed> {
        let listener = Listener::new(name).plugin_text(case.config.get());
        let bootstrap = Bootstrap::new().listener(listener);
        let started = self.runtime.block_on(Envoy::try_start(&bootstrap));
        let log = started.err().ok_or("the document is not refused")?.log;
        match log.contains("a dynamic module") {
            true => Ok(()),
            false => Err(format!("the reason is missing in\n{log}").into()),
        }
    }

    fn check(&self, name: &str, case: &Case) -> Result<(), Failed> {
        let envoy = self.envoy(&case.node);
        self.runtime.block_on(async {
            // Only the policy can run rows that depend on a draw.
            for (number, request) in
                case.requests.iter().enumerate().filter(|(_, r)| r.draw.is_none())
            {
                let client = client(envoy, &listener_name(name, &request.claims), request);
                let mut connection = client.connect().await;
                let test_case = format!("{name} {number}");
                let observed = send(&mut connection, &client, request, Some(&test_case)).await;
                let differences = visible(request).differences(&observed, Strictness::Envoy);
                if !differences.is_empty() {
                    return Err(
                        format!("{}\n  {}", request.title(), differences.join("\n  ")).into()
                    );
                }
            }
            match &case.distribution {
                Some(distribution) => check_shares(envoy, name, distribution).await,
                None => Ok(()),
            }
        })
    }

    /// Returns a listener for every row about this workload, and one for each of its tokens.
    fn bootstrap(&self, node: &Node) -> Bootstrap {
        let mut clusters = BTreeSet::new();
        let mut bootstrap = Bootstrap::new()
            .node_metadata(json!({ "NAMESPACE": node.namespace, "LABELS": node.labels }));
        for (name, case) in CASES.iter().filter(|(_, case)| case.node == *node && !is_refused(case))
        {
            let claims: BTreeMap<String, &Value> = match case.distribution {
                Some(_) => BTreeMap::from([(listener_name(name, &Value::Null), &Value::Null)]),
                None => case
                    .requests
                    .iter()
                    .map(|r| (listener_name(name, &r.claims), &r.claims))
                    .collect(),
            };
            for (listener, claims) in claims {
                let mut listener =
                    Listener::new(&listener).plugin_text(case.config.get()).proxy_protocol();
                if !claims.is_null() {
                    listener = listener.claims(claims.clone());
                }
                bootstrap = bootstrap.listener(listener);
            }
            clusters.extend(clusters_of(case));
        }
        let upstream = [self.upstream.address()];
        clusters.iter().fold(bootstrap, |bootstrap, cluster| bootstrap.cluster(cluster, &upstream))
    }
}

/// Here a token is part of the listener, so each token of a row has its own.
fn listener_name(name: &str, claims: &Value) -> String {
    if claims.is_null() { name.to_owned() } else { format!("{name} {claims}") }
}

fn clusters_of(case: &Case) -> Vec<String> {
    let expected = case.requests.iter().filter_map(|request| match &request.expect {
        Expectation::Forward { cluster, .. } => Some(cluster.clone()),
        Expectation::Reply(_) => None,
    });
    let shares =
        case.distribution.iter().flat_map(|distribution| distribution.shares.keys().cloned());
    expected.chain(shares).collect()
}

/// Echoes, with the upstream's response headers of the row.
fn answer(received: &Received) -> Answer {
    let find = || {
        let name = received.header(TEST_CASE).pop()?;
        let (name, number) = name.split_once(' ')?;
        let (_, case) = CASES.iter().find(|(known, _)| known == name)?;
        case.requests.get(number.parse::<usize>().ok()?)
    };
    let headers = find().map_or(&[][..], |request| &request.upstream_headers);
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Answer { headers, ..Answer::default() }
}

fn client(envoy: &Envoy, listener: &str, request: &Request) -> Client {
    let mut client = envoy.listener(listener);
    if let Some(port) = request.port {
        client = client.destination_port(port);
    }
    if let Some(source) = &request.source {
        client = client.source_address(source.parse().unwrap());
    }
    client
}

async fn send(
    connection: &mut Connection,
    client: &Client,
    request: &Request,
    test_case: Option<&str>,
) -> Observed {
    let method = request.method.parse().unwrap();
    let mut sent = client.request(method, &request.path).host(&request.host);
    for (name, value) in &request.headers {
        sent = sent.header(name, value);
    }
    if request.scheme != "http" {
        // Tells Envoy that a proxy in front of it terminated TLS.
        sent = sent.header("x-forwarded-proto", &request.scheme);
    }
    if let Some(test_case) = test_case {
        sent = sent.header(TEST_CASE, test_case);
    }
    observed(connection.send(sent).await)
}

fn observed(response: Response) -> Observed {
    let outcome = match response.cluster() {
        Some(cluster) => Outcome::Forwarded { cluster, headers: received(&response) },
        None => Outcome::Replied { status: response.status, body: response.body.to_vec() },
    };
    let headers = response.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    Observed { outcome, response: lines(headers), route: None }
}

/// Returns the request that the upstream received, from its echo.
fn received(response: &Response) -> sluice_conformance::Headers {
    let echo = response.json();
    let headers: Vec<(String, String)> = serde_json::from_value(echo["headers"].clone()).unwrap();
    let path = (":path".to_owned(), echo["path"].as_str().unwrap().to_owned());
    let headers = headers.into_iter().map(|(name, value)| match name.as_str() {
        "host" => (":authority".to_owned(), value),
        _ => (name, value),
    });
    lines(headers.chain([path]).map(|(name, value)| (name, value.into_bytes())))
}

/// Returns the request with the observable part of its expectation: Envoy's router removes the
/// headers for timeouts and retries.
fn visible(request: &Request) -> Request {
    let mut request = request.clone();
    if let Expectation::Forward { headers, .. } = &mut request.expect {
        headers.retain(|name, _| !name.starts_with("x-envoy-"));
    }
    request
}

/// Repeats a failed draw once, because one of 370 counts of a fair split differs by three standard
/// deviations.
async fn check_shares(
    envoy: &Envoy,
    name: &str,
    distribution: &Distribution,
) -> Result<(), Failed> {
    let client = envoy.listener(name);
    let mut connection = client.connect().await;
    let mut differences = Vec::new();
    for _ in 0..2 {
        let mut counts = Counts::new();
        for number in 0..distribution.requests {
            let request = distribution.request(number);
            let observed = send(&mut connection, &client, &request, None).await;
            let Outcome::Forwarded { cluster, .. } = observed.outcome else {
                return Err(format!("request {number} was not forwarded: {observed:?}").into());
            };
            *counts.entry(cluster).or_default() += 1;
        }
        differences = distribution.differences(&counts);
        if differences.is_empty() {
            return Ok(());
        }
    }
    Err(format!("twice in a row: {}", differences.join("\n")).into())
}
