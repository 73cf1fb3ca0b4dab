//! Errors with their paths.

use std::fmt;

use sluice_policy::document::report::{self, Finding};

use crate::tree::Tree;

/// Errors with their paths.
#[derive(Default)]
pub struct Errors(Vec<Finding>);

impl Errors {
    /// The errors as findings.
    pub fn into_findings(self) -> Vec<Finding> {
        self.0
    }

    /// The number of errors.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Adds an error.
    pub fn add(&mut self, path: &str, reason: impl Into<String>) {
        let reason: String = reason.into();
        self.0.push(Finding::new(path.to_owned(), report::Kind::Error, reason));
    }

    /// Adds an error whose reason starts with the value.
    pub fn add_value(&mut self, path: &str, value: &Tree, reason: impl fmt::Display) {
        self.add(path, format!("{} {reason}", value.shown()));
    }
}

/// The path of a member of an object.
pub fn member(path: &str, key: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if key.is_empty() || !key.chars().all(is_plain) {
        format!("{path}[{key:?}]")
    } else {
        format!("{path}.{key}")
    }
}
