//! Counts consecutive failures. Ejection is separate.

use super::classify::{Outcome, Verdict, external_verdict, is_local_failure};
use super::cluster::Standing;
use super::effect::Reason;
use crate::spec::outlier_detection::{Consecutive, Settings};

/// The consecutive failures of a host. The workers share this value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of ejections of the host when the counts were recorded. Older counts are ignored
    generation: u32,
    /// Consecutive failures of any kind
    pub consecutive_5xx: u32,
    /// Consecutive gateway errors
    pub consecutive_gateway_failure: u32,
    /// Consecutive local failures
    pub consecutive_local_origin_failure: u32,
}

/// The detections that one attempt caused, in the order in which they must be handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detections([Option<Reason>; 2]);

impl Detections {
    /// Returns whether there are no detections.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The reasons.
    pub fn iter(&self) -> impl Iterator<Item = Reason> + use<> {
        self.0.into_iter().flatten()
    }
}

impl Counts {
    /// The length of the encoding, in bytes.
    pub const LENGTH: usize = 16;

    /// Encodes the counts. A missing value in the store is equal to counts without failures.
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

    /// Decodes counts. `None` if `bytes` is not a valid encoding.
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

    /// The counts since the last ejection. Counts from before it are replaced by zeros.
    pub fn since_ejection(self, standing: Standing) -> Self {
        if self.generation == standing.ejections { self } else { Self::default() }
    }

    /// Returns the counts after an attempt, and the detections that it caused. Counts that did not
    /// change need no write. This is the case for a success of a host without failures, and for all
    /// outcomes of an ejected host.
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
        if let Some(is_failure) = is_local_failure(settings, outcome) {
            let [first, _] = &mut found.0;
            let count = &mut counts.consecutive_local_origin_failure;
            // Without a response, the connection was still a success, which resets the count first.
            if !is_failure || outcome == Outcome::NoResponse {
                *count = 0;
            }
            if is_failure {
                let detector = settings.consecutive_local_origin_failure;
                *first = increment(count, detector, Reason::ConsecutiveLocalOriginFailure);
            }
        }
        if let Some(verdict) = external_verdict(settings, outcome) {
            let (gateway, all) =
                (&mut counts.consecutive_gateway_failure, &mut counts.consecutive_5xx);
            let [first, second] = &mut found.0;
            if verdict == Verdict::GatewayError {
                let detector = settings.consecutive_gateway_failure;
                *first = increment(gateway, detector, Reason::ConsecutiveGatewayFailure);
            } else {
                *gateway = 0;
            }
            if verdict == Verdict::Success {
                *all = 0;
            } else {
                *second = increment(all, settings.consecutive_5xx, Reason::Consecutive5xx);
            }
        }
        counts.generation = standing.ejections;
        // Counts without failures are equal in all generations, so a new generation needs no write.
        if counts.is_clear() && self.is_clear() {
            counts = self;
        }
        (counts, found)
    }

    /// Returns whether there are no failures.
    pub fn is_clear(&self) -> bool {
        *self == Self { generation: self.generation, ..Self::default() }
    }
}

/// Increments a counter. At the threshold, resets the counter and returns `reason`.
fn increment(count: &mut u32, detector: Consecutive, reason: Reason) -> Option<Reason> {
    *count = count.saturating_add(1);
    let is_reached = *count == detector.threshold;
    if is_reached {
        *count = 0;
    }
    is_reached.then_some(reason)
}

#[cfg(test)]
mod tests;
