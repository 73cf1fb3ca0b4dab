//! The router filter: routes requests as an Istio VirtualService says.

pub mod worker;
pub mod routed;
pub mod stream;
mod plugin;
