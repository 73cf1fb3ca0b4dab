//! The outlier detection of a cluster on one worker.

use std::cell::{Cell, Ref, RefCell};
use std::sync::Arc;
use std::time::Duration;

use sluice_host::shared_data::SharedData;
use sluice_policy::lookup::name_table::NameTable;
use sluice_policy::outlier::classify::{Outcome, is_failure};
use sluice_policy::outlier::rates::Rates;
use sluice_policy::outlier::{MAX_HOSTS, Observed, Standing, View};
use sluice_policy::spec::destination_rule::Target;
use sluice_policy::spec::outlier_detection::Settings;

use crate::state::{State, UpdateContext};

/// How long before a tick each worker adds its rates to the state. At most a part of the interval.
const LEAD: Duration = Duration::from_millis(50);

/// How many requests a worker sends to listed hosts before it makes another try. A try may send a
/// request to an ejected host, so that at most one of this number of requests does.
const REQUESTS_PER_TRY: u32 = 20;

/// How many requests between two flushes may reach an ejected host against their list, for example
/// because all listed hosts have just left.
const IGNORED_LISTS: u32 = 5;

/// The outlier detection of a cluster.
#[derive(Debug)]
pub struct Monitor {
    /// The settings of the outlier detection
    pub settings: Arc<Settings>,
    /// The cluster that gets the requests while all hosts of this one are ejected
    pub fallback: Option<String>,
    /// Whether it matters that a successful response breaks off. It does not if the next success
    /// would clear the count of that one failure.
    pub counts_broken_responses: bool,
    state: State,
    /// The hosts that had attempts since the last flush
    recent: RefCell<NameTable<Recent>>,
    flushed: Cell<Duration>,
    /// The last try that this worker knows of, and the number of its requests since then
    since_try: Cell<(Option<Duration>, u32)>,
    /// Whether a request reached a host of its list since the last flush, and how many reached an
    /// ejected host after that
    lists: Cell<(bool, u32)>,
}

/// The attempts with a host since the last flush.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    rates: Rates,
    /// Whether Envoy itself chose the host for one of them
    is_chosen: bool,
}

/// An attempt that has ended, or whose response has arrived.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The address of the host
    pub host: &'a [u8],
    /// When it began
    pub began: Duration,
    /// The outcome; `None` if there is none, because the client has left for example
    pub outcome: Option<Outcome>,
    /// Whether Envoy itself chose the host; otherwise it was in the list of the request
    pub is_chosen: bool,
}

impl Monitor {
    /// The monitor of a cluster, for a plugin that was configured at `configured`.
    pub fn new(cluster: &str, target: Target, configured: Duration) -> Self {
        let Target { settings, fallback } = target;
        let thresholds = [
            settings.consecutive_5xx.threshold,
            settings.consecutive_gateway_failure.threshold,
            settings.consecutive_local_origin_failure.threshold,
        ];
        Self {
            counts_broken_responses: thresholds.contains(&1)
                || settings.has_rates()
                || settings.half_open.is_some(),
            state: State::new(cluster, Arc::clone(&settings), fallback.is_some(), configured),
            settings,
            fallback,
            recent: RefCell::default(),
            flushed: Cell::default(),
            since_try: Cell::default(),
            lists: Cell::default(),
        }
    }

    /// The name of the cluster.
    pub fn cluster(&self) -> &str {
        self.state.cluster()
    }

    /// The current state, as far as requests need it.
    pub fn view(&self, host: &impl SharedData) -> Ref<'_, View> {
        self.state.refresh(host);
        self.state.view()
    }

    /// The number of endpoints; 0 if it is unknown.
    pub fn endpoints(&self) -> u64 {
        self.state.endpoints()
    }

    /// Whether the number of endpoints is to be updated before an attempt with this host counts:
    /// once between two flushes, and for a new host, since the cluster may have changed.
    pub fn needs_endpoints(&self, address: &[u8]) -> bool {
        let recent = self.recent.borrow();
        recent.is_empty() || (recent.get(address).is_none() && !self.knows(address))
    }

    fn knows(&self, address: &[u8]) -> bool {
        let view = self.state.view();
        view.healthy().binary_search_by(|known| (**known).cmp(address)).is_ok()
            || view.standing(address) != Standing::default()
    }

    /// Whether the next request is a try, see [`View`]. Counts the request if it is none.
    pub fn is_try(&self) -> bool {
        let view = self.state.view();
        let (tried, requests) = self.since_try.get();
        let requests = if tried == view.tried { requests } else { 0 };
        let is_try = !view.is_settled() && (view.tried.is_none() || requests >= REQUESTS_PER_TRY);
        let requests = requests.saturating_add(u32::from(!is_try));
        self.since_try.set((view.tried, requests));
        is_try
    }

    /// Records that an attempt with a list of hosts has begun. Returns whether the load balancer
    /// ignores the lists: it chooses listed hosts by chance, and ejected ones too.
    pub fn is_list_ignored(&self, address: &[u8], is_chosen: bool) -> bool {
        let (is_used, ignored) = self.lists.get();
        if !is_chosen {
            self.lists.set((true, ignored));
        } else if is_used && self.state.view().standing(address).is_ejected {
            self.lists.set((true, ignored.saturating_add(1)));
            return ignored >= IGNORED_LISTS;
        }
        false
    }

    /// Handles the start of an attempt, before [`record`](Self::record). `is_chosen` is as in
    /// [`Attempt`]: if Envoy itself chose an ejected host, the attempt is a try. Returns whether it
    /// has to be refused, because all hosts are ejected. `endpoints` reads the number of endpoints:
    /// since the known one was read, the cluster may have got a host that can serve the request.
    /// What other workers have changed is known after 1 ms at the latest.
    pub fn refuses(
        &self,
        address: &[u8],
        is_chosen: bool,
        now: Duration,
        endpoints: impl FnOnce() -> u64,
        context: UpdateContext<'_>,
        host: &impl SharedData,
    ) -> bool {
        {
            self.state.refresh_for_attempt(now, host);
            let view = self.state.view();
            let is_ejected = !view.is_whole() && view.standing(address).is_ejected;
            if !is_ejected || !is_chosen || self.state.is_superseded() {
                return false;
            }
            if !view.is_try(address) {
                return view.refuses(self.endpoints()) && view.refuses(endpoints());
            }
        }
        self.state.update(context, host, |cluster| {
            cluster.record_try(address, now).then(|| (Vec::new(), true))
        });
        false
    }

    /// Updates the number of endpoints of Envoy's cluster.
    pub fn update_endpoints(&self, endpoints: u64, host: &impl SharedData) {
        self.state.update_endpoints(endpoints, host);
    }

    /// Counts an attempt, and ejects or returns the host accordingly. The state is the one that was
    /// read at the start of the attempt: what other workers have changed since then is found when
    /// the state is written.
    pub fn record(&self, attempt: Attempt<'_>, context: UpdateContext<'_>, host: &impl SharedData) {
        let standing = self.state.view().standing(attempt.host);
        if self.state.is_superseded() {
            return;
        }
        self.record_host(attempt, context, host);
        if standing.is_ejected {
            self.end_probe(attempt, context, host);
            return;
        }
        let Some(outcome) = attempt.outcome else { return };
        let endpoints = self.endpoints();
        let detections = self.state.count(attempt.host, standing, outcome, host);
        if detections.is_empty() {
            return;
        }
        let now = host.uptime();
        for reason in detections.iter() {
            let mut draws = context.random;
            self.state.update(context, host, |cluster| {
                let effects = cluster.detect(
                    &self.settings,
                    attempt.host,
                    reason,
                    endpoints,
                    now,
                    &mut draws,
                );
                (!effects.is_empty()).then_some((effects, true))
            });
        }
    }

    /// Adds an attempt to the rates of its host. Adds a new host to the state at once.
    fn record_host(
        &self,
        attempt: Attempt<'_>,
        context: UpdateContext<'_>,
        host: &impl SharedData,
    ) {
        let mut recent = self.recent.borrow_mut();
        let has_rates = self.settings.has_rates();
        let add = |entry: &mut Recent| {
            entry.is_chosen |= attempt.is_chosen;
            if has_rates && let Some(outcome) = attempt.outcome {
                entry.rates.record(&self.settings, outcome);
            }
        };
        let mut is_first = false;
        if let Some(entry) = recent.get_mut(attempt.host) {
            add(entry);
        } else if recent.len() < MAX_HOSTS {
            is_first = true;
            add(recent.entry(attempt.host, Recent::default));
        }
        drop(recent);
        if is_first && attempt.is_chosen && !self.knows(attempt.host) {
            let now = host.uptime();
            self.state.update(context, host, |cluster| {
                let is_new = cluster.observe(attempt.host, now) == Observed::Added;
                is_new.then_some((Vec::new(), true))
            });
        }
    }

    /// Handles an attempt with an ejected host, which may have been a probe.
    fn end_probe(&self, attempt: Attempt<'_>, context: UpdateContext<'_>, host: &impl SharedData) {
        if self.settings.half_open.is_none() {
            return;
        }
        let is_failure = attempt.outcome.map(is_failure);
        let now = host.uptime();
        let mut draws = context.random;
        self.state.update(context, host, |cluster| {
            let before = cluster.clone();
            let effect = cluster.end_probe(
                &self.settings,
                attempt.host,
                attempt.began,
                is_failure,
                now,
                &mut draws,
            );
            (*cluster != before).then(|| (effect.into_iter().collect(), true))
        });
    }

    /// Returns the host of a probe if one is due. No other worker gets the same one.
    pub fn take_probe(
        &self,
        context: UpdateContext<'_>,
        host: &impl SharedData,
    ) -> Option<Vec<u8>> {
        let now = host.uptime();
        let is_due = self.state.view().next_probe.is_some_and(|time| time <= now);
        if !is_due {
            return None;
        }
        let mut address = None;
        let is_taken = self.state.update(context, host, |cluster| {
            address = cluster.take_probe(&self.settings, now).map(<[u8]>::to_vec);
            address.is_some().then_some((Vec::new(), true))
        });
        if is_taken { address } else { None }
    }

    /// When [`tick`](Self::tick) has something to do. `None` if it never has.
    pub fn next_wake(&self) -> Option<Duration> {
        let due = self.state.next_tick()?;
        if !self.settings.has_rates() {
            return Some(due);
        }
        let flush = due.saturating_sub(LEAD.min(self.settings.interval / 10));
        Some(if self.flushed.get() < flush { flush } else { due })
    }

    /// Adds the rates of this worker to the state. Ends the interval if it is time for that and no
    /// other worker has done so.
    pub fn tick(&self, context: UpdateContext<'_>, host: &impl SharedData) {
        let now = host.uptime();
        self.state.refresh(host);
        if self.next_wake().is_none_or(|wake| wake > now) {
            return;
        }
        self.flushed.set(now);
        self.lists.set((false, 0));
        let recent = self.recent.take();
        let endpoints = self.endpoints();
        let mut next_tick = None;
        let mut draws = context.random;
        self.state.update(context, host, |cluster| {
            let mut is_relevant = false;
            for (address, entry) in recent.iter() {
                if entry.is_chosen {
                    // Envoy chose it before this tick.
                    let time = now.saturating_sub(Duration::from_nanos(1));
                    is_relevant |= cluster.observe(address, time) == Observed::Added;
                }
                cluster.add_rates(address, entry.rates);
            }
            let is_due = cluster.next_tick(&self.settings) <= now;
            let effects = match is_due {
                true => cluster.on_interval(&self.settings, endpoints, now, &mut draws),
                false => Vec::new(),
            };
            next_tick = Some(cluster.next_tick(&self.settings));
            // With ejected hosts, each tick changes which hosts are listed, and allows a try.
            is_relevant |= !effects.is_empty() || (is_due && cluster.ejected() > 0);
            (is_due || !recent.is_empty()).then_some((effects, is_relevant))
        });
        self.state.set_next_tick(next_tick);
    }
}
