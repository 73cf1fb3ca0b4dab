//! The outlier filter: keeps requests away from hosts that fail, as an Istio DestinationRule says.
//!
//! The filter has two places. In a cluster, as an upstream filter, it sees each attempt and counts
//! the outcome ([`stream`]). Before Envoy's router it chooses the hosts of requests while some
//! hosts are ejected. Both share their state with all workers in a store ([`stored`]).

pub mod metrics;
pub mod stored;
pub mod state;
pub mod monitor;
pub mod warnings;
pub mod worker;
pub mod stream;
mod plugin;
