//! Comparison of Envoy's own outlier detection and the filter: equal responses from the same hosts
//! at the same time must cause equal ejections and returns.
//!
//! A script consists of settings and requests. Each request selects one of five hosts and the
//! status of its response, and is sent to two clusters with the same hosts at once. Hosts return at
//! ticks, and the two implementations tick at different times. So scripts pause until all hosts
//! have returned, or send the next requests before any host can return.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};
use sluice_e2e::{Answer, Bootstrap, Client, Envoy, Listener, Upstream};
use tokio::task::JoinSet;

const SCRIPTS: usize = 200;
/// Number of scripts that run at once.
const BATCH: usize = 50;
const HOSTS: usize = 5;
/// Tolerance for timers and requests on a busy machine.
const SLACK: Duration = Duration::from_millis(100);

struct Script {
    consecutive_5xx: u64,
    consecutive_gateway: u64,
    interval: u64,
    base: u64,
    max_percent: u64,
    /// Hosts and statuses, in bursts with pauses between them
    bursts: Vec<Vec<(usize, u16)>>,
}

/// Returns a random one of `values`, which must not be empty.
fn pick<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(..values.len())]
}

impl Script {
    fn new(seed: usize) -> Self {
        let mut rng = Rng::with_seed(seed as u64);
        let interval = pick(&mut rng, &[100, 150, 200]);
        let bursts = (0..2).map(|_| {
            // Two hosts fail often in a burst, the others sometimes.
            let bad = [rng.usize(..HOSTS), rng.usize(..HOSTS)];
            (0..12)
                .map(|_| {
                    let is_bad = rng.u8(..10) < 6;
                    let host = if is_bad { pick(&mut rng, &bad) } else { rng.usize(..HOSTS) };
                    let failure = pick(&mut rng, &[500, 502, 503, 503, 504, 501]);
                    let is_failure = rng.u8(..100) < if is_bad { 85 } else { 15 };
                    let success = pick(&mut rng, &[200, 200, 404, 429]);
                    (host, if is_failure { failure } else { success })
                })
                .collect()
        });
        Self {
            interval,
            bursts: bursts.collect(),
            consecutive_5xx: rng.u64(..5),
            consecutive_gateway: rng.u64(..4),
            base: pick(&mut rng, &[1200, 1300]),
            max_percent: pick(&mut rng, &[20, 40, 60, 100]),
        }
    }

    fn native(&self) -> Value {
        json!({
            "consecutive_5xx": self.consecutive_5xx.max(1),
            "enforcing_consecutive_5xx": if self.consecutive_5xx > 0 { 100 } else { 0 },
            "consecutive_gateway_failure": self.consecutive_gateway.max(1),
            "enforcing_consecutive_gateway_failure": if self.consecutive_gateway > 0 { 100 } else { 0 },
            "enforcing_success_rate": 0,
            "interval": format!("{}s", self.interval as f64 / 1000.0),
            "base_ejection_time": format!("{}s", self.base as f64 / 1000.0),
            "max_ejection_percent": self.max_percent,
        })
    }

    fn filter(&self, host: &str) -> Value {
        let detection = json!({
            "consecutive5xxErrors": self.consecutive_5xx,
            "consecutiveGatewayErrors": self.consecutive_gateway,
            "interval": format!("{}ms", self.interval),
            "baseEjectionTime": format!("{}ms", self.base),
            "maxEjectionPercent": self.max_percent,
        });
        json!({
            "clusterName": "{host}",
            "outlier": { "enforcement": "filter" },
            "destinationRules": [{
                "host": host, "trafficPolicy": { "outlierDetection": detection },
            }],
        })
    }

    /// Returns whether all bursts ended before hosts could return.
    async fn run(self, number: usize, client: Client, hosts: Vec<String>) -> bool {
        let clusters = [format!("native{number}"), format!("filter{number}")];
        let mut connections = [client.connect().await, client.connect().await];
        let mut is_in_time = true;
        for burst in self.bursts {
            let start = Instant::now();
            for (host, status) in burst {
                let request = |cluster: &String| {
                    client
                        .get(&format!("/{status}"))
                        .header("x-sluice-cluster", cluster)
                        .header("x-sluice-host", &hosts[host])
                };
                let [first, second] = &mut connections;
                let answers = tokio::join!(
                    first.send(request(&clusters[0])),
                    second.send(request(&clusters[1]))
                );
                for answer in [answers.0, answers.1] {
                    assert_eq!(answer.status, status);
                    assert_eq!(
                        answer.header("x-host"),
                        Some(host.to_string()),
                        "it goes where it is to go"
                    );
                }
                // Envoy ejects on its main thread, which happens a moment later.
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
            is_in_time &= start.elapsed() < Duration::from_millis(self.base - 50);
            // All hosts return, and their multipliers fall to 0.
            tokio::time::sleep(Duration::from_millis(self.base + 3 * self.interval + 100)).await;
        }
        is_in_time
    }
}

/// Events by script and host, with their time in seconds of the day.
type Timelines = BTreeMap<(usize, String), Vec<(&'static str, f64)>>;

fn seconds(time: &str) -> f64 {
    let parts: Vec<f64> = time.split(':').map(|part| part.parse().unwrap()).collect();
    parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]
}

fn native_events(envoy: &Envoy) -> Timelines {
    let mut timelines = Timelines::new();
    for line in envoy.outlier_events().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        // Detected ejections that are not enforced are events too.
        let what = match (text("action").as_str(), event["enforced"].as_bool()) {
            ("EJECT", Some(true)) => "ejected",
            ("UNEJECT", _) => "returned",
            _ => continue,
        };
        let script = text("cluster_name").trim_start_matches("native").parse().unwrap();
        let time = text("timestamp");
        let time = seconds(time.split_once('T').unwrap().1.trim_end_matches('Z'));
        timelines.entry((script, text("upstream_url"))).or_default().push((what, time));
    }
    timelines
}

fn filter_events(envoy: &Envoy) -> Timelines {
    let mut timelines = Timelines::new();
    for line in envoy.log().lines() {
        let Some((start, event)) = line.split_once("outlier event=") else { continue };
        let what = if event.starts_with("ejected") { "ejected" } else { "returned" };
        let value = |name: &str| {
            let (_, rest) = event.split_once(&format!("{name}=\"")).unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        let script = value("cluster").trim_start_matches("filter").parse().unwrap();
        let time = start.split_once(']').unwrap().0.split_once(' ').unwrap().1;
        timelines.entry((script, value("host"))).or_default().push((what, seconds(time)));
    }
    timelines
}

#[tokio::test]
async fn ejections_and_returns_equal_those_of_envoy() {
    let hosts: Vec<_> = (0..HOSTS)
        .map(|number| {
            let names: [&'static str; HOSTS] = ["0", "1", "2", "3", "4"];
            Upstream::answering("host", move |request| Answer {
                status: request.path.trim_start_matches('/').parse().unwrap(),
                headers: vec![("x-host", names[number])],
                body: Some(""),
                ..Answer::default()
            })
        })
        .collect();
    let addresses: Vec<_> = hosts.iter().map(Upstream::address).collect();
    let mut bootstrap = Bootstrap::new().listener(Listener::new("edge"));
    for number in 0..SCRIPTS {
        let script = Script::new(number);
        let name = format!("filter{number}");
        bootstrap = bootstrap
            .cluster(&format!("native{number}"), &addresses)
            .takes_hosts()
            .outlier_detection(script.native())
            .cluster(&name, &addresses)
            .outlier_plugin(&script.filter(&name));
    }
    let envoy = Envoy::start(&bootstrap).await;
    let names: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let mut slow = Vec::new();
    let (mut next, mut at_once) = (0, BATCH);
    while next < SCRIPTS {
        let batch = next..SCRIPTS.min(next + at_once);
        next = batch.end;
        let mut running = JoinSet::new();
        for number in batch.clone() {
            let (client, names) = (envoy.listener("edge"), names.clone());
            running.spawn(
                async move { (number, Script::new(number).run(number, client, names).await) },
            );
        }
        let results = running.join_all().await.into_iter();
        let late: Vec<_> = results.filter(|(_, is_in_time)| !is_in_time).collect();
        // A busy machine runs fewer scripts at once.
        if late.len() * 4 > batch.len() {
            at_once = (at_once / 2).max(2);
        }
        slow.extend(late.into_iter().map(|(number, _)| number));
    }
    let (native, filter) = (native_events(&envoy), filter_events(&envoy));
    let mut differences = Vec::new();
    let (mut events, mut largest) = (0, 0.0_f64);
    for key in native.keys().chain(filter.keys().filter(|key| !native.contains_key(key))) {
        if slow.contains(&key.0) {
            continue;
        }
        let of = |timelines: &Timelines| timelines.get(key).cloned().unwrap_or_default();
        let (native, filter) = (of(&native), of(&filter));
        let allowed = Duration::from_millis(Script::new(key.0).interval) + SLACK;
        let apart = native.iter().zip(&filter).map(|((_, n), (_, f))| (n - f).abs());
        let apart = apart.fold(0.0, f64::max);
        let kinds = |events: &[(&'static str, f64)]| events.iter().map(|e| e.0).collect::<Vec<_>>();
        if kinds(&native) != kinds(&filter) || apart > allowed.as_secs_f64() {
            differences.push(format!("{key:?}: native {native:?}, filter {filter:?}"));
        }
        events += native.len();
        largest = largest.max(apart);
    }
    let compared = SCRIPTS - slow.len();
    println!(
        "{compared} of {SCRIPTS} scripts in time, {events} events, at most {largest:.3} s apart"
    );
    assert_eq!(differences, [""; 0]);
    assert!(compared > SCRIPTS / 2 && events > 2 * compared, "{compared}, {events} events");
    assert_eq!(envoy.traps(), [""; 0]);
}
