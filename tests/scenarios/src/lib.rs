//! Runs what READMEs show: the scenarios of `envoy/scenarios`, and in the tests of this package the
//! examples of the filters.
//!
//! `envoy/scenarios/README.md` describes the files of a scenario.

pub mod built;
mod by_hand;
pub mod check;
pub mod folder;
mod head;
pub mod native;
mod programs;
pub mod readme;
mod rendered;
pub mod run;
mod without;
