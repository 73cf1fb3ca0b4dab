//! Checks all scenarios against their READMEs: with and without each filter, and with the commands
//! in the configurations.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_e2e::Scenario;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::by_hand::Copy;
use crate::folder::{Folder, SCENARIOS};
use crate::programs::{Programs, filters_of};
use crate::readme::Step;
use crate::rendered;
use crate::run::{bash, message, prepare};

/// How a check starts the programs.
#[derive(Clone)]
enum Start {
    /// As `make scenario` does.
    Whole,
    /// Without this filter.
    Without(String),
    /// With the commands in the head of the configurations.
    ByHand,
    /// With an Envoy that `sluice render` makes from `istio.yaml`.
    Rendered,
}

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
        let whole = begin(&permits, &folder, Start::Whole);
        let filters = filters_of(&folder).into_iter();
        let without: Vec<_> = filters
            .map(|filter| (begin(&permits, &folder, Start::Without(filter.clone())), filter))
            .collect();
        let has_commands = !folder.by_hand.is_empty();
        let by_hand = has_commands.then(|| begin(&permits, &folder, Start::ByHand));
        let is_rendered = folder.rendered.is_some();
        let rendered = is_rendered.then(|| begin(&permits, &folder, Start::Rendered));
        rows.push((folder, whole, without, by_hand, rendered));
    }
    println!(
        "{:4} {:28} {:7} {:>5}  {:7}  {:8}  fails without",
        "id", "name", "result", "s", "by hand", "rendered"
    );
    let mut failures = Vec::new();
    for (folder, whole, without, by_hand, rendered) in rows {
        let name = &folder.name;
        let (outcome, time) = ended(whole).await;
        let result = match outcome {
            Outcome::Passed => "ok",
            Outcome::Differed(why) | Outcome::Broken(why) => {
                failures.push(format!("{name}: {why}"));
                "FAILED"
            }
        };
        let mut other = async |task: Option<Task>, how: &str| match task {
            None => "",
            Some(task) => match ended(task).await.0 {
                Outcome::Passed => "ok",
                Outcome::Differed(why) | Outcome::Broken(why) => {
                    failures.push(format!("{name} {how}: {why}"));
                    "FAILED"
                }
            },
        };
        let by_hand = other(by_hand, "with the commands in its configuration").await;
        let rendered = other(rendered, "with an Envoy by sluice render").await;
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
        println!("{id:4} {name:28} {result:7} {seconds:5.1}  {by_hand:7}  {rendered:8}  {cells}");
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

/// Checks a scenario when fewer than the maximum are running.
fn begin(permits: &Arc<Semaphore>, folder: &Arc<Folder>, start: Start) -> Task {
    let (permits, folder) = (permits.clone(), folder.clone());
    tokio::spawn(async move {
        let _permit = permits.acquire_owned().await.expect("an open semaphore");
        let begin = Instant::now();
        // Uses a separate thread, because waiting for the end of a program blocks.
        let check = spawn_blocking(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(check_one(&folder, start))
        });
        let result = check.await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => message(&*panic).to_owned(),
            Err(error) => error.to_string(),
        });
        (result.and_then(|result| result), begin.elapsed())
    })
}

async fn ended(task: Task) -> (Outcome, Duration) {
    match task.await {
        Ok((result, time)) => (result.unwrap_or_else(Outcome::Broken), time),
        Err(error) => (Outcome::Broken(error.to_string()), Duration::ZERO),
    }
}

async fn check_one(folder: &Folder, start: Start) -> Result<Outcome, String> {
    let directory = TempDir::new().map_err(|error| error.to_string())?;
    let written = directory.path();
    let without = match start {
        Start::ByHand => return check_by_hand(folder).await,
        Start::Rendered => return check_rendered(folder).await,
        Start::Whole => None,
        Start::Without(filter) => Some(filter),
    };
    let scenario = Scenario::new().with_folder(&folder.written(), written);
    prepare(folder, &scenario, written).await?;
    let _programs = Programs::start(folder, &scenario, written, without.as_deref()).await;
    for step in &folder.steps {
        let (output, _) = bash(&scenario.own(&step.command), written).await?;
        if let Some(difference) = difference(folder, step, &scenario.disown(&output)) {
            return Ok(Outcome::Differed(difference));
        }
    }
    Ok(Outcome::Passed)
}

async fn check_by_hand(folder: &Folder) -> Result<Outcome, String> {
    let scenario = Scenario::new();
    let copy = Copy::start(folder, &scenario).await?;
    // Only `make scenario` writes the access logs to files.
    let is_log =
        |step: &&Step| step.command.contains(&folder.written()) && step.command.contains(".out");
    for step in folder.steps.iter().filter(|step| !is_log(step)) {
        let (output, _) = copy.bash(&scenario.own(&step.command)).await?;
        if let Some(difference) = difference(folder, step, &scenario.disown(&output)) {
            return Ok(Outcome::Differed(difference));
        }
    }
    Ok(Outcome::Passed)
}

/// Checks an Envoy that `sluice render` makes from `istio.yaml`. It runs beside the programs of the
/// scenario, which play the services, on other ports than those of the README.
async fn check_rendered(folder: &Folder) -> Result<Outcome, String> {
    let directory = TempDir::new().map_err(|error| error.to_string())?;
    let written = directory.path();
    let scenario = Scenario::new().with_folder(&folder.written(), written);
    prepare(folder, &scenario, written).await?;
    let _programs = Programs::start(folder, &scenario, written, None).await;
    let _envoy = scenario.envoy_of(&rendered::configuration(folder, &scenario)?, 1).await;
    let count = folder.rendered.as_ref().and_then(|own| own.commands);
    for step in folder.steps.iter().take(count.unwrap_or(usize::MAX)) {
        let command = rendered::with_own_ports(&scenario.own(&step.command));
        let (output, _) = bash(&command, written).await?;
        let output = rendered::with_ports_of_readme(&scenario.disown(&output));
        if let Some(difference) = difference(folder, step, &output) {
            return Ok(Outcome::Differed(difference));
        }
    }
    Ok(Outcome::Passed)
}

/// Describes the difference if a command printed something else than its README says.
fn difference(folder: &Folder, step: &Step, output: &str) -> Option<String> {
    (!step.allows(output)).then(|| {
        format!(
            "{SCENARIOS}/{}/README.md:{}\n$ {}\nis to print:\n{}\nand printed:\n{output}",
            folder.name, step.line, step.command, step.output
        )
    })
}
