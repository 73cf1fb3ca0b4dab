//! Errors with their paths.

use std::fmt;

use sluice_policy::document::report::{self, Finding};

use crate::istio::path::Path;
use crate::tree::Tree;

/// Errors with their paths.
#[derive(Default)]
pub struct Errors {
    findings: Vec<Finding>,
    /// Whether the errors are about a Kubernetes object, not about plugin configuration
    pub is_object: bool,
}

impl Errors {
    /// The errors as findings.
    pub fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// The number of errors.
    pub fn count(&self) -> usize {
        self.findings.len()
    }

    /// Adds an error.
    pub fn add(&mut self, path: impl fmt::Display, reason: impl Into<String>) {
        let reason: String = reason.into();
        self.findings.push(Finding::new(path.to_string(), report::Kind::Error, reason));
    }

    /// Reports a field of a Kubernetes object that is not spelled as Istio's schemas have it. They
    /// have camelCase, so the API server takes snake_case for an unknown field.
    pub fn check_spelling(&mut self, path: &Path<'_>, name: &str) {
        if self.is_object {
            self.add(path, format!("is not in camelCase, which Kubernetes requires; write {name}"));
        }
    }

    /// Adds an error whose reason starts with the value.
    pub fn add_value(&mut self, path: impl fmt::Display, value: &Tree, reason: impl fmt::Display) {
        self.add(path, format!("{} {reason}", value.shown()));
    }
}
