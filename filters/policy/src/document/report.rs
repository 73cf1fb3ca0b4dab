//! What is wrong with a configuration document, all of it at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use crate::document::filter::Filter;
use crate::document::json::Json;

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

/// A document that was refused. Holds every error, in the order of the document.
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
///
/// Findings are kept with the identity of the value that they are about. Their paths are worked out
/// at the end, so that reading a document without findings, however large, costs nothing for them.
#[derive(Debug)]
pub struct Report {
    filter: Filter,
    errors: RefCell<Vec<Entry>>,
    notices: RefCell<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    /// The address of the value, used only to find it again in the document
    value: usize,
    /// The member of the value that the finding is about, where that is missing
    member: Option<&'static str>,
    reason: String,
}

impl Report {
    /// A report for a filter, without findings.
    pub fn new(filter: Filter) -> Self {
        Self { filter, errors: RefCell::default(), notices: RefCell::default() }
    }

    /// The filter that reads the document.
    pub fn filter(&self) -> Filter {
        self.filter
    }

    /// Adds an error about `value`, or about a `member` that it should have.
    #[inline(never)]
    pub fn error(&self, value: &Json, member: Option<&'static str>, reason: &dyn fmt::Display) {
        let reason = reason.to_string();
        self.errors.borrow_mut().push(Entry { value: address(value), member, reason });
    }

    /// Adds a notice about `value`.
    #[inline(never)]
    pub fn notice(&self, value: &Json, reason: &dyn fmt::Display) {
        let reason = reason.to_string();
        self.notices.borrow_mut().push(Entry { value: address(value), member: None, reason });
    }

    /// The notices, or the rejection if there was any error. `root` is the document that was read.
    pub fn finish(self, root: &Json) -> Result<Vec<Finding>, Rejection> {
        let errors = locate(self.errors.into_inner(), root);
        if !errors.is_empty() {
            return Err(Rejection { errors });
        }
        Ok(locate(self.notices.into_inner(), root))
    }
}

fn address(value: &Json) -> usize {
    std::ptr::from_ref(value).addr()
}

/// Gives the entries their paths, in document order.
fn locate(entries: Vec<Entry>, root: &Json) -> Vec<Finding> {
    if entries.is_empty() {
        return Vec::new();
    }
    let mut waiting: HashMap<usize, Vec<Entry>> = HashMap::new();
    for entry in entries {
        waiting.entry(entry.value).or_default().push(entry);
    }
    let mut findings = Vec::new();
    walk(root, &mut String::new(), &mut waiting, &mut findings);
    findings
}

fn walk(
    value: &Json,
    path: &mut String,
    waiting: &mut HashMap<usize, Vec<Entry>>,
    findings: &mut Vec<Finding>,
) {
    let length = path.len();
    for entry in waiting.remove(&address(value)).unwrap_or_default() {
        if let Some(member) = entry.member {
            push_member(path, member);
        }
        findings.push(Finding { path: path.clone(), reason: entry.reason });
        path.truncate(length);
    }
    match value {
        Json::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                walk(value, path, waiting, findings);
                path.truncate(length);
            }
        }
        Json::Object(fields) => {
            for (key, value) in fields {
                push_member(path, key);
                walk(value, path, waiting, findings);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Extends the path of an object to that of its member `key`.
fn push_member(path: &mut String, key: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if key.is_empty() || !key.chars().all(plain) {
        path.push_str(&format!("[{key:?}]"));
    } else {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_come_in_document_order_with_their_paths() {
        let root = Json::parse(br#"{"a": [{"b-c": 1, "d.e": 2}], "": 3}"#).unwrap();
        let Json::Object(fields) = &root else { panic!("not an object") };
        let Json::Array(list) = &fields[0].1 else { panic!("not an array") };
        let Json::Object(inner) = &list[0] else { panic!("not an object") };
        let report = Report::new(Filter::Router);
        report.error(&fields[1].1, None, &"last");
        report.error(&inner[1].1, None, &"third");
        report.error(&inner[0].1, None, &"second");
        report.error(&list[0], Some("f"), &"first");
        report.error(&root, None, &"all of it");
        assert_eq!(
            report.finish(&root).unwrap_err().to_string(),
            "configuration: all of it\na[0].f: first\na[0].b-c: second\na[0][\"d.e\"]: third\n\
             [\"\"]: last"
        );
    }

    #[test]
    fn notices_are_given_where_there_is_no_error() {
        let root = Json::parse(b"[1]").unwrap();
        let report = Report::new(Filter::Router);
        report.notice(&root, &"remarkable");
        let notices = report.finish(&root).unwrap();
        assert_eq!(notices[0].to_string(), "configuration: remarkable");
    }
}
