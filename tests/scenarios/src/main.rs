//! Runs a scenario of `envoy/scenarios` for people to try, or checks that scenarios print the
//! output in their READMEs.
//!
//!     sluice-scenarios list
//!     sluice-scenarios run NAME
//!     sluice-scenarios check [NAME]...

use std::process::ExitCode;

use sluice_scenarios::{check, folder, run};

const USAGE: &str = "usage: sluice-scenarios list | run NAME | check [NAME]...";

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["list"] => folder::list(),
        ["run", name] => run::run(name).await,
        ["check", ref names @ ..] => check::check(names).await,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scenarios: {error}");
            ExitCode::FAILURE
        }
    }
}
