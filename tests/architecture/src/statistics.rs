//! The statistics of the filters, as the sources define them: the variants of `counters!`, and the
//! constants with the names of gauges, histograms and other counters. What they mean is in their
//! comments.

use std::fmt;

/// A statistic of Envoy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statistic {
    /// The name without Envoy's namespace `wasmcustom`
    pub name: String,
    /// `counter`, `gauge` or `histogram`
    pub kind: &'static str,
    /// The comment
    pub what: String,
}

impl fmt::Display for Statistic {
    /// A row of a table in Markdown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| `{}` | {} | {} |", self.name, self.kind, self.what)
    }
}

/// The calls that define a statistic whose name is a constant, before and after the constant.
const DEFINITIONS: [(&str, &str, &str); 4] = [
    ("define_active_streams(", ")", "gauge"),
    ("define_gauge(", ")", "gauge"),
    ("define_histogram(", ")", "histogram"),
    ("metric(MetricKind::Counter, ", ", calls::define_counter)", "counter"),
];

/// Returns the statistics that a source file defines, without its tests.
pub fn of_source(text: &str) -> Vec<Statistic> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = counters(text);
    for (before, after, kind) in DEFINITIONS {
        for rest in text.split(before).skip(1) {
            let constant = rest.split(after).next().unwrap_or_default();
            found.extend(constant_of(text, constant).map(|(name, what)| Statistic {
                name,
                kind,
                what,
            }));
        }
    }
    found
}

/// The variants of all `counters!` in a text.
fn counters(text: &str) -> Vec<Statistic> {
    let mut found = Vec::new();
    let (mut prefix, mut what, mut is_inside) = (String::new(), Vec::new(), false);
    // The name of a variant can be on the line after it.
    let text = text.replace("=\n", "= ");
    for line in text.lines().map(str::trim) {
        if line == "counters! {" {
            (is_inside, prefix) = (true, String::new());
        } else if let Some(comment) = line.strip_prefix("///") {
            what.push(comment.trim());
            continue;
        } else if is_inside && line == "}" {
            is_inside = false;
        } else if is_inside && let Some(quoted) = quoted(line) {
            match prefix.is_empty() {
                true => prefix = quoted.to_owned(),
                false => found.push(Statistic {
                    name: format!("{prefix}{quoted}"),
                    kind: "counter",
                    what: what.join(" "),
                }),
            }
        }
        what.clear();
    }
    found
}

/// The text of a constant, if it is the name of a statistic, and its comment.
fn constant_of(text: &str, constant: &str) -> Option<(String, String)> {
    let declared = format!("const {constant}: &str = ");
    let mut what = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("///") {
            what.push(comment.trim());
        } else if line.contains(&declared) {
            return Some((quoted(line)?.to_owned(), what.join(" ")));
        } else {
            what.clear();
        }
    }
    None
}

/// The first quoted text of a line.
fn quoted(line: &str) -> Option<&str> {
    line.split('"').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
/// Active things.
pub const ACTIVE: &str = "sluice.a.active";
/// A note, no statistic.
pub const NOTE: &str = "sluice.a";
counters! {
    /// All events.
    pub enum Event in "sluice.a." {
        /// A first one,
        /// on two lines.
        First = "first",
        /// A second one.
        Second =
            "second",
    }
}
fn define(host: &H) { host.define_gauge(ACTIVE); }
#[cfg(test)]
mod tests { counters! {
    enum Event in "sluice.test." { Own = "own", } } }
"#;

    #[test]
    fn names_kinds_and_comments_are_read() {
        let rows: Vec<_> = of_source(SOURCE).iter().map(ToString::to_string).collect();
        assert_eq!(
            rows,
            [
                "| `sluice.a.first` | counter | A first one, on two lines. |",
                "| `sluice.a.second` | counter | A second one. |",
                "| `sluice.a.active` | gauge | Active things. |",
            ]
        );
    }
}
