//! Everything that is wrong with a configuration document, and everything remarkable about it.

use std::cell::{Cell, RefCell};
use std::fmt;

use hashbrown::HashTable;

use crate::document::filter::{Filter, Filters};
use crate::document::json::Json;
use crate::document::shorten::{Cut, MAX_SHOWN, shorten_keys};
use crate::name_set::NameSet;

/// Why the configuration was refused, or something to know about a configuration that was accepted.
///
/// Its text is the path, a colon and the reason:
/// `virtualServices[0].http[1].route[0].weight: -1 is negative`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The JSON path of the value from the root of the document; empty for the whole document
    pub path: String,
    /// What the finding means. Programs decide by the kind, never by the reason
    pub kind: Kind,
    /// The value, where it helps, and the reason, in lower case and without a full stop
    pub reason: String,
    /// The JSON path of a second place that the reason refers to
    pub other: Option<String>,
}

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It costs memory in every worker.
    Costly,
    /// It has a newer name.
    Deprecated,
    /// The document is refused for it.
    Error,
    /// It is absent, and its value comes from another place.
    Inferred,
    /// Envoy carries it out, where it is set in Envoy.
    LeftToEnvoy,
    /// Another filter of the bundle carries it out.
    LeftToFilter(Filter),
    /// Rules of several objects are joined.
    Merged,
    /// No request fulfils it.
    NeverMatches,
    /// An earlier rule takes all of its requests.
    NeverReached,
    /// It has no effect, or not the one that it seems to have.
    NoEffect,
    /// It has no meaning in a plugin document.
    NotApplicable,
    /// Another value takes its place.
    Overridden,
    /// Its numbers are proportions, not percentages.
    Proportional,
    /// It is the name of several objects.
    Repeated,
    /// It refers to what is not given, so it is not checked.
    Unchecked,
    /// It refers to what does not exist.
    Unresolved,
}

impl Finding {
    /// A finding without a second place.
    pub fn new(path: String, kind: Kind, reason: impl fmt::Display) -> Self {
        Self { path, kind, reason: text(&reason), other: None }
    }

    /// The same finding, whose reason refers to a second place.
    pub fn with_other(self, other: String) -> Self {
        Self { other: Some(other), ..self }
    }
}

impl fmt::Display for Finding {
    /// Writes the finding in one line. Long parts are cut, since names in a document can have any
    /// length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "configuration" } else { &self.path };
        write!(f, "{}: {}", Cut(&shorten_keys(path)), Cut(&self.reason))?;
        let other = self.other.as_ref().map(|other| shorten_keys(other));
        other.map_or(Ok(()), |other| write!(f, ": {}", Cut(&other)))
    }
}

/// A document that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Every error, at least one, in the order of the document
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

/// Proof that an error about the document was reported.
///
/// Only a report makes one. A reader that returns it instead of a value cannot lose the value
/// without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported(());

/// Collects findings while a document is read and compiled.
///
/// Errors refuse the document. Notices do not: they name what is accepted as Istio accepts it, and
/// is left to another filter or to Envoy, or has no effect.
///
/// Findings are kept with the identity of the value that they are about. Their paths are worked out
/// at the end, so that a document without findings, however large, costs nothing for them.
#[derive(Debug)]
pub struct Report {
    filters: Filters,
    errors: RefCell<Vec<Entry>>,
    notices: RefCell<Vec<Entry>>,
    memory: Memory,
}

/// Memory of compiled values that can be shared.
#[derive(Debug, Default)]
struct Memory {
    addresses: RefCell<NameSet>,
    total: Cell<usize>,
}

#[derive(Debug)]
struct Entry {
    /// The address of the value, used only to find it again in the document
    value: usize,
    /// The member that the value lacks, where the finding is about that
    member: Option<&'static str>,
    kind: Kind,
    reason: String,
    other: Option<String>,
}

impl Report {
    /// A report without findings, for the filters that the document is read for.
    pub fn new(filters: impl Into<Filters>) -> Self {
        Self {
            filters: filters.into(),
            errors: RefCell::default(),
            notices: RefCell::default(),
            memory: Memory::default(),
        }
    }

    /// Counts memory that is needed once for each `address`, in bytes. Returns the total.
    pub fn count_memory(&self, address: usize, bytes: usize) -> usize {
        if self.memory.addresses.borrow_mut().insert(&address.to_ne_bytes()) {
            self.memory.total.update(|total| total.saturating_add(bytes));
        }
        self.memory.total.get()
    }

    /// The filters that the document is read for.
    pub fn filters(&self) -> Filters {
        self.filters
    }

    /// Adds an error about `value`, or about a `member` that it lacks.
    #[inline(never)]
    pub fn error(
        &self,
        value: &Json,
        member: Option<&'static str>,
        reason: &dyn fmt::Display,
    ) -> Reported {
        let (kind, reason) = (Kind::Error, text(reason));
        let entry = Entry { value: address(value), member, kind, reason, other: None };
        self.errors.borrow_mut().push(entry);
        Reported(())
    }

    /// The number of errors.
    pub fn error_count(&self) -> usize {
        self.errors.borrow().len()
    }

    /// Adds a notice about `value`, which may refer to a second place. Omits the notice that
    /// another filter carries out the value if the document is read for that filter too.
    #[inline(never)]
    pub fn notice(
        &self,
        value: &Json,
        kind: Kind,
        reason: &dyn fmt::Display,
        other: Option<String>,
    ) {
        if let Kind::LeftToFilter(filter) = kind
            && self.filters.contains(filter)
        {
            return;
        }
        let entry =
            Entry { value: address(value), member: None, kind, reason: text(reason), other };
        self.notices.borrow_mut().push(entry);
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

/// The text of a reason. In a build with the feature `opaque-reasons` all reasons are the same: a
/// test compares its decisions with those of a usual build.
fn text(reason: &dyn fmt::Display) -> String {
    if cfg!(feature = "opaque-reasons") { "-".to_owned() } else { reason.to_string() }
}

fn address(value: &Json) -> usize {
    std::ptr::from_ref(value).addr()
}

/// Gives the entries their paths, in document order.
fn locate(entries: Vec<Entry>, root: &Json) -> Vec<Finding> {
    if entries.is_empty() {
        return Vec::new();
    }
    let mut waiting = Waiting::new();
    for entry in entries {
        let value = entry.value;
        let group = waiting.entry(hash(value), |group| group.0 == value, |group| hash(group.0));
        group.or_insert_with(|| (value, Vec::new())).into_mut().1.push(entry);
    }
    let mut located = Located { waiting, findings: Vec::new(), size: 0 };
    walk(root, &mut String::new(), &mut located);
    located.findings
}

/// The entries that are not located yet, and the findings of the others.
struct Located {
    waiting: Waiting,
    findings: Vec<Finding>,
    /// Sum of the lengths of the paths
    size: usize,
}

/// The entries by the address of their value. The map of the standard library would add its hash
/// function to every module.
type Waiting = HashTable<(usize, Vec<Entry>)>;

fn hash(address: usize) -> u64 {
    (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

/// Maximum sum of the lengths of paths. Paths that exceed it are cut to the length that is shown:
/// many errors in an object with a long name would take more memory than a module has.
const MAX_PATHS: usize = 8 << 20;

fn walk(value: &Json, path: &mut String, located: &mut Located) {
    if located.waiting.is_empty() {
        return;
    }
    let length = path.len();
    let own = address(value);
    let found = located.waiting.find_entry(hash(own), |group| group.0 == own).ok();
    for entry in found.map_or(Vec::new(), |group| group.remove().0.1) {
        if let Some(member) = entry.member {
            push_member(path, member);
        }
        let Entry { kind, reason, other, .. } = entry;
        located.size += path.len();
        let is_cut = located.size > MAX_PATHS && path.len() > MAX_SHOWN;
        let path_of = if is_cut { Cut(path).to_string() } else { path.clone() };
        located.findings.push(Finding { path: path_of, kind, reason, other });
        path.truncate(length);
    }
    match value {
        Json::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                walk(value, path, located);
                path.truncate(length);
            }
        }
        Json::Object(fields) => {
            for (key, value) in fields {
                push_member(path, key);
                walk(value, path, located);
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
    use crate::document::parse::parse;

    #[test]
    fn findings_come_in_document_order_with_their_paths() {
        let root = parse(br#"{"a": [{"b-c": 1, "d.e": 2}], "": 3}"#).unwrap();
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
    fn long_names_are_cut() {
        let name = "\u{e4}".repeat(500_000);
        let text = format!(r#"{{"{name}": 1}}"#);
        let root = parse(text.as_bytes()).unwrap();
        let Json::Object(fields) = &root else { panic!("not an object") };
        let report = Report::new(Filter::Router);
        report.error(&fields[0].1, None, &format_args!("{name:?} is unknown"));
        let rejection = report.finish(&root).unwrap_err();
        assert_eq!(rejection.errors[0].path.len(), 2 * 500_000 + 4, "the whole path");
        let shown = rejection.to_string();
        assert!(shown.len() < 1_020 && shown.ends_with("..."), "{}", shown.len());
    }

    #[test]
    fn paths_of_many_errors_have_a_limit() {
        let (name, fields) = ("a".repeat(1 << 20), vec![r#""b":1"#; 100].join(","));
        let text = format!(r#"{{"{name}":{{{fields}}}}}"#);
        let root = parse(text.as_bytes()).unwrap();
        let report = Report::new(Filter::Router);
        for (_, field) in root.fields()[0].1.fields() {
            report.error(field, None, &"is wrong");
        }
        let errors = report.finish(&root).unwrap_err().errors;
        assert_eq!((errors.len(), errors[0].path.len()), (100, (1 << 20) + 2));
        let size: usize = errors.iter().map(|error| error.path.len()).sum();
        assert!(size < MAX_PATHS + 100 * 504, "{size}");
    }

    #[test]
    fn notices_are_given_where_there_is_no_error() {
        let root = parse(b"[1]").unwrap();
        let report = Report::new(Filter::Router);
        report.notice(&root, Kind::NoEffect, &"remarkable", Some("a.b".to_owned()));
        let notices = report.finish(&root).unwrap();
        assert_eq!(notices[0].to_string(), "configuration: remarkable: a.b");
    }

    #[test]
    fn a_filter_that_reads_the_document_is_no_other_filter() {
        let root = parse(b"[1]").unwrap();
        let report = Report::new(Filters::from_iter([Filter::Router, Filter::Fault]));
        for filter in [Filter::Fault, Filter::Mirror] {
            report.notice(&root, Kind::LeftToFilter(filter), &format_args!("{filter:?}"), None);
        }
        let notices = report.finish(&root).unwrap();
        assert_eq!(notices.iter().map(|notice| &*notice.reason).collect::<Vec<_>>(), ["Mirror"]);
    }
}
