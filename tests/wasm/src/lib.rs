//! The released modules in a scripted host that counts.
//!
//! An interpreter runs them, so that the number of instructions is exact and equal on every
//! machine. `tests/bench` measures time, in Envoy.

mod abi;
mod answers;
mod bundle;
mod cases;
mod costs;
mod count;
mod headers;
mod host;
pub mod hostile;
mod instance;

pub use cases::{Case, Stream};
pub use costs::{Costs, STREAMS, Table, measure, run};
pub use headers::Headers;
pub use host::Host;
pub use instance::{Exchange, Instance, Program, modules};

/// Returns all cases.
pub fn cases() -> Vec<Case> {
    cases::of_filters().into_iter().chain(bundle::cases()).collect()
}
