//! Counts of differences, and the file of those that have a reason.

use std::collections::BTreeMap;

use serde::Deserialize;
use sluice_e2e::workspace;

/// A difference that has a reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Argued {
    /// The part of the comparison
    part: String,
    /// The kind of the difference; a * stands for any text
    difference: String,
    #[serde(rename = "reason")]
    _reason: String,
}

/// The number of requests in `SLUICE_PAIRS`, if there is one.
///
/// # Panics
/// If it is not a number.
pub fn asked_pairs() -> Option<usize> {
    let count = std::env::var("SLUICE_PAIRS").ok().filter(|count| !count.is_empty())?;
    Some(count.parse().expect("SLUICE_PAIRS is a number"))
}

/// The differences of one part of the comparison.
pub struct Tally {
    argued: Vec<Argued>,
    /// The number and the first example, by the difference and by who differs from istiod
    found: BTreeMap<(String, &'static str), (usize, String)>,
}

impl Tally {
    /// Reads the reasons for a part.
    ///
    /// # Panics
    /// If pairs.yaml cannot be read.
    pub fn of(part: &str) -> Self {
        let file = workspace().join("tests/istio/pairs.yaml");
        let text = std::fs::read_to_string(file).expect("pairs.yaml");
        let mut argued: Vec<Argued> = serde_yaml_ng::from_str(&text).expect("pairs.yaml");
        argued.retain(|own| own.part == part);
        Self { argued, found: BTreeMap::new() }
    }

    /// Returns whether a difference has a reason.
    pub fn is_known(&self, difference: &str) -> bool {
        self.argued.iter().any(|own| is_covered(own, difference))
    }

    /// Counts a difference of `way` from istiod; `example` shows it.
    pub fn add(&mut self, way: &'static str, difference: String, example: impl FnOnce() -> String) {
        let entry = self.found.entry((difference, way));
        entry.or_insert_with(|| (0, example())).0 += 1;
    }

    /// Prints all differences, with `SLUICE_SHOW` an example of each.
    ///
    /// # Panics
    /// If one has no reason, or a reason has no difference and `SLUICE_PAIRS` is not set.
    pub fn finish(self) {
        let mut open = 0;
        let is_shown = std::env::var_os("SLUICE_SHOW").is_some();
        for ((difference, way), (count, example)) in &self.found {
            println!("{count:6} {way}: {difference}");
            let is_known = self.is_known(difference);
            if !is_known {
                open += 1;
                println!("       without a reason, such as");
            }
            if !is_known || is_shown {
                println!("    {example}");
            }
        }
        let unused = self.argued.iter().filter(|_| asked_pairs().is_none());
        for own in unused {
            if !self.found.keys().any(|(difference, _)| is_covered(own, difference)) {
                open += 1;
                println!("no longer a difference, remove it from pairs.yaml: {}", own.difference);
            }
        }
        assert!(open == 0, "{open} differences have no reason, or reasons no difference");
    }
}

fn is_covered(own: &Argued, difference: &str) -> bool {
    match own.difference.split_once('*') {
        Some((start, end)) => difference.strip_prefix(start).is_some_and(|own| own.ends_with(end)),
        None => own.difference == difference,
    }
}
