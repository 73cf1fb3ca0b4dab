//! A decision of the router about a request, and how it is carried out.

use std::cell::Cell;

use sluice_host::filter::Action;
use sluice_host::http::{HttpHost, LocalReply};
use sluice_policy::router::decision::{Decision, ResponsePlan};

use crate::worker::{NOTE, Worker, details};

/// What is kept of a routed request until its response arrives.
#[derive(Default)]
pub struct Routed(Cell<Option<ResponsePlan>>);

impl Routed {
    /// Carries out a decision: edits the request, or answers it.
    #[inline]
    pub fn apply(
        &self,
        mut decision: Decision<'_>,
        worker: &Worker,
        host: &impl HttpHost,
    ) -> Action {
        worker.counters.increment(decision.outcome.into(), host);
        if let Some(number) = decision.counter {
            worker.count_route(number, host);
        }
        host.note(NOTE, decision.note);
        self.0.set(decision.response.take());
        if let Some(reply) = &decision.reply {
            let headers = reply.headers.iter();
            let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_ref()));
            host.reply(&LocalReply {
                status: reply.status,
                grpc_status: None,
                headers: headers.collect(),
                body: reply.body,
                details: details(decision.outcome),
            });
            return Action::Pause;
        }
        for edit in decision.edits() {
            host.edit_request_header(&edit);
        }
        Action::Continue
    }

    /// Edits the response, which may be the upstream's or the router's own.
    #[inline]
    pub fn on_response_headers(&self, host: &impl HttpHost) {
        if let Some(plan) = self.0.take() {
            for edit in plan.edits() {
                host.edit_response_header(&edit);
            }
        }
    }
}
