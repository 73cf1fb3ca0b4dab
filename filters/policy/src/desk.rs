//! What only the command asks for.

pub mod explain;
pub mod lint;
