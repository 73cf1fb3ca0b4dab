//! Sends each request on all ways through the proxies and compares what becomes of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use sluice_e2e::{Answer, Client, Connection, Upstream};

use super::known::Tally;
use crate::behaviour::differences::compare;
use crate::behaviour::observe::{self, Seen};
use crate::behaviour::requests::Sent;
use crate::behaviour::services::Upstreams;

/// Requests that are on their way at the same time.
const WORKERS: usize = 16;

/// How often a pair is sent if it differs and has to do with time.
const ATTEMPTS: usize = 4;

/// What is left of a request at upstreams after the response: copies, and tries that timed out.
const REST: Duration = Duration::from_millis(700);

/// With what the names of the upstreams of copies begin.
const COPY: char = 'c';

/// The header with the time that an upstream has.
const TIMEOUT: &str = "x-envoy-expected-rq-timeout-ms";

/// The clusters that no rule names: those without a subset, and that of unknown hosts.
const OWN_CLUSTERS: [&str; 2] = ["outbound|8080||", "PassthroughCluster"];

/// A way through a proxy: its name and its listener.
pub struct Way(pub &'static str, pub Client);

/// A request and the rules that it is for.
pub struct Asked {
    /// The request
    pub sent: Sent,
    /// The rules, for examples of differences
    pub rules: String,
}

/// What became of a request on each way.
type Results = Vec<Result<Seen, String>>;

/// Starts an upstream that does what the header of a request says: `x-test-status` is the status,
/// `x-test-delay` the delay in milliseconds. With `x-test-fail`, this applies only to so many tries
/// of a request.
pub fn upstream(name: &str) -> (String, Upstream) {
    upstream_at(SocketAddr::from(([127, 0, 0, 1], 0)), name)
}

/// The same at an address.
pub fn upstream_at(address: SocketAddr, name: &str) -> (String, Upstream) {
    let tries = std::sync::Mutex::new(BTreeMap::<String, u64>::new());
    let upstream = Upstream::at(address, name, move |request| {
        let number = |name: &str| {
            let first = request.header(name).into_iter().next()?;
            first.parse::<u64>().ok()
        };
        let id = request.header("x-test-id").join(",");
        let mut tries = tries.lock().expect("no thread panics with it");
        let count = tries.entry(id).or_default();
        *count += 1;
        let is_well = number("x-test-fail").is_some_and(|limit| *count > limit);
        let status = number("x-test-status").filter(|_| !is_well).unwrap_or_default();
        let delay = number("x-test-delay").filter(|_| !is_well).unwrap_or_default();
        Answer {
            status: status.try_into().unwrap_or_default(),
            delay: Duration::from_millis(delay),
            headers: vec![("server", "upstream"), ("x-upstream", "yes")],
            body: Some("answered"),
        }
    });
    (name.to_owned(), upstream)
}

/// Compares all requests on all ways with the first, which is that of istiod, and prints the
/// numbers.
///
/// # Panics
/// If a difference has no reason in pairs.yaml.
pub async fn compare_all(part: &str, ways: &[Way], upstreams: &Upstreams, requests: &[Asked]) {
    let mut tally = Tally::of(part);
    let mut results: BTreeMap<usize, Results> = BTreeMap::new();
    let mut open: Vec<usize> = (0..requests.len()).collect();
    let mut again = 0;
    for attempt in 0..ATTEMPTS {
        send_all(ways, upstreams, requests, &open, attempt, &mut results).await;
        open.retain(|index| has_to_do_with_time(requests, &results, *index));
        open.retain(|index| {
            let results = &results[index];
            let differences = results[1..].iter().flat_map(|own| differences(&results[0], own));
            differences.into_iter().any(|own| !tally.is_known(&own))
        });
        if attempt == 0 {
            again = open.len();
        }
        if open.is_empty() {
            break;
        }
    }
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    let (mut delayed, mut repeated) = (0, 0);
    for (index, results) in &results {
        let Asked { sent, rules } = &requests[*index];
        if let Ok(native) = &results[0] {
            *statuses.entry(native.status).or_default() += 1;
            delayed += usize::from(native.is_delayed);
            repeated += usize::from(native.received.len() > 1);
        }
        for (Way(name, _), own) in ways.iter().zip(results).skip(1) {
            for difference in differences(&results[0], own) {
                let example =
                    || format!("{sent:?}\n    {rules}\n    {:?}\n    {own:?}", results[0]);
                tally.add(name, difference, example);
            }
        }
    }
    println!(
        "{part}: {} requests, {} pairs; {delayed} delayed, {repeated} with copies or retries, \
         {again} sent again as a time differed by chance; statuses {statuses:?}",
        requests.len(),
        requests.len() * (ways.len() - 1),
    );
    tally.finish();
    assert!(statuses.len() >= 4, "the requests are too much alike");
}

/// Sends some of the requests and records the results.
async fn send_all(
    ways: &[Way],
    upstreams: &Upstreams,
    requests: &[Asked],
    indices: &[usize],
    attempt: usize,
    results: &mut BTreeMap<usize, Results>,
) {
    let id = |index: usize, way: usize| format!("{index}-{way}-{attempt}");
    let next = Cell::new(0);
    let new = RefCell::new(BTreeMap::new());
    let worker = async || {
        let mut clients: Vec<(Client, Option<Connection>)> =
            ways.iter().map(|Way(_, client)| (client.clone(), None)).collect();
        while let Some(index) = indices.get(next.replace(next.get() + 1)) {
            let mut own = Results::new();
            for (way, client) in clients.iter_mut().enumerate() {
                let sent = &requests[*index].sent;
                own.push(observe::see(client, sent, &id(*index, way)).await);
            }
            new.borrow_mut().insert(*index, own);
        }
    };
    join_all((0..WORKERS).map(|_| worker())).await;
    tokio::time::sleep(REST).await;
    let mut arrivals = observe::arrivals(upstreams);
    for (index, mut own) in new.take() {
        for (way, result) in own.iter_mut().enumerate() {
            if let Ok(seen) = result {
                seen.received = arrivals.remove(&id(index, way)).unwrap_or_default();
            }
        }
        results.insert(index, own);
    }
}

/// Waits for all of them.
async fn join_all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|own| own.as_mut().poll(context).is_pending());
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Returns whether a busy machine can change the result of a request.
fn has_to_do_with_time(
    requests: &[Asked],
    results: &BTreeMap<usize, Results>,
    index: usize,
) -> bool {
    let is_late = |own: &Result<Seen, String>| {
        own.as_ref().map_or(true, |own| own.is_delayed || own.status == 504)
    };
    let headers = &requests[index].sent.headers;
    let is_slow = headers.iter().any(|(name, _)| name == "x-test-delay" || name == "x-test-fail");
    is_slow || results[&index].iter().any(is_late)
}

/// Returns the kinds of differences of a result from that of istiod.
fn differences(native: &Result<Seen, String>, own: &Result<Seen, String>) -> Vec<String> {
    match (native, own) {
        (Ok(native), Ok(own)) => {
            let mut differences = compare(&with_named_copies(native), &with_named_copies(own));
            let [location, other] = [native, own].map(|own| own.headers.get("location"));
            if location.is_some_and(|own| other == Some(&without_port(own)))
                && differences.remove("response location: another value")
            {
                differences.insert("response location: a port natively only".to_owned());
            }
            // istiod has no rules for such a request either: it calls the service itself.
            if OWN_CLUSTERS.iter().any(|start| native.cluster.starts_with(start)) {
                differences.remove("left to istiod's routes");
            }
            // The name of the cluster in responses of Envoy itself is that of the service's route,
            // before the filters choose one.
            if native.received.is_empty() && own.received.is_empty() {
                differences.remove("a cluster through the filters only");
            }
            differences.into_iter().collect()
        }
        (Err(_), Err(_)) => Vec::new(),
        (Err(_), Ok(_)) => vec!["no response natively".to_owned()],
        (Ok(_), Err(_)) => vec!["no response through the filters".to_owned()],
    }
}

/// The same with another name for the timeout that Envoy tells the upstreams of copies.
fn with_named_copies(seen: &Seen) -> Seen {
    let mut seen = seen.clone();
    for copy in seen.received.iter_mut().filter(|own| own.upstream.starts_with(COPY)) {
        if let Some(value) = copy.headers.remove(TIMEOUT) {
            copy.headers.insert(format!("{TIMEOUT} of a copy"), value);
        }
    }
    seen
}

/// A URL without its port.
fn without_port(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.split(':').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}
