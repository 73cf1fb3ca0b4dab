//! A request or connection in the egress filter: it asks the policy and applies the decision.
//!
//! Everything is decided at the start of a stream.

use std::rc::Rc;

use sluice_host::attributes::StreamAttributes;
use sluice_host::explained::{Explained, Place};
use sluice_host::filter::{Action, HttpStream, NetworkStream};
use sluice_host::http::HttpHost;
use sluice_host::network::NetworkHost;
use sluice_policy::request::{Request, header_map};

use crate::worker::Worker;

/// One request or connection.
#[derive(Debug)]
pub struct Stream<H> {
    host: H,
    worker: Rc<Worker>,
}

impl<H> Stream<H> {
    /// A stream that has just begun.
    pub fn new(host: H, worker: Rc<Worker>) -> Self {
        Self { host, worker }
    }
}

impl<H: HttpHost> HttpStream for Stream<H> {
    /// Allows the request, or answers it.
    fn on_request_headers(&self) -> Action {
        let headers = self.host.encoded_request_headers();
        let (mut method, mut authority) = (None, None);
        for (name, value) in header_map::decode(&headers) {
            match name {
                b":method" => _ = method.get_or_insert(value),
                b":authority" => _ = authority.get_or_insert(value),
                _ => {}
            }
        }
        let (method, authority) = (method.unwrap_or_default(), authority.unwrap_or_default());
        let explained = Explained::default();
        if let Some(explaining) = &self.worker.explaining {
            let attributes = StreamAttributes(&self.host);
            let request = Request::of_encoded(&headers, &attributes);
            let place = Place::BeforeOthers;
            explained.begin(explaining, place, &request, &self.host, |own| {
                own.egress = Some(self.worker.explain(&request, &self.host).0);
            });
        }
        let decision = self.worker.decide(method, authority, &self.host);
        self.worker.apply(decision, &explained, &self.host)
    }
}

impl<H: NetworkHost> NetworkStream for Stream<H> {
    /// Allows the connection, or closes it.
    fn on_new_connection(&self) -> Action {
        let attributes = StreamAttributes(&self.host);
        let server_name = attributes.server_name().unwrap_or_default();
        let decision = self.worker.egress.connection(&server_name, attributes.destination());
        if self.worker.settle(decision, &self.host).is_none() {
            return Action::Continue;
        }
        self.host.close_downstream();
        Action::Pause
    }
}

#[cfg(test)]
mod tests;
