//! Findings about files, as text and as JSON.

use std::fmt;

use clap::builder::styling::{AnsiColor, Style};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The filters reject the document.
    Error,
    /// The filters accept the document, but a part of it has no effect.
    Warning,
    /// The filters do not use a part of it.
    Note,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The severity
    pub severity: Severity,
    /// The file as it was named, `-` for standard input
    pub file: String,
    /// The line, counted from 1; 0 if it is not known
    pub line: usize,
    /// Kind, namespace and name of the Kubernetes object; empty for plugin configuration
    pub object: String,
    /// The JSON path in that object or configuration; empty for the whole
    pub path: String,
    /// The value as JSON, if the path leads to one
    pub value: Option<String>,
    /// The reason, in lower case and without a full stop
    pub reason: String,
}

impl Severity {
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

impl fmt::Display for Finding {
    /// `FILE:LINE: error: OBJECT: PATH: REASON`, with colours that the caller removes for pipes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        let style = self.severity.style();
        write!(f, " {style}{}{style:#}:", self.severity.name())?;
        for part in [&self.object, &self.path] {
            if !part.is_empty() {
                write!(f, " {part}:")?;
            }
        }
        write!(f, " {}", self.reason)
    }
}

/// Findings as one JSON document: `{"findings": [...], "errors": 1, "warnings": 0, "notes": 0}`.
pub fn to_json(findings: &[Finding]) -> String {
    let shown = |finding: &Finding| {
        let value = finding.value.as_deref().and_then(|json| serde_json::from_str(json).ok());
        let value: serde_json::Value = value.unwrap_or_default();
        serde_json::json!({
            "severity": finding.severity.name(),
            "file": finding.file,
            "line": (finding.line > 0).then_some(finding.line),
            "object": (!finding.object.is_empty()).then_some(&finding.object),
            "path": finding.path,
            "value": value,
            "reason": finding.reason,
        })
    };
    let document = serde_json::json!({
        "findings": findings.iter().map(shown).collect::<Vec<_>>(),
        "errors": count(findings, Severity::Error),
        "warnings": count(findings, Severity::Warning),
        "notes": count(findings, Severity::Note),
    });
    format!("{document:#}\n")
}

/// The number of findings of a severity.
pub fn count(findings: &[Finding], severity: Severity) -> usize {
    findings.iter().filter(|finding| finding.severity == severity).count()
}
