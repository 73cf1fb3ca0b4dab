//! The crates that are linked into an artifact, as `cargo tree` resolves them.
//!
//! `cargo metadata`, and what is built on it, unites the features that all packages of a workspace
//! ask for. `cargo tree` resolves the features of the given packages only, as `cargo build` does.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::{Workspace, cargo};

/// Name and version of a crate.
pub type Crate = (String, String);

/// Returns the crates of one of several packages that one `cargo build` compiles for a target, with
/// the package itself. Build scripts, macros and their dependencies are not linked, so they are
/// left out.
pub fn linked(
    package: &str,
    built: &[&str],
    target: &str,
    workspace: &Workspace,
) -> Result<BTreeSet<Crate>> {
    let mut command = Command::new(cargo());
    command.args(["tree", "--locked", "--target", target, "--edges", "normal,no-proc-macro"]);
    command.args(["--prefix", "depth", "--no-dedupe", "--format", " {p}"]);
    for built in built {
        command.args(["--package", built]);
    }
    let output = command.current_dir(&workspace.root).output().context("cannot run cargo tree")?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo tree failed: {message}");
    let text = String::from_utf8(output.stdout).context("cargo tree")?;
    parse(&text, package)
}

/// Reads lines such as `1 log v0.4.35`, where 0 begins a package.
fn parse(text: &str, package: &str) -> Result<BTreeSet<Crate>> {
    let mut crates = BTreeSet::new();
    let mut is_below = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let (depth, name, version) = (words.next(), words.next(), words.next());
        let name = name.with_context(|| format!("cargo tree: {line}"))?;
        let version = version.and_then(|version| version.strip_prefix('v'));
        let version = version.with_context(|| format!("cargo tree: {line}"))?;
        if depth == Some("0") {
            is_below = name == package;
        }
        if is_below {
            crates.insert((name.to_owned(), version.to_owned()));
        }
    }
    ensure!(!crates.is_empty(), "cargo tree has no package {package}");
    Ok(crates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tree_of_the_package_counts() {
        let text = "\
0 router v0.1.0 (/repo/router)
1 policy v0.1.0 (/repo/policy)
2 log v0.4.35

0 sni v0.1.0 (/repo/sni)
1 slab v0.4.0
";
        let crates = parse(text, "router").unwrap();
        let names: Vec<_> = crates.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["log", "policy", "router"]);
        assert!(crates.contains(&("log".to_owned(), "0.4.35".to_owned())));
        assert_eq!(parse(text, "x").unwrap_err().to_string(), "cargo tree has no package x");
        assert_eq!(parse("0 x", "x").unwrap_err().to_string(), "cargo tree: 0 x");
    }

    #[test]
    fn this_workspace_links_what_its_manifests_say() {
        let workspace = Workspace::load().unwrap();
        let names = |package: &str, target: &str| -> BTreeSet<String> {
            let crates = linked(package, &[package], target, &workspace).unwrap();
            crates.into_iter().map(|(name, _)| name).collect()
        };
        let wasm = names("sluice-router-module", crate::workspace::TARGET);
        let native = names("sluice-native", "x86_64-unknown-linux-gnu");
        let command = names("sluice-cli", "x86_64-unknown-linux-gnu");
        for (has, crates, lacks) in [
            (["sluice-policy", "serde_json", "proxy-wasm"], &wasm, ["clap", "serde_derive"]),
            (["sluice-policy", "serde_json", "slab"], &native, ["clap", "cap"]),
            (["sluice-policy", "serde_json", "clap"], &command, ["proxy-wasm", "serde_derive"]),
        ] {
            assert!(has.iter().all(|name| crates.contains(*name)), "{crates:?}");
            assert!(!lacks.iter().any(|name| crates.contains(*name)), "{crates:?}");
        }
    }
}
