use std::sync::Arc;

use sluice_host::fake::FakeHost;
use sluice_host::fake::store::FakeStore;
use sluice_policy::outlier::Outliers;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

use super::*;
use crate::metrics::EJECTIONS_ACTIVE;

mod choice;
mod marks;
mod reads;
mod shadow;

/// Workers of one Envoy, with the same time and the same settings of the cluster `pool`.
struct World {
    store: FakeStore,
    now: Cell<Duration>,
    workers: Vec<Rc<Worker>>,
}

fn worker(detection: &str, host: &FakeHost) -> Rc<Worker> {
    worker_with("", detection, host)
}

/// A worker with these fields of `outlier`, each followed by a comma.
fn worker_with(outlier: &str, detection: &str, host: &FakeHost) -> Rc<Worker> {
    let document = format!(
        r#"{{"clusterName": "{{host}}[-{{subset}}]",
            "outlier": {{{outlier} "enforcement": "filter"}},
            "destinationRules": [{{"host": "pool",
            "trafficPolicy": {{"outlierDetection": {detection}}}}}]}}"#
    );
    let (outliers, _) = Outliers::compile(document.as_bytes(), &NoMetadata).unwrap();
    Rc::new(Worker::with_policy(Arc::new(outliers), host))
}

const ONE_FAILURE: &str =
    r#"{"consecutive5xxErrors": 1, "maxEjectionPercent": 100, "interval": "1s"}"#;

impl World {
    fn new(detection: &str, workers: usize) -> Self {
        let host = FakeHost::default();
        let workers = (0..workers).map(|_| worker(detection, &host)).collect();
        Self { store: FakeStore::default(), now: Cell::default(), workers }
    }

    fn host(&self) -> FakeHost {
        let host = FakeHost::default().with_store(&self.store);
        host.pass(self.now.get());
        host
    }

    fn pass(&self, milliseconds: u64) {
        self.now.set(self.now.get() + Duration::from_millis(milliseconds));
    }

    /// An attempt with the host `name` of `endpoints`, as the cluster's plugin sees it.
    fn begin(&self, worker: usize, name: &str, endpoints: u64, with: Facts) -> Stream<FakeHost> {
        let mut host = self
            .host()
            .with_property(&["plugin_root_id"], "upstream")
            .with_property(&["xds", "cluster_name"], "pool")
            .with_property(&["upstream", "address"], name)
            .with_property(&["upstream", "num_endpoints"], endpoints.to_le_bytes());
        for (path, value) in with {
            host = host.with_property(path, value.clone());
        }
        let worker = &self.workers[worker];
        worker.is_in_cluster.set(Some(true));
        Stream::new(host, Rc::clone(worker))
    }

    /// A whole attempt with a response; what the stream did is in its host.
    fn answer(&self, worker: usize, name: &str, status: &str) -> Stream<FakeHost> {
        let whole: (&[&str], Vec<u8>) = (&["response", "backend_latency"], vec![1; 8]);
        let mut stream = self.begin(worker, name, 2, &[whole]);
        stream.host = stream.host.with_response_header(":status", status);
        stream.on_request_headers();
        stream.on_response_headers(true);
        stream.on_end();
        stream
    }

    /// An attempt without a response, of which Envoy knows these facts.
    fn fail(&self, name: &str, facts: Facts) -> Stream<FakeHost> {
        let stream = self.begin(0, name, 2, facts);
        stream.on_request_headers();
        stream.on_end();
        stream
    }

    /// A request before the router, with these headers.
    fn request(&self, worker: usize, headers: &[(&str, &str)]) -> (Action, Stream<FakeHost>) {
        let host = self.host().with_property(&["xds", "cluster_name"], "pool");
        self.request_of(worker, host, headers)
    }

    /// A request before the router, on this host.
    fn request_of(
        &self,
        worker: usize,
        mut host: FakeHost,
        headers: &[(&str, &str)],
    ) -> (Action, Stream<FakeHost>) {
        for (name, value) in headers {
            host = host.with_request_header(name, *value);
        }
        let worker = &self.workers[worker];
        worker.is_in_cluster.set(Some(false));
        let stream = Stream::new(host, Rc::clone(worker));
        (stream.on_request_headers(), stream)
    }

    /// The hosts to which a request is sent; `None` for any.
    fn chosen(&self, worker: usize) -> Option<String> {
        let (action, stream) = self.request(worker, &[]);
        assert_eq!(action, Action::Continue);
        stream.host.request_header(HOSTS).map(|hosts| String::from_utf8(hosts).unwrap())
    }

    fn tick(&self, worker: usize) -> FakeHost {
        let host = self.host();
        self.workers[worker].tick(&host);
        host
    }
}

type Facts<'a> = &'a [(&'a [&'a str], Vec<u8>)];

const NUMBER: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];

fn connected() -> [(&'static [&'static str], Vec<u8>); 2] {
    [
        (&["connection", "id"], NUMBER.to_vec()),
        (&["upstream", "cx_pool_ready_duration"], NUMBER.to_vec()),
    ]
}

#[test]
fn hosts_return_by_the_tick_of_the_first_worker() {
    let world = World::new(
        r#"{"consecutive5xxErrors": 1, "maxEjectionPercent": 100, "interval": "1s",
            "baseEjectionTime": "2s"}"#,
        2,
    );
    world.answer(0, "b:1", "200");
    world.answer(0, "a:1", "500");
    assert!(world.chosen(1).is_some());
    for (time, returned) in [(1000, 0), (1000, -1)] {
        world.pass(time);
        let (first, second) = (world.tick(0), world.tick(1));
        let wait = Duration::from_millis(1000) + Duration::from_micros(999);
        assert_eq!((first.timer(), second.timer()), (Some(wait), Some(wait)));
        let changes = [&first, &second].map(|host| host.gauge(EJECTIONS_ACTIVE));
        assert_eq!(changes, [returned, 0], "after {time}");
    }
    assert_eq!(world.chosen(1), None);
}

#[test]
fn what_is_due_is_done_before_the_first_request_of_a_plugin() {
    let world = World::new(ONE_FAILURE, 1);
    world.answer(0, "a:1", "500");
    world.pass(60_000);
    let late = World {
        store: world.store.clone(),
        now: Cell::new(world.now.get()),
        workers: vec![worker(ONE_FAILURE, &FakeHost::default())],
    };
    assert_eq!(late.chosen(0), None);
}

#[test]
fn success_of_a_healthy_host_writes_nothing() {
    let world = World::new(r#"{"maxEjectionPercent": 100}"#, 1);
    world.answer(0, "a:1", "200");
    let writes = world.store.writes();
    for _ in 0..10 {
        world.answer(0, "a:1", "404");
    }
    assert_eq!(world.store.writes(), writes);
    world.answer(0, "a:1", "500");
    world.answer(0, "a:1", "200");
    assert_eq!(world.store.writes(), writes + 2, "a failure, and a success that clears it");
    world.answer(0, "a:1", "200");
    assert_eq!(world.store.writes(), writes + 2);
}

#[test]
fn no_count_is_lost_to_a_faster_worker() {
    let world = World::new(r#"{"consecutive5xxErrors": 4, "maxEjectionPercent": 100}"#, 1);
    world.answer(0, "a:1", "500");
    let key = b"sluice.outlier counts pool a:1";
    let one = world.store.get(key).unwrap();
    world.answer(0, "a:1", "500");
    let two = world.store.get(key).unwrap();
    world.store.set(key, &one);
    // Another worker counts while this one does.
    world.store.race(move |store| store.set(key, &two));
    world.answer(0, "a:1", "500");
    let stream = world.answer(0, "a:1", "500");
    assert_eq!(stream.host.gauge(EJECTIONS_ACTIVE), 1, "the fourth");
}

#[test]
fn a_host_that_another_worker_ejects_meanwhile_is_ejected_once() {
    let world = World::new(ONE_FAILURE, 2);
    world.answer(0, "a:1", "200");
    world.answer(0, "b:1", "200");
    let key: &[u8] = b"sluice.outlier state pool";
    let before = world.store.get(key).unwrap();
    world.answer(1, "a:1", "500");
    let after = world.store.get(key).unwrap();
    world.store.set(key, &before);
    world.store.set(b"sluice.outlier sign pool", &[2, 0, 0, 0]);
    // The first write with a condition would be that of the ejection: counts stay as they are.
    world.store.race(move |store| store.set(key, &after));
    let stream = world.answer(0, "a:1", "500");
    assert_eq!(stream.host.gauge(EJECTIONS_ACTIVE), 0);
}

#[test]
fn without_a_response_it_depends_on_who_ended_it() {
    let refused: (&[&str], Vec<u8>) = (&["upstream", "transport_failure_reason"], vec![b'x']);
    let flags =
        |bits: u64| -> (&[&str], Vec<u8>) { (&["response", "flags"], bits.to_le_bytes().to_vec()) };
    let [id, ready] = connected();
    let (only_refused, only_id) = ([refused.clone()], [id.clone()]);
    let cases: [(Facts, i64); 9] = [
        (&only_refused, 1),
        (&[id.clone(), ready.clone()], 1),
        (&only_id, 1),
        // URX is set before the last attempt.
        (&[flags(0x8000), id.clone(), ready.clone()], 1),
        (&[flags(0x4000), id.clone(), ready.clone()], 0),
        (&[flags(0x1000_0000), id.clone(), ready.clone()], 0),
        (&[flags(0x1_0000), id, ready.clone()], 0),
        (&[flags(0x4000), refused], 0),
        // A copy that was given up.
        (&[ready], 0),
    ];
    for (facts, expected) in cases {
        let world = World::new(ONE_FAILURE, 1);
        assert_eq!(world.fail("a:1", facts).host.gauge(EJECTIONS_ACTIVE), expected, "{facts:?}");
    }
}

#[test]
fn a_response_that_breaks_off_fails_after_all() {
    for (status, told) in [("200", 1), ("404", 0)] {
        let world = World::new(ONE_FAILURE, 1);
        let mut stream = world.begin(0, "a:1", 2, &connected());
        stream.host = stream.host.with_response_header(":status", status);
        stream.on_request_headers();
        stream.on_response_headers(false);
        assert_eq!(stream.host.gauge(EJECTIONS_ACTIVE), 0);
        stream.on_end();
        assert_eq!(stream.host.gauge(EJECTIONS_ACTIVE), told, "{status}");
    }
}

#[test]
fn a_failure_that_envoy_breaks_off_for_a_retry_counts_once() {
    let world = World::new(r#"{"consecutive5xxErrors": 2, "maxEjectionPercent": 100}"#, 1);
    let mut stream = world.begin(0, "a:1", 2, &connected());
    stream.host = stream.host.with_response_header(":status", "503");
    stream.on_request_headers();
    stream.on_response_headers(false);
    stream.on_end();
    assert_eq!(stream.host.gauge(EJECTIONS_ACTIVE), 0);
}

#[test]
fn trailers_tell_of_grpc() {
    let detection = r#"{"consecutive5xxErrors": 1, "maxEjectionPercent": 100,
        "failure": {"grpcStatus": ["UNAVAILABLE"]}}"#;
    for (status, expected) in [("14", 1), ("5", 0)] {
        let world = World::new(detection, 1);
        let whole: (&[&str], Vec<u8>) = (&["response", "backend_latency"], NUMBER.to_vec());
        let mut stream = world.begin(0, "a:1", 2, &[whole]);
        stream.host = stream
            .host
            .with_response_header(":status", "200")
            .with_response_header("content-type", "application/grpc")
            .with_response_trailer("grpc-status", status);
        stream.on_request_headers();
        stream.on_response_headers(false);
        assert_eq!(stream.host.gauge(EJECTIONS_ACTIVE), 0);
        stream.on_response_trailers();
        stream.on_end();
        assert_eq!(stream.host.gauge(EJECTIONS_ACTIVE), expected, "grpc-status {status}");
    }
}

#[test]
fn changed_settings_begin_anew_and_the_older_ones_do_nothing_more() {
    let world = World::new(ONE_FAILURE, 1);
    let stream = world.answer(0, "a:1", "500");
    assert_eq!(stream.host.gauge(EJECTIONS_ACTIVE), 1);
    world.pass(10);
    let changed = r#"{"consecutive5xxErrors": 2, "maxEjectionPercent": 100, "interval": "1s"}"#;
    let new = World {
        store: world.store.clone(),
        now: Cell::new(world.now.get()),
        workers: vec![worker(changed, &world.host())],
    };
    assert_eq!(new.chosen(0), None);
    let stream = new.answer(0, "a:1", "200");
    assert_eq!(stream.host.gauge(EJECTIONS_ACTIVE), -1, "what the older ones ejected");
    let stream = world.answer(0, "b:1", "500");
    assert_eq!(stream.host.gauge(EJECTIONS_ACTIVE), 0);
    assert_eq!(new.chosen(0), None);
}

#[test]
fn the_same_settings_go_on() {
    let world = World::new(ONE_FAILURE, 1);
    world.answer(0, "b:1", "200");
    world.answer(0, "a:1", "500");
    world.pass(10);
    let again = World {
        store: world.store.clone(),
        now: Cell::new(world.now.get()),
        workers: vec![worker(ONE_FAILURE, &world.host())],
    };
    assert_eq!(again.chosen(0).as_deref(), Some("b:1"));
}

#[test]
fn one_probe_at_a_time() {
    let detection = r#"{"consecutive5xxErrors": 1, "maxEjectionPercent": 100, "interval": "1s",
        "baseEjectionTime": "2s", "halfOpen": {}}"#;
    let world = World::new(detection, 2);
    world.answer(0, "b:1", "200");
    world.answer(0, "a:1", "500");
    world.pass(1999);
    assert_eq!(world.chosen(0).as_deref(), Some("b:1"));
    world.pass(1);
    assert_eq!(world.chosen(1).as_deref(), Some("a:1,b:1"), "the probe");
    assert_eq!(world.chosen(0).as_deref(), Some("b:1"));
    let stream = world.answer(0, "a:1", "200");
    assert_eq!(stream.host.gauge(EJECTIONS_ACTIVE), -1);
    assert_eq!(world.chosen(1), None);
}

#[test]
fn workers_add_their_attempts_before_the_tick() {
    let detection = r#"{"consecutive5xxErrors": 0, "maxEjectionPercent": 100, "interval": "1s",
        "failurePercentage": {"minimumHosts": 1, "requestVolume": 4, "threshold": 50}}"#;
    let world = World::new(detection, 2);
    for worker in [0, 1] {
        world.answer(worker, "a:1", "500");
        world.answer(worker, "a:1", "500");
    }
    world.pass(950);
    for worker in [0, 1] {
        world.tick(worker);
    }
    world.pass(50);
    assert_eq!(world.tick(0).gauge(EJECTIONS_ACTIVE), 1);
    assert_eq!(world.tick(1).gauge(EJECTIONS_ACTIVE), 0);
}
