//! Runs the command in each folder of `tests/golden`. The file `command` has the arguments, `stdin`
//! the standard input, and `expected` the exit status and the output. `UPDATE_GOLDEN=1` rewrites
//! `expected`; read the changes before you commit them.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(&root).unwrap();
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

/// The exit status and the output of the command of a folder.
fn run(folder: &Path) -> String {
    let arguments = fs::read_to_string(folder.join("command")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(split(&arguments))
        .current_dir(folder)
        .env_remove("CLICOLOR_FORCE")
        .env_remove("COLUMNS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = fs::read(folder.join("stdin")).unwrap_or_default();
    // Writing fails if the command exits without reading its input.
    let _ = child.stdin.take().unwrap().write_all(&input);
    let output = child.wait_with_output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    let err = if err.is_empty() { err } else { format!("--- standard error\n{err}") };
    format!("exit {}\n{out}{err}", output.status.code().unwrap())
}

/// Splits arguments as a shell does: at spaces outside of single quotes.
fn split(arguments: &str) -> Vec<String> {
    let parts = arguments.trim().split('\'').enumerate();
    let mut words = vec![String::new()];
    for (index, part) in parts {
        let mut pieces =
            if index % 2 == 1 { vec![part] } else { part.split(' ').collect() }.into_iter();
        words.last_mut().unwrap().push_str(pieces.next().unwrap());
        words.extend(pieces.map(str::to_owned));
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_command_prints_the_expected_output() {
    let mut differences = Vec::new();
    let folders = folders();
    assert!(!folders.is_empty());
    for folder in folders {
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
