//! The list of what the output leaves out.

use std::collections::HashSet;
use std::fmt;

use sluice_policy::document::field_name::is_field;
use sluice_policy::document::filter::Filter;
use sluice_policy::document::report::{Finding, Kind};

use super::To;
use crate::check::Compiled;

/// Values of a document that the output does not carry out, each with the reason.
#[derive(Debug, Default)]
pub struct LeftOut {
    values: Vec<Finding>,
    /// Paths of the values
    known: HashSet<String>,
}

impl LeftOut {
    /// Adds the value at `path`, once. The reason is in lower case and without a full stop.
    pub fn add(&mut self, path: &str, reason: impl fmt::Display) {
        if self.known.insert(path.to_owned()) {
            self.values.push(Finding::new(path.to_owned(), Kind::LeftToEnvoy, reason));
        }
    }

    /// The values.
    pub fn into_values(self) -> Vec<Finding> {
        self.values
    }
}

/// Adds what the filters leave to Envoy, unless the format has it or the filters do not concern it.
pub fn add_notices(compiled: &Compiled, to: To, filters: &[Filter], left_out: &mut LeftOut) {
    let has = |names: &[Filter]| filters.iter().any(|filter| names.contains(filter));
    for notice in compiled.left_to_envoy() {
        let list = notice.path.split('[').next().unwrap_or_default();
        let field = notice.path.split_once("].").map_or("", |(_, field)| field);
        let is_of_cluster = is_field(list, "destinationRules") || is_field(list, "serviceEntries");
        let is_of_listener = field == "tcp";
        // `--to envoy` writes listeners and clusters, and says itself what it leaves out of them.
        if to == To::Envoy && (is_of_cluster || is_of_listener) {
            continue;
        }
        let concerned: &[Filter] = match () {
            () if is_of_cluster => &[Filter::Mirror, Filter::Outlier, Filter::Router, Filter::Sni],
            () if is_of_listener => &[Filter::Router, Filter::Sni],
            () => &[Filter::Router],
        };
        if !has(concerned) {
            continue;
        }
        if to == To::EnvoyFilter && (is_of_cluster || is_of_listener) {
            left_out.add(&notice.path, "is left to Istio, whose own object must have it");
        } else {
            left_out.add(&notice.path, &notice.reason);
        }
    }
}
