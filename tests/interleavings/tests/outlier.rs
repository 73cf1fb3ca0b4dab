//! Outlier detection of several workers that share its state, with their accesses to the shared
//! data in every order that [loom](https://docs.rs/loom) finds within a number of preemptions.

use std::time::Duration;

use loom::model::Builder;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use sluice_host::fake::FakeHost;
use sluice_host::fake::store::FakeStore;
use sluice_host::host::Host;
use sluice_host::random::Random;
use sluice_outlier::metrics::{EJECTIONS_ACTIVE, Metrics};
use sluice_outlier::monitor::{Attempt, Monitor};
use sluice_outlier::state::UpdateContext;
use sluice_outlier::stored::{Keys, split_state};
use sluice_policy::outlier::classify::{Outcome, Verdict};
use sluice_policy::outlier::{Cluster, Outliers};
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

const CLUSTER: &str = "reviews";
const ENFORCED: &str = "sluice.outlier.ejections_enforced_total";

type Policies = std::sync::Arc<Outliers>;

/// One worker.
struct Worker {
    host: FakeHost,
    monitor: Monitor,
    metrics: Metrics,
    random: Random,
}

/// Compiles the document with an `outlierDetection`. Outside of loom, whose stacks are small.
fn outliers(detection: &str) -> Policies {
    let document = format!(
        r#"{{"clusterName": "{{host}}", "outlier": {{"enforcement": "filter"}},
            "destinationRules": [{{"host": "{CLUSTER}",
            "trafficPolicy": {{"outlierDetection": {detection}}}}}]}}"#
    );
    std::sync::Arc::new(Outliers::compile(document.as_bytes(), &NoMetadata).unwrap().0)
}

impl Worker {
    fn new(outliers: &Outliers, store: &FakeStore) -> Self {
        let host = FakeHost::default().with_store(store);
        Self {
            monitor: Monitor::new(CLUSTER, outliers.target(CLUSTER).unwrap(), Duration::ZERO),
            metrics: Metrics::define(&host),
            random: Random::default(),
            host,
        }
    }

    fn context(&self) -> UpdateContext<'_> {
        UpdateContext { metrics: &self.metrics, random: &self.random }
    }

    /// An attempt with a host, which fails or succeeds.
    fn attempt(&self, address: &str, hosts: u64, verdict: Verdict) {
        drop(self.monitor.view(&self.host));
        self.monitor.update_endpoints(hosts, &self.host);
        let attempt = Attempt {
            host: address.as_bytes(),
            began: self.host.uptime(),
            outcome: Some(Outcome::Response(verdict)),
            is_chosen: true,
        };
        self.monitor.record(attempt, self.context(), &self.host);
    }

    fn tick_at(&self, time: Duration) {
        self.host.pass(time.saturating_sub(self.host.uptime()));
        self.monitor.tick(self.context(), &self.host);
    }
}

/// The state of the cluster.
fn cluster(store: &FakeStore) -> Cluster {
    let state = store.get(&Keys::new(CLUSTER).state).unwrap();
    let (_, _, bytes) = split_state(&state).unwrap();
    Cluster::decode(bytes).unwrap()
}

/// Tries the orders with up to this number of preemptions, and returns their number.
fn every_order(preemptions: usize, model: impl Fn() + Sync + Send + 'static) -> usize {
    let orders = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    let counted = std::sync::Arc::clone(&orders);
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    orders.load(std::sync::atomic::Ordering::Relaxed)
}

/// A store, each access to which is a step. loom may run other workers before it.
fn store() -> FakeStore {
    let store = FakeStore::default();
    let step = Arc::new(AtomicUsize::new(0));
    store.before_access(move || {
        step.fetch_add(1, Ordering::SeqCst);
    });
    store
}

/// Runs workers at the same time and returns what each of them returns.
fn together<T: 'static>(
    count: usize,
    outliers: &Policies,
    store: &FakeStore,
    work: impl Fn(usize, &Worker) -> T + Copy + 'static,
) -> Vec<(FakeHost, T)> {
    let run = |index| {
        let (store, outliers) = (store.clone(), std::sync::Arc::clone(outliers));
        move || {
            let worker = Worker::new(&outliers, &store);
            let result = work(index, &worker);
            (worker.host, result)
        }
    };
    let others: Vec<_> = (1..count).map(|index| thread::spawn(run(index))).collect();
    let first = run(0)();
    let others = others.into_iter().map(|worker| worker.join().unwrap());
    std::iter::once(first).chain(others).collect()
}

fn sum<T>(workers: &[(FakeHost, T)], count: impl Fn(&FakeHost) -> i64) -> i64 {
    workers.iter().map(|(host, _)| count(host)).sum()
}

/// Each of `workers` workers sees one host fail. Checks that `ejected` hosts are out.
fn failures_eject(
    workers: usize,
    preemptions: usize,
    detection: &str,
    address: fn(usize) -> String,
    ejected: usize,
) {
    let outliers = outliers(detection);
    let orders = every_order(preemptions, move || {
        let store = store();
        let done = together(workers, &outliers, &store, move |index, worker| {
            worker.attempt(&address(index), workers as u64, Verdict::ServerError);
        });
        assert_eq!(cluster(&store).ejected(), ejected);
        assert_eq!(sum(&done, |host| host.gauge(EJECTIONS_ACTIVE)), ejected as i64);
        assert_eq!(sum(&done, |host| host.count(ENFORCED) as i64), ejected as i64);
    });
    println!("{workers} workers, up to {ejected} ejected: {orders} orders");
    assert!(orders > 100, "{orders} orders");
}

/// A host of its own for each worker.
fn own(index: usize) -> String {
    format!("10.0.0.{index}:80")
}

#[test]
fn no_ejection_is_lost() {
    let all = r#"{"consecutive5xxErrors": 1, "maxEjectionPercent": 100}"#;
    failures_eject(2, 4, all, own, 2);
    failures_eject(3, 2, all, own, 3);
}

#[test]
fn the_limit_of_ejected_hosts_holds() {
    failures_eject(2, 4, r#"{"consecutive5xxErrors": 1, "maxEjectionPercent": 50}"#, own, 1);
    failures_eject(3, 2, r#"{"consecutive5xxErrors": 1, "maxEjectionPercent": 67}"#, own, 2);
}

#[test]
fn failures_in_two_workers_count_together_and_eject_once() {
    let two = r#"{"consecutive5xxErrors": 2, "maxEjectionPercent": 100}"#;
    failures_eject(2, 4, two, |_| "10.0.0.1:80".to_owned(), 1);
}

#[test]
fn one_of_two_workers_ends_an_ejection() {
    let outliers = outliers(
        r#"{"consecutive5xxErrors": 1, "maxEjectionPercent": 100,
        "interval": "1s", "baseEjectionTime": "1s"}"#,
    );
    let orders = every_order(4, move || {
        let store = store();
        let setup = Worker::new(&outliers, &store);
        setup.attempt("10.0.0.1:80", 2, Verdict::ServerError);
        assert_eq!(cluster(&store).ejected(), 1);
        let done = together(2, &outliers, &store, |_, worker| {
            drop(worker.monitor.view(&worker.host));
            worker.tick_at(Duration::from_secs(3));
        });
        assert_eq!(cluster(&store).ejected(), 0);
        assert_eq!(sum(&done, |host| host.gauge(EJECTIONS_ACTIVE)), -1);
    });
    println!("two ticks: {orders} orders");
    assert!(orders > 10, "{orders} orders");
}

#[test]
fn a_failure_at_the_end_of_another_ejection_is_not_lost() {
    let outliers = outliers(
        r#"{"consecutive5xxErrors": 1, "maxEjectionPercent": 50,
        "interval": "1s", "baseEjectionTime": "1s"}"#,
    );
    let orders = every_order(4, move || {
        let store = store();
        let setup = Worker::new(&outliers, &store);
        setup.attempt("10.0.0.1:80", 2, Verdict::ServerError);
        let done = together(2, &outliers, &store, |index, worker| match index {
            0 => worker.tick_at(Duration::from_secs(3)),
            _ => {
                worker.host.pass(Duration::from_secs(3));
                worker.attempt("10.0.0.2:80", 2, Verdict::ServerError);
            }
        });
        // The second host is ejected if the first one has returned before, as only one may be out.
        let after = cluster(&store);
        assert!(after.ejected() <= 1);
        assert_eq!(1 + sum(&done, |host| host.gauge(EJECTIONS_ACTIVE)), after.ejected() as i64);
        assert!(!after.standing(b"10.0.0.1:80").is_ejected);
    });
    println!("a tick and a failure: {orders} orders");
    assert!(orders > 10, "{orders} orders");
}

#[test]
fn one_of_two_workers_takes_a_probe() {
    let outliers = outliers(
        r#"{"consecutive5xxErrors": 1, "maxEjectionPercent": 100,
        "interval": "10s", "baseEjectionTime": "1s", "halfOpen": {"probeTimeout": "1s"}}"#,
    );
    let orders = every_order(4, move || {
        let store = store();
        let setup = Worker::new(&outliers, &store);
        setup.attempt("10.0.0.1:80", 2, Verdict::ServerError);
        let done = together(2, &outliers, &store, |_, worker| {
            worker.host.pass(Duration::from_secs(2));
            drop(worker.monitor.view(&worker.host));
            worker.monitor.take_probe(worker.context(), &worker.host)
        });
        let probes: Vec<_> = done.iter().filter_map(|(_, probe)| probe.as_deref()).collect();
        assert_eq!(probes, [b"10.0.0.1:80"]);
    });
    println!("two probes: {orders} orders");
    assert!(orders > 10, "{orders} orders");
}
