//! One request through the mirror filter: it asks Envoy for the copies that are due, or keeps what it needs
//! to send them itself.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use sluice_host::attributes::StreamAttributes;
use sluice_host::http::{Counter, HttpHost};
use sluice_host::log_rate::LogRate;
use sluice_host::random::Random;
use sluice_policy::mirror::{Mirrors, Plan, client_sent};
use sluice_policy::request::Request;
use sluice_policy::spec::mirror::compare::{Compare, Difference};
use sluice_policy::value::budget::Spending;
use sluice_policy::value::header::HeaderEdit;

use crate::comparison::Original;

/// What all streams of a worker share.
#[derive(Debug)]
pub struct Shared {
    /// The plugin's context
    pub(crate) plugin: u32,
    /// The compiled policy
    pub mirrors: Mirrors,
    /// What is counted
    pub counters: Counters,
    random: Random,
    spending: Spending,
    /// How many comparisons are under way
    pub(crate) active: Cell<u32>,
    pub(crate) mismatch_log: LogRate,
    /// Those that the log already has
    pub(crate) unknown_clusters: RefCell<HashSet<Rc<str>>>,
}

/// The filter's counters, `wasmcustom.sluice.mirror.*` in Envoy's statistics.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    mirrored: Counter,
    not_sampled: Counter,
    not_eligible: Counter,
    budget_exhausted: Counter,
    pub(crate) compare_match: Counter,
    pub(crate) compare_mismatch: Counter,
    compare_mismatch_status: Counter,
    compare_mismatch_header: Counter,
    compare_mismatch_body: Counter,
    pub(crate) compare_timeout: Counter,
    pub(crate) compare_failed: Counter,
    pub(crate) compare_skipped: Counter,
    pub(crate) compare_overflow: Counter,
    pub(crate) unknown_cluster: Counter,
}

impl Counters {
    /// Defines them.
    pub fn new(define: impl Fn(&'static str) -> Counter) -> Self {
        Self {
            mirrored: define("sluice.mirror.mirrored"),
            not_sampled: define("sluice.mirror.not_sampled"),
            not_eligible: define("sluice.mirror.not_eligible"),
            budget_exhausted: define("sluice.mirror.budget_exhausted"),
            compare_match: define("sluice.mirror.compare_match"),
            compare_mismatch: define("sluice.mirror.compare_mismatch"),
            compare_mismatch_status: define("sluice.mirror.compare_mismatch_status"),
            compare_mismatch_header: define("sluice.mirror.compare_mismatch_header"),
            compare_mismatch_body: define("sluice.mirror.compare_mismatch_body"),
            compare_timeout: define("sluice.mirror.compare_timeout"),
            compare_failed: define("sluice.mirror.compare_failed"),
            compare_skipped: define("sluice.mirror.compare_skipped"),
            compare_overflow: define("sluice.mirror.compare_overflow"),
            unknown_cluster: define("sluice.mirror.unknown_cluster"),
        }
    }

    /// The counters of what differs, each once.
    pub(crate) fn of_differences(&self, differences: &[Difference<'_>]) -> Vec<Counter> {
        let mut counters: Vec<_> = differences
            .iter()
            .map(|difference| match difference {
                Difference::Body => self.compare_mismatch_body,
                Difference::Header(_) => self.compare_mismatch_header,
                Difference::Status => self.compare_mismatch_status,
            })
            .collect();
        counters.dedup();
        counters
    }
}

impl Shared {
    /// Of the plugin with the context `plugin`.
    pub fn new(plugin: u32, mirrors: Mirrors, counters: Counters) -> Self {
        Self {
            plugin,
            mirrors,
            counters,
            random: Random::default(),
            spending: Spending::default(),
            active: Cell::default(),
            mismatch_log: LogRate::default(),
            unknown_clusters: RefCell::default(),
        }
    }
}

/// One request.
#[derive(Debug)]
pub struct Stream<H> {
    host: H,
    shared: Rc<Shared>,
    /// What is compared of it
    original: Option<Box<Original>>,
}

impl<H: HttpHost + 'static> Stream<H> {
    /// A stream that has just begun.
    pub fn new(host: H, shared: Rc<Shared>) -> Self {
        Self { host, shared, original: None }
    }

    /// Has Envoy copy the request where it is to be.
    pub fn on_request_headers(&mut self) {
        let shared = Rc::clone(&self.shared);
        let headers = self.host.encoded_request_headers();
        let attributes = StreamAttributes(&self.host);
        let request = Request::of_encoded(&headers, &attributes);
        for name in client_sent(&request) {
            self.host.edit_request_header(&HeaderEdit::remove(name));
        }
        let plan = shared.mirrors.plan(&request, &mut &shared.random);
        let count = |counter, times| (0..times).for_each(|_| self.host.increment(counter));
        count(shared.counters.not_sampled, plan.not_sampled);
        count(shared.counters.not_eligible, plan.not_eligible);
        if plan.copies.is_empty() {
            return;
        }
        let is_left = |budget| shared.spending.spend(budget, self.host.now());
        if !shared.mirrors.settings.budget.is_none_or(is_left) {
            self.host.increment(shared.counters.budget_exhausted);
            return;
        }
        let compare = shared.mirrors.settings.compare.as_ref();
        match compare.filter(|compare| compare.is_compared(request.method)) {
            Some(compare) if is_small(&request, compare) => {
                let clusters = plan.copies.iter().map(|mirror| Rc::clone(&mirror.cluster));
                let original = Original::new(plan.route, clusters.collect());
                self.original = Some(Box::new(original));
            }
            Some(_) => {
                count(shared.counters.compare_skipped, plan.copies.len());
                self.mirror(&plan);
            }
            None => self.mirror(&plan),
        }
    }

    /// Asks Envoy for the copies.
    fn mirror(&self, plan: &Plan<'_>) {
        for mirror in &plan.copies {
            self.host.edit_request_header(&mirror.request_edit());
            self.host.increment(self.shared.counters.mirrored);
        }
    }

    /// Looks at a piece of the request's body.
    pub fn on_request_body(&mut self, size: usize) {
        if let (Some(original), Some(compare)) =
            (&mut self.original, &self.shared.mirrors.settings.compare)
        {
            original.on_request_body(size, compare, &self.host);
        }
    }

    /// Looks at a piece of the response's body.
    pub fn on_response_body(&mut self, size: usize) {
        if let (Some(original), Some(compare)) =
            (&mut self.original, &self.shared.mirrors.settings.compare)
            && compare.hashes_bodies()
        {
            original.on_response_body(size, compare, &self.host);
        }
    }

    /// The request is over: sends the copies that are compared.
    pub fn on_log(&mut self) {
        if let (Some(original), Some(compare)) =
            (self.original.take(), &self.shared.mirrors.settings.compare)
        {
            original.on_log(&self.shared, compare, &self.host);
        }
    }

    /// The host, for tests.
    pub fn host(&self) -> &H {
        &self.host
    }
}

/// Whether a request can be sent once more from memory: it says that its body is not too long, or does
/// not say, and it is not going to become a connection of another protocol.
fn is_small(request: &Request<'_>, compare: &Compare) -> bool {
    let length = request.first_header("content-length");
    let length = length.and_then(|length| std::str::from_utf8(length).ok()?.parse::<usize>().ok());
    length.is_none_or(|length| length <= compare.max_body_bytes)
        && request.first_header("upgrade").is_none()
}

#[cfg(test)]
mod tests;
