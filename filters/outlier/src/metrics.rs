//! What is counted and logged of detections, ejections and returns.

use sluice_host::host::{Counter, Gauge, Host};
use sluice_policy::outlier::{Effect, EffectKind, Reason};

/// All reasons, in the order of their counters.
const REASONS: [Reason; 8] = [
    Reason::Consecutive5xx,
    Reason::ConsecutiveGatewayFailure,
    Reason::ConsecutiveLocalOriginFailure,
    Reason::FailurePercentage,
    Reason::LocalOriginFailurePercentage,
    Reason::LocalOriginSuccessRate,
    Reason::Probe,
    Reason::SuccessRate,
];

/// The filter's metrics, `wasmcustom.sluice.outlier.*` in Envoy's statistics.
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    ejections_active: Gauge,
    ejections_enforced_total: Counter,
    ejections_overflow: Counter,
    ejections_total: Counter,
    detected: [Counter; REASONS.len()],
    enforced: [Counter; REASONS.len()],
    pub(crate) fallbacks: Counter,
    pub(crate) no_healthy_upstream: Counter,
    pub(crate) probes: Counter,
}

impl Metrics {
    /// Defines them.
    pub fn new(
        counter: impl Fn(&'static str) -> Counter,
        gauge: impl Fn(&'static str) -> Gauge,
    ) -> Self {
        Self {
            ejections_active: gauge("sluice.outlier.ejections_active"),
            ejections_enforced_total: counter("sluice.outlier.ejections_enforced_total"),
            ejections_overflow: counter("sluice.outlier.ejections_overflow"),
            ejections_total: counter("sluice.outlier.ejections_total"),
            detected: [
                counter("sluice.outlier.ejections_detected_consecutive_5xx"),
                counter("sluice.outlier.ejections_detected_consecutive_gateway_failure"),
                counter("sluice.outlier.ejections_detected_consecutive_local_origin_failure"),
                counter("sluice.outlier.ejections_detected_failure_percentage"),
                counter("sluice.outlier.ejections_detected_local_origin_failure_percentage"),
                counter("sluice.outlier.ejections_detected_local_origin_success_rate"),
                counter("sluice.outlier.ejections_detected_probe"),
                counter("sluice.outlier.ejections_detected_success_rate"),
            ],
            enforced: [
                counter("sluice.outlier.ejections_enforced_consecutive_5xx"),
                counter("sluice.outlier.ejections_enforced_consecutive_gateway_failure"),
                counter("sluice.outlier.ejections_enforced_consecutive_local_origin_failure"),
                counter("sluice.outlier.ejections_enforced_failure_percentage"),
                counter("sluice.outlier.ejections_enforced_local_origin_failure_percentage"),
                counter("sluice.outlier.ejections_enforced_local_origin_success_rate"),
                counter("sluice.outlier.ejections_enforced_probe"),
                counter("sluice.outlier.ejections_enforced_success_rate"),
            ],
            fallbacks: counter("sluice.outlier.fallbacks"),
            no_healthy_upstream: counter("sluice.outlier.no_healthy_upstream"),
            probes: counter("sluice.outlier.probes"),
        }
    }

    /// Tells of what was done. To be called by the worker that did it, and by no other, so that each
    /// event is told once.
    pub fn report(&self, cluster: &str, effects: &[Effect], host: &impl Host) {
        let count = |counters: &[Counter; REASONS.len()], reason: Reason| {
            let index = REASONS.iter().position(|known| *known == reason);
            if let Some(counter) = index.and_then(|index| counters.get(index)) {
                host.increment(*counter);
            }
        };
        for (index, effect) in effects.iter().enumerate() {
            let address = String::from_utf8_lossy(&effect.host);
            match effect.kind {
                EffectKind::Detected { reason, enforced } => {
                    count(&self.detected, reason);
                    if enforced {
                        count(&self.enforced, reason);
                        host.increment(self.ejections_enforced_total);
                    }
                    let next = effects.get(index.saturating_add(1)).map(|next| next.kind);
                    let is_overflow = next == Some(EffectKind::Overflow);
                    // As in Envoy, where this counter is from a time before the others.
                    let is_old = matches!(reason, Reason::Consecutive5xx | Reason::SuccessRate);
                    if is_old && !is_overflow {
                        host.increment(self.ejections_total);
                    }
                }
                EffectKind::Ejected { reason, time, ejections } => {
                    if reason == Reason::Probe {
                        // It has been ejected all the time.
                        count(&self.detected, reason);
                        count(&self.enforced, reason);
                        host.increment(self.ejections_enforced_total);
                    } else {
                        host.change(self.ejections_active, 1);
                    }
                    log::warn!(
                        "outlier event=ejected cluster={cluster:?} host={address:?} reason={reason} \
                         ejections={ejections} for={time:?}"
                    );
                }
                EffectKind::Forgotten => {}
                EffectKind::Overflow => host.increment(self.ejections_overflow),
                EffectKind::Returned { after } => {
                    host.change(self.ejections_active, -1);
                    log::warn!(
                        "outlier event=returned cluster={cluster:?} host={address:?} after={after:?}"
                    );
                }
            }
        }
    }

    /// Takes back so many ejections, of hosts about which nothing is known any more.
    pub fn forget(&self, ejected: usize, host: &impl Host) {
        if ejected > 0 {
            host.change(
                self.ejections_active,
                i64::try_from(ejected).map_or(0, |ejected| -ejected),
            );
        }
    }
}
