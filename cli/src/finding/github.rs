//! Findings as annotations of GitHub Actions, which shows them beside the lines of a pull request.
//!
//! <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions>

use super::{Finding, Severity, relative_path};

/// A finding as one workflow command: `::error file=FILE,line=LINE,col=COLUMN::TEXT`.
pub fn annotation(finding: &Finding) -> String {
    let command = match finding.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let place = &finding.place;
    let mut properties = format!("file={}", escape_property(&relative_path(&place.file)));
    if place.line > 0 {
        properties.push_str(&format!(",line={}", place.line));
        if let Some((start, end)) = place.columns.range() {
            properties.push_str(&format!(",col={start}"));
            // The last column is part of an annotation.
            properties
                .push_str(&end.map_or(String::new(), |end| format!(",endColumn={}", end - 1)));
        }
    }
    format!("::{command} {properties}::{}", escape(&finding.message()))
}

/// A text without line breaks, which would end the command.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The same for the value of a property, which a comma would end.
fn escape_property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}
