//! A host that answers wrongly: calls that fail, values that make no sense, callbacks in an odd
//! order.
//!
//! It keeps the rules that Envoy cannot break, because its own code depends on them
//! (`proxy_wasm::ContextBase`): a context is created once, under a plugin that exists, and gets no
//! callback after its deletion; a plugin outlives its streams; a request gets no callbacks of
//! connections.

mod documents;
mod each_call;
mod mixture;
mod surroundings;
mod traffic;

pub use crate::answers::{Hostility, STATUSES};
pub use each_call::{CallFailures, fail_each_call};
pub use mixture::{MAX_GROWTH, Mixture, mix};
pub use traffic::{Outcome, Target, Traffic};

/// The modules.
pub const MODULES: [&str; 7] = ["egress", "fault", "mirror", "outlier", "router", "sluice", "sni"];
