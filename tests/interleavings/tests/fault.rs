//! The fault filter on one worker, with the callbacks of its streams in every order, up to a
//! length, and in random orders that are longer. Each request that waits continues once and only
//! once, the timer is set as long as one waits, and the limits hold.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use sluice_fault::stream::Stream;
use sluice_fault::worker::{ACTIVE_FAULTS, Worker};
use sluice_host::fake::FakeHost;
use sluice_host::filter::{Action, Filter, HttpStream};
use sluice_policy::fault::Faults;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

const PLUGIN: u32 = 1_000;

/// Maximum of active faults, and of faults in a window.
const MAX_ACTIVE: usize = 2;
const BUDGET: usize = 3;
const WINDOW: Duration = Duration::from_secs(4);

/// Each request waits for a second.
const DELAY: Duration = Duration::from_secs(1);

/// Length of the orders that are all tried.
const LENGTH: u32 = 6;

/// A step of Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A request begins.
    Begin,
    /// The oldest or the newest stream ends, because its client leaves for example.
    EndOldest,
    EndNewest,
    /// Half of a delay passes.
    Pass,
    /// The timer expires, if it is due.
    Tick,
    /// The plugin gets a tick for another reason, such as a call.
    EarlyTick,
}

const STEPS: [Step; 6] =
    [Step::Begin, Step::EndOldest, Step::EndNewest, Step::Pass, Step::Tick, Step::EarlyTick];

/// A worker and its streams.
struct Model {
    host: FakeHost,
    worker: Rc<Worker>,
    streams: Vec<(u32, Stream<FakeHost>)>,
    last: u32,
    /// The streams that wait
    waiting: BTreeSet<u32>,
    /// When the timer expires
    due: Option<Duration>,
    now: Duration,
    /// When faults began
    faults: Vec<Duration>,
}

impl Model {
    fn new(faults: &Arc<Faults>) -> Self {
        let host = FakeHost::default()
            .with_request_header(":authority", "a")
            .with_request_header(":path", "/");
        let worker = Rc::new(<Worker as Filter<FakeHost>>::new(Arc::clone(faults), PLUGIN, &host));
        Self {
            host,
            worker,
            streams: Vec::new(),
            last: 0,
            waiting: BTreeSet::new(),
            due: None,
            now: Duration::ZERO,
            faults: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Begin => self.begin(),
            Step::EndOldest => self.end(0),
            Step::EndNewest => self.end(self.streams.len().saturating_sub(1)),
            Step::Pass => {
                self.now += DELAY / 2;
                self.host.pass(DELAY / 2);
            }
            Step::Tick if self.due.is_some_and(|due| due <= self.now) => self.tick(),
            Step::Tick => {}
            Step::EarlyTick => self.tick(),
        }
        self.check();
    }

    fn begin(&mut self) {
        self.last += 1;
        let stream = self.worker.request(self.last, self.host.clone());
        let timers = self.host.timer_settings();
        let action = stream.on_request_headers();
        self.read_timer(timers);
        if action == Action::Pause {
            self.waiting.insert(self.last);
            self.faults.push(self.now);
        }
        self.streams.push((self.last, stream));
    }

    fn end(&mut self, place: usize) {
        if place < self.streams.len() {
            let (id, stream) = self.streams.remove(place);
            self.host.end(id);
            stream.on_end();
            self.waiting.remove(&id);
        }
    }

    fn tick(&mut self) {
        self.due = None;
        let timers = self.host.timer_settings();
        let before = self.host.resumed().len();
        <Worker as Filter<FakeHost>>::on_tick(&self.worker, PLUGIN, &self.host);
        self.read_timer(timers);
        for id in self.host.resumed().drain(before..).flatten() {
            assert!(self.waiting.remove(&id), "stream {id} does not wait");
        }
    }

    /// Reads how the filter has set the timer. Envoy's timer repeats, but each tick sets it anew.
    fn read_timer(&mut self, settings_before: usize) {
        if self.host.timer_settings() > settings_before {
            self.due = self.host.timer().map(|wait| self.now + wait);
        }
    }

    fn check(&self) {
        assert!(self.waiting.is_empty() || self.due.is_some(), "no timer for {:?}", self.waiting);
        let active = usize::try_from(self.host.gauge(ACTIVE_FAULTS)).unwrap();
        assert_eq!(active, self.waiting.len());
        assert!(active <= MAX_ACTIVE, "{active} active faults");
        // A window begins with the first fault after the end of the one before.
        let mut windows = Vec::<(Duration, usize)>::new();
        for time in &self.faults {
            match windows.last_mut() {
                Some((start, count)) if *time < *start + WINDOW => *count += 1,
                _ => windows.push((*time, 1)),
            }
        }
        assert!(windows.iter().all(|(_, count)| *count <= BUDGET), "{windows:?}");
    }

    /// Lets the time pass until nothing waits.
    fn finish(&mut self) {
        for _ in 0..10 {
            self.step(Step::Pass);
            self.step(Step::Tick);
        }
        assert_eq!(self.waiting, BTreeSet::new(), "they never continue");
        while !self.streams.is_empty() {
            self.step(Step::EndOldest);
        }
        assert!(self.worker.delays.is_empty());
    }
}

fn faults() -> Arc<Faults> {
    let document = format!(
        r#"{{"clusterName": "{{host}}",
            "faults": {{"maxActive": {MAX_ACTIVE},
                "budget": {{"faults": {BUDGET}, "window": "{}s"}}}},
            "virtualServices": [{{"hosts": ["a"], "http": [{{
                "fault": {{"delay": {{"fixedDelay": "1s", "percentage": {{"value": 100}}}}}},
                "route": [{{"destination": {{"host": "b"}}}}]}}]}}]}}"#,
        WINDOW.as_secs(),
    );
    Arc::new(Faults::compile(document.as_bytes(), &NoMetadata).unwrap().0)
}

fn run(faults: &Arc<Faults>, steps: &[Step]) {
    let mut model = Model::new(faults);
    steps.iter().for_each(|step| model.step(*step));
    model.finish();
}

#[test]
fn every_short_order_resumes_each_stream_once_within_the_limits() {
    let faults = faults();
    let count = STEPS.len().pow(LENGTH);
    for number in 0..count {
        let step = |place: u32| STEPS[number / STEPS.len().pow(place) % STEPS.len()];
        let steps: Vec<_> = (0..LENGTH).map(step).collect();
        run(&faults, &steps);
    }
}

#[test]
fn long_random_orders_resume_each_stream_once_within_the_limits() {
    let faults = faults();
    let mut rng = Rng::with_seed(1);
    for _ in 0..3_000 {
        let steps: Vec<_> = (0..60).filter_map(|_| rng.choice(STEPS)).collect();
        run(&faults, &steps);
    }
}
