//! The differences between the two judges, and the file of those that have a reason.

use std::collections::BTreeMap;

use serde::Deserialize;
use sluice_e2e::workspace;

use super::judges::Verdict;
use super::mutate;

/// A difference that has a reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argued {
    /// The judge that refuses
    refused_by: Judge,
    /// What its errors contain, with `[]` in place of each index; all errors of an object must
    /// be argued
    error: String,
    /// Why the verdicts differ
    #[serde(rename = "reason")]
    _reason: String,
}

/// Who judges.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Judge {
    /// Istio's validation
    Istio,
    /// `sluice check`
    Sluice,
}

/// All argued differences, and where each occurs.
pub struct Differences {
    /// With the titles of their objects
    argued: Vec<(Argued, Vec<String>)>,
    /// Differences without a reason, by who refuses and why: how many, and the first
    open: BTreeMap<(Judge, String), (usize, String)>,
}

/// What two verdicts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Both judges accept
    Accepted,
    /// Both judges refuse
    Refused,
    /// They differ for an argued reason
    Argued,
    /// They differ without one
    Different(Judge),
}

impl Differences {
    /// Reads the file of argued differences.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn load() -> Self {
        let file = workspace().join("tests/istio/differences.yaml");
        let text = std::fs::read_to_string(file).expect("differences.yaml");
        let argued: Vec<Argued> = serde_yaml_ng::from_str(&text).expect("differences.yaml");
        Self::new(argued)
    }

    fn new(argued: Vec<Argued>) -> Self {
        let argued = argued.into_iter().map(|argued| (argued, Vec::new())).collect();
        Self { argued, open: BTreeMap::new() }
    }

    /// Compares the verdicts on the object `title`.
    pub fn compare(&mut self, title: &str, istio: &Verdict, sluice: &Verdict) -> Outcome {
        let (judge, errors) = match (istio.accepts(), sluice.accepts()) {
            (true, true) => return Outcome::Accepted,
            (false, false) => return Outcome::Refused,
            (false, true) => (Judge::Istio, &istio.errors),
            (true, false) => (Judge::Sluice, &sluice.errors),
        };
        let errors: Vec<_> = errors.iter().map(|error| generalized(error)).collect();
        let reasons: Option<Vec<_>> =
            errors.iter().map(|error| self.reason(judge, error)).collect();
        if let Some(reasons) = reasons {
            for index in reasons {
                self.argued[index].1.push(title.to_owned());
            }
            return Outcome::Argued;
        }
        let first = errors.into_iter().find(|error| self.reason(judge, error).is_none());
        let entry = self.open.entry((judge, first.unwrap_or_default()));
        entry.or_insert_with(|| (0, title.to_owned())).0 += 1;
        Outcome::Different(judge)
    }

    fn reason(&self, judge: Judge, error: &str) -> Option<usize> {
        let is_reason =
            |(own, _): &(Argued, _)| own.refused_by == judge && error.contains(&own.error);
        self.argued.iter().position(is_reason)
    }

    /// Prints the argued differences with their numbers, and the others, the most frequent first.
    pub fn print(&self) {
        println!("\nargued in differences.yaml:");
        for (argued, titles) in &self.argued {
            println!("{:6}  {:?} refuses: {}", titles.len(), argued.refused_by, argued.error);
            for title in titles.iter().filter(|title| !title.starts_with(mutate::TITLE)) {
                println!("        {title}");
            }
        }
        println!("\nwithout a reason:");
        let mut open: Vec<_> = self.open.iter().collect();
        open.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        for ((judge, error), (count, title)) in open {
            let error: String = error.chars().take(300).collect();
            println!("{count:6}  {judge:?} refuses: {error}\n        {title}");
        }
    }
}

/// An error in which all indices are `[]`, and all texts in upper case are `UPPER CASE` that are
/// between quotation marks or brackets.
fn generalized(error: &str) -> String {
    let is_upper = |part: &str| {
        part.contains(|c: char| c.is_ascii_uppercase()) && *part == part.to_ascii_uppercase()
    };
    let mut text = String::new();
    for part in without_indices(error).split_inclusive(['"', '[', ']']) {
        let end = part.len() - part.ends_with(['"', '[', ']']) as usize;
        let (own, end) = part.split_at(end);
        text.push_str(if is_upper(own) { "UPPER CASE" } else { own });
        text.push_str(end);
    }
    text
}

/// An error in which all indices are `[]`.
fn without_indices(error: &str) -> String {
    let mut parts = error.split('[');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push('[');
        text.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(errors: &[&str]) -> Verdict {
        Verdict { errors: errors.iter().map(|&error| error.to_owned()).collect() }
    }

    #[test]
    fn indices_and_names_in_upper_case_are_general() {
        let error = r#"tls[12].match[0]: "*.A.COM" is not in ["*.a.com"], "B.com", "", "7" [*.B]"#;
        let expected =
            r#"tls[].match[]: "UPPER CASE" is not in ["*.a.com"], "B.com", "", "7" [UPPER CASE]"#;
        assert_eq!(generalized(error), expected);
    }

    #[test]
    fn a_difference_is_argued_if_each_error_is() {
        let argued = |refused_by, error: &str| Argued {
            refused_by,
            error: error.to_owned(),
            _reason: String::new(),
        };
        let mut differences = Differences::new(vec![
            argued(Judge::Istio, "http[].x: one"),
            argued(Judge::Istio, "two"),
            argued(Judge::Sluice, "three"),
        ]);
        let mut outcome = |istio: &[&str], sluice: &[&str]| {
            differences.compare("a", &verdict(istio), &verdict(sluice))
        };
        assert_eq!(outcome(&[], &[]), Outcome::Accepted);
        assert_eq!(outcome(&["two"], &["four"]), Outcome::Refused);
        assert_eq!(outcome(&["spec.http[12].x: one", "two"], &[]), Outcome::Argued);
        assert_eq!(outcome(&["two", "four"], &[]), Outcome::Different(Judge::Istio));
        assert_eq!(outcome(&["three"], &[]), Outcome::Different(Judge::Istio));
        assert_eq!(outcome(&[], &["is three"]), Outcome::Argued);
        assert_eq!(differences.open.len(), 2);
    }
}
