//! Runs the command in each folder of `tests/golden`. The file `expected` has the exit status and
//! the output. `UPDATE_GOLDEN=1` rewrites `expected`; read the changes before you commit them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;
use std::path::Path;

use common::{Outcome, arguments, folders};

/// The exit status and the output of the command of a folder.
fn run(folder: &Path) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_sluice"));
    let Outcome { status, out, err } = common::run(program, &arguments(folder), folder);
    let err = if err.is_empty() { err } else { format!("--- standard error\n{err}") };
    format!("exit {status}\n{out}{err}")
}

#[test]
fn the_command_prints_the_expected_output() {
    let mut differences = Vec::new();
    for folder in folders() {
        let (printed, path) = (run(&folder), folder.join("expected"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &printed).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if printed != expected {
            differences.push(format!("{}\nexpected {expected}\ngot {printed}", folder.display()));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
