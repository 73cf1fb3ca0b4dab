//! Every query of the dashboard returns data from a real Prometheus, which scrapes the sandbox's
//! Envoy under load.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sluice_e2e::{Client, Scenario, server, spawn, until, workspace};
use tempfile::TempDir;

const DASHBOARD: &str = "envoy/grafana/dashboards/sluice.json";
const CONFIGURATION: &str = "envoy/prometheus/prometheus.yml";

/// Requests that the sandbox routes in different ways: host, path, user.
const REQUESTS: [(&str, &str, &str); 7] = [
    ("127.0.0.1", "/payment/balance/query", "cheng"),
    ("127.0.0.1", "/payment/balance/query", "jim"),
    ("canary.example.com", "/payment/balance/query", ""),
    ("mirror.example.com", "/payment/balance/query", "jim"),
    ("abort.example.com", "/payment/balance/query", "cheng"),
    ("httpbin.example.com", "/status/418", ""),
    ("httpbin.example.com", "/none", ""),
];

/// A running Prometheus. It ends when this is dropped.
struct Prometheus {
    child: Child,
    client: Client,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts Prometheus at `address` with the configuration of the repository, but with Envoy's
    /// administration interface at `envoy`, and a scrape each second.
    fn start(address: SocketAddr, envoy: SocketAddr) -> Self {
        let directory = TempDir::new().unwrap();
        let text = fs::read_to_string(workspace().join(CONFIGURATION)).unwrap();
        let replaced = [
            ("\"sandbox:9902\"", format!("\"{envoy}\"")),
            ("scrape_interval: 5s", "scrape_interval: 1s".to_owned()),
            ("scrape_timeout: 4s", "scrape_timeout: 1s".to_owned()),
        ];
        let text = replaced.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{CONFIGURATION} has no {from}");
            text.replace(from, to)
        });
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, text).unwrap();
        // setpriv: the kernel ends Prometheus when the thread that started it ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "setsid"])
            .arg(server("prometheus", "prometheus"))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("log")).unwrap());
        Self { child: spawn(command), client: Client::new(address), _directory: directory }
    }

    /// Returns the series of a query's result; none before Prometheus serves.
    async fn series(&self, query: &str) -> Vec<Value> {
        let Ok(mut connection) = self.client.try_connect().await else { return Vec::new() };
        let target = format!("/api/v1/query?query={}", encoded(query));
        let Ok(response) = connection.try_send(self.client.get(&target)).await else {
            return Vec::new();
        };
        // Prometheus answers 503 while it starts.
        if response.status == 503 {
            return Vec::new();
        }
        assert_eq!(response.status, 200, "{query}: {}", response.text());
        response.json()["data"]["result"].as_array().expect("series").clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Encodes a query for a URL.
fn encoded(text: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    let encode = |byte: u8| match is_plain(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// The queries of the dashboard, with the interval that Grafana would put into them.
fn queries() -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| collect(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let text = fs::read_to_string(workspace().join(DASHBOARD)).unwrap();
    let mut found = Vec::new();
    collect(&serde_json::from_str(&text).unwrap(), &mut found);
    found.iter().map(|query| query.replace("$__rate_interval", "10s")).collect()
}

/// The statistics of the filters in Envoy's format for Prometheus, each with its type.
async fn own_metrics(admin: &Client) -> BTreeMap<String, String> {
    let text = admin.get("/stats/prometheus").send().await.text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let own = types.filter(|(name, _)| name.starts_with("sluice_"));
    own.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// The statistics in the table of `docs/statistics.md`, in the same form, but without labels and
/// without those of the dynamic module.
fn documented_metrics() -> BTreeMap<String, String> {
    let page = fs::read_to_string(workspace().join("docs/statistics.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `sluice.")?.split_once("` | ")?;
        let (name, kind) = (name.split(';').next()?, rest.split(" |").next()?);
        Some((format!("sluice_{}", name.replace('.', "_")), kind.to_owned()))
    });
    // The sandbox has no second policy, whose routes have counters.
    rows.filter(|(name, _)| name != "sluice_panics" && name != "sluice_router_shadow").collect()
}

async fn send_requests(edge: &Client) {
    for (host, path, user) in REQUESTS {
        let request = edge.get(path).host(host);
        let request = if user.is_empty() { request } else { request.header("end-user", user) };
        request.send().await;
    }
}

fn value(series: &Value) -> f64 {
    series["value"][1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

#[tokio::test]
async fn every_query_of_the_dashboard_returns_data() {
    let scenario = Scenario::new();
    let _sandbox = scenario.envoy_of(&scenario.text("envoy/sandbox.yaml"), 1).await;
    let (admin, edge) = (scenario.address(9901), Client::new(scenario.address(10_000)));
    let prometheus = Prometheus::start(scenario.address(9090), admin);

    let mut missing = queries();
    assert!(missing.len() > 50, "{} queries", missing.len());
    let shown = missing.join("\n");
    let metrics = own_metrics(&Client::new(admin)).await;
    assert_eq!(metrics, documented_metrics(), "Envoy, and docs/statistics.md");
    for metric in metrics.keys() {
        assert!(shown.contains(metric), "the dashboard has no {metric}");
    }
    until("every query returns series", async || {
        send_requests(&edge).await;
        let mut without = Vec::new();
        for query in &missing {
            if prometheus.series(query).await.is_empty() {
                without.push(query.clone());
            }
        }
        missing = without;
        missing.is_empty().then_some(())
    })
    .await;

    // The labels are those of `stats_tags`, and the rates are above zero under load.
    let by_version = queries().into_iter().find(|query| query.contains("(route, cluster)"));
    let by_version = by_version.expect("a panel of routes and versions");
    let split = "virtualServices[2].http[0]";
    let expected = ["kim-payment-service-v1", "kim-payment-service-v2"];
    until("both versions get requests", async || {
        send_requests(&edge).await;
        let series = prometheus.series(&by_version).await;
        let has = |cluster: &&str| {
            series.iter().any(|series| {
                let labels = &series["metric"];
                labels["route"] == split && labels["cluster"] == **cluster && value(series) > 0.0
            })
        };
        expected.iter().all(has).then_some(())
    })
    .await;
}
