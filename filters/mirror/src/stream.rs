//! A request in the mirror filter.

use std::rc::Rc;

use sluice_host::attributes::StreamAttributes;
use sluice_host::filter::{Action, HttpStream};
use sluice_host::http::HttpHost;
use sluice_policy::request::Request;

use crate::copies::{Copies, remove_client_sent};
use crate::worker::Worker;

/// One request.
pub struct Stream<H> {
    host: H,
    worker: Rc<Worker>,
    copies: Copies,
}

impl<H: HttpHost> Stream<H> {
    /// A stream that has just begun.
    pub fn new(host: H, worker: Rc<Worker>) -> Self {
        Self { host, worker, copies: Copies::default() }
    }
}

impl<H: HttpHost + 'static> HttpStream for Stream<H> {
    fn on_request_headers(&self) -> Action {
        let worker = &self.worker;
        let headers = self.host.encoded_request_headers();
        let attributes = StreamAttributes(&self.host);
        let request = Request::of_encoded(&headers, &attributes);
        remove_client_sent(&request, &self.host);
        let plan = worker.mirrors.plan(&request, &mut &worker.random);
        self.copies.apply(&plan, &request, worker, &self.host);
        Action::Continue
    }

    fn on_request_body(&self, size: usize) -> Action {
        self.copies.on_request_body(size, &self.host);
        Action::Continue
    }

    fn on_response_body(&self, size: usize) -> Action {
        self.copies.on_response_body(size, &self.host);
        Action::Continue
    }

    fn on_log(&self) {
        self.copies.on_log(&self.host);
    }
}

#[cfg(test)]
mod tests;
