//! What only the command uses: explanations, and rules that have no effect.

pub mod explain;
pub mod lint;
