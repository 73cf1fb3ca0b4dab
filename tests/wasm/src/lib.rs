//! The released modules in a scripted host that counts.
//!
//! An interpreter runs them, so that the number of instructions is exact and equal on every
//! machine. `tests/bench` measures time, in Envoy.

mod abi;
mod cases;
mod costs;
mod count;
mod host;
mod instance;

pub use cases::{Case, Stream, cases};
pub use costs::{Costs, STREAMS, Table, measure, run};
pub use host::{Headers, Host};
pub use instance::{Exchange, Instance, modules};
