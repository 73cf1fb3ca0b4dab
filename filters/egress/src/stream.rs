//! A request or connection in the egress filter: it asks the policy and applies the decision.
//!
//! Everything is decided at the start of a stream.

use std::rc::Rc;

use sluice_host::attributes::StreamAttributes;
use sluice_host::filter::{Action, HttpStream, NetworkStream};
use sluice_host::http::{HttpHost, LocalReply};
use sluice_host::network::NetworkHost;
use sluice_policy::egress::Reason;
use sluice_policy::request::header_map;

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
        let authority = authority.unwrap_or_default();
        let is_connect = method == Some(b"CONNECT");
        let destination = StreamAttributes(&self.host).destination();
        let egress = &self.worker.egress;
        let decision = egress.request(authority, is_connect, destination);
        let Some(reason) = self.worker.settle(decision, &self.host) else {
            return Action::Continue;
        };
        let status = egress.settings.block_status;
        // Istio's 502 has no body.
        let body = if status == 502 { "" } else { text(reason) };
        self.host.reply(&LocalReply {
            status,
            grpc_status: None,
            headers: Vec::new(),
            body: body.as_bytes(),
            details: details(reason),
        });
        Action::Pause
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

/// The body of the reply to a refused request.
fn text(reason: Reason) -> &'static str {
    match reason {
        Reason::AddressMismatch => "egress: the host is not registered for this address",
        Reason::NoName => "egress: the request names no host",
        Reason::UnknownAddress => "egress: the address is not registered",
        Reason::UnknownName => "egress: the host is not registered",
        Reason::UnknownPort => "egress: the host is not registered for this port",
    }
}

/// `%RESPONSE_CODE_DETAILS%` of a refused request.
fn details(reason: Reason) -> &'static str {
    match reason {
        Reason::AddressMismatch => "sluice_egress_address_mismatch",
        Reason::NoName => "sluice_egress_no_name",
        Reason::UnknownAddress => "sluice_egress_unknown_address",
        Reason::UnknownName => "sluice_egress_unknown_name",
        Reason::UnknownPort => "sluice_egress_unknown_port",
    }
}

#[cfg(test)]
mod tests;
