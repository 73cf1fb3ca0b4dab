//! Indexes that find a rule or a name among thousands without a search through all of them.

pub mod address_ranges;
pub mod name_table;
pub mod rule_index;
pub mod virtual_hosts;
