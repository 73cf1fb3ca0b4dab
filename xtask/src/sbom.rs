//! `cargo xtask sbom FOLDER`: writes a bill of materials (SBOM) in the format CycloneDX for each
//! module and program in the folder of a release, into its folder `sbom`.
//!
//! The tool `cargo-cyclonedx` describes the crates: their licences, checksums and sources. It takes
//! its list from `cargo metadata`, which unites the features of the whole workspace. So what is not
//! linked into the artifact is taken out again, and what cargo does not know is added: Rust's
//! standard library, and the unwinder of GCC. Paths of this machine are replaced, and the time is
//! that of the commit, so that the result depends on nothing but the sources and the toolchain.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bill::Bill;
use crate::checksums::{self, Checksums};
use crate::linked::linked;
use crate::source_paths::rustc;
use crate::workspace::{TARGET, Workspace};

/// The folder of the bills in that of a release.
const FOLDER: &str = "sbom";
/// Name of the files that `cargo-cyclonedx` writes beside each manifest, without its extension.
const TEMPORARY: &str = "sluice-sbom";

/// A file of a release that has a bill.
#[derive(Debug, PartialEq)]
struct Artifact {
    /// Path in the folder of the release.
    path: String,
    /// SHA-256 in hexadecimal.
    sha256: String,
    /// Its package.
    package: String,
    /// The packages that are compiled together with it, as their features are united.
    built: Vec<String>,
    /// The target for which it is compiled.
    target: String,
}

/// Writes the bills. Prints one line for each.
pub fn run(folder: &str) -> Result<()> {
    let folder = Path::new(folder);
    let workspace = Workspace::load()?;
    let artifacts = artifacts(&checksums::of_folder(folder)?, &workspace);
    ensure!(!artifacts.is_empty(), "{} has no module or program", folder.display());
    let targets: BTreeSet<_> = artifacts.iter().map(|artifact| artifact.target.as_str()).collect();
    for target in targets {
        let described = Described::generate(target, &workspace)?;
        for artifact in artifacts.iter().filter(|artifact| artifact.target == target) {
            let bill = bill(artifact, &described, &workspace);
            let bill = bill.with_context(|| artifact.path.clone())?;
            let name = artifact.path.strip_prefix("wasm/").unwrap_or(&artifact.path);
            let file = folder.join(FOLDER).join(format!("{name}.cdx.json"));
            fs::create_dir_all(file.parent().context("no folder")?)?;
            fs::write(&file, format!("{:#}\n", bill.0))?;
            println!("{}  {} components", file.display(), bill.components());
        }
    }
    Ok(())
}

/// The files of a release that have a bill: `wasm/NAME.wasm`, `TARGET/libsluice.so` and
/// `TARGET/sluice`.
fn artifacts(files: &Checksums, workspace: &Workspace) -> Vec<Artifact> {
    let modules: Vec<_> = workspace.modules.iter().map(|module| module.package.clone()).collect();
    let artifact = |(path, sha256): (&String, &String)| {
        let (folder, name) = path.split_once('/')?;
        let (package, built) = match (folder, name) {
            ("wasm", name) => {
                let name = name.strip_suffix(".wasm")?;
                let module = workspace.modules.iter().find(|module| module.module == name)?;
                (module.package.clone(), modules.clone())
            }
            (_, "libsluice.so") => ("sluice-native".to_owned(), vec!["sluice-native".to_owned()]),
            (_, "sluice") => ("sluice-cli".to_owned(), vec!["sluice-cli".to_owned()]),
            _ => return None,
        };
        let target = if folder == "wasm" { TARGET } else { folder }.to_owned();
        Some(Artifact { path: path.clone(), sha256: sha256.clone(), package, built, target })
    };
    files.iter().filter_map(artifact).collect()
}

fn bill(artifact: &Artifact, described: &Described, workspace: &Workspace) -> Result<Bill> {
    let built: Vec<_> = artifact.built.iter().map(String::as_str).collect();
    let mut crates = linked(&artifact.package, &built, &artifact.target, workspace)?;
    crates.retain(|(name, _)| *name != artifact.package);
    let mut bill = Bill(described.of(&artifact.package)?);
    bill.describe(&artifact.path, &artifact.sha256)?;
    bill.keep(&crates)?;
    bill.replace_paths()?;
    bill.add(standard_library(&artifact.target)?)?;
    if artifact.package == "sluice-native" {
        bill.add(unwinder(&artifact.target)?)?;
    }
    Ok(bill)
}

/// The component of Rust's standard library.
fn standard_library(target: &str) -> Result<Value> {
    let version = rustc(&["--version", "--verbose"])?;
    let line = |start| version.lines().find_map(|line| line.strip_prefix(start));
    let release = line("release: ").context("rustc names no release")?;
    let commit = line("commit-hash: ").context("rustc names no commit-hash")?;
    // The libraries of the target are distributed with wasi-libc.
    let parts = if target.starts_with("wasm32-wasi") {
        ", with its crates and wasi-libc"
    } else {
        ", with its crates"
    };
    Ok(json!({
        "type": "library",
        "bom-ref": format!("rust-std@{release}"),
        "name": "rust-std",
        "version": release,
        "description": format!("Rust's standard library for {target}{parts}; commit {commit}"),
        "scope": "required",
        "licenses": [{ "expression": "MIT OR Apache-2.0" }],
        "purl": format!("pkg:github/rust-lang/rust@{release}"),
    }))
}

/// The component of GCC's unwinder, which is linked into the dynamic module.
fn unwinder(target: &str) -> Result<Value> {
    let processor = target.split('-').next().unwrap_or_default();
    let compiler = if processor == env::consts::ARCH {
        "cc".to_owned()
    } else {
        format!("{processor}-linux-gnu-gcc")
    };
    let output = Command::new(&compiler).arg("-dumpfullversion").output();
    let output = output.with_context(|| format!("cannot run {compiler}"))?;
    let version = String::from_utf8(output.stdout).context("version of the C compiler")?;
    let version = version.trim();
    ensure!(!version.is_empty(), "{compiler} -dumpfullversion printed nothing");
    Ok(json!({
        "type": "library",
        "bom-ref": format!("libgcc_eh@{version}"),
        "name": "libgcc_eh",
        "version": version,
        "description": "GCC's unwinder of panics",
        "scope": "required",
        "licenses": [{ "expression": "GPL-3.0-or-later WITH GCC-exception-3.1" }],
        "purl": format!("pkg:generic/gcc@{version}"),
    }))
}

/// What `cargo-cyclonedx` has written for a target. The files are removed at the end.
struct Described<'w> {
    workspace: &'w Workspace,
}

impl<'w> Described<'w> {
    fn generate(target: &str, workspace: &'w Workspace) -> Result<Self> {
        let tool = workspace.root.join(".tools/bin/cargo-cyclonedx");
        let mut command = Command::new(&tool);
        command.args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5"]);
        command.args(["--no-build-deps", "--target", target, "--override-filename", TEMPORARY]);
        // Without a time, it would write the present one and a random number.
        command.env("SOURCE_DATE_EPOCH", source_date(workspace)?);
        // From here on, the files are removed.
        let described = Self { workspace };
        let status = command.current_dir(&workspace.root).status();
        let status = status.with_context(|| {
            format!("cannot run {}; tools/setup.sh sbom installs it", tool.display())
        })?;
        ensure!(status.success(), "cargo-cyclonedx failed");
        Ok(described)
    }

    /// The bill of a package.
    fn of(&self, package: &str) -> Result<Value> {
        let folder = self.workspace.packages.get(package);
        let folder = folder.with_context(|| format!("no package {package}"))?;
        let file = Self::file(folder);
        let text = fs::read(&file).with_context(|| file.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| file.display().to_string())
    }

    fn file(folder: &Path) -> PathBuf {
        folder.join(TEMPORARY).with_extension("json")
    }
}

impl Drop for Described<'_> {
    fn drop(&mut self) {
        for folder in self.workspace.packages.values() {
            // There is none if the tool has failed.
            let _ = fs::remove_file(Self::file(folder));
        }
    }
}

/// The time of the sources in seconds since 1970: `SOURCE_DATE_EPOCH`, or that of the commit.
fn source_date(workspace: &Workspace) -> Result<String> {
    if let Ok(time) = env::var("SOURCE_DATE_EPOCH") {
        return Ok(time);
    }
    let mut command = Command::new("git");
    command.args(["log", "-1", "--format=%ct"]).current_dir(&workspace.root);
    let output = command.output().context("cannot run git")?;
    ensure!(output.status.success(), "git log failed; SOURCE_DATE_EPOCH gives the time");
    Ok(String::from_utf8(output.stdout).context("git log")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_and_programs_have_bills() {
        let workspace = Workspace::load().unwrap();
        let paths = [
            "LICENSE",
            "aarch64-unknown-linux-gnu/libsluice.so",
            "man/man1/sluice.1",
            "wasm/router.wasm",
            "x86_64-unknown-linux-gnu/sluice",
        ];
        let files = paths.map(|path| (path.to_owned(), "00".to_owned())).into();
        let artifacts = artifacts(&files, &workspace);
        let found: Vec<_> = artifacts
            .iter()
            .map(|artifact| (artifact.package.as_str(), artifact.target.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("sluice-native", "aarch64-unknown-linux-gnu"),
                ("sluice-router-module", TARGET),
                ("sluice-cli", "x86_64-unknown-linux-gnu"),
            ]
        );
        // Features of all modules are united, because one call of cargo builds them.
        assert_eq!(artifacts[1].built.len(), workspace.modules.len());
    }
}
