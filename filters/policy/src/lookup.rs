//! Finding one among ten thousand.

pub mod hash;
pub mod name_table;
pub mod rule_index;
pub mod virtual_hosts;
