//! Outlier detection while a cluster changes: releases, scaling, priorities, health checks and
//! weights.
//!
//! Each scenario has three clusters with the same hosts, the same settings and the same requests in
//! one Envoy. Their endpoints change at the same moment. In the first cluster, Envoy's own outlier
//! detection ejects hosts. It is the reference for the other two, which use the outlier filter.
//! Each scenario has two tests: `SCENARIO::envoy` compares the cluster in which the filter marks
//! failures for Envoy, `SCENARIO::filter` the one in which the filter ejects hosts itself.

mod balancing;
mod churn;
mod comparison;
mod detection;
mod fleet;
mod hosts;
mod membership;
mod releases;
mod scenario;
mod tolerances;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::json;
use sluice_e2e::{Bootstrap, Envoy, Listener};
use tokio::runtime::Runtime;

use crate::comparison::Findings;
use crate::detection::Cluster;
use crate::fleet::Fleet;
use crate::scenario::Scenario;

fn main() -> ExitCode {
    let site = Arc::new(Site::new());
    let mut trials = Vec::new();
    for cluster in [Cluster::Envoy, Cluster::Filter] {
        for (number, (scenario, _)) in site.scenarios.iter().enumerate() {
            let name = format!("{}::{}", scenario.name, cluster.name());
            let site = Arc::clone(&site);
            let trial = Trial::test(name, move || site.check(number, cluster));
            trials.push(trial.with_ignored_flag(scenario.is_long));
        }
    }
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    // Ends all Envoys before the process ends.
    drop(site);
    conclusion.exit_code()
}

/// All scenarios, and the Envoys for them: one for each number of workers, started for the first
/// scenario that requires it.
struct Site {
    runtime: Runtime,
    scenarios: Vec<(Arc<Scenario>, Once<Findings>)>,
    envoys: [Once<Arc<Envoy>>; 2],
}

/// A result that the first test computes that needs it, or the error of this computation.
type Once<T> = OnceLock<Result<T, String>>;

impl Site {
    fn new() -> Self {
        let scenarios = [
            releases::scenarios(),
            membership::scenarios(),
            balancing::scenarios(),
            churn::scenarios(),
        ];
        let scenarios = scenarios.into_iter().flatten();
        Self {
            runtime: Runtime::new().unwrap(),
            scenarios: scenarios.map(|s| (Arc::new(s), OnceLock::new())).collect(),
            envoys: [OnceLock::new(), OnceLock::new()],
        }
    }

    /// Runs a scenario, unless its other test has done so, and reports the findings about
    /// `cluster`.
    fn check(&self, number: usize, cluster: Cluster) -> Result<(), Failed> {
        let (scenario, findings) = &self.scenarios[number];
        let findings = findings.get_or_init(|| {
            let fleet = Fleet::new(self.envoy(scenario.detection.workers)?, Arc::clone(scenario));
            let run = async {
                (scenario.run)(&fleet).await;
                assert_eq!(fleet.envoy().traps(), [""; 0]);
            };
            let run = AssertUnwindSafe(|| self.runtime.block_on(run));
            catch_unwind(run).map_err(|panic| message(&*panic))?;
            Ok(fleet.into_findings())
        });
        let findings = findings.as_ref().map_err(|error| error.clone())?.about(cluster);
        match findings.is_empty() {
            true => Ok(()),
            false => Err(findings.join("\n").into()),
        }
    }

    fn envoy(&self, workers: u32) -> Result<Arc<Envoy>, String> {
        let start = || {
            let bootstrap = self.bootstrap(workers);
            let started = self.runtime.block_on(Envoy::try_start(&bootstrap));
            let failure = |failure: sluice_e2e::StartFailure| {
                let lines: Vec<_> = failure.log.lines().collect();
                let tail = lines[lines.len().saturating_sub(10)..].join("\n");
                format!("Envoy ended ({}). The end of its log:\n{tail}", failure.status)
            };
            started.map(Arc::new).map_err(failure)
        };
        self.envoys[workers as usize - 1].get_or_init(start).clone()
    }

    fn bootstrap(&self, workers: u32) -> Bootstrap {
        let scenarios = self.scenarios.iter().map(|(scenario, _)| scenario);
        let scenarios = scenarios.filter(|scenario| scenario.detection.workers == workers);
        let mut bootstrap = Bootstrap::new().workers(workers);
        let (mut routes, mut rules) = (Vec::new(), Vec::new());
        for scenario in scenarios {
            for cluster in detection::CLUSTERS {
                bootstrap = scenario.add_to(bootstrap, cluster);
                routes.push(json!({
                    "match": [{ "uri": { "prefix": scenario.path(cluster) } }],
                    "route": [{ "destination": { "host": scenario.cluster(cluster) } }],
                }));
            }
            rules.push(scenario.detection.rule(&scenario.cluster(Cluster::Filter)));
        }
        let document = detection::document(Cluster::Filter, &rules);
        let router = sluice_e2e::any_host(routes.into());
        bootstrap.listener(Listener::new("edge").plugin(&router).outlier(&document))
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
    text.unwrap_or_else(|| "the scenario panicked".to_owned())
}
