//! Which hosts get traffic.

use std::time::Duration;

use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sluice_e2e::{Answer, Client, Envoy, Listener, Upstream, until};
use tokio::task::JoinSet;

use crate::{Edge, routed, stat, statuses};

fn pool(failing: usize, good: usize) -> Vec<Upstream> {
    let failing = (0..failing).map(|number| Upstream::status(&format!("bad {number}"), 500));
    let good = (0..good).map(|number| Upstream::echo(&format!("good {number}")));
    failing.chain(good).collect()
}

#[tokio::test]
async fn a_host_that_fails_gets_no_more_traffic_and_comes_back() {
    let detection = json!({ "consecutive5xxErrors": 3, "interval": "200ms",
        "baseEjectionTime": "1s", "maxEjectionPercent": 50 });
    let edge = Edge::start(detection, pool(1, 2)).await;
    let before = edge.send("before", 9).await;
    assert_eq!(statuses(&before).iter().filter(|status| **status == 500).count(), 3);
    assert_eq!(edge.stat("ejections_active").await, 1);
    let after = edge.send("after", 30).await;
    let shares = edge.shares("after");
    let failed = statuses(&after).iter().filter(|status| **status != 200).count();
    assert!(failed == shares[0] && failed <= 1, "at most one of 20 requests is a try: {shares:?}");
    assert!(shares[1] >= 10 && shares[2] >= 10, "{shares:?}");
    for host in &edge.hosts {
        for received in host.received("/") {
            assert_eq!(received.header("x-sluice-host"), [""; 0], "{received:?}");
        }
    }
    until("it comes back", async || (edge.stat("ejections_active").await == 0).then_some(())).await;
    edge.send("again", 6).await;
    assert_eq!(edge.shares("again"), [2, 2, 2]);
    let events = edge.events();
    let host = edge.hosts[0].address();
    assert_eq!(
        events[0],
        format!(
            "ejected cluster=\"pool\" host=\"{host}\" reason=consecutive_5xx ejections=1 for=1s"
        )
    );
    let start = format!("returned cluster=\"pool\" host=\"{host}\" after=");
    assert!(events.len() == 2 && events[1].starts_with(&start), "{events:?}");
    let stats = [
        "ejections_total",
        "ejections_enforced_total",
        "ejections_overflow",
        "ejections_detected_consecutive_5xx",
        "ejections_enforced_consecutive_5xx",
        "ejections_detected_consecutive_gateway_failure",
    ];
    let mut counts = Vec::new();
    for name in stats {
        counts.push(edge.stat(name).await);
    }
    assert_eq!(counts, [1, 1, 0, 1, 1, 0]);
    assert_eq!(edge.envoy.traps(), [""; 0]);
}

#[tokio::test]
async fn without_hosts_there_is_a_503() {
    let detection = json!({ "consecutive5xxErrors": 1, "interval": "10s",
        "baseEjectionTime": "3m", "maxEjectionPercent": 100 });
    let edge = Edge::start(detection, pool(2, 0)).await;
    assert_eq!(statuses(&edge.send("first", 2).await), [500, 500]);
    let responses = edge.send("then", 3).await;
    for response in &responses {
        assert_eq!((response.status, response.text().as_str()), (503, "no healthy upstream"));
    }
    assert_eq!(edge.shares("then"), [0, 0]);
    assert_eq!(edge.stat("no_healthy_upstream").await, 3);
    let line = edge.envoy.access_log("/then/0").await;
    assert_eq!(line["details"], "no_healthy_upstream");
}

#[tokio::test]
async fn with_too_few_healthy_hosts_all_get_traffic() {
    let detection = json!({ "consecutive5xxErrors": 1, "interval": "10s",
        "maxEjectionPercent": 100, "minHealthPercent": 60 });
    let edge = Edge::start(detection, pool(2, 1)).await;
    // After an ejection, hosts without requests so far are drawn too.
    for _ in 0..20 {
        edge.send("first", 3).await;
        if edge.stat("ejections_active").await == 2 {
            break;
        }
    }
    assert_eq!(edge.stat("ejections_active").await, 2);
    edge.send("then", 9).await;
    assert_eq!(edge.shares("then"), [3, 3, 3]);
}

#[tokio::test]
async fn the_maximum_share_holds_and_an_impossible_one_is_logged_once() {
    let edge =
        Edge::start(json!({ "consecutive5xxErrors": 1, "interval": "10s" }), pool(1, 4)).await;
    edge.send("all", 20).await;
    assert_eq!(edge.shares("all"), [4; 5]);
    assert_eq!(edge.stat("ejections_active").await, 0);
    assert_eq!(edge.stat("ejections_overflow").await, 4);
    assert_eq!(edge.stat("ejections_total").await, 0);
    let log = edge.envoy.log();
    let said: Vec<_> = log.lines().filter(|line| line.contains("nothing can be ejected")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains(
            "maxEjectionPercent 10 takes 10 hosts, or alwaysEjectOneHost, and there are 5"
        )
    );
}

#[tokio::test]
async fn clients_cannot_choose_a_host() {
    let edge = Edge::start(json!({ "maxEjectionPercent": 100 }), pool(0, 2)).await;
    let client = edge.client();
    let mut connection = client.connect().await;
    for number in 0..6 {
        let request = client.get(&format!("/chosen/{number}"));
        let request = request.header("x-sluice-host", edge.hosts[0].address().to_string());
        assert_eq!(connection.send(request).await.status, 200);
    }
    assert_eq!(edge.shares("chosen"), [3, 3]);
}

#[tokio::test]
async fn a_probe_decides_whether_a_host_comes_back() {
    // With a shorter interval, the filter would not know the other host any more after the pause.
    let detection = json!({ "consecutive5xxErrors": 1, "interval": "1s",
        "baseEjectionTime": "300ms", "maxEjectionPercent": 100, "halfOpen": {} });
    let edge = Edge::start(detection, pool(1, 1)).await;
    // If the other host is not known yet when the bad one is ejected, there is a try.
    edge.send("first", 4).await;
    assert_eq!(edge.stat("ejections_active").await, 1);
    tokio::time::sleep(Duration::from_millis(350)).await;
    // The probe fails, and the next ejection is longer.
    let statuses = statuses(&edge.send("then", 10).await);
    assert_eq!(edge.shares("then"), [1, 9], "{statuses:?}");
    let counts = (edge.stat("probes").await, edge.stat("ejections_active").await);
    assert_eq!(counts, (1, 1));
    assert!(edge.events()[1].contains("reason=probe ejections=2 for=600ms"), "{:?}", edge.events());
}

/// Sends requests until `is_over`. Returns the number of requests and of failures.
async fn load(client: Client, is_over: Arc<AtomicBool>) -> (usize, usize) {
    let mut connections = JoinSet::new();
    for _ in 0..4 {
        let (client, is_over) = (client.clone(), is_over.clone());
        connections.spawn(async move {
            let mut connection = client.connect().await;
            let (mut all, mut failed) = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                all += 1;
                failed += usize::from(connection.send(client.get("/load/")).await.status != 200);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            (all, failed)
        });
    }
    let results = connections.join_all().await.into_iter();
    results.fold((0, 0), |(all, failed), more| (all + more.0, failed + more.1))
}

/// A host in a separate process: a Python HTTP server.
struct HostProcess(std::process::Child);

impl HostProcess {
    async fn start(address: std::net::SocketAddr) -> Self {
        const SERVER: &str = "
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200)
        self.send_header('content-length', '0')
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
";
        let port = address.port().to_string();
        let mut python = std::process::Command::new("python3");
        let process = Self(python.args(["-c", SERVER, &port]).spawn().expect("python3"));
        until("the host listens", async || tokio::net::TcpStream::connect(address).await.ok())
            .await;
        process
    }
}

impl Drop for HostProcess {
    /// Kills it with SIGKILL.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The connections of a host that is killed are reset, new ones are refused.
#[tokio::test]
async fn a_host_that_dies_under_load_costs_few_requests_and_with_retries_none() {
    for workers in [1, 2, 4] {
        let (document, router) =
            routed(&json!({ "consecutiveGatewayErrors": 3, "interval": "100ms",
            "baseEjectionTime": "2s", "maxEjectionPercent": 50 }));
        let hosts = pool(0, 2);
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let dying = HostProcess::start(free).await;
        let mut addresses = vec![free];
        addresses.extend(hosts.iter().map(Upstream::address));
        let edge = |name| Listener::new(name).plugin(&router).outlier(&document);
        let retries = json!({ "retry_on": "connect-failure,reset", "num_retries": 2 });
        let bootstrap = sluice_e2e::Bootstrap::new()
            .workers(workers)
            .cluster("pool", &addresses)
            .outlier_plugin(&document)
            .listener(edge("plain"))
            .listener(edge("retries").retry_policy(retries));
        let envoy = Envoy::start(&bootstrap).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let plain = tokio::spawn(load(envoy.listener("plain"), is_over.clone()));
        let retried = tokio::spawn(load(envoy.listener("retries"), is_over.clone()));
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(dying);
        let active = async |expected| {
            until("it is out or back", async || {
                (stat(&envoy, "ejections_active").await == expected).then_some(())
            })
            .await;
        };
        active(1).await;
        let revived = Upstream::at(addresses[0], "revived", |_| Answer::default());
        active(0).await;
        until("it gets requests", async || (revived.received("/load/").len() > 10).then_some(()))
            .await;
        is_over.store(true, Ordering::Relaxed);
        let (plain, retried) = (plain.await.unwrap(), retried.await.unwrap());
        assert_eq!(retried.1, 0, "{workers} workers, with retries: {retried:?}");
        // At most three counted failures, plus the requests in flight at that time, one per
        // connection.
        assert!((0..=11).contains(&plain.1), "{workers} workers, without: {plain:?}");
        assert_eq!(stat(&envoy, "ejections_enforced_total").await, 1);
        assert_eq!(envoy.traps(), [""; 0]);
    }
}
