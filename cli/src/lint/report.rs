//! Collects the findings of lints.

use std::collections::HashSet;
use std::fmt;

use sluice_policy::document::report::{Finding as PolicyFinding, Kind};

use super::mesh::Spec;
use crate::bundle::Bundle;
use crate::finding::{Finding, Place};

/// Findings about objects without errors.
pub struct Report<'a> {
    bundles: &'a [Bundle],
    /// The titles of the objects with errors, of each document
    rejected: &'a [HashSet<String>],
    /// Places of rules that are known to be never reached
    unreached: HashSet<&'a Place>,
    findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    /// A report about documents, without the objects in `rejected`. `known` has the findings so
    /// far.
    pub fn new(
        bundles: &'a [Bundle],
        rejected: &'a [HashSet<String>],
        known: &'a [Finding],
    ) -> Self {
        let unreached = known.iter().filter(|finding| finding.kind == Kind::NeverReached);
        let unreached = unreached.map(|finding| &finding.place).collect();
        Self { bundles, rejected, unreached, findings: Vec::new() }
    }

    /// The findings.
    pub fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Returns whether findings about an object are added: it has no errors.
    pub fn is_open_to(&self, spec: &Spec<'_>) -> bool {
        let rejected = self.rejected.get(spec.bundle);
        rejected.is_none_or(|titles| !titles.contains(spec.title))
    }

    /// Adds a finding about the value at `path` in `spec`, with a second place that the reason
    /// refers to.
    pub fn add(
        &mut self,
        spec: &Spec<'_>,
        path: &str,
        kind: Kind,
        reason: impl fmt::Display,
        other: Option<Place>,
    ) {
        let Some(bundle) = self.bundles.get(spec.bundle).filter(|_| self.is_open_to(spec)) else {
            return;
        };
        let finding = PolicyFinding::new(format!("{}{path}", spec.path()), kind, reason);
        let finding = Finding { other, ..bundle.locate(&finding) };
        let is_known = kind == Kind::NeverReached && self.unreached.contains(&finding.place);
        self.findings.extend(Some(finding).filter(|_| !is_known));
    }

    /// The place of the value at `path` in `spec`.
    pub fn place(&self, spec: &Spec<'_>, path: &str) -> Option<Place> {
        let bundle = self.bundles.get(spec.bundle)?;
        Some(bundle.place(&format!("{}{path}", spec.path())))
    }
}
