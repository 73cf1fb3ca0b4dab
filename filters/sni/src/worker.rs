//! The filter on one worker: what its connections and requests share.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use sluice_host::counters;
use sluice_host::counters::Counters;
use sluice_host::delay::Delays;
use sluice_host::host::{Host, PluginHost};
use sluice_host::log_rate::LogRate;
use sluice_host::network::NetworkHost;
use sluice_host::random::Random;
use sluice_policy::sni::{Outcome, SniPolicy};
use sluice_policy::value::server_name::ServerName;

/// The note with the outcome, `%FILTER_STATE(wasm.sluice.sni:PLAIN)%`.
pub const NOTE: &str = "sluice.sni";

counters! {
    /// What is counted, as `wasmcustom.sluice.sni.*` in Envoy's statistics: each outcome, and
    /// whether violations are refused.
    pub enum Event in "sluice.sni." {
        /// A TLS route chose the cluster.
        Routed = "routed",
        /// The outer name is allowed, and the cluster stays the same.
        Allowed = "allowed",
        /// The inner ClientHello has the outer name.
        SnisMatch = "snis_match",
        /// SNI and `:authority` are allowed and belong together.
        Agreed = "agreed",
        /// There is no SNI.
        NoSni = "no_sni",
        /// The SNI is not a host name.
        InvalidSni = "invalid_sni",
        /// The SNI or the `:authority` is not an allowed host.
        HostNotAllowed = "host_not_allowed",
        /// No TLS route matches the connection.
        NoRoute = "no_route",
        /// The `:authority` belongs to another host than the SNI.
        Misdirected = "misdirected",
        /// The inner ClientHello has another name than the outer one.
        SnisDoNotMatch = "snis_do_not_match",
        /// The inner ClientHello has no name.
        InnerSniNotFound = "inner_sni_not_found",
        /// The bytes in the connection are not TLS.
        TlsNotFound = "tls_not_found",
        /// The ClientHello breaks the rules of TLS.
        MalformedHello = "malformed_client_hello",
        /// The ClientHello is larger than `maxClientHelloBytes`.
        ClientHelloTooLarge = "client_hello_too_large",
        /// The ClientHello has an encrypted one inside.
        Ech = "ech",
        /// The client closed the connection before its ClientHello was complete.
        IncompleteHello = "incomplete_client_hello",
        /// The ClientHello took longer than `helloTimeout`.
        HelloTimeout = "client_hello_timeout",
        /// A violation was refused.
        Refused = "refused",
        /// A violation was only reported.
        Reported = "reported",
    }
}

impl From<Outcome> for Event {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Routed => Self::Routed,
            Outcome::Allowed => Self::Allowed,
            Outcome::SnisMatch => Self::SnisMatch,
            Outcome::Agreed => Self::Agreed,
            Outcome::NoSni => Self::NoSni,
            Outcome::InvalidSni => Self::InvalidSni,
            Outcome::HostNotAllowed => Self::HostNotAllowed,
            Outcome::NoRoute => Self::NoRoute,
            Outcome::Misdirected => Self::Misdirected,
            Outcome::SnisDoNotMatch => Self::SnisDoNotMatch,
            Outcome::InnerSniNotFound => Self::InnerSniNotFound,
            Outcome::TlsNotFound => Self::TlsNotFound,
            Outcome::MalformedHello => Self::MalformedHello,
            Outcome::ClientHelloTooLarge => Self::ClientHelloTooLarge,
            Outcome::Ech => Self::Ech,
            Outcome::IncompleteHello => Self::IncompleteHello,
            Outcome::HelloTimeout => Self::HelloTimeout,
        }
    }
}

/// What all connections and requests of a worker share.
#[derive(Debug)]
pub struct Worker {
    /// The compiled policy
    pub policy: Arc<SniPolicy>,
    /// Draws for weighted choices
    pub random: Random,
    /// The connections whose ClientHello is not complete
    pub delays: Delays<Waiting>,
    counters: Counters<Event>,
    log_rate: LogRate,
}

/// What the queue keeps of a connection.
pub type Waiting = Rc<State>;

/// What a connection and the queue both change.
#[derive(Debug, Default)]
pub struct State {
    /// The progress of the connection
    pub phase: Cell<Phase>,
    /// When its ClientHello has to be complete
    pub deadline: Cell<Option<Instant>>,
    /// Its SNI
    pub outer: RefCell<Option<ServerName>>,
}

/// The progress of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// No bytes have arrived.
    #[default]
    Opened,
    /// The ClientHello is not complete before this many bytes have arrived.
    Reading(usize),
    /// The connection is allowed, and everything passes.
    Passing,
    /// The connection is refused.
    Closed,
}

/// The names in a log line. Names that are not host names are left out: other bytes of a client
/// must not get into a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// The SNI of the connection
    pub sni: Option<&'a ServerName>,
    /// The SNI of the inner ClientHello, or the authority of a request
    pub inner: Option<&'a ServerName>,
}

impl Worker {
    /// The filter of a worker, without connections.
    pub fn with_policy(policy: Arc<SniPolicy>, host: &impl PluginHost) -> Self {
        Self {
            policy,
            random: Random::default(),
            delays: Delays::default(),
            counters: Counters::define(host),
            log_rate: LogRate::default(),
        }
    }

    /// Counts an outcome, leaves a note about it and logs it if it is a violation. Returns whether
    /// the connection or request is to be refused.
    pub fn settle(&self, host: &impl Host, outcome: Outcome, names: Names<'_>) -> bool {
        self.counters.increment(outcome.into(), host);
        host.note(NOTE, outcome.name());
        if !outcome.is_violation() {
            return false;
        }
        let is_refused = self.policy.refuses(outcome);
        self.counters.increment(if is_refused { Event::Refused } else { Event::Reported }, host);
        self.log(host, outcome, is_refused, names);
        is_refused
    }

    fn log(&self, host: &impl Host, outcome: Outcome, is_refused: bool, names: Names<'_>) {
        let Some(suppressed) = self.log_rate.admit(host.now()) else { return };
        let (outcome, action) = (outcome.name(), if is_refused { "refused" } else { "reported" });
        let (sni, inner) = (Shown(names.sni), Shown(names.inner));
        let source = host.property(&["source", "address"]).unwrap_or_default();
        let source = String::from_utf8_lossy(&source);
        log::warn!(
            "sni outcome={outcome} action={action} sni={sni} asked={inner} source={source} \
             {suppressed}"
        );
    }

    /// Closes a connection whose ClientHello took too long, or resumes it if violations are only
    /// reported. Calls of `host` apply to this connection.
    pub fn on_hello_timeout(&self, state: &State, host: &impl NetworkHost) {
        state.deadline.set(None);
        let outer = state.outer.borrow();
        let names = Names { sni: outer.as_ref(), inner: None };
        if self.settle(host, Outcome::HelloTimeout, names) {
            state.phase.set(Phase::Closed);
            host.close_downstream();
        } else {
            state.phase.set(Phase::Passing);
            host.resume_downstream();
        }
    }
}

struct Shown<'a>(Option<&'a ServerName>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.map_or("-", ServerName::as_str))
    }
}

#[cfg(test)]
mod tests {
    use sluice_host::counters::CounterSet;

    use super::*;

    #[test]
    fn outcomes_have_the_counter_that_the_policy_names() {
        for outcome in Outcome::ALL {
            assert_eq!(Event::from(outcome).counter_name(), outcome.counter());
        }
        assert_eq!(Event::NAMES.len(), Outcome::ALL.len() + 2);
    }
}
