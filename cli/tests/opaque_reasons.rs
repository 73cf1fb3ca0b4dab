//! The command decides nothing by the text of a reason: with the feature `opaque-reasons`, which
//! makes all reasons of the policy the same, everything else that it prints stays as it is.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Outcome, arguments, folders, run, with_format};
use serde_json::Value;

/// Builds the command with the feature, in a target directory of its own. Returns its path.
fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("opaque-reasons");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--package", "sluice-cli"])
        .args(["--features", "opaque-reasons", "--target-dir"])
        .arg(&target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success());
    target.join("debug").join(Path::new(env!("CARGO_BIN_EXE_sluice")).file_name().unwrap())
}

/// The findings of `check --format json` without their reasons, and the number of reasons that are
/// opaque.
fn without_reasons(printed: &str) -> (Value, usize) {
    let mut document: Value = serde_json::from_str(printed).unwrap();
    let mut opaque = 0;
    for finding in document.get_mut("findings").unwrap().as_array_mut().unwrap() {
        let reason = finding.get_mut("reason").unwrap().take();
        opaque += usize::from(reason == "-");
    }
    (document, opaque)
}

#[test]
fn only_reasons_differ_if_they_are_opaque() {
    let usual = Path::new(env!("CARGO_BIN_EXE_sluice"));
    let opaque = &build();
    let mut count = 0;
    for folder in folders() {
        let mut arguments = arguments(&folder);
        let run = |arguments: &[String]| [usual, opaque].map(|own| run(own, arguments, &folder));
        let [expected, found] = run(&arguments);
        let lines = |outcome: &Outcome| (outcome.out.lines().count(), outcome.err.lines().count());
        assert_eq!(found.status, expected.status, "{arguments:?}: {found:?}");
        assert_eq!(lines(&found), lines(&expected), "{arguments:?}: {found:?}");
        let is_check = arguments.first().is_some_and(|command| command == "check");
        if is_check && expected.status < 2 {
            arguments = with_format(arguments, "json");
            let [expected, found] = run(&arguments);
            let (findings, number) = without_reasons(&found.out);
            assert_eq!(findings, without_reasons(&expected.out).0, "{arguments:?}");
            assert_eq!((found.status, found.err), (expected.status, expected.err));
            count += number;
        } else if expected.status != 1 {
            assert_eq!(found.out, expected.out, "{arguments:?}");
            // Only a rejected file has reasons, and the list of what is left out.
            if !arguments.contains(&"--allow-partial".to_owned()) {
                assert_eq!(found.err, expected.err, "{arguments:?}");
            }
        }
    }
    assert!(count > 0, "the reasons are not opaque");
}
