//! Runs all modules in a hostile host, for a number of random callbacks in all: `make hostile`.

use std::fmt;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use sluice_wasm_tests::hostile::{CallFailures, MODULES, Mixture, Target, fail_each_call, mix};

/// Callbacks of one VM. Then another one starts, with another seed.
const CALLBACKS: u64 = 100_000;

/// After how many failures a module is left.
const MAX_FAILURES: usize = 5;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let callbacks = std::env::args().nth(1).context("usage: sluice-hostile CALLBACKS")?;
    let callbacks: u64 = callbacks.parse().context("CALLBACKS is not a number")?;
    let of_module = callbacks.div_ceil(MODULES.len() as u64);
    println!(
        "module    calls  statuses  callbacks  wrong answers  traps  failures  memory MiB  left bytes"
    );
    let modules = Mutex::new(MODULES.iter());
    let failures = AtomicU64::new(0);
    let next = || modules.lock().ok()?.next().copied();
    let work = || {
        while let Some(module) = next() {
            let report = of(module, of_module);
            println!("{report}");
            failures.fetch_add(report.failures.len() as u64, Ordering::Relaxed);
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner();
    ensure!(failures == 0, "{failures} runs have failed");
    Ok(())
}

/// What happened to a module.
#[derive(Default)]
struct Report {
    module: &'static str,
    calls: CallFailures,
    callbacks: u64,
    wrong_answers: u64,
    /// The largest linear memory, in bytes
    memory: usize,
    /// The largest growth of what is in use after all contexts are deleted, in bytes
    growth: u64,
    failures: Vec<anyhow::Error>,
}

fn of(module: &'static str, callbacks: u64) -> Report {
    let mut report = Report { module, ..Report::default() };
    match fail_each_call(module) {
        Ok(calls) => report.calls = calls,
        Err(error) => report.failures.push(error),
    }
    let target = match Target::read(module) {
        Ok(target) => target,
        Err(error) => {
            report.failures.push(error);
            return report;
        }
    };
    report.callbacks = report.calls.callbacks;
    let mut seed = 0;
    while report.callbacks < callbacks && report.failures.len() < MAX_FAILURES {
        seed += 1;
        let mixed = mix(&target, seed, CALLBACKS.min(callbacks - report.callbacks));
        match mixed.and_then(|mixed| mixed.check().map(|()| mixed)) {
            Ok(Mixture { early, late }) => {
                report.callbacks += late.callbacks;
                report.wrong_answers += late.wrong_answers;
                report.memory = report.memory.max(late.memory);
                report.growth = report.growth.max(late.used.saturating_sub(early.used));
            }
            Err(error) => report.failures.push(error),
        }
    }
    report
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { module, calls, callbacks, wrong_answers, growth, .. } = self;
        let is_trap =
            |error: &&anyhow::Error| error.chain().any(|cause| cause.is::<wasmi::Error>());
        let traps = self.failures.iter().filter(is_trap).count();
        let (memory, failures) = (self.memory as f64 / f64::from(1 << 20), self.failures.len());
        write!(
            f,
            "{module:8} {:>6} {:>9} {callbacks:>10} {wrong_answers:>14} {traps:>6} {failures:>9} \
             {memory:>11.1} {growth:>11}",
            calls.calls, calls.statuses,
        )?;
        self.failures.iter().try_for_each(|error| write!(f, "\n{error:#}"))
    }
}
