//! Costs of streams, and the table of their limits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::cases::{Case, Stream};
use crate::instance::Instance;

/// Number of counted streams of a case, high enough to include work that is not done for every
/// stream, such as ticks.
pub const STREAMS: u64 = 100;

/// Number of streams before the count, which excludes the setup by the first streams.
const WARM_UP: u64 = 20;

/// Allowed increase over the table, in percent.
const TOLERANCE: u64 = 3;

/// The costs of a case.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Instructions until the end of the configuration
    pub configure: u64,
    /// Linear memory after the configuration, in bytes
    pub memory: u64,
    /// Instructions of [`STREAMS`] streams
    pub instructions: u64,
    /// Number of times that the host allocates memory in the module for them
    pub allocations: u64,
    /// Calls of host functions for them, by name
    pub calls: BTreeMap<String, u64>,
}

/// The cases with their costs.
#[derive(Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Table(pub BTreeMap<String, Costs>);

/// Measures the costs of a case.
///
/// # Errors
/// If the streams do not have the intended outcome of the case.
pub fn measure(case: &Case) -> Result<Costs> {
    let mut instance = Instance::start(case.module)?;
    instance.configure(&case.document)?;
    let configure = instance.instructions();
    let memory = instance.memory() as u64;
    run(&mut instance, case, WARM_UP)?;
    let (instructions, allocations) = (instance.instructions(), instance.host().allocations);
    let calls = instance.host().calls.clone();
    run(&mut instance, case, STREAMS)?;
    let host = instance.host();
    let calls = host.calls.iter().zip(&calls).map(|(after, before)| after - before);
    let calls = host.imports.iter().cloned().zip(calls).filter(|(_, count)| *count > 0);
    Ok(Costs {
        configure,
        memory,
        instructions: instance.instructions() - instructions,
        allocations: host.allocations - allocations,
        calls: calls.collect(),
    })
}

/// Sends streams of a case through the module.
///
/// # Errors
/// If they do not all increase the counter of the case.
pub fn run(instance: &mut Instance, case: &Case, streams: u64) -> Result<()> {
    let counted = |instance: &Instance| {
        let value = instance.host().metric(case.counter);
        value.with_context(|| format!("{} is not defined", case.counter))
    };
    let before = counted(instance)?;
    for _ in 0..streams {
        match &case.stream {
            Stream::Http(exchange) => instance.exchange(&case.properties, exchange)?,
            Stream::Connection(data) => instance.connection(&case.properties, data)?,
        }
    }
    let grown = counted(instance)? - before;
    let expected = if case.counts { streams as i64 } else { 0 };
    ensure!(grown == expected, "{} grew by {grown}, not {expected}", case.counter);
    Ok(())
}

impl Table {
    fn path() -> PathBuf {
        concat!(env!("CARGO_MANIFEST_DIR"), "/costs.json").into()
    }

    /// The committed table.
    pub fn load() -> Result<Self> {
        let text = std::fs::read(Self::path()).context("costs.json")?;
        serde_json::from_slice(&text).context("costs.json")
    }

    /// Overwrites the committed table.
    pub fn store(&self) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(Self::path(), text).context("costs.json")
    }

    /// Returns the differences if these costs, of the current build, exceed the ones in `committed`
    /// or have other cases.
    pub fn exceeding(&self, committed: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (case, costs) in &self.0 {
            let Some(allowed) = committed.0.get(case) else {
                found.push(format!("{case}: not in the table"));
                continue;
            };
            for (what, now) in costs.numbers() {
                let before = allowed.numbers().get(&what).copied().unwrap_or_default();
                if now * 100 > before * (100 + TOLERANCE) {
                    found.push(format!("{case}: {what} {before} -> {now}"));
                }
            }
        }
        let gone = committed.0.keys().filter(|case| !self.0.contains_key(*case));
        found.extend(gone.map(|case| format!("{case}: in the table, but there is no such case")));
        found
    }
}

impl Costs {
    fn numbers(&self) -> BTreeMap<String, u64> {
        let calls = self.calls.iter().map(|(name, count)| (name.clone(), *count));
        let others = [
            ("configure", self.configure),
            ("memory", self.memory),
            ("instructions", self.instructions),
            ("allocations", self.allocations),
        ];
        calls.chain(others.map(|(name, count)| (name.to_owned(), count))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(instructions: u64, calls: u64) -> Table {
        let calls = BTreeMap::from([("proxy_log".to_owned(), calls)]);
        let costs = Costs { configure: 0, memory: 0, instructions, allocations: 0, calls };
        Table(BTreeMap::from([("router, 10 rules".to_owned(), costs)]))
    }

    #[test]
    fn three_percent_more_are_allowed_and_no_more() {
        assert_eq!(table(1030, 0).exceeding(&table(1000, 0)), [""; 0]);
        let found = table(1031, 0).exceeding(&table(1000, 0));
        assert_eq!(found, ["router, 10 rules: instructions 1000 -> 1031"]);
    }

    #[test]
    fn less_is_allowed() {
        assert_eq!(table(1, 0).exceeding(&table(1000, 5)), [""; 0]);
    }

    #[test]
    fn a_call_that_was_not_made_before_is_named() {
        let found = table(1, 1).exceeding(&table(1, 0));
        assert_eq!(found, ["router, 10 rules: proxy_log 0 -> 1"]);
    }

    #[test]
    fn cases_are_those_of_the_table() {
        let none = Table::default();
        assert_eq!(table(1, 1).exceeding(&none), ["router, 10 rules: not in the table"]);
        let found = none.exceeding(&table(1, 1));
        assert_eq!(found, ["router, 10 rules: in the table, but there is no such case"]);
    }
}
