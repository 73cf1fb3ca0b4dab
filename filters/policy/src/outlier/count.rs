//! Counting failures in a row. Nothing is ejected here.

use super::classify::{Outcome, Verdict, external, local};
use super::cluster::Standing;
use super::effect::Reason;
use crate::spec::outlier_detection::{Consecutive, Settings};

/// How many failures in a row a host has had. The value that workers share of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How often the host had been ejected then: counts from before an ejection are none
    generation: u32,
    /// Failures of any kind
    pub consecutive_5xx: u32,
    /// Gateway errors
    pub consecutive_gateway_failure: u32,
    /// Local failures
    pub consecutive_local_origin_failure: u32,
}

/// What one attempt gave reason to suspect, in the order in which it is to be acted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detections([Option<Reason>; 2]);

impl Detections {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The reasons.
    pub fn iter(&self) -> impl Iterator<Item = Reason> + use<> {
        self.0.into_iter().flatten()
    }
}

impl Counts {
    /// The length of the encoding.
    pub const LENGTH: usize = 16;

    /// The counts as bytes. A missing value is one without failures.
    pub fn encode(self) -> [u8; Self::LENGTH] {
        let words = [
            self.generation,
            self.consecutive_5xx,
            self.consecutive_gateway_failure,
            self.consecutive_local_origin_failure,
        ];
        let mut bytes = [0; Self::LENGTH];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The counts of an encoding; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LENGTH] = bytes.try_into().ok()?;
        let mut words = bytes.chunks_exact(4).map_while(|word| word.try_into().ok());
        let mut word = || words.next().map(u32::from_le_bytes);
        Some(Self {
            generation: word()?,
            consecutive_5xx: word()?,
            consecutive_gateway_failure: word()?,
            consecutive_local_origin_failure: word()?,
        })
    }

    /// What of the counts holds: those from before an ejection do not.
    pub fn since_ejection(self, standing: Standing) -> Self {
        if self.generation == standing.ejections { self } else { Self::default() }
    }

    /// The counts after an attempt, and what it gave reason to suspect. Counts that are as they were
    /// need not be written: so it is with a success on a host without failures, and with any
    /// outcome on a host that is ejected.
    ///
    /// Source: Envoy `DetectorHostMonitorImpl::putHttpResponseCode` and `putResult`.
    pub fn record(
        self,
        settings: &Settings,
        standing: Standing,
        outcome: Outcome,
    ) -> (Self, Detections) {
        if standing.is_ejected {
            return (self, Detections::default());
        }
        let mut counts = self.since_ejection(standing);
        let mut found = Detections::default();
        if let Some(is_failure) = local(settings, outcome) {
            let [first, _] = &mut found.0;
            let count = &mut counts.consecutive_local_origin_failure;
            // A connection was made before the response failed to come: only it counts.
            if !is_failure || outcome == Outcome::NoResponse {
                *count = 0;
            }
            if is_failure {
                let detector = settings.consecutive_local_origin_failure;
                *first = raise(count, detector, Reason::ConsecutiveLocalOriginFailure);
            }
        }
        if let Some(verdict) = external(settings, outcome) {
            let (gateway, all) =
                (&mut counts.consecutive_gateway_failure, &mut counts.consecutive_5xx);
            let [first, second] = &mut found.0;
            if verdict == Verdict::GatewayError {
                let detector = settings.consecutive_gateway_failure;
                *first = raise(gateway, detector, Reason::ConsecutiveGatewayFailure);
            } else {
                *gateway = 0;
            }
            if verdict == Verdict::Success {
                *all = 0;
            } else {
                *second = raise(all, settings.consecutive_5xx, Reason::Consecutive5xx);
            }
        }
        counts.generation = standing.ejections;
        // What is clear is the same in any generation, and never written for that alone.
        if counts.is_clear() && self.is_clear() {
            counts = self;
        }
        (counts, found)
    }

    /// Whether there are no failures.
    pub fn is_clear(&self) -> bool {
        *self == Self { generation: self.generation, ..Self::default() }
    }
}

/// Counts one more. The counter starts over when it fires.
fn raise(count: &mut u32, detector: Consecutive, reason: Reason) -> Option<Reason> {
    *count = count.saturating_add(1);
    let fires = *count == detector.threshold;
    if fires {
        *count = 0;
    }
    fires.then_some(reason)
}

#[cfg(test)]
mod tests;
