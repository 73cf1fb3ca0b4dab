//! How far the cluster `filter` may be from the reference.

use std::time::Duration;

use crate::detection::INTERVAL;

/// Largest allowed differences in a batch of requests.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Percentage of the requests that may be refused although Envoy would serve them, without
    /// failed strays.
    pub refused: f64,
    /// Percentage of the requests that hosts may get although Envoy would spare them, in addition
    /// to [`FIRST_TRIES`].
    pub strays: f64,
    /// Percentage of the requests that may reach another host than with Envoy (total variation
    /// distance of the shares).
    pub spread: f64,
}

/// Number of requests in each batch that may reach an ejected host, whatever its size: the first
/// ones of an interval are left to Envoy.
pub const FIRST_TRIES: u64 = 2;

/// Number of batches after which the shares must be within the tolerance, if [`SETTLED`] has passed
/// too. Refused requests count in each batch.
pub const BATCHES: usize = 10;

/// Time after which the shares must be within the tolerance: ten intervals. The filter lists hosts
/// for three intervals after they have left, and leaves all requests to Envoy if there were none
/// for three intervals. On a fast machine, ten batches take less.
pub const SETTLED: Duration = Duration::from_millis(10 * INTERVAL as u64);

/// The tolerance of most scenarios. A change of the endpoints must not cost a request. To learn of
/// new hosts, the filter leaves requests to Envoy until one reaches an ejected host, in each
/// interval and at most once in 20 requests, for each worker.
const DEFAULT: Tolerance = Tolerance { refused: 0.0, strays: 5.0, spread: 25.0 };

/// The list of the filter names hosts without their weights and localities.
const WEIGHTS: Tolerance = Tolerance { spread: 50.0, ..DEFAULT };

/// Envoy does not know which hosts are ejected, so they do not count for a priority, and an ejected
/// host that is the only one to pass health checks gets requests.
const UNKNOWN_TO_ENVOY: Tolerance = Tolerance { refused: 0.0, strays: 100.0, spread: 100.0 };

/// The filter does not see that a cluster was empty, so a host that comes back under its address is
/// still ejected: its third of the requests moves.
const KEPT: Tolerance = Tolerance { spread: 34.0, ..DEFAULT };

/// With changes four times a second, many requests are left to Envoy. If a host is replaced while
/// all others are ejected, the filter does not know the new one before its first request.
const CHURN: Tolerance = Tolerance { refused: 1.0, strays: 20.0, spread: 100.0 };

/// Returns the tolerance of a scenario.
pub fn of(scenario: &str) -> Tolerance {
    match scenario {
        "weights" | "localities" => WEIGHTS,
        "priorities" | "health_checks" => UNKNOWN_TO_ENVOY,
        "scale_to_zero" => KEPT,
        "churn" | "long_churn" => CHURN,
        _ => DEFAULT,
    }
}
