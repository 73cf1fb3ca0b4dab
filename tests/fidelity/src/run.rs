//! A whole run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use sluice_e2e::{Bootstrap, Envoy};
use sluice_progress::Progress;

use crate::case::Case;
use crate::compare::compare;
use crate::features::{Counts, REQUIRED, count};
use crate::generate;
use crate::reduce::{Mismatch, reduce};
use crate::requests::{Version, requests};
use crate::world::{Shot, Side, World};

/// What is compared.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The seed of all choices
    pub seed: u64,
    /// The number of VirtualServices
    pub cases: usize,
    /// The number of requests, which every side gets
    pub requests: usize,
    /// The sides that are compared with Envoy's own
    pub sides: Vec<Side>,
}

/// The result of a run.
#[derive(Default)]
pub struct Report {
    /// The requests, each of which every side got
    pub requests: usize,
    /// The comparisons of two results
    pub comparisons: usize,
    /// How many requests had to do with each feature
    pub features: Counts,
    /// The differences that did not repeat, by kind: timers that were late on a busy machine
    pub once: BTreeMap<String, usize>,
    /// The number of requests by kind of mismatch
    pub mismatches: BTreeMap<String, usize>,
    /// One mismatch of each kind, until it is shown
    examples: Vec<Mismatch>,
    /// The number of examples that were shown
    shown: usize,
}

/// The VirtualServices of one Envoy.
const BATCH: usize = 200;

/// How often a request with a difference is sent again. A mismatch shows each time.
const ROUNDS: usize = 2;

/// The kinds of mismatches of which an example is made small.
const EXAMPLES: usize = 8;

/// Returns what the Envoy of this machine does in another way than Sluice by decision, and whether
/// it has dynamic modules as `libsluice.so` requires them.
pub async fn version() -> (Version, bool) {
    let envoy = Envoy::start(&Bootstrap::new()).await;
    let mut is_of = Vec::new();
    for series in ["1.36.", "1.37.", "1.38."] {
        is_of.push(envoy.is_of(series).await);
    }
    let is_before_1_39 = is_of.iter().any(|own| *own);
    let version = Version { compares_values_alone: !is_before_1_39, reads_utf8: is_before_1_39 };
    (version, !is_of[0] && !is_of[1])
}

/// Returns the sides that are compared with Envoy's own: those that `ATTACH` or `SLUICE_E2E_BUNDLE`
/// choose, as in the end-to-end tests, else all of `default` that this Envoy can have.
pub async fn sides(default: &[Side]) -> Vec<Side> {
    let (_, has_dynamic_modules) = version().await;
    let chosen = match std::env::var("ATTACH").as_deref() {
        Ok("native") => &[Side::DynamicModule][..],
        Ok("wasm") => &[Side::Modules, Side::Bundle],
        _ if std::env::var_os("SLUICE_E2E_BUNDLE").is_some() => &[Side::Bundle],
        _ => default,
    };
    let can_be = |side: &&Side| **side != Side::DynamicModule || has_dynamic_modules;
    chosen.iter().filter(can_be).copied().collect()
}

/// Compares all, and prints what it finds.
///
/// # Panics
/// If Envoy refuses a configuration, or a module traps.
pub async fn run(settings: &Settings) -> Report {
    let start = Instant::now();
    let (version, _) = version().await;
    let mut rng = Rng::with_seed(settings.seed);
    let mut report = Report::default();
    let per_case = settings.requests.div_ceil(settings.cases);
    let mut sides = vec![Side::Native];
    sides.extend(&settings.sides);
    let mut done = 0;
    let mut progress = Progress::new("fidelity", settings.cases as u64, "configurations");
    while done < settings.cases {
        let size = BATCH.min(settings.cases - done);
        let cases: Vec<_> = (0..size).map(|number| generate::case(&mut rng, number)).collect();
        let mut shots = Vec::new();
        for (case, own) in cases.iter().enumerate() {
            let sent = requests(&mut rng, own, per_case, version);
            shots.extend(sent.into_iter().map(|sent| Shot { case, sent }));
        }
        let world = World::start(&cases, &sides).await;
        let world = world.unwrap_or_else(|log| panic!("Envoy refuses a configuration:\n{log}"));
        let shots = Arc::new(shots);
        let results = world.fire(&shots, 0).await;
        let mut doubtful = Vec::new();
        for (shot, mut results) in shots.iter().zip(results) {
            let native = results.remove(&Side::Native).expect("a result");
            report.requests += 1;
            report.comparisons += results.len();
            count(&mut report.features, &cases[shot.case], &shot.sent, &native);
            let kinds: BTreeSet<_> =
                results.values().flat_map(|seen| compare(&native, seen)).collect();
            if !kinds.is_empty() {
                doubtful.push((shot.clone(), kinds));
            }
        }
        report.ask_again(&world, &cases, doubtful).await;
        assert_eq!(world.traps(), [""; 0]);
        drop(world);
        report.show_examples(&progress).await;
        done += size;
        progress.set(done as u64);
    }
    let (requests, kinds) = (report.requests, report.mismatches.len());
    progress.print(&format!(
        "{done} configurations, {requests} requests, {kinds} kinds of mismatches, {} s",
        start.elapsed().as_secs()
    ));
    report
}

impl Report {
    /// Sends requests with differences again, and adds those whose differences repeat.
    async fn ask_again(
        &mut self,
        world: &World,
        cases: &[Case],
        mut doubtful: Vec<(Shot, BTreeSet<String>)>,
    ) {
        for round in 1..=ROUNDS {
            let shots: Vec<_> = doubtful.iter().map(|(shot, _)| shot.clone()).collect();
            if shots.is_empty() {
                return;
            }
            let results = world.fire(&Arc::new(shots), round).await;
            let mut repeated = Vec::new();
            for ((shot, before), mut results) in doubtful.drain(..).zip(results) {
                let native = results.remove(&Side::Native).expect("a result");
                let mut kinds = BTreeSet::new();
                // The dynamic module first: an Envoy with it starts fastest, for examples.
                for (side, seen) in results.into_iter().rev() {
                    for kind in compare(&native, &seen) {
                        if round == ROUNDS {
                            let (case, sent) = (cases[shot.case].clone(), shot.sent.clone());
                            let seen = [native.clone(), seen.clone()];
                            self.add(Mismatch { case, sent, side, kind: kind.clone(), seen });
                        }
                        kinds.insert(kind);
                    }
                }
                for kind in before.difference(&kinds) {
                    *self.once.entry(kind.clone()).or_default() += 1;
                }
                if !kinds.is_empty() {
                    repeated.push((shot, kinds));
                }
            }
            doubtful = repeated;
        }
    }

    /// Makes new examples small and prints them.
    async fn show_examples(&mut self, progress: &Progress) {
        for mismatch in self.examples.drain(..) {
            if self.shown < EXAMPLES {
                progress.print(&format!("\n{}", reduce(mismatch).await.show()));
                self.shown += 1;
            }
        }
    }

    fn add(&mut self, mismatch: Mismatch) {
        let total = self.mismatches.entry(mismatch.kind.clone()).or_default();
        *total += 1;
        if *total == 1 {
            self.examples.push(mismatch);
        }
    }

    /// Prints the totals.
    pub fn print(&self, settings: &Settings) {
        println!("\nrequests by feature:");
        for (name, count) in &self.features {
            println!("{count:8}  {name}");
        }
        let sides: Vec<_> = settings.sides.iter().map(|side| side.name()).collect();
        println!("\nseed {}, sides {}", settings.seed, sides.join(", "));
        println!(
            "{} configurations, {} requests to each side, {} comparisons",
            settings.cases, self.requests, self.comparisons
        );
        println!("differences that did not repeat: {:?}", self.once);
        println!("mismatches: {}", self.mismatches.values().sum::<usize>());
        for (kind, count) in &self.mismatches {
            println!("{count:8}  {kind}");
        }
    }

    /// The features that no request had to do with.
    pub fn missing(&self) -> Vec<&'static str> {
        REQUIRED.into_iter().filter(|name| !self.features.contains_key(*name)).collect()
    }

    /// Panics if there is a mismatch, or a feature without a request.
    ///
    /// # Panics
    /// See above.
    pub fn assert_equal(&self) {
        assert!(self.mismatches.is_empty(), "mismatches: {:?}", self.mismatches);
        assert!(self.missing().is_empty(), "no request had to do with {:?}", self.missing());
    }
}
