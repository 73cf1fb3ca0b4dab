//! Traps in the callbacks of requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use sluice_e2e::{
    Bootstrap, Client, Envoy, Listener, Mirroring, Request, Response, Upstream, until,
};
use tokio::task::{JoinSet, LocalSet};

use crate::module::{Place, Trapping};
use crate::{Policy, document_of, trapping};

const FILTERS: [&str; 7] = ["egress", "fault", "mirror", "outlier", "router", "sluice", "sni"];
const ACTIVE: &str = "wasmcustom.sluice.fault.active_faults";
/// After this time without an answer, Envoy ends a request.
const IDLE: Duration = Duration::from_secs(4);

/// What a client sees of its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Seen {
    /// The filter did its work.
    Filtered,
    /// The request passed without it.
    Unfiltered,
    /// 503 from Envoy.
    Unavailable,
    /// The answer broke off, or there was none.
    Reset,
    /// The request waited until Envoy's timeout.
    TimedOut,
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Filtered => "filtered",
            Self::Unfiltered => "not filtered",
            Self::Unavailable => "503",
            Self::Reset => "reset",
            Self::TimedOut => "503 after the timeout",
        })
    }
}

/// What was seen of one trap.
#[derive(Debug, Eq, PartialEq)]
struct Row {
    /// The request that traps
    trapping: Seen,
    /// A request that waits in the filter
    waiting: Option<Seen>,
    /// A request on the same listener, later
    later: Seen,
    /// A request on another listener, whose filter shares the VM
    sharing: Seen,
    /// A request on another listener, whose filter has the same module and a VM of its own
    apart: Seen,
}

/// What has to be seen of a trap in a callback of a filter.
fn expected(policy: Policy, filter: &str, place: Place) -> Row {
    let trapping = match place {
        Place::RequestHeaders | Place::RequestBody | Place::ResponseHeaders => Seen::Unavailable,
        Place::ResponseBody => Seen::Reset,
        Place::Tick => Seen::TimedOut,
        Place::End => Seen::Filtered,
        Place::NewConnection => unreachable!("it is no callback of a request"),
    };
    let later = match policy {
        Policy::Closed => Seen::Unavailable,
        Policy::Open => Seen::Unfiltered,
        Policy::Reload => Seen::Filtered,
    };
    let waiting = waits(filter).then_some(Seen::TimedOut);
    Row { trapping, waiting, later, sharing: later, apart: Seen::Filtered }
}

/// Returns whether requests can wait in a filter.
fn waits(filter: &str) -> bool {
    ["fault", "sluice"].contains(&filter)
}

/// Returns a request by which [`see`] tells whether the filter did its work.
fn probe(filter: &str, client: &Client, method: Method) -> Request {
    let request = client.request(method, "/probe");
    match filter {
        "egress" => request.host("unknown.example.org"),
        "fault" => request.header("x-abort", "1"),
        "mirror" => request.header("x-sluice-mirror-0", "nowhere"),
        "outlier" => request.header("x-sluice-host", "127.0.0.1:1"),
        "router" | "sluice" => request.header("x-sluice-cluster", "secret"),
        _ => request,
    }
}

fn see(filter: &str, response: &Result<Response, String>) -> Seen {
    let Ok(response) = response else { return Seen::Reset };
    let text = response.text();
    match (filter, response.status) {
        (_, 503 | 504) => Seen::Unavailable,
        ("egress", 502) | ("fault", 429) | ("sni", 421) => Seen::Filtered,
        ("egress" | "fault" | "sni", 200) => Seen::Unfiltered,
        (_, 200) => {
            let is_steered = text.contains("x-sluice-") || response.upstream() == "secret";
            if is_steered { Seen::Unfiltered } else { Seen::Filtered }
        }
        (_, status) => panic!("{filter}: {status} {text}"),
    }
}

/// Tells a request that Envoy refuses from one that has waited until Envoy's timeout.
async fn timed_out(envoy: &Envoy, path: &str, seen: Seen) -> Seen {
    let is_idle = envoy.access_log(path).await["flags"] == "SI";
    if seen == Seen::Unavailable && is_idle { Seen::TimedOut } else { seen }
}

async fn send(client: &Client, request: Request) -> Result<Response, String> {
    client.connect().await.try_send(request).await
}

/// One filter and the callback that traps, with its three listeners.
#[derive(Clone)]
struct Case {
    filter: &'static str,
    place: Place,
}

impl Case {
    /// The name of the listener for a use.
    fn listener(&self, purpose: &str) -> String {
        format!("{} {} {purpose}", self.filter, self.place as u8)
    }

    fn listeners(&self, trap: &Trapping, policy: Policy) -> [Listener; 3] {
        ["trap", "sharing", "apart"].map(|purpose| {
            let name = self.listener(purpose);
            let vm = match purpose {
                "apart" => purpose.to_owned(),
                _ => self.listener("vm"),
            };
            let text = document_of(self.filter).to_string();
            let filter = trapping("http", &trap.file, &name, &vm, policy, &text);
            let listener = Listener::new(&name)
                .first(filter)
                .max_headers(64, 500)
                .stream_idle_timeout(IDLE)
                .mirroring(Mirroring::ByHeader(1));
            match self.filter {
                "router" | "sluice" => listener,
                // The router, so that there is another filter in the chain.
                _ => listener.plugin(&document_of("router")),
            }
        })
    }

    async fn run(self, envoy: &Envoy, policy: Policy) -> Row {
        let [trap, sharing, apart] =
            ["trap", "sharing", "apart"].map(|purpose| envoy.listener(&self.listener(purpose)));
        let filter = self.filter;
        let request = match self.place {
            Place::RequestBody => trap.request(Method::POST, "/").body("body"),
            Place::Tick => trap.get("/waiting/here").header("x-short", "1"),
            Place::End => probe(filter, &trap, Method::GET),
            _ => trap.get("/"),
        };
        let mut trapping = see(filter, &send(&trap, self.place.chosen_by(request)).await);
        if self.place == Place::Tick {
            trapping = timed_out(envoy, "/waiting/here", trapping).await;
        }
        let look = async |client: &Client| {
            let once =
                async || see(filter, &send(client, probe(filter, client, Method::GET)).await);
            if policy != Policy::Reload {
                return once().await;
            }
            // Envoy waits a moment before it loads the module again.
            until("the module is loaded again", async || {
                Some(once().await).filter(|seen| *seen != Seen::Unavailable)
            })
            .await
        };
        let (later, sharing, apart) = (look(&trap).await, look(&sharing).await, look(&apart).await);
        Row { trapping, waiting: None, later, sharing, apart }
    }
}

/// The cases: each callback of the fault filter and of `sluice.wasm`, which together have all, and
/// the first one of the others. More would only take time, because Envoy compiles the module of
/// each case, and does not know the filters.
fn cases(modules: &[Trapping]) -> Vec<Case> {
    let of = |trap: &Trapping| {
        let places = trap.places.clone().into_iter();
        let filter = trap.filter;
        places
            .filter(move |place| *place == Place::RequestHeaders || waits(filter))
            .map(move |place| Case { filter, place })
    };
    modules.iter().flat_map(of).collect()
}

async fn traps_under(policy: Policy) {
    let folder = tempfile::tempdir().unwrap();
    let modules = FILTERS.map(|filter| Trapping::write(filter, folder.path()));
    let (service, secret) = (Upstream::echo("service"), Upstream::echo("secret"));
    let mut bootstrap = Bootstrap::new()
        .cluster("service", &[service.address()])
        .cluster("secret", &[secret.address()]);
    let cases = cases(&modules);
    for case in &cases {
        let trap = modules.iter().find(|trap| trap.filter == case.filter).unwrap();
        for listener in case.listeners(trap, policy) {
            bootstrap = bootstrap.listener(listener);
        }
    }
    let envoy = Arc::new(Envoy::start(&bootstrap).await);

    let mut waiting = JoinSet::new();
    for (number, case) in cases.iter().enumerate().filter(|(_, case)| waits(case.filter)) {
        let (client, filter) = (envoy.listener(&case.listener("trap")), case.filter);
        waiting.spawn(async move {
            let request = client.get(&format!("/waiting/{number}")).header("x-wait", "1");
            (number, see(filter, &send(&client, request).await))
        });
    }
    let count = waiting.len() as u64;
    let all_wait = async || (envoy.stat(ACTIVE).await >= count).then_some(());
    until("requests wait in the filters", all_wait).await;

    let mut running = JoinSet::new();
    for (number, case) in cases.iter().cloned().enumerate() {
        let envoy = Arc::clone(&envoy);
        running.spawn_local(async move { (number, case.run(&envoy, policy).await) });
    }
    let mut rows = running.join_all().await;
    rows.sort_by_key(|(number, _)| *number);
    let mut rows: Vec<_> = rows.into_iter().map(|(_, row)| row).collect();
    for (number, seen) in waiting.join_all().await {
        let seen = timed_out(&envoy, &format!("/waiting/{number}"), seen).await;
        rows[number].waiting = Some(seen);
    }
    println!("{}: filter | callback | request | waiting | later | sharing | apart", policy.name());
    for (case, row) in cases.iter().zip(&rows) {
        let waiting = row.waiting.map_or("-".to_owned(), |seen| seen.to_string());
        let Row { trapping, later, sharing, apart, .. } = row;
        println!(
            "{} | {} | {trapping} | {waiting} | {later} | {sharing} | {apart}",
            case.filter,
            case.place.name()
        );
    }
    for (case, row) in cases.iter().zip(&rows) {
        assert_eq!(
            *row,
            expected(policy, case.filter, case.place),
            "{} {:?}",
            case.filter,
            case.place
        );
    }
    assert_eq!(envoy.traps().len(), cases.len(), "one trap for each case: {:#?}", envoy.traps());
}

#[tokio::test]
async fn closed() {
    LocalSet::new().run_until(traps_under(Policy::Closed)).await;
}

#[tokio::test]
async fn open() {
    LocalSet::new().run_until(traps_under(Policy::Open)).await;
}

#[tokio::test]
async fn reload() {
    LocalSet::new().run_until(traps_under(Policy::Reload)).await;
}
