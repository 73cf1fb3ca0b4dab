//! The list of what the output leaves out.

use std::collections::HashSet;
use std::fmt;

use sluice_policy::document::report::{Finding, Kind};

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
