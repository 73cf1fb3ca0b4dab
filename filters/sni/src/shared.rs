//! What all connections and requests of a worker share.

use std::cell::RefCell;
use std::fmt;

use sluice_host::delay::DelayQueue;
use sluice_host::host::{Counter, Host};
use sluice_host::log_rate::LogRate;
use sluice_host::random::Random;
use sluice_policy::sni::{Outcome, SniPolicy};
use sluice_policy::value::server_name::ServerName;

use crate::connection::Waiting;

/// The note with what was found, `%FILTER_STATE(wasm.sluice.sni:PLAIN)%`.
pub const NOTE: &str = "sluice.sni";

/// The policy, and what is counted, logged and waited for.
#[derive(Debug)]
pub struct Shared {
    /// The compiled policy
    pub policy: SniPolicy,
    /// Draws for weighted choices
    pub random: Random,
    /// The connections whose ClientHello is to come
    pub queue: RefCell<DelayQueue<Waiting>>,
    counters: Counters,
    log_rate: LogRate,
}

/// The filter's counters, `wasmcustom.sluice.sni.*` in Envoy's statistics.
#[derive(Clone, Debug)]
pub struct Counters {
    outcomes: Vec<(Outcome, Counter)>,
    refused: Counter,
    reported: Counter,
}

impl Counters {
    /// Defines them.
    pub fn new(define: impl Fn(&'static str) -> Counter) -> Self {
        Self {
            outcomes: Outcome::ALL.map(|outcome| (outcome, define(outcome.counter()))).into(),
            refused: define("sluice.sni.refused"),
            reported: define("sluice.sni.reported"),
        }
    }
}

/// What a log line tells of the names. They are shown only where they are host names: other bytes of a
/// client are not for a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// The SNI of the connection
    pub sni: Option<&'a ServerName>,
    /// The SNI inside of it, or the authority of a request
    pub asked: Option<&'a ServerName>,
}

impl Shared {
    /// Nothing waits yet.
    pub fn new(policy: SniPolicy, counters: Counters) -> Self {
        Self {
            policy,
            random: Random::default(),
            queue: RefCell::default(),
            counters,
            log_rate: LogRate::default(),
        }
    }

    /// Counts an outcome, leaves it for access logs and, where it is a violation, logs it. Whether the
    /// connection or the request is to be refused.
    pub fn settle(&self, host: &impl Host, outcome: Outcome, names: Names<'_>) -> bool {
        let known = self.counters.outcomes.iter().find(|(known, _)| *known == outcome);
        if let Some((_, counter)) = known {
            host.increment(*counter);
        }
        host.note(NOTE, outcome.name());
        if !outcome.is_violation() {
            return false;
        }
        let is_refused = self.policy.refuses(outcome);
        let counters = &self.counters;
        host.increment(if is_refused { counters.refused } else { counters.reported });
        self.log(host, outcome, is_refused, names);
        is_refused
    }

    fn log(&self, host: &impl Host, outcome: Outcome, is_refused: bool, names: Names<'_>) {
        let Some(suppressed) = self.log_rate.admit(host.now()) else { return };
        let (outcome, action) = (outcome.name(), if is_refused { "refused" } else { "reported" });
        let (sni, asked) = (Shown(names.sni), Shown(names.asked));
        let source = host.property(&["source", "address"]).unwrap_or_default();
        let source = String::from_utf8_lossy(&source);
        log::warn!(
            "sni outcome={outcome} action={action} sni={sni} asked={asked} source={source} suppressed={suppressed}"
        );
    }
}

struct Shown<'a>(Option<&'a ServerName>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.map_or("-", ServerName::as_str))
    }
}
