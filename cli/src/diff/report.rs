//! The differences between two policies, by kind, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::builder::styling::Style;
use serde_json::{Value, json};

use crate::explain::{Effect, Part};

const BOLD: Style = Style::new().bold();

/// Differences that the text shows; JSON has all.
const SHOWN: usize = 20;

/// A kind of difference: what both policies do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    is_elsewhere: bool,
    /// Destination and rule in the old policy
    old: (String, String),
    /// The same in the new policy
    new: (String, String),
    /// Effects besides the destination that only the old policy has
    lost: Vec<String>,
    /// The same of the new policy
    gained: Vec<String>,
}

/// How the policies differ for some requests.
#[derive(Default)]
pub struct Report {
    /// Requests that have been compared
    requests: usize,
    /// Requests that get another cluster or answer
    elsewhere: usize,
    /// Requests with the same destination, but other effects
    others: usize,
    /// The number of requests and examples of each change
    changes: BTreeMap<Change, (usize, Vec<String>)>,
    examples: usize,
}

impl Report {
    /// A report with as many examples of each difference as `examples` says.
    pub fn new(examples: usize) -> Self {
        Self { examples, ..Self::default() }
    }

    /// Returns whether no request has been compared.
    pub fn is_empty(&self) -> bool {
        self.requests == 0
    }

    /// Compares what both policies do with the request at `place`.
    pub fn add(&mut self, old: Effect, new: Effect, place: impl FnOnce() -> String) {
        self.requests += 1;
        let is_elsewhere = old.destination != new.destination;
        if !is_elsewhere && old.others == new.others {
            return;
        }
        *if is_elsewhere { &mut self.elsewhere } else { &mut self.others } += 1;
        let change = Change {
            is_elsewhere,
            lost: without(&old.others, &new.others),
            gained: without(&new.others, &old.others),
            old: (old.destination.label, old.rule),
            new: (new.destination.label, new.rule),
        };
        let (count, examples) = self.changes.entry(change).or_default();
        *count += 1;
        if examples.len() < self.examples {
            examples.push(place());
        }
    }

    /// The changes, those of most requests first.
    fn sorted(&self) -> Vec<(&Change, &(usize, Vec<String>))> {
        let mut changes: Vec<_> = self.changes.iter().collect();
        changes.sort_by_key(|(change, (count, _))| (std::cmp::Reverse(*count), *change));
        changes
    }

    /// The report as text, with colours that the caller removes for pipes.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let same = self.requests - self.elsewhere - self.others;
        let counted = [
            (self.elsewhere, "go elsewhere"),
            (self.others, "go to the same place, with other effects"),
            (same, "are treated alike"),
        ];
        let all = if self.requests == 1 { "request" } else { "requests" };
        _ = writeln!(text, "{BOLD}{} {all}{BOLD:#}", self.requests);
        for (count, what) in counted {
            _ = writeln!(text, "{count:>9} {:>6}  {what}", self.share(count));
        }
        let changes = self.sorted();
        for (change, (count, examples)) in changes.iter().take(SHOWN) {
            let Change { is_elsewhere, old, new, lost, gained } = change;
            let title = match is_elsewhere {
                true => format!("{} -> {}", old.0, new.0),
                false => old.0.clone(),
            };
            let share = self.share(*count);
            _ = writeln!(text, "\n{BOLD}{count} ({share}){BOLD:#}  {title}");
            lost.iter().for_each(|own| _ = writeln!(text, "  - {own}"));
            gained.iter().for_each(|own| _ = writeln!(text, "  + {own}"));
            for (name, (_, rule)) in [("old", old), ("new", new)] {
                let rule = if rule.is_empty() { "no rule" } else { rule };
                _ = writeln!(text, "  {name} rule  {rule}");
            }
            examples.iter().for_each(|own| _ = writeln!(text, "  {own}"));
        }
        if let Some(more @ 1..) = changes.len().checked_sub(SHOWN) {
            _ = writeln!(
                text,
                "\n{more} more differences of fewer requests; --format json has all"
            );
        }
        text
    }

    fn share(&self, count: usize) -> String {
        format!("{:.1}%", count as f64 * 100.0 / self.requests.max(1) as f64)
    }

    /// The report as one JSON document.
    pub fn to_json(&self) -> String {
        let side = |(destination, rule): &(String, String)| json!({"destination": destination, "rule": rule});
        let changes = self.sorted().into_iter().map(|(change, (count, examples))| {
            json!({
                "requests": count,
                "isElsewhere": change.is_elsewhere,
                "old": side(&change.old),
                "new": side(&change.new),
                "lost": change.lost,
                "gained": change.gained,
                "examples": examples,
            })
        });
        let document = json!({
            "requests": self.requests,
            "elsewhere": self.elsewhere,
            "otherEffects": self.others,
            "changes": changes.collect::<Value>(),
        });
        format!("{document:#}\n")
    }
}

/// The elements of `all` without those of `others`.
fn without(all: &[Part], others: &[Part]) -> Vec<String> {
    all.iter().filter(|own| !others.contains(own)).map(|own| own.label.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(destination: &str, others: &[&str]) -> Effect {
        let others = others.iter().map(|&own| own.to_owned().into()).collect();
        Effect { destination: destination.to_owned().into(), others, rule: "r".to_owned() }
    }

    #[test]
    fn requests_are_counted_by_what_changes() {
        let mut report = Report::new(1);
        let mut number = 0;
        let mut add = |old: Effect, new: Effect| {
            number += 1;
            report.add(old, new, || format!("line {number}"));
        };
        add(effect("a", &[]), effect("a", &[]));
        add(effect("a", &[]), effect("b", &[]));
        add(effect("a", &["x", "y"]), effect("a", &["y", "z"]));
        add(effect("a", &[]), effect("b", &[]));
        let found: Value = serde_json::from_str(&report.to_json()).unwrap();
        let side = |destination: &str| json!({"destination": destination, "rule": "r"});
        let change = |count: usize, is: bool, new: &str, lost: Value, gained: Value, line: &str| {
            json!({"requests": count, "isElsewhere": is, "old": side("a"), "new": side(new),
                   "lost": lost, "gained": gained, "examples": [line]})
        };
        let expected = json!({
            "requests": 4, "elsewhere": 2, "otherEffects": 1,
            "changes": [
                change(2, true, "b", json!([]), json!([]), "line 2"),
                change(1, false, "a", json!(["x"]), json!(["z"]), "line 3"),
            ],
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn the_text_has_the_most_frequent_changes() {
        let mut report = Report::new(0);
        for number in 0..30 {
            report.add(effect("a", &[]), effect(&format!("b{number}"), &[]), String::new);
        }
        let text = report.to_text();
        assert_eq!(text.matches(" -> b").count(), SHOWN);
        assert!(text.ends_with("\n10 more differences of fewer requests; --format json has all\n"));
    }
}
