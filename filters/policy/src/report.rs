//! What is wrong with a configuration document, all of it at once.

use std::cell::RefCell;
use std::fmt;

/// One finding: where it is, as a JSON path from the root of the document, and what it is.
///
/// Its text is the path, a colon and the reason:
/// `virtualServices[0].http[1].route[0].weight: -1 is negative`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The JSON path; empty for the document as a whole.
    pub path: String,
    /// The offending value, where there is one, and the reason, in lower case and without a full stop.
    pub reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "configuration" } else { &self.path };
        write!(f, "{path}: {}", self.reason)
    }
}

/// A document that was refused. Holds every error, in the order in which they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// At least one.
    pub errors: Vec<Finding>,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejection {}

/// Collects findings while a document is read and compiled.
///
/// Errors refuse the document. Notices do not: they name what is accepted as Istio accepts it, but
/// is left to another filter or to Envoy, or can never take effect.
#[derive(Debug, Default)]
pub struct Report {
    errors: RefCell<Vec<Finding>>,
    notices: RefCell<Vec<Finding>>,
}

impl Report {
    /// Adds an error, unless it only follows from one inside the same part of the document: a route
    /// whose weight is not a number shall not be refused a second time for its total weight.
    pub fn error(&self, path: &str, reason: impl fmt::Display) {
        let mut errors = self.errors.borrow_mut();
        if !errors.iter().any(|known| is_inside(&known.path, path)) {
            errors.push(Finding { path: path.to_owned(), reason: reason.to_string() });
        }
    }

    /// Adds an error that stands by itself, even where its neighbours have errors too.
    pub fn separate_error(&self, path: &str, reason: impl fmt::Display) {
        self.errors
            .borrow_mut()
            .push(Finding { path: path.to_owned(), reason: reason.to_string() });
    }

    /// Adds a notice.
    pub fn notice(&self, path: &str, reason: impl fmt::Display) {
        self.notices
            .borrow_mut()
            .push(Finding { path: path.to_owned(), reason: reason.to_string() });
    }

    /// The notices, or the rejection if there was any error.
    pub fn finish(self) -> Result<Vec<Finding>, Rejection> {
        let errors = self.errors.into_inner();
        if errors.is_empty() { Ok(self.notices.into_inner()) } else { Err(Rejection { errors }) }
    }
}

/// Whether `path` is `ancestor` or lies below it.
fn is_inside(path: &str, ancestor: &str) -> bool {
    match path.strip_prefix(ancestor) {
        Some(rest) => ancestor.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_follows_from_a_deeper_one_is_not_repeated() {
        let report = Report::default();
        report.error("a.route[0].weight", "\"x\" is not an integer");
        report.error("a.route", "total weight is 0");
        report.error("a.route[1].weight", "-1 is negative");
        report.error("a.rout", "unknown field");
        let errors = report.finish().unwrap_err();
        assert_eq!(
            errors.to_string(),
            "a.route[0].weight: \"x\" is not an integer\n\
             a.route[1].weight: -1 is negative\n\
             a.rout: unknown field"
        );
    }

    #[test]
    fn the_document_itself_is_called_configuration() {
        let report = Report::default();
        report.error("", "[] is not an object");
        assert_eq!(report.finish().unwrap_err().to_string(), "configuration: [] is not an object");
    }
}
