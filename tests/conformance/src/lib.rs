//! The required behaviour of Sluice, as tables: `cases/*.json` contain requests and their routes,
//! `faults/*.json` their faults, `mirrors/*.json` their copies, `sni/*.json` decisions by server
//! name, `egress/*.json` decisions about outbound traffic, `outliers/*.json` ejections of hosts,
//! `rejections/*.json` the errors of configurations.
//!
//! The rows run with the policy crate, natively and as WebAssembly, and with the filters in a mock
//! of Envoy's host. Other implementations, such as the end-to-end tests, read the rows with
//! [`cases`]. `README.md` describes the fields of a row.

mod check;
mod client_hello;
pub mod documents;
mod egress;
mod faults;
mod long_lists;
mod mirrors;
mod outliers;
mod policy;
mod rejection;
mod rows;
mod shares;
mod sni;

pub use check::{Headers, Observed, Outcome, Strictness, lines};
pub use client_hello::Client;
pub use egress::{EgressCase, EgressConnection, EgressRequest, check as check_egress_by_policy};
pub use faults::{FaultCase, FaultExpectation, FaultRequest, check as check_fault_by_policy};
pub use long_lists::{LONG_LISTS, LongList};
pub use mirrors::{MirrorCase, MirrorExpectation, MirrorRequest, check as check_mirror_by_policy};
pub use outliers::{Failure, OutlierCase, Step, check as check_outlier_by_policy};
pub use policy::{Attributes, Listed, NoAttributes, Seeded, check as check_by_policy};
pub use rejection::{Findings, OwnFilter, Rejection, check as check_rejection};
pub use rows::{Case, Distribution, Expectation, Node, Reply, Request};
pub use shares::Counts;
pub use sni::{
    ConnectionExpectation, SniCase, SniConnection, SniRequest, check as check_sni_by_policy,
};

use serde::de::DeserializeOwned;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The rows of one file.
#[derive(Debug)]
pub struct Table<T> {
    /// The file's name without `.json`
    pub topic: &'static str,
    /// The rows, in the order of the file
    pub rows: Vec<T>,
}

/// All rows about requests.
///
/// # Panics
/// If a row has an unknown field or asserts nothing.
pub fn cases() -> Vec<Table<Case>> {
    let tables: Vec<Table<Case>> = CASES.iter().map(|(topic, text)| read(topic, text)).collect();
    tables.iter().flat_map(|table| &table.rows).for_each(Case::validate);
    tables
}

/// One row about egress.
///
/// # Panics
/// If there is no such row, or it asserts nothing.
pub fn egress(topic: &str, id: &str) -> EgressCase {
    let case = pick(EGRESS, topic, |row: &EgressCase| row.id == id);
    case.validate();
    case
}

/// One row about faults.
///
/// # Panics
/// If there is no such row, or it asserts nothing.
pub fn fault(topic: &str, id: &str) -> FaultCase {
    let case = pick(FAULTS, topic, |row: &FaultCase| row.id == id);
    case.validate();
    case
}

/// One row about mirrors.
///
/// # Panics
/// If there is no such row, or it asserts nothing.
pub fn mirror(topic: &str, id: &str) -> MirrorCase {
    let case = pick(MIRRORS, topic, |row: &MirrorCase| row.id == id);
    case.validate();
    case
}

/// One row about server names.
///
/// # Panics
/// If there is no such row, or it asserts nothing.
pub fn sni(topic: &str, id: &str) -> SniCase {
    let case = pick(SNI, topic, |row: &SniCase| row.id == id);
    case.validate();
    case
}

/// One row about hosts that fail.
///
/// # Panics
/// If there is no such row, or it asserts nothing.
pub fn outlier(topic: &str, id: &str) -> OutlierCase {
    let case = pick(OUTLIERS, topic, |row: &OutlierCase| row.id == id);
    case.validate();
    case
}

/// All rows about configurations.
///
/// # Panics
/// If a row has an unknown field or asserts nothing.
pub fn rejections() -> Vec<Table<Rejection>> {
    REJECTIONS.iter().map(|(topic, text)| read(topic, text)).collect()
}

/// One row about requests.
///
/// # Panics
/// If there is no such row, or it asserts nothing.
pub fn case(topic: &str, id: &str) -> Case {
    let case = pick(CASES, topic, |row: &Case| row.id == id);
    case.validate();
    case
}

/// One row about a configuration.
///
/// # Panics
/// If there is no such row.
pub fn rejection(topic: &str, id: &str) -> Rejection {
    pick(REJECTIONS, topic, |row: &Rejection| row.id == id)
}

fn pick<T: DeserializeOwned>(
    files: &[(&'static str, &str)],
    topic: &str,
    is_wanted: impl Fn(&T) -> bool,
) -> T {
    let (topic, text) = files.iter().find(|(known, _)| *known == topic).expect("a file");
    read(topic, text).rows.into_iter().find(is_wanted).expect("a row")
}

fn read<T: DeserializeOwned>(topic: &'static str, text: &str) -> Table<T> {
    let rows = serde_json::from_str(text).unwrap_or_else(|error| panic!("{topic}.json: {error}"));
    Table { topic, rows }
}
