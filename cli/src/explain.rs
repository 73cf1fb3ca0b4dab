//! `sluice explain`: what the filters do with a request and why, rule by rule.

mod effect;
mod explanation;
mod header;
mod json;
mod normalize;
mod others;
mod request;
mod text;

pub use effect::{Effect, Part};
pub use explanation::{Detail, Explanation};
pub use header::Explained;
pub use request::{Client, ExplainArgs, Logged, host_and_path};

#[cfg(test)]
mod tests;
