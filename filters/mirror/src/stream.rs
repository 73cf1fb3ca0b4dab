//! A request in the mirror filter. The filter asks Envoy for the copies, or keeps what it needs to
//! send them itself.

use std::cell::Cell;
use std::rc::Rc;

use sluice_host::attributes::StreamAttributes;
use sluice_host::filter::{Action, HttpStream};
use sluice_host::http::HttpHost;
use sluice_policy::mirror::{Plan, client_sent};
use sluice_policy::request::Request;
use sluice_policy::spec::mirror::compare::Compare;
use sluice_policy::value::header::HeaderEdit;

use crate::comparison::Original;
use crate::worker::{Event, Worker};

/// One request.
pub struct Stream<H> {
    host: H,
    worker: Rc<Worker>,
    /// What is kept of the request if its copies are compared
    original: Cell<Option<Box<Original>>>,
}

impl<H: HttpHost> Stream<H> {
    /// A stream that has just begun.
    pub fn new(host: H, worker: Rc<Worker>) -> Self {
        Self { host, worker, original: Cell::default() }
    }

    fn count(&self, event: Event, count: usize) {
        self.worker.counters.add(event, count, &self.host);
    }

    /// Asks Envoy for the copies.
    fn mirror(&self, plan: &Plan<'_>) {
        for copy in &plan.copies {
            self.host.edit_request_header(&copy.request_edit());
            self.count(Event::Mirrored, 1);
        }
    }

    /// Calls a function if the copies of the request are compared.
    fn with_original(&self, function: impl FnOnce(&mut Original, &Compare)) {
        if let Some(mut original) = self.original.take() {
            if let Some(compare) = &self.worker.mirrors.settings.compare {
                function(&mut original, compare);
            }
            self.original.set(Some(original));
        }
    }
}

impl<H: HttpHost + 'static> HttpStream for Stream<H> {
    fn on_request_headers(&self) -> Action {
        let worker = &self.worker;
        let headers = self.host.encoded_request_headers();
        let attributes = StreamAttributes(&self.host);
        let request = Request::of_encoded(&headers, &attributes);
        for name in client_sent(&request) {
            self.host.edit_request_header(&HeaderEdit::remove(name));
        }
        let plan = worker.mirrors.plan(&request, &mut &worker.random);
        self.count(Event::NotSampled, plan.not_sampled);
        self.count(Event::NotEligible, plan.not_eligible);
        if plan.copies.is_empty() {
            return Action::Continue;
        }
        let is_left = |budget| worker.spending.spend(budget, self.host.now());
        if !worker.mirrors.settings.budget.is_none_or(is_left) {
            self.count(Event::BudgetExhausted, 1);
            return Action::Continue;
        }
        let compare = worker.mirrors.settings.compare.as_ref();
        match compare.filter(|compare| compare.is_compared(request.method)) {
            Some(compare) if can_be_repeated(&request, compare) => {
                let clusters = plan.copies.iter().map(|copy| Rc::clone(copy.cluster()));
                let original = Original::new(plan.route, clusters.collect(), worker);
                self.original.set(Some(Box::new(original)));
            }
            Some(_) => {
                self.count(Event::Skipped, plan.copies.len());
                self.mirror(&plan);
            }
            None => self.mirror(&plan),
        }
        Action::Continue
    }

    fn on_request_body(&self, size: usize) -> Action {
        self.with_original(|original, compare| {
            original.on_request_body(size, compare, &self.host);
        });
        Action::Continue
    }

    fn on_response_body(&self, size: usize) -> Action {
        self.with_original(|original, compare| {
            if compare.hashes_bodies() {
                original.on_response_body(size, compare, &self.host);
            }
        });
        Action::Continue
    }

    /// Sends the copies that are compared.
    fn on_log(&self) {
        if let (Some(original), Some(compare)) =
            (self.original.take(), &self.worker.mirrors.settings.compare)
        {
            original.on_log(&self.worker, compare, &self.host);
        }
    }
}

/// Whether the filter can send a request again from memory: its `content-length`, if it has one, is
/// within the limit, and it does not switch to another protocol.
fn can_be_repeated(request: &Request<'_>, compare: &Compare) -> bool {
    let length = request.first_header("content-length");
    let length = length.and_then(|length| std::str::from_utf8(length).ok()?.parse::<usize>().ok());
    length.is_none_or(|length| length <= compare.max_body_bytes)
        && request.first_header("upgrade").is_none()
}

#[cfg(test)]
mod tests;
