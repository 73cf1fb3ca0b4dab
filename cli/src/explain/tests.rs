//! Random choices of explanations: a seed repeats its choices, and many seeds together have the
//! shares of the rules.

use std::time::SystemTime;

use clap::Parser as _;
use sluice_policy::desk::explain::Explainer;

use super::{Detail, ExplainArgs, Explanation};
use crate::check::compile;
use crate::collect::{Defaults, collect};
use crate::inputs::Input;
use crate::source::Source;
use crate::yaml;

const RULES: &str = "\
clusterName: '{host}'
virtualServices:
- hosts: [a.com]
  http:
  - fault: {delay: {fixedDelay: 1s, percentage: {value: 50}}}
    mirror: {host: copy.com}
    mirrorPercentage: {value: 50}
    route:
    - {destination: {host: b.com}, weight: 50}
    - {destination: {host: c.com}, weight: 50}
";

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    explain: ExplainArgs,
}

/// Whether the request is delayed, copied, and sent to b.com, for each of the seeds from 0 on.
fn choices(seeds: u64) -> Vec<[bool; 3]> {
    let documents = yaml::parse(RULES).unwrap();
    let input = Input { file: "rules.yaml".to_owned(), is_named: true, text: None };
    let collected =
        collect(vec![Source { input, documents, may_be_template: false }], &Defaults::default());
    assert_eq!(collected.findings, []);
    let bundle = &collected.bundles[0];
    let compiled = compile(bundle, None).unwrap();
    let explainer = Explainer::new(&compiled.document);
    let arguments = Arguments::parse_from(["sluice", "rules.yaml", "--request", "/"]);
    let client = arguments.explain.client(&bundle.document).unwrap();
    let choice = |seed| {
        let (document, now) = (&compiled.document, SystemTime::UNIX_EPOCH);
        let explanation =
            Explanation::new(bundle, document, &explainer, &client, seed, Detail::Rules, now);
        let routed = explanation.routed.unwrap();
        let is_b = routed.decision.edits().any(|edit| &*edit.value == b"b.com");
        [explanation.fault.unwrap().plan.delay.is_some(), !routed.copies.copies.is_empty(), is_b]
    };
    (0..seeds).map(choice).collect()
}

#[test]
fn choices_have_the_shares_of_the_rules_and_are_independent() {
    let choices = choices(4000);
    for combination in 0..8 {
        let wanted = [1, 2, 4].map(|bit| combination & bit != 0);
        let count = choices.iter().filter(|choice| **choice == wanted).count();
        // 500 on average, with a standard deviation of 21; five of these are allowed.
        assert!((395..=605).contains(&count), "{wanted:?}: {count}");
    }
}

#[test]
fn a_seed_repeats_its_choices() {
    assert_eq!(choices(50), choices(50));
}
