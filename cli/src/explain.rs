//! `sluice explain`: what the filters do with a request and why, rule by rule.

mod explanation;
mod json;
mod normalize;
mod others;
mod request;
mod text;

pub use explanation::Explanation;
pub use request::ExplainArgs;

#[cfg(test)]
mod tests;
