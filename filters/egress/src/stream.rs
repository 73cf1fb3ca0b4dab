//! One request or connection through the filter: ask the policy, carry out the answer.
//!
//! Nothing is kept of either: all is decided at its start.

use std::borrow::Cow;

use sluice_host::attributes::StreamAttributes;
use sluice_host::host::{Counter, Host};
use sluice_host::http::{HttpHost, LocalReply};
use sluice_host::network::NetworkHost;
use sluice_policy::egress::{Decision, Egress, Reason};
use sluice_policy::request::header_map;

/// The note with what decided, `%FILTER_STATE(wasm.sluice.egress:PLAIN)%`.
pub const NOTE: &str = "sluice.egress";

/// What all streams of a worker share.
#[derive(Debug)]
pub struct Shared {
    /// The compiled policy
    pub egress: Egress,
    /// What is counted
    pub counters: Counters,
}

/// The filter's counters, `wasmcustom.sluice.egress.*` in Envoy's statistics.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    known: Counter,
    passthrough: Counter,
    reported: Counter,
    address_mismatch: Counter,
    no_name: Counter,
    unknown_address: Counter,
    unknown_name: Counter,
    unknown_port: Counter,
}

impl Counters {
    /// Defines them.
    pub fn new(define: impl Fn(&'static str) -> Counter) -> Self {
        Self {
            known: define("sluice.egress.known"),
            passthrough: define("sluice.egress.passthrough"),
            reported: define("sluice.egress.reported"),
            address_mismatch: define("sluice.egress.address_mismatch"),
            no_name: define("sluice.egress.no_name"),
            unknown_address: define("sluice.egress.unknown_address"),
            unknown_name: define("sluice.egress.unknown_name"),
            unknown_port: define("sluice.egress.unknown_port"),
        }
    }

    fn of(&self, reason: Reason) -> Counter {
        match reason {
            Reason::AddressMismatch => self.address_mismatch,
            Reason::NoName => self.no_name,
            Reason::UnknownAddress => self.unknown_address,
            Reason::UnknownName => self.unknown_name,
            Reason::UnknownPort => self.unknown_port,
        }
    }
}

/// What happens to a request or connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on.
    Continue,
    /// The request was answered, the connection was closed.
    Refused,
}

/// Lets a request pass, or answers it.
pub fn on_request_headers(shared: &Shared, host: &impl HttpHost) -> Next {
    let headers = host.encoded_request_headers();
    let (mut method, mut authority) = (None, None);
    for (name, value) in header_map::decode(&headers) {
        match name {
            b":method" => _ = method.get_or_insert(value),
            b":authority" => _ = authority.get_or_insert(value),
            _ => {}
        }
    }
    let is_connect = method == Some(b"CONNECT");
    let destination = StreamAttributes(host).destination();
    let decision = shared.egress.request(authority.unwrap_or_default(), is_connect, destination);
    let Some(reason) = shared.refusal(decision, host) else { return Next::Continue };
    let status = shared.egress.settings.block_status;
    // Istio's 502 has no body.
    let body = if status == 502 { "" } else { text(reason) };
    host.reply(&LocalReply {
        status,
        grpc_status: None,
        headers: Vec::new(),
        body: body.as_bytes(),
        details: details(reason),
    });
    Next::Refused
}

/// Lets a connection pass, or closes it.
pub fn on_new_connection(shared: &Shared, host: &impl NetworkHost) -> Next {
    let attributes = StreamAttributes(host);
    let server_name = attributes.server_name().unwrap_or_default();
    let decision = shared.egress.connection(&server_name, attributes.destination());
    if shared.refusal(decision, host).is_none() {
        return Next::Continue;
    }
    host.close_downstream();
    Next::Refused
}

impl Shared {
    /// Counts and notes a decision; for what reason it has to be refused.
    fn refusal(&self, decision: Decision, host: &impl Host) -> Option<Reason> {
        let (counter, note) = match decision {
            Decision::Known { entry: Some(entry) } => {
                let mut note = String::with_capacity(40);
                note.push_str("serviceEntries[");
                note.push_str(itoa::Buffer::new().format(entry));
                note.push(']');
                (self.counters.known, Cow::Owned(note))
            }
            Decision::Known { entry: None } => (self.counters.known, "address".into()),
            Decision::Passthrough => (self.counters.passthrough, "passthrough".into()),
            Decision::Refused(reason) => (self.counters.of(reason), reason.name().into()),
        };
        host.increment(counter);
        host.note(NOTE, &note);
        let Decision::Refused(reason) = decision else { return None };
        if self.egress.settings.only_reports {
            host.increment(self.counters.reported);
            return None;
        }
        Some(reason)
    }
}

/// What a client is told, where it is told anything.
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
