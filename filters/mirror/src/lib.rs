//! The mirror filter: decides which requests are copied and where to, as an Istio VirtualService
//! says.

pub mod event;
mod comparison;
pub mod worker;
mod original;
pub mod copies;
pub mod stream;
mod plugin;
