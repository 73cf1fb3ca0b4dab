//! Findings about files, as text and in formats for programs.

pub mod github;
pub mod sarif;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use clap::builder::styling::{AnsiColor, Style};
use serde_json::json;
use sluice_policy::document::filter::Filter;
use sluice_policy::document::report::Kind;
use sluice_policy::document::shorten::shorten_keys;

use crate::columns::Columns;

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

/// The numbers of objects that the filters do not use, by kind.
pub type Skipped = BTreeMap<String, usize>;

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
    /// Its columns in this line
    pub columns: Columns,
    /// Kind, namespace and name of the Kubernetes object; empty for plugin configuration
    pub object: String,
    /// The JSON path in that object or configuration; empty for the whole
    pub path: String,
}

impl Place {
    /// The place as JSON, for programs.
    pub fn to_json(&self) -> serde_json::Value {
        let (start, end) = self.columns.range().unzip();
        json!({
            "file": self.file,
            "line": (self.line > 0).then_some(self.line),
            "column": start,
            "endColumn": end.flatten(),
            "object": (!self.object.is_empty()).then_some(&self.object),
            "path": self.path,
        })
    }

    /// The place as text, for a finding at `from`: without an object or a file that is the same.
    fn shown_from(&self, from: &Self) -> String {
        let path = shorten_keys(&self.path);
        let is_same = self.object == from.object;
        if is_same && self.path == from.path {
            format!("{}:{}", self.file, self.line)
        } else if !is_same && !self.object.is_empty() {
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
            | Kind::Merged
            | Kind::NotApplicable
            | Kind::Proportional
            | Kind::Unchecked => Self::Note,
            Kind::Costly
            | Kind::NeverMatches
            | Kind::NeverReached
            | Kind::NoEffect
            | Kind::Overridden
            | Kind::Repeated
            | Kind::Unresolved => Self::Warning,
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

    /// What is wrong, without the place in the file: `OBJECT: PATH: REASON`.
    fn message(&self) -> String {
        let Place { object, path, .. } = &self.place;
        let path = shorten_keys(path);
        let other = self.other.as_ref().map(|other| other.shown_from(&self.place));
        let parts = [&**object, &*path, &*self.reason].into_iter().chain(other.as_deref());
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    }

    /// The finding as text, with `label` in place of its severity.
    pub fn labelled(&self, label: &'static str) -> Labelled<'_> {
        Labelled { finding: self, label }
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

/// The kinds with their descriptions, as rules of an analysis.
const KINDS: [(Kind, &str); 16] = [
    (Kind::Error, "The filters reject the document because of the value"),
    (Kind::Costly, "The value takes memory in every worker"),
    (Kind::NeverMatches, "No request satisfies the match"),
    (Kind::NeverReached, "An earlier rule takes the requests of the rule"),
    (Kind::NoEffect, "The value has no effect, or another one than it seems to have"),
    (Kind::Overridden, "Another value replaces the value"),
    (Kind::Repeated, "An earlier object has the same kind, namespace and name"),
    (Kind::Unresolved, "The files do not have what the value refers to"),
    (Kind::Deprecated, "The field has a newer name"),
    (Kind::Inferred, "The port of the destination comes from another place"),
    (Kind::LeftToEnvoy, "The field must be set in Envoy, which carries it out"),
    (Kind::LeftToFilter(Filter::Router), "Another filter carries out the field"),
    (Kind::Merged, "The rules of the host come from several VirtualServices"),
    (Kind::NotApplicable, "The value has no meaning for the filters"),
    (Kind::Proportional, "The weights of the destinations are not percentages"),
    (Kind::Unchecked, "The files do not have the kind of object that the value refers to"),
];

/// A path relative to the current folder, if it is below it, as programs on the files of a
/// repository need it.
fn relative_path(file: &str) -> String {
    let below = std::env::current_dir()
        .ok()
        .and_then(|folder| Some(Path::new(file).strip_prefix(folder).ok()?.to_str()?.to_owned()));
    let path = below.unwrap_or_else(|| file.to_owned());
    path.strip_prefix("./").map(str::to_owned).unwrap_or(path)
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
        Kind::Merged => "merged",
        Kind::NeverMatches => "neverMatches",
        Kind::NeverReached => "neverReached",
        Kind::NoEffect => "noEffect",
        Kind::NotApplicable => "notApplicable",
        Kind::Overridden => "overridden",
        Kind::Proportional => "proportional",
        Kind::Unchecked => "unchecked",
        Kind::Repeated => "repeated",
        Kind::Unresolved => "unresolved",
    }
}

impl fmt::Display for Finding {
    /// `FILE:LINE: error: OBJECT: PATH: REASON`, with colours that the caller removes for pipes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.labelled(self.severity().name()).fmt(f)
    }
}

/// A finding with a label in place of its severity.
pub struct Labelled<'a> {
    finding: &'a Finding,
    label: &'static str,
}

impl fmt::Display for Labelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { finding, label } = self;
        write!(f, "{}:", finding.place.file)?;
        if finding.place.line > 0 {
            write!(f, "{}:", finding.place.line)?;
        }
        let style = finding.severity().style();
        write!(f, " {style}{label}{style:#}: {}", finding.message())
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
