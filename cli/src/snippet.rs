//! The line of source of a finding, with a caret under the value.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::finding::{Finding, Place, Severity};
use crate::source::Texts;

/// The line of a finding, and that of the place in the same file that its reason refers to. Empty
/// if the line is not known. The caller removes the colours for pipes.
pub fn render(finding: &Finding, texts: &Texts) -> String {
    let level = match finding.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let snippet = |place: &Place, kind: AnnotationKind| {
        let line = texts.line(&place.file, place.line)?;
        let (start, end) = place.columns.bytes(line)?;
        let annotation = kind.span(start..end);
        Some(Snippet::source(line).line_start(place.line).annotation(annotation))
    };
    let Some(own) = snippet(&finding.place, AnnotationKind::Primary) else {
        return String::new();
    };
    let mut group = Group::with_level(level).element(own);
    let is_new =
        |other: &&Place| other.file == finding.place.file && other.line != finding.place.line;
    let other = finding.other.as_ref().filter(is_new);
    if let Some(other) = other.and_then(|other| snippet(other, AnnotationKind::Context)) {
        group = group.element(other);
    }
    Renderer::styled().render(&[group]) + "\n"
}
