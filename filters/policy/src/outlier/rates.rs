//! Counts all attempts and their successes, for the detection by rates.

use super::classify::{Outcome, Verdict, external_verdict, is_local_failure};
use crate::spec::outlier_detection::Settings;

/// Number of attempts and number of successes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Number of attempts
    pub requests: u32,
    /// Number of successful attempts
    pub successes: u32,
}

impl Rate {
    fn record(&mut self, is_success: bool) {
        self.requests = self.requests.saturating_add(1);
        self.successes = self.successes.saturating_add(u32::from(is_success));
    }

    fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.successes = self.successes.saturating_add(more.successes);
    }
}

/// The attempts of an interval. Each worker counts its own attempts, and adds them to the shared
/// cluster before a tick ([`super::Cluster::add_rates`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Responses, and failures that count as responses
    pub external: Rate,
    /// Connections and missing responses, if they are counted separately
    pub local: Rate,
}

impl Rates {
    /// Counts an attempt.
    pub fn record(&mut self, settings: &Settings, outcome: Outcome) {
        if let Some(verdict) = external_verdict(settings, outcome) {
            self.external.record(verdict == Verdict::Success);
        }
        if let Some(is_failure) = is_local_failure(settings, outcome) {
            // The connection succeeded, so it counts as one success.
            if outcome == Outcome::NoResponse {
                self.local.record(true);
            }
            self.local.record(!is_failure);
        }
    }

    /// Adds attempts that were counted elsewhere.
    pub fn add(&mut self, more: Self) {
        self.external.add(more.external);
        self.local.add(more.local);
    }
}
