//! The fault filter: delays and aborts requests as an Istio VirtualService says.

pub mod worker;
pub mod stream;
mod plugin;
