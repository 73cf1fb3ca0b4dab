//! Reports findings about what is collected.

use sluice_policy::document::report::Kind;

use super::Collector;
use super::subject::Subject;
use crate::columns::Position;
use crate::finding::Finding;
use crate::tree::Tree;

impl Collector {
    /// Reports something about the value at `path` in the subject.
    pub(super) fn report(
        &mut self,
        kind: Kind,
        subject: Subject<'_>,
        at: impl Into<Position>,
        path: &str,
        reason: &str,
    ) {
        let place = subject.place(at.into(), path);
        let reason = reason.to_owned();
        self.findings.push(Finding { kind, place, value: None, reason, other: None });
    }

    /// Reports an error.
    pub(super) fn error(
        &mut self,
        subject: Subject<'_>,
        at: impl Into<Position>,
        path: &str,
        reason: &str,
    ) {
        self.report(Kind::Error, subject, at, path, reason);
    }

    /// Reports that something does not apply.
    pub(super) fn note(&mut self, subject: Subject<'_>, line: usize, reason: &str) {
        self.report(Kind::NotApplicable, subject, line, "", reason);
    }

    /// Reports an error whose reason starts with the value.
    pub(super) fn value_error(
        &mut self,
        subject: Subject<'_>,
        path: &str,
        value: &Tree,
        reason: &str,
    ) {
        self.error(subject, value.position(), path, &format!("{} {reason}", value.shown()));
        if let Some(finding) = self.findings.last_mut() {
            finding.value = Some(value.to_json());
        }
    }
}
