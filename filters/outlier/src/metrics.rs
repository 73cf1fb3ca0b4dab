//! Metrics and log lines about detections, ejections and returns.

use sluice_host::counters;
use sluice_host::counters::Counters;
use sluice_host::host::{Gauge, Host, PluginHost};
use sluice_host::log_rate::LogRate;
use sluice_policy::outlier::{Effect, EffectKind, Reason};

/// Hosts that are ejected, in the whole Envoy.
pub const EJECTIONS_ACTIVE: &str = "sluice.outlier.ejections_active";

counters! {
    /// What is counted, as `wasmcustom.sluice.outlier.*` in Envoy's statistics. The names are those
    /// of Envoy's outlier detection where it counts the same.
    pub enum Event in "sluice.outlier." {
        /// A host was ejected, for any reason.
        Enforced = "ejections_enforced_total",
        /// A host was not ejected because too many were.
        Overflowed = "ejections_overflow",
        /// A host was ejected, or could have been, for one of Envoy's two oldest reasons.
        Ejected = "ejections_total",
        /// An outlier was detected by consecutive 5xx responses.
        DetectedConsecutive5xx = "ejections_detected_consecutive_5xx",
        /// An outlier was detected by consecutive gateway failures.
        DetectedConsecutiveGatewayFailure = "ejections_detected_consecutive_gateway_failure",
        /// An outlier was detected by consecutive local origin failures.
        DetectedConsecutiveLocalOriginFailure =
            "ejections_detected_consecutive_local_origin_failure",
        /// An outlier was detected by its share of failures.
        DetectedFailurePercentage = "ejections_detected_failure_percentage",
        /// An outlier was detected by its share of local origin failures.
        DetectedLocalOriginFailurePercentage = "ejections_detected_local_origin_failure_percentage",
        /// An outlier was detected by its success rate of connections.
        DetectedLocalOriginSuccessRate = "ejections_detected_local_origin_success_rate",
        /// A probe has failed.
        DetectedProbe = "ejections_detected_probe",
        /// An outlier was detected by its success rate.
        DetectedSuccessRate = "ejections_detected_success_rate",
        /// An outlier by consecutive 5xx responses was ejected.
        EnforcedConsecutive5xx = "ejections_enforced_consecutive_5xx",
        /// An outlier by consecutive gateway failures was ejected.
        EnforcedConsecutiveGatewayFailure = "ejections_enforced_consecutive_gateway_failure",
        /// An outlier by consecutive local origin failures was ejected.
        EnforcedConsecutiveLocalOriginFailure =
            "ejections_enforced_consecutive_local_origin_failure",
        /// An outlier by its share of failures was ejected.
        EnforcedFailurePercentage = "ejections_enforced_failure_percentage",
        /// An outlier by its share of local origin failures was ejected.
        EnforcedLocalOriginFailurePercentage = "ejections_enforced_local_origin_failure_percentage",
        /// An outlier by its success rate of connections was ejected.
        EnforcedLocalOriginSuccessRate = "ejections_enforced_local_origin_success_rate",
        /// A host was ejected again by a failed probe.
        EnforcedProbe = "ejections_enforced_probe",
        /// An outlier by its success rate was ejected.
        EnforcedSuccessRate = "ejections_enforced_success_rate",
        /// A request was sent to the fallback cluster.
        Fallback = "fallbacks",
        /// A request was answered because no host was left.
        NoHealthyUpstream = "no_healthy_upstream",
        /// A request was sent as a probe.
        Probe = "probes",
        /// A host was not ejected because of `mode: shadow`.
        Withheld = "shadow_ejections",
    }
}

impl Event {
    fn detected(reason: Reason) -> Self {
        match reason {
            Reason::Consecutive5xx => Self::DetectedConsecutive5xx,
            Reason::ConsecutiveGatewayFailure => Self::DetectedConsecutiveGatewayFailure,
            Reason::ConsecutiveLocalOriginFailure => Self::DetectedConsecutiveLocalOriginFailure,
            Reason::FailurePercentage => Self::DetectedFailurePercentage,
            Reason::LocalOriginFailurePercentage => Self::DetectedLocalOriginFailurePercentage,
            Reason::LocalOriginSuccessRate => Self::DetectedLocalOriginSuccessRate,
            Reason::Probe => Self::DetectedProbe,
            Reason::SuccessRate => Self::DetectedSuccessRate,
        }
    }

    fn enforced(reason: Reason) -> Self {
        match reason {
            Reason::Consecutive5xx => Self::EnforcedConsecutive5xx,
            Reason::ConsecutiveGatewayFailure => Self::EnforcedConsecutiveGatewayFailure,
            Reason::ConsecutiveLocalOriginFailure => Self::EnforcedConsecutiveLocalOriginFailure,
            Reason::FailurePercentage => Self::EnforcedFailurePercentage,
            Reason::LocalOriginFailurePercentage => Self::EnforcedLocalOriginFailurePercentage,
            Reason::LocalOriginSuccessRate => Self::EnforcedLocalOriginSuccessRate,
            Reason::Probe => Self::EnforcedProbe,
            Reason::SuccessRate => Self::EnforcedSuccessRate,
        }
    }
}

/// The filter's metrics.
#[derive(Debug)]
pub struct Metrics {
    /// The counters
    pub counters: Counters<Event>,
    ejections_active: Gauge,
    /// Limits the log lines about ejections that shadow mode withholds
    log_rate: LogRate,
}

impl Metrics {
    /// Defines the metrics in Envoy. A dynamic module has none: it ejects no hosts, and Envoy would
    /// show the metrics again for each cluster.
    pub fn define<H: PluginHost>(host: &H) -> Self {
        if H::IS_NATIVE {
            let (counters, ejections_active) = (Counters::none(), Gauge(u32::MAX));
            return Self { counters, ejections_active, log_rate: LogRate::default() };
        }
        Self {
            counters: Counters::define(host),
            ejections_active: host.define_gauge(EJECTIONS_ACTIVE),
            log_rate: LogRate::default(),
        }
    }

    /// Counts and logs effects. Only the worker that caused them calls it, so that each effect is
    /// reported once.
    pub fn report(&self, cluster: &str, effects: &[Effect], host: &impl Host) {
        let count = |event| self.counters.increment(event, host);
        for (index, effect) in effects.iter().enumerate() {
            let address = String::from_utf8_lossy(&effect.host);
            match effect.kind {
                EffectKind::Detected { reason, enforced } => {
                    count(Event::detected(reason));
                    if enforced {
                        count(Event::enforced(reason));
                        count(Event::Enforced);
                    }
                    let next = effects.get(index.saturating_add(1)).map(|next| next.kind);
                    let is_overflow = next == Some(EffectKind::Overflow);
                    // As in Envoy, where this counter is older than the others.
                    let is_old = matches!(reason, Reason::Consecutive5xx | Reason::SuccessRate);
                    if is_old && !is_overflow {
                        count(Event::Ejected);
                    }
                }
                EffectKind::Ejected { reason, time, ejections } => {
                    if reason == Reason::Probe {
                        // The host has been ejected all along.
                        count(Event::DetectedProbe);
                        count(Event::EnforcedProbe);
                        count(Event::Enforced);
                    } else {
                        host.change(self.ejections_active, 1);
                    }
                    log::warn!(
                        "outlier event=ejected cluster={cluster:?} host={address:?} \
                         reason={reason} ejections={ejections} for={time:?}"
                    );
                }
                EffectKind::Departed => {
                    host.change(self.ejections_active, -1);
                    log::warn!("outlier event=departed cluster={cluster:?} host={address:?}");
                }
                EffectKind::Forgotten => {}
                EffectKind::Overflow => count(Event::Overflowed),
                EffectKind::Withheld { reason } => {
                    count(Event::Withheld);
                    if let Some(suppressed) = self.log_rate.admit(host.now()) {
                        log::info!(
                            "outlier event=withheld cluster={cluster:?} host={address:?} \
                             reason={reason} {suppressed}"
                        );
                    }
                }
                EffectKind::Returned { after } => {
                    host.change(self.ejections_active, -1);
                    log::warn!(
                        "outlier event=returned cluster={cluster:?} host={address:?} \
                         after={after:?}"
                    );
                }
            }
        }
    }

    /// Subtracts ejections of another configuration, whose state has been replaced.
    pub fn forget(&self, ejected: usize, host: &impl Host) {
        if ejected > 0 {
            let change = i64::try_from(ejected).map_or(0, |ejected| -ejected);
            host.change(self.ejections_active, change);
        }
    }
}

#[cfg(test)]
mod tests {
    use sluice_host::counters::CounterSet;

    use super::*;

    #[test]
    fn reasons_have_the_counters_that_the_policy_names() {
        for reason in [
            Reason::Consecutive5xx,
            Reason::ConsecutiveGatewayFailure,
            Reason::ConsecutiveLocalOriginFailure,
            Reason::FailurePercentage,
            Reason::LocalOriginFailurePercentage,
            Reason::LocalOriginSuccessRate,
            Reason::Probe,
            Reason::SuccessRate,
        ] {
            let name = |kind: &str| format!("sluice.outlier.ejections_{kind}_{reason}");
            assert_eq!(Event::detected(reason).counter_name(), name("detected"));
            assert_eq!(Event::enforced(reason).counter_name(), name("enforced"));
        }
    }
}
