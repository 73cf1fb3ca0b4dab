//! Completions and manual pages have every command and flag, and the shells accept the completions.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const COMMANDS: [&str; 6] = ["check", "completion", "explain", "man", "render", "schema"];

fn sluice(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn manual_pages_have_all_commands_and_flags() {
    let folder = folder("manual");
    sluice(&["man", folder.to_str().unwrap()]);
    let page = |name: &str| fs::read_to_string(folder.join(name)).unwrap().replace("\\-", "-");
    let main = page("sluice.1");
    for command in COMMANDS {
        assert!(main.contains(&format!("sluice-{command}(1)")), "{command}");
        let own = page(&format!("sluice-{command}.1"));
        let help = sluice(&[command, "--help"]);
        let flags = help.split_ascii_whitespace().filter(|word| word.starts_with("--"));
        for flag in flags.map(|flag| flag.trim_end_matches([',', ']'])) {
            assert!(own.contains(flag), "{command} {flag}");
        }
    }
}

#[test]
fn shells_accept_the_completions() {
    for (shell, check) in [("bash", "-n"), ("fish", "--no-execute"), ("zsh", "-n")] {
        let script = sluice(&["completion", shell]);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} {command}");
        }
        assert!(script.contains("fail-on"), "{shell}");
        let path = folder(&format!("completion.{shell}"));
        fs::write(&path, script).unwrap();
        // Not every machine has every shell.
        let Ok(Output { status, stderr, .. }) = Command::new(shell).arg(check).arg(&path).output()
        else {
            continue;
        };
        assert!(status.success(), "{shell}: {}", String::from_utf8_lossy(&stderr));
    }
}
