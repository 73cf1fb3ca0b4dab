//! Findings about files, as text and as JSON.

use std::fmt;

use clap::builder::styling::{AnsiColor, Style};
use serde_json::json;
use sluice_policy::document::report::Kind;
use sluice_policy::document::shorten::shorten_keys;

use crate::collect::Skipped;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The filters reject the document.
    Error,
    /// The filters accept the document, but a part of it has no effect.
    Warning,
    /// The filters do not use a part of it, or infer a value.
    Note,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it means
    pub kind: Kind,
    /// The place that it is about
    pub place: Place,
    /// The value as JSON, if the place is that of one
    pub value: Option<String>,
    /// The reason, in lower case and without a full stop
    pub reason: String,
    /// A second place that the reason refers to
    pub other: Option<Place>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file as it was named, `-` for standard input
    pub file: String,
    /// The line, counted from 1; 0 if it is not known
    pub line: usize,
    /// Kind, namespace and name of the Kubernetes object; empty for plugin configuration
    pub object: String,
    /// The JSON path in that object or configuration; empty for the whole
    pub path: String,
}

impl Place {
    /// The place as JSON, for programs.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "file": self.file,
            "line": (self.line > 0).then_some(self.line),
            "object": (!self.object.is_empty()).then_some(&self.object),
            "path": self.path,
        })
    }

    /// The place as text, for a finding at `from`: without an object or a file that is the same.
    fn shown_from(&self, from: &Self) -> String {
        let path = shorten_keys(&self.path);
        if self.object != from.object && !self.object.is_empty() {
            format!("{}: {path}", self.object)
        } else if self.object.is_empty() && self.file != from.file {
            format!("{}: {path}", self.file)
        } else {
            path.into_owned()
        }
    }
}

impl Severity {
    /// The severity of findings of a kind.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Error => Self::Error,
            Kind::Deprecated
            | Kind::Inferred
            | Kind::LeftToEnvoy
            | Kind::LeftToFilter(_)
            | Kind::NotApplicable => Self::Note,
            Kind::Costly
            | Kind::NeverMatches
            | Kind::NeverReached
            | Kind::NoEffect
            | Kind::Overridden => Self::Warning,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }

    fn style(self) -> Style {
        let color = match self {
            Self::Error => AnsiColor::Red,
            Self::Warning => AnsiColor::Yellow,
            Self::Note => AnsiColor::Cyan,
        };
        Style::new().fg_color(Some(color.into())).bold()
    }
}

impl Finding {
    /// The severity.
    pub fn severity(&self) -> Severity {
        Severity::of(self.kind)
    }

    fn to_json(&self) -> serde_json::Value {
        let value = self.value.as_deref().and_then(|json| serde_json::from_str(json).ok());
        let value: serde_json::Value = value.unwrap_or_default();
        let mut json = json!({
            "severity": self.severity().name(),
            "kind": kind_name(self.kind),
            "value": value,
            "reason": self.reason,
            "other": self.other.as_ref().map(Place::to_json),
        });
        if let (Some(own), serde_json::Value::Object(place)) =
            (json.as_object_mut(), self.place.to_json())
        {
            own.extend(place);
        }
        json
    }
}

/// The name of a kind in JSON.
fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Costly => "costly",
        Kind::Deprecated => "deprecated",
        Kind::Error => "error",
        Kind::Inferred => "inferred",
        Kind::LeftToEnvoy => "leftToEnvoy",
        Kind::LeftToFilter(_) => "leftToFilter",
        Kind::NeverMatches => "neverMatches",
        Kind::NeverReached => "neverReached",
        Kind::NoEffect => "noEffect",
        Kind::NotApplicable => "notApplicable",
        Kind::Overridden => "overridden",
    }
}

impl fmt::Display for Finding {
    /// `FILE:LINE: error: OBJECT: PATH: REASON`, with colours that the caller removes for pipes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, line, object, path } = &self.place;
        write!(f, "{file}:")?;
        if *line > 0 {
            write!(f, "{line}:")?;
        }
        let severity = self.severity();
        let style = severity.style();
        write!(f, " {style}{}{style:#}:", severity.name())?;
        for part in [object, &*shorten_keys(path)] {
            if !part.is_empty() {
                write!(f, " {part}:")?;
            }
        }
        write!(f, " {}", self.reason)?;
        let other = self.other.as_ref().map(|other| other.shown_from(&self.place));
        other.map_or(Ok(()), |other| write!(f, ": {other}"))
    }
}

/// Findings as one JSON document: `{"findings": [...], "errors": 1, "warnings": 0, "notes": 0}`,
/// with the numbers of objects that were skipped by kind.
pub fn to_json(findings: &[Finding], skipped: &Skipped) -> String {
    let document = json!({
        "findings": findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
        "errors": count(findings, Severity::Error),
        "warnings": count(findings, Severity::Warning),
        "notes": count(findings, Severity::Note),
        "skipped": skipped,
    });
    format!("{document:#}\n")
}

/// The number of findings of a severity.
pub fn count(findings: &[Finding], severity: Severity) -> usize {
    findings.iter().filter(|finding| finding.severity() == severity).count()
}
