//! Evaluation of rows with the policy crate.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::Value;
use sluice_policy::request::Draws;
use sluice_policy::router::Router;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NodeMetadata;
use sluice_policy::value::header::{HeaderEdit, HeaderOperation};

use crate::check::{Headers, Observed, Outcome, Strictness, bytes, lines};
use crate::rows::{Case, Node, Request};
use crate::shares::Counts;

/// A fixed seed makes failures reproducible.
const SEED: u64 = 2026;

/// Evaluates a row with the policy crate.
///
/// # Panics
/// If a result differs from the row. The message lists all differences.
pub fn check(case: &Case) {
    let router = match Router::compile(case.config.get().as_bytes(), &case.node) {
        Ok((router, _)) => router,
        Err(rejection) => panic!("the configuration is refused:\n{rejection}"),
    };
    let mut differences = Vec::new();
    for request in &case.requests {
        let observed = match request.draw {
            Some(draw) => vec![observe(&router, request, &mut Fixed(draw))],
            None => any_draws(&router, request),
        };
        // Only the first draw with a difference is reported.
        let found = observed.iter().find_map(|observed| {
            let found = request.differences(observed, Strictness::Filter);
            (!found.is_empty()).then(|| found.join("\n  "))
        });
        differences.extend(found.map(|found| format!("{}\n  {found}", request.title())));
    }
    if let Some(distribution) = &case.distribution {
        let mut draws = Seeded::default();
        let mut counts = Counts::new();
        for number in 0..distribution.requests {
            let observed = observe(&router, &distribution.request(number), &mut draws);
            let Outcome::Forwarded { cluster, .. } = observed.outcome else {
                panic!("request {number} was not forwarded: {observed:?}");
            };
            *counts.entry(cluster).or_default() += 1;
        }
        differences.extend(distribution.differences(&counts));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Returns the outcomes of a request for several draws, or one outcome if it does not depend on a
/// draw.
fn any_draws(router: &Router, request: &Request) -> Vec<Observed> {
    struct Counted<'a>(u64, &'a Cell<bool>);
    impl Draws for Counted<'_> {
        fn draw(&mut self) -> u64 {
            self.1.set(true);
            self.0
        }
    }
    let was_drawn = Cell::new(false);
    let mut seeded = Seeded::default();
    let mut observed = vec![observe(router, request, &mut Counted(0, &was_drawn))];
    if was_drawn.get() {
        let draws = [1, u64::MAX].into_iter().chain(std::iter::repeat_with(|| seeded.draw()));
        observed.extend(draws.take(20).map(|draw| observe(router, request, &mut Fixed(draw))));
    }
    observed
}

fn observe(router: &Router, request: &Request, draws: &mut dyn Draws) -> Observed {
    let pairs = request.pairs();
    let attributes = Attributes(request);
    let decision = router.route(&sluice_policy::request::Request::new(&pairs, &attributes), draws);
    let route = Some(decision.note.to_owned());
    let (outcome, mut response) = match &decision.reply {
        Some(reply) => {
            let headers = reply.headers.iter();
            let headers = headers.map(|(name, value)| ((*name).to_owned(), value.to_vec()));
            let outcome = Outcome::Replied { status: reply.status, body: reply.body.to_vec() };
            (outcome, lines(headers))
        }
        None => {
            let mut headers = lines(pairs.clone());
            decision.edits().for_each(|edit| apply(&mut headers, &edit));
            let cluster = headers.remove("x-sluice-cluster").unwrap_or_default();
            let cluster = String::from_utf8_lossy(&cluster).into_owned();
            (Outcome::Forwarded { cluster, headers }, lines(bytes(&request.upstream_headers)))
        }
    };
    if let Some(plan) = &decision.response {
        plan.edits().for_each(|edit| apply(&mut response, &edit));
    }
    Observed { outcome, response, route }
}

fn apply(headers: &mut Headers, edit: &HeaderEdit<'_>) {
    match edit.operation {
        HeaderOperation::Add => match headers.get_mut(edit.name) {
            Some(joined) => *joined = [joined, b",".as_slice(), &edit.value].concat(),
            None => drop(headers.insert(edit.name.to_owned(), edit.value.to_vec())),
        },
        HeaderOperation::Remove => drop(headers.remove(edit.name)),
        HeaderOperation::Set => drop(headers.insert(edit.name.to_owned(), edit.value.to_vec())),
    }
}

/// Attributes from the row, other than headers.
pub struct Attributes<'a>(pub &'a Request);

impl Attributes<'_> {
    /// Every claim that is text or a list of texts, by the members that lead to it.
    pub fn claims(&self) -> BTreeMap<Vec<String>, Value> {
        let mut claims = BTreeMap::new();
        let mut open = vec![(Vec::new(), &self.0.claims)];
        while let Some((path, value)) = open.pop() {
            if let Value::Object(members) = value {
                let member =
                    |(name, value)| ([path.clone(), vec![String::clone(name)]].concat(), value);
                open.extend(members.iter().map(member));
            } else if !value.is_null() {
                claims.insert(path, value.clone());
            }
        }
        claims
    }
}

impl sluice_policy::request::Attributes for Attributes<'_> {
    fn destination_port(&self) -> Option<u16> {
        self.0.port
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        self.0.source.as_ref().map(|address| address.clone().into_bytes())
    }

    fn claim(&self, path: &[String]) -> Vec<Vec<u8>> {
        let text = |value: &Value| value.as_str().expect("a text").as_bytes().to_vec();
        match self.claims().get(path) {
            None => Vec::new(),
            Some(Value::Array(values)) => values.iter().map(text).collect(),
            Some(value) => vec![text(value)],
        }
    }
}

impl NodeMetadata for Node {
    fn namespace(&self) -> Option<String> {
        self.namespace.clone()
    }

    fn label(&self, name: &str) -> Option<String> {
        self.labels.get(name).cloned()
    }
}

pub(crate) struct Fixed(pub u64);

impl Draws for Fixed {
    fn draw(&mut self) -> u64 {
        self.0
    }
}

/// Draws from a fixed seed.
pub struct Seeded(fastrand::Rng);

impl Default for Seeded {
    fn default() -> Self {
        Self(fastrand::Rng::with_seed(SEED))
    }
}

impl Draws for Seeded {
    fn draw(&mut self) -> u64 {
        self.0.u64(..)
    }
}

/// A request of which only the headers are known.
#[derive(Debug)]
pub struct NoAttributes;

impl sluice_policy::request::Attributes for NoAttributes {
    fn destination_port(&self) -> Option<u16> {
        None
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        None
    }

    fn claim(&self, _: &[String]) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

/// Returns the draws of a row in order, and panics after the last one.
#[derive(Debug)]
pub struct Listed<'a>(pub &'a [u64]);

impl Draws for Listed<'_> {
    fn draw(&mut self) -> u64 {
        let (first, rest) = self.0.split_first().expect("no more draws than the row has");
        self.0 = rest;
        *first
    }
}
