//! The copies of a request. The filter asks Envoy for them, or keeps what it needs to send them
//! itself.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use sluice_host::http::HttpHost;
use sluice_policy::mirror::{Plan, client_sent};
use sluice_policy::request::Request;
use sluice_policy::spec::mirror::compare::Compare;
use sluice_policy::value::header::HeaderEdit;

use crate::event::Event;
use crate::original::Original;
use crate::worker::Worker;

/// Removes the mirror headers that the client sent.
#[inline]
pub fn remove_client_sent(request: &Request<'_>, host: &impl HttpHost) {
    for name in client_sent(request) {
        host.edit_request_header(&HeaderEdit::remove(name));
    }
}

/// What is kept of a request if its copies are compared.
#[derive(Default)]
pub struct Copies(Cell<Option<Box<Original>>>);

impl Copies {
    /// Carries out the plan for a request.
    pub fn apply(
        &self,
        plan: &Plan<'_>,
        request: &Request<'_>,
        worker: &Rc<Worker>,
        host: &impl HttpHost,
    ) {
        worker.counters.add(Event::NotSampled, plan.not_sampled, host);
        worker.counters.add(Event::NotEligible, plan.not_eligible, host);
        if plan.copies.is_empty() {
            return;
        }
        let is_left = |budget| worker.spending.spend(budget, host.now());
        if !worker.mirrors.settings.budget.is_none_or(is_left) {
            worker.counters.increment(Event::BudgetExhausted, host);
            return;
        }
        if worker.mirrors.settings.mode.is_shadow() {
            worker.counters.add(Event::ShadowMirrored, plan.copies.len(), host);
            return;
        }
        let compare = worker.mirrors.settings.compare.as_ref();
        match compare.filter(|compare| compare.is_compared(request.method)) {
            Some(compare) if can_be_repeated(request, compare) => {
                let clusters = plan.copies.iter().map(|copy| Arc::clone(copy.cluster()));
                let original = Original::new(plan.route, clusters.collect(), worker);
                self.0.set(Some(Box::new(original)));
            }
            Some(_) => {
                worker.counters.add(Event::Skipped, plan.copies.len(), host);
                mirror(plan, worker, host);
            }
            None => mirror(plan, worker, host),
        }
    }

    /// Keeps a piece of the request's body.
    #[inline]
    pub fn on_request_body(&self, size: usize, host: &impl HttpHost) {
        self.with_original(|original, compare| original.on_request_body(size, compare, host));
    }

    /// Takes a piece of the response's body into account.
    #[inline]
    pub fn on_response_body(&self, size: usize, host: &impl HttpHost) {
        self.with_original(|original, compare| {
            if compare.hashes_bodies() {
                original.on_response_body(size, compare, host);
            }
        });
    }

    /// Sends the copies that are compared.
    #[inline]
    pub fn on_log<H: HttpHost + 'static>(&self, host: &H) {
        if let Some(original) = self.0.take() {
            let worker = Rc::clone(original.worker());
            if let Some(compare) = &worker.mirrors.settings.compare {
                original.on_log(&worker, compare, host);
            }
        }
    }

    /// Calls a function if the copies of the request are compared.
    #[inline]
    fn with_original(&self, function: impl FnOnce(&mut Original, &Compare)) {
        if let Some(mut original) = self.0.take() {
            let worker = Rc::clone(original.worker());
            if let Some(compare) = &worker.mirrors.settings.compare {
                function(&mut original, compare);
            }
            self.0.set(Some(original));
        }
    }
}

/// Asks Envoy for the copies.
fn mirror(plan: &Plan<'_>, worker: &Worker, host: &impl HttpHost) {
    for copy in &plan.copies {
        host.edit_request_header(&copy.request_edit());
        worker.counters.increment(Event::Mirrored, host);
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
