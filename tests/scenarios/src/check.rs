//! Checks all scenarios against their READMEs, with and without each filter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_e2e::Scenario;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::folder::{Folder, SCENARIOS};
use crate::programs::{Programs, filters_of};
use crate::run::{bash, message, prepare};

/// Maximum number of scenarios that run at once.
const AT_ONCE: usize = 2;

/// Result of a check.
enum Outcome {
    /// All commands printed the output in the README.
    Passed,
    /// A command printed something else; the text contains it.
    Differed(String),
    /// The check could not run, for example because a program did not start.
    Broken(String),
}

/// Checks the scenarios of these names, or all, and prints a table.
pub async fn check(names: &[&str]) -> Result<(), String> {
    // The report contains the messages of panics.
    std::panic::set_hook(Box::new(|_| {}));
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let start = Instant::now();
    let mut rows = Vec::new();
    for folder in Folder::all(names)? {
        let folder = Arc::new(folder);
        let whole = begin(&permits, &folder, None);
        let filters = filters_of(&folder).into_iter();
        let without: Vec<_> = filters
            .map(|filter| (begin(&permits, &folder, Some(filter.clone())), filter))
            .collect();
        rows.push((folder, whole, without));
    }
    println!("{:4} {:28} {:7} {:>5}  fails without", "id", "name", "result", "s");
    let mut failures = Vec::new();
    for (folder, whole, without) in rows {
        let name = &folder.name;
        let (outcome, time) = ended(whole).await;
        let result = match outcome {
            Outcome::Passed => "ok",
            Outcome::Differed(why) | Outcome::Broken(why) => {
                failures.push(format!("{name}: {why}"));
                "FAILED"
            }
        };
        let mut cells = Vec::new();
        for (task, filter) in without {
            cells.push(match ended(task).await.0 {
                Outcome::Differed(_) => filter,
                Outcome::Passed => {
                    failures.push(format!("{name}: passes without the {filter} filter too"));
                    format!("not {filter}")
                }
                Outcome::Broken(why) => {
                    failures.push(format!("{name} without the {filter} filter: {why}"));
                    format!("{filter}?")
                }
            });
        }
        let (id, seconds, cells) = (&folder.id, time.as_secs_f64(), cells.join(", "));
        println!("{id:4} {name:28} {result:7} {seconds:5.1}  {cells}");
    }
    for failure in &failures {
        println!("\n{failure}");
    }
    println!("\nin {:.0} s", start.elapsed().as_secs_f64());
    match failures.len() {
        0 => Ok(()),
        count => Err(format!("{count} failed")),
    }
}

type Task = JoinHandle<(Result<Outcome, String>, Duration)>;

/// Checks a scenario when fewer than the maximum are running, optionally without a filter.
fn begin(permits: &Arc<Semaphore>, folder: &Arc<Folder>, without: Option<String>) -> Task {
    let (permits, folder) = (permits.clone(), folder.clone());
    tokio::spawn(async move {
        let _permit = permits.acquire_owned().await.expect("an open semaphore");
        let start = Instant::now();
        // Uses a separate thread, because waiting for the end of a program blocks.
        let check = spawn_blocking(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(check_one(&folder, without.as_deref()))
        });
        let result = check.await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => message(&*panic).to_owned(),
            Err(error) => error.to_string(),
        });
        (result.and_then(|result| result), start.elapsed())
    })
}

async fn ended(task: Task) -> (Outcome, Duration) {
    match task.await {
        Ok((result, time)) => (result.unwrap_or_else(Outcome::Broken), time),
        Err(error) => (Outcome::Broken(error.to_string()), Duration::ZERO),
    }
}

async fn check_one(folder: &Folder, without: Option<&str>) -> Result<Outcome, String> {
    let directory = TempDir::new().map_err(|error| error.to_string())?;
    let written = directory.path();
    let scenario = Scenario::new().with_folder(&folder.written(), written);
    prepare(folder, &scenario, written).await?;
    let _programs = Programs::start(folder, &scenario, written, without).await;
    for step in &folder.steps {
        let (output, _) = bash(&scenario.own(&step.command), written).await?;
        let output = scenario.disown(&output);
        if !step.allows(&output) {
            return Ok(Outcome::Differed(format!(
                "{SCENARIOS}/{}/README.md:{}\n$ {}\nis to print:\n{}\nand printed:\n{}",
                folder.name, step.line, step.command, step.output, output
            )));
        }
    }
    Ok(Outcome::Passed)
}
