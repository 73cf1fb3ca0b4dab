//! Comparison of Istio and the filters: a proxy has the same rules twice, translated by istiod and
//! applied by the filters. Equal requests must get equal responses and reach the same upstreams
//! with the same content. The rules and the requests are generated from a fixed seed.

mod ejections;
mod gateway;
mod inbound;
pub(crate) mod known;
mod sidecar;
pub(crate) mod ways;

/// Compares in each of the asked places: `gateway`, `sidecar`, `ejections`, `inbound`.
pub async fn run(is_asked: impl Fn(&str) -> bool) {
    if is_asked("gateway") {
        gateway::run().await;
    }
    if is_asked("sidecar") {
        sidecar::run().await;
    }
    if is_asked("ejections") {
        ejections::run().await;
    }
    if is_asked("inbound") {
        inbound::run().await;
    }
}
