//! A request in the router: it asks the policy and applies the decision.

use std::cell::Cell;
use std::rc::Rc;

use sluice_host::attributes::StreamAttributes;
use sluice_host::filter::{Action, HttpStream};
use sluice_host::http::{HttpHost, LocalReply};
use sluice_policy::request::Request;
use sluice_policy::router::decision::ResponsePlan;

use crate::worker::{NOTE, Worker, details};

/// One request.
pub struct Stream<H> {
    host: H,
    worker: Rc<Worker>,
    response: Cell<Option<ResponsePlan>>,
}

impl<H> Stream<H> {
    /// A stream that has just begun.
    pub fn new(host: H, worker: Rc<Worker>) -> Self {
        Self { host, worker, response: Cell::default() }
    }
}

impl<H: HttpHost> HttpStream for Stream<H> {
    /// Routes the request, or answers it.
    fn on_request_headers(&self) -> Action {
        let worker = &*self.worker;
        let headers = self.host.encoded_request_headers();
        let attributes = StreamAttributes(&self.host);
        let request = Request::of_encoded(&headers, &attributes);
        let mut decision = worker.router.route(&request, &mut &worker.random);
        worker.counters.increment(decision.outcome.into(), &self.host);
        self.host.note(NOTE, decision.note);
        self.response.set(decision.response.take());
        if let Some(reply) = &decision.reply {
            let headers = reply.headers.iter();
            let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_ref()));
            self.host.reply(&LocalReply {
                status: reply.status,
                grpc_status: None,
                headers: headers.collect(),
                body: reply.body,
                details: details(decision.outcome),
            });
            return Action::Pause;
        }
        for edit in decision.edits() {
            self.host.edit_request_header(&edit);
        }
        Action::Continue
    }

    /// Edits the response, which may be the upstream's or this filter's own.
    fn on_response_headers(&self, _: bool) -> Action {
        if let Some(plan) = self.response.take() {
            for edit in plan.edits() {
                self.host.edit_response_header(&edit);
            }
        }
        Action::Continue
    }
}

#[cfg(test)]
mod tests;
