//! The folders of `tests/golden`. The file `command` has the arguments, and `stdin` the standard
//! input.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folders, sorted by name.
pub fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(&root).unwrap();
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

/// The arguments in a folder, split as by a shell: at spaces outside of single quotes.
pub fn arguments(folder: &Path) -> Vec<String> {
    let arguments = fs::read_to_string(folder.join("command")).unwrap();
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

/// The arguments of a `check` with this format of findings in place of another one.
#[allow(dead_code, reason = "not all tests use it")]
pub fn with_format(mut arguments: Vec<String>, format: &str) -> Vec<String> {
    if let Some(place) = arguments.iter().position(|own| own == "--format") {
        arguments.drain(place..place + 2);
    }
    arguments.extend(["--format", format].map(str::to_owned));
    arguments
}

/// The outcome of a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// Runs a program in a folder.
pub fn run(program: &Path, arguments: &[String], folder: &Path) -> Outcome {
    let mut child = Command::new(program)
        .args(arguments)
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
    Outcome { status: output.status.code().unwrap(), out, err }
}
