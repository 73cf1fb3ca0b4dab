//! A request in the router: it asks the policy and applies the decision.

use std::rc::Rc;

use sluice_host::attributes::StreamAttributes;
use sluice_host::explained::{Explained, Place};
use sluice_host::filter::{Action, HttpStream};
use sluice_host::http::HttpHost;
use sluice_policy::request::Request;

use crate::routed::Routed;
use crate::worker::Worker;

/// One request.
pub struct Stream<H> {
    host: H,
    worker: Rc<Worker>,
    routed: Routed,
    explained: Explained,
}

impl<H> Stream<H> {
    /// A stream that has just begun.
    pub fn new(host: H, worker: Rc<Worker>) -> Self {
        Self { host, worker, routed: Routed::default(), explained: Explained::default() }
    }
}

impl<H: HttpHost> HttpStream for Stream<H> {
    /// Routes the request, or answers it.
    fn on_request_headers(&self) -> Action {
        let worker = &*self.worker;
        let headers = self.host.encoded_request_headers();
        let attributes = StreamAttributes(&self.host);
        let request = Request::of_encoded(&headers, &attributes);
        if let Some(explaining) = &worker.explaining {
            self.explained.begin(explaining, Place::Last, &request, &self.host, |own| {
                own.routed.push(worker.explain(&request));
            });
        }
        let find = || worker.router.rules().find(&request);
        let decision = worker.decide(find, &request, &self.host);
        self.routed.apply(decision, worker, &self.host)
    }

    /// Edits the response, which may be the upstream's or this filter's own.
    fn on_response_headers(&self, _: bool) -> Action {
        self.routed.on_response_headers(&self.host);
        self.explained.on_response_headers(None, &self.host);
        Action::Continue
    }
}

#[cfg(test)]
mod tests;
