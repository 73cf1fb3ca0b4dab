//! Counting all attempts, where rates are looked at.

use super::classify::{Outcome, Verdict, external, local};
use crate::spec::outlier_detection::Settings;

/// How many attempts there were, and how many of them were good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// All
    pub requests: u32,
    /// The good ones
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

/// The attempts of an interval. A worker counts its own, and adds them to those of the others
/// before a tick ([`super::Cluster::add_rates`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Responses, and all that counts as one
    pub external: Rate,
    /// Connections and missing responses, where they are counted by themselves
    pub local: Rate,
}

impl Rates {
    /// Counts an attempt.
    pub fn record(&mut self, settings: &Settings, outcome: Outcome) {
        if let Some(verdict) = external(settings, outcome) {
            self.external.record(verdict == Verdict::Success);
        }
        if let Some(is_failure) = local(settings, outcome) {
            if outcome == Outcome::NoResponse {
                self.local.record(true);
            }
            self.local.record(!is_failure);
        }
    }

    /// Adds the attempts that another counted.
    pub fn add(&mut self, more: Self) {
        self.external.add(more.external);
        self.local.add(more.local);
    }
}
