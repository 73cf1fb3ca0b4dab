//! Rules for the sources of the whole workspace.

use std::path::Path;

use sluice_architecture::circles::Files;
use sluice_architecture::imports::imports;
use sluice_architecture::layers::{PACKAGES, upward_imports};
use sluice_architecture::modules::Crate;
use sluice_architecture::named_tests::{rows, tests_of};
use sluice_architecture::repeats::repeats;
use sluice_architecture::unsafe_code::unsafe_lines;
use sluice_architecture::width::{WIDTH, wide_lines};
use sluice_architecture::workspace::Workspace;

fn workspace() -> Workspace {
    Workspace::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let workspace = workspace();
    let mut problems = Vec::new();
    for target in &workspace.targets {
        let modules = Crate::read(&target.root_file, &|file| workspace.read(file)).unwrap();
        let imports = imports(&modules).unwrap();
        let circles = Files::new(&modules, &imports).circles();
        problems.extend(circles.iter().map(|circle| format!("{}: {circle}", target.package)));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

#[test]
fn modules_import_only_from_layers_below_their_own() {
    let workspace = workspace();
    for package in PACKAGES {
        assert!(workspace.targets.iter().any(|target| target.package == package), "no {package}");
    }
    let mut problems = Vec::new();
    for target in &workspace.targets {
        let is_library = target.root_file.ends_with("lib.rs");
        if is_library && PACKAGES.contains(&target.package.as_str()) {
            let modules = Crate::read(&target.root_file, &|file| workspace.read(file)).unwrap();
            problems.extend(upward_imports(&modules, &imports(&modules).unwrap()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The files that may contain `unsafe`: those with the foreign functions of the two hosts, and the
/// macro that exports the hooks of a dynamic module.
const UNSAFE: [&str; 9] = [
    "filters/host/src/native/abi.rs",
    "filters/host/src/native/abi/bootstrap.rs",
    "filters/host/src/native/abi/network.rs",
    "filters/host/src/native/calls.rs",
    "filters/host/src/native/calls/bootstrap.rs",
    "filters/host/src/native/calls/network.rs",
    "filters/host/src/native/calls/version.rs",
    "filters/host/src/native/module.rs",
    "filters/host/src/wasm/abi.rs",
];

#[test]
fn unsafe_code_is_in_the_files_with_foreign_functions() {
    let workspace = workspace();
    let mut files = Vec::new();
    for file in workspace.rust_files().unwrap() {
        let text = workspace.read(&file).unwrap();
        let lines =
            unsafe_lines(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if !lines.is_empty() && !UNSAFE.iter().any(|allowed| file == Path::new(allowed)) {
            files.push((file, lines));
        }
    }
    assert!(files.is_empty(), "unsafe may be in {UNSAFE:?}, but is also in {files:#?}");
}

/// Maximum number of consecutive lines that two filters may have in common.
const EQUAL_LINES: usize = 5;

#[test]
fn plugins_do_not_repeat_each_other() {
    let workspace = workspace();
    let is_plugin = |file: &Path| file.starts_with("filters") && file.ends_with("src/plugin.rs");
    let files = workspace.rust_files().unwrap().into_iter().filter(|file| is_plugin(file));
    let plugins: Vec<_> = files.map(|file| (workspace.read(&file).unwrap(), file)).collect();
    assert!(plugins.len() > 1, "found {} plugins", plugins.len());
    let mut problems = Vec::new();
    for (index, (left_text, left)) in plugins.iter().enumerate() {
        for (right_text, right) in &plugins[index + 1..] {
            for run in repeats(left_text, right_text, EQUAL_LINES + 1) {
                let (left, right) = (left.display(), right.display());
                problems.push(format!(
                    "{} lines of {left}:{} are in {right}:{}\n    {}",
                    run.lines.len(),
                    run.left,
                    run.right,
                    run.lines.join("\n    ")
                ));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn lines_are_not_too_wide() {
    let workspace = workspace();
    let mut problems = Vec::new();
    for file in workspace.files().unwrap() {
        // A file that is not text has no lines.
        let Some(text) = workspace.read(&file) else { continue };
        let lines = wide_lines(&file, &text);
        problems.extend(lines.iter().map(|line| format!("{}:{line}", file.display())));
    }
    let count = problems.len();
    assert!(count == 0, "{count} lines are wider than {WIDTH}:\n{}", problems.join("\n"));
}

/// The number of lines that a source file may have.
const LINES: usize = 400;

#[test]
fn files_are_not_too_long() {
    let workspace = workspace();
    let mut problems = Vec::new();
    for file in workspace.files().unwrap() {
        let is_source =
            file.extension().is_some_and(|extension| extension == "rs" || extension == "sh");
        let Some(text) = workspace.read(&file).filter(|_| is_source) else { continue };
        let lines = text.lines().count();
        if lines > LINES {
            problems.push(format!("{}: {lines} lines", file.display()));
        }
    }
    assert!(problems.is_empty(), "files of more than {LINES} lines:\n{}", problems.join("\n"));
}

/// SECURITY.md says for each threat which tests cover it.
#[test]
fn the_tests_of_every_threat_exist() {
    let workspace = workspace();
    let document = workspace.read(Path::new("SECURITY.md")).unwrap();
    let threats = rows(&document, "Threats and their tests").unwrap();
    assert!(threats.len() > 10, "found only {} threats", threats.len());
    let mut problems = Vec::new();
    for (threat, tests) in &threats {
        if tests.is_empty() {
            problems.push(format!("{threat}: names no test"));
        }
        for test in tests {
            match workspace.read(Path::new(&test.file)).map(|text| tests_of(&text)) {
                None => problems.push(format!("{threat}: there is no file {}", test.file)),
                Some(Ok(tests)) if tests.contains(&test.name) => {}
                Some(_) => problems.push(format!("{threat}: {} has no {}", test.file, test.name)),
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
