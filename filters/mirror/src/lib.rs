//! The mirror filter: decides which requests are copied and where to, as an Istio VirtualService
//! says.

pub mod worker;
mod comparison;
pub mod copies;
pub mod stream;
mod plugin;
