//! Runs a scenario of `envoy/scenarios` for people to try, or checks that scenarios print the
//! output in their READMEs.
//!
//!     sluice-scenarios list
//!     sluice-scenarios run NAME
//!     sluice-scenarios check [NAME]...
//!     sluice-scenarios native FILE
//!
//! `native` prints an Envoy configuration with the dynamic module in place of wasm modules.

use std::process::ExitCode;

use sluice_scenarios::{check, folder, native, run};

const USAGE: &str = "usage: sluice-scenarios list | run NAME | check [NAME]... | native FILE";

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["list"] => folder::list(),
        ["run", name] => run::run(name).await,
        ["check", ref names @ ..] => check::check(names).await,
        ["native", file] => print_native(file),
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

fn print_native(file: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    print!("{}", native::attach(&text).map_err(|error| format!("{file}: {error}"))?);
    Ok(())
}
