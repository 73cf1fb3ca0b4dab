//! The egress filter on one worker: what its streams share.

use std::borrow::Cow;
use std::rc::Rc;

use sluice_host::counters;
use sluice_host::counters::Counters;
use sluice_host::host::Host;
use sluice_policy::egress::{Decision, Egress, Reason};

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
    pub egress: Rc<Egress>,
    /// The counters
    pub counters: Counters<Event>,
}

impl Worker {
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
        let Decision::Refused(reason) = decision else { return None };
        if self.egress.settings.only_reports {
            self.counters.increment(Event::Reported, host);
            return None;
        }
        Some(reason)
    }
}
