//! The modules as they ship, in a host that follows a script and counts.
//!
//! An interpreter runs them, so that the count of instructions is exact and the same on every
//! machine. What is counted is what a module does, not how long it takes: `tests/bench` measures
//! that, in Envoy.

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
