//! The answers of `sluice check` and `sluice explain` about rules in memory, for a web page.
//!
//! Nothing here reads files, the clock or the environment, so that it also runs as
//! `wasm32-unknown-unknown`. The answers are those of the command about a file named [`FILE`].

use std::collections::BTreeMap;
use std::time::SystemTime;

use anstream::adapter::strip_str;
use sluice_policy::desk::explain::Explainer;
use sluice_policy::document::filter::Filter;

use crate::bundle::Bundle;
use crate::check::{self, Compiled};
use crate::collect::Defaults;
use crate::document::read_one;
use crate::explain::{self, Client, Detail, ExplainArgs, Explanation};
use crate::finding::to_json;
use crate::inputs::Input;

/// The name of the rules in findings and explanations.
pub const FILE: &str = "rules.yaml";

/// A request to explain.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method with a URL or path, as `--request` of `sluice explain` takes it
    pub request: String,
    /// Headers, each as `NAME: VALUE`
    pub headers: Vec<String>,
    /// The seed of random choices; the same seed gives the same choices
    pub seed: u64,
    /// The time of the request, for faults that end at a time
    pub now: SystemTime,
}

/// The explanation of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What the command writes to standard error: routes that are left out, one per line
    pub notices: String,
    /// The explanation as `--format text` writes it
    pub text: String,
    /// The explanation as `--format json` writes it
    pub json: String,
}

/// What the filters do with many requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The numbers of requests by their destination: a cluster, or the answer of a filter
    pub destinations: BTreeMap<String, u64>,
    /// The numbers of requests by everything else: delays, copies, edits of headers
    pub effects: BTreeMap<String, u64>,
}

/// Users that send one request each.
#[derive(Clone, Copy, Debug)]
pub struct Users<'a> {
    /// The header with the user's name, in place of one with this name in the request; if it is
    /// empty, the requests differ only in their seeds
    pub header: &'a str,
    /// The number of the first user, and the seed of this request
    pub first: u32,
    /// How many users there are
    pub count: u32,
}

/// Checks rules in YAML or JSON: the findings as `--format json` writes them.
pub fn check(rules: &str) -> String {
    let checked = check::check(&[Input::in_memory(FILE, rules)], &Defaults::default());
    to_json(&checked.findings, &checked.skipped)
}

/// Explains a request.
///
/// # Errors
/// What the command writes to standard error if the rules or the request have an error.
pub fn explain(rules: &str, asked: &Asked) -> Result<Explained, String> {
    decide(rules, asked, |notices, rules, client| {
        let explanation = rules.explain(client, asked.seed, Detail::Rules, asked.now);
        Explained {
            notices,
            text: strip_str(&explanation.to_text(true)).to_string(),
            json: explanation.to_json(),
        }
    })
}

/// Explains what a running filter has done with a request, with the lines of the rules that it has.
/// `headers` are the values of `x-sluice-explain` in the response, one per line. The JSON has only
/// `rules` and `router.route`, with their places.
///
/// # Errors
/// The headers have no explanation, or the rules have an error.
pub fn explain_answer(rules: &str, headers: &str) -> Result<Explained, String> {
    let explained = explain::Explained::parse(headers)?;
    let (notices, rules) = read(rules, &ExplainArgs::default())?;
    Ok(Explained {
        notices,
        text: strip_str(&explained.to_text(&rules.bundle)).to_string(),
        json: explained.to_places(&rules.bundle).to_string(),
    })
}

/// Counts what the filters do with the request of each of `users`. A user `n` is named `user-n`,
/// and the seed of the request is `n`.
///
/// # Errors
/// As [`explain`].
pub fn simulate(rules: &str, asked: &Asked, users: Users<'_>) -> Result<Counts, String> {
    let Users { header, first, count } = users;
    let header = header.trim().to_ascii_lowercase();
    decide(rules, asked, |_, rules, client| {
        let mut counts = Counts::default();
        client.headers.retain(|(name, _)| header.is_empty() || *name != header);
        for user in (first..).take(usize::try_from(count).unwrap_or(usize::MAX)) {
            if !header.is_empty() {
                client.headers.push((header.clone(), format!("user-{user}").into_bytes()));
            }
            let explanation = rules.explain(client, u64::from(user), Detail::Decisions, asked.now);
            let effect = explanation.effect();
            *counts.destinations.entry(effect.destination.label).or_default() += 1;
            for part in effect.others {
                *counts.effects.entry(part.label).or_default() += 1;
            }
            if !header.is_empty() {
                client.headers.pop();
            }
        }
        counts
    })
}

/// The plugin document of rules, as `sluice render` writes it, but on one line.
///
/// # Errors
/// As [`explain`].
pub fn document(rules: &str) -> Result<String, String> {
    let (_, rules) = read(rules, &ExplainArgs::default())?;
    Ok(rules.bundle.document.to_json())
}

/// Rules that decide about requests.
struct Rules {
    bundle: Bundle,
    compiled: Compiled<'static>,
    explainer: Explainer,
}

impl Rules {
    fn explain<'a>(
        &'a self,
        client: &'a Client,
        seed: u64,
        detail: Detail,
        now: SystemTime,
    ) -> Explanation<'a> {
        let document = &self.compiled.document;
        Explanation::new(&self.bundle, document, &self.explainer, client, seed, detail, now)
    }
}

/// Reads rules as `sluice explain` does. Returns the notices and the rules.
fn read(text: &str, args: &ExplainArgs) -> Result<(String, Rules), String> {
    let inputs = [Input::in_memory(FILE, text)];
    let defaults = Defaults { attaches_routes: true, ..Defaults::default() };
    let mut written = Vec::new();
    let read = read_one(&inputs, &defaults, Some(Filter::Router), args, &mut written, false);
    let written = strip_str(&String::from_utf8_lossy(&written)).to_string();
    let Some((bundle, compiled)) = read.map_err(|error| error.to_string())? else {
        return Err(written);
    };
    let explainer = Explainer::new(&compiled.document);
    Ok((written, Rules { bundle, compiled, explainer }))
}

/// Reads the rules and the request as `sluice explain` does, and passes the notices, the rules and
/// the request to `answer`.
fn decide<T>(
    text: &str,
    asked: &Asked,
    answer: impl FnOnce(String, &Rules, &mut Client) -> T,
) -> Result<T, String> {
    let args = ExplainArgs::new(asked.request.clone(), asked.headers.clone());
    let (notices, rules) = read(text, &args)?;
    let client = args.client(&rules.bundle.document);
    let mut client = client.map_err(|reason| format!("sluice: {reason}\n"))?;
    Ok(answer(notices, &rules, &mut client))
}
