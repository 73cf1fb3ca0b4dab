//! `outlier.wasm`: keeps requests away from hosts that fail, as an Istio DestinationRule says.
//!
//! One module in two places. In a cluster, as an upstream filter, it sees each attempt and counts
//! ([`stream`]). Before Envoy's router it names the hosts that a request may go to, while some are ejected.
//! Both, on all workers, know of each other what is in the shared store ([`stored`]).

pub mod metrics;
pub mod monitor;
#[cfg(target_family = "wasm")]
mod plugin;
pub mod stored;
pub mod stream;
pub mod worker;
