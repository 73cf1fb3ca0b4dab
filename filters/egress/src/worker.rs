//! The egress filter on one worker: what its streams share.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use sluice_host::attributes::StreamAttributes;
use sluice_host::counters;
use sluice_host::counters::Counters;
use sluice_host::explained::{Explained, Explaining};
use sluice_host::filter::Action;
use sluice_host::host::{Host, PluginHost};
use sluice_host::http::{HttpHost, LocalReply};
use sluice_policy::egress::{Decision, Egress, Reason};
use sluice_policy::explain;
use sluice_policy::request::Request;

/// The note with the decision, `%FILTER_STATE(wasm.sluice.egress:PLAIN)%`.
pub const NOTE: &str = "sluice.egress";

counters! {
    /// What is counted, as `wasmcustom.sluice.egress.*` in Envoy's statistics.
    pub enum Event in "sluice.egress." {
        /// The service is registered.
        Known = "known",
        /// The service is not registered, but every call is allowed.
        Passthrough = "passthrough",
        /// The call would have been refused, but is only reported.
        Reported = "reported",
        /// The host is not registered for the address.
        AddressMismatch = "address_mismatch",
        /// The call has no host name.
        NoName = "no_name",
        /// The address is not registered.
        UnknownAddress = "unknown_address",
        /// The host is not registered.
        UnknownName = "unknown_name",
        /// The host is not registered for the port.
        UnknownPort = "unknown_port",
    }
}

impl From<Reason> for Event {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::AddressMismatch => Self::AddressMismatch,
            Reason::NoName => Self::NoName,
            Reason::UnknownAddress => Self::UnknownAddress,
            Reason::UnknownName => Self::UnknownName,
            Reason::UnknownPort => Self::UnknownPort,
        }
    }
}

/// What all streams of a worker share.
#[derive(Debug)]
pub struct Worker {
    /// The compiled policy
    pub egress: Arc<Egress>,
    /// The counters
    pub counters: Counters<Event>,
    /// Who gets explanations
    pub explaining: Option<Rc<Explaining>>,
}

impl Worker {
    /// The filter of a worker.
    pub fn with_policy(egress: Arc<Egress>, host: &impl PluginHost) -> Self {
        let explaining = Explaining::new(egress.explain.as_ref());
        Self { egress, counters: Counters::define(host), explaining }
    }

    /// Decides about a request by its method and authority.
    pub fn decide(&self, method: &[u8], authority: &[u8], host: &impl HttpHost) -> Decision {
        let destination = StreamAttributes(host).destination();
        self.egress.request(authority, method == b"CONNECT", destination)
    }

    /// Explains the decision about a request. Returns also whether the request is refused.
    pub fn explain(&self, request: &Request<'_>, host: &impl HttpHost) -> (String, bool) {
        let decision = self.decide(request.method, request.authority, host);
        let is_refused = self.egress.refuses(decision).is_some();
        (explain::egress(decision, is_refused), is_refused)
    }

    /// Carries out a decision about a request: allows the request, or answers it.
    pub fn apply(&self, decision: Decision, explained: &Explained, host: &impl HttpHost) -> Action {
        let Some(reason) = self.settle(decision, host) else { return Action::Continue };
        let status = self.egress.settings.block_status;
        // Istio's 502 has no body.
        let body = if status == 502 { "" } else { text(reason) };
        let headers = explained.reply_headers(host);
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        host.reply(&LocalReply {
            status,
            grpc_status: None,
            headers: headers.collect(),
            body: body.as_bytes(),
            details: details(reason),
        });
        Action::Pause
    }

    /// Counts a decision and leaves a note about it. Returns the reason if the call is to be
    /// refused.
    pub fn settle(&self, decision: Decision, host: &impl Host) -> Option<Reason> {
        let (event, note) = match decision {
            Decision::Known { entry: Some(entry) } => {
                let mut note = String::with_capacity(40);
                note.push_str("serviceEntries[");
                note.push_str(itoa::Buffer::new().format(entry));
                note.push(']');
                (Event::Known, Cow::Owned(note))
            }
            Decision::Known { entry: None } => (Event::Known, "address".into()),
            Decision::Passthrough => (Event::Passthrough, "passthrough".into()),
            Decision::Refused(reason) => (reason.into(), reason.name().into()),
        };
        self.counters.increment(event, host);
        host.note(NOTE, &note);
        let refused = self.egress.refuses(decision);
        if refused.is_none() && matches!(decision, Decision::Refused(_)) {
            self.counters.increment(Event::Reported, host);
        }
        refused
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
