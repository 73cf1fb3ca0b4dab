//! `cargo xtask build`: compiles the workspace's packages to the modules in `dist/`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::source_paths::SourcePaths;
use crate::strip::strip;
use crate::workspace::{TARGET, WasmModule, Workspace, cargo};
use crate::{callbacks, capabilities};

/// Builds all modules. Prints one line for each: file, size, compiled size.
pub fn run() -> Result<()> {
    let workspace = Workspace::load()?;
    ensure!(!workspace.modules.is_empty(), "no package has a [package.metadata.sluice] table");
    for module in &workspace.modules {
        callbacks::check(module).with_context(|| module.package.clone())?;
    }
    let source_paths = SourcePaths::of(&workspace)?;
    compile(&workspace, &source_paths)?;

    let compiled = workspace.target_directory.join(TARGET).join("release");
    let dist = workspace.root.join("dist");
    fs::create_dir_all(&dist).with_context(|| format!("cannot create {}", dist.display()))?;
    for module in &workspace.modules {
        finish(module, &compiled, &dist, &source_paths)
            .with_context(|| format!("{}.wasm of {}", module.module, module.package))?;
    }
    capabilities::compare(&workspace)
}

/// Builds all modules with one cargo call, so that each dependency is compiled once and with the
/// same features.
fn compile(workspace: &Workspace, source_paths: &SourcePaths) -> Result<()> {
    let mut arguments = vec!["--release", "--target", TARGET];
    for module in &workspace.modules {
        arguments.extend(["--package", &module.package]);
    }
    run_cargo(&arguments, workspace, source_paths)
}

/// Runs `cargo build` with arguments and with what all modules need.
pub fn run_cargo(
    arguments: &[&str],
    workspace: &Workspace,
    source_paths: &SourcePaths,
) -> Result<()> {
    let mut command = Command::new(cargo());
    command.args(["build", "--locked"]).args(arguments);
    // Overrides RUSTFLAGS and flags in cargo's configuration, so that builds are reproducible.
    command.env("CARGO_ENCODED_RUSTFLAGS", source_paths.encoded_rustflags());
    // The modules log it when they start. They have "unknown" in its place without git.
    match commit(workspace) {
        Some(commit) => command.env("SLUICE_COMMIT", commit),
        None => command.env_remove("SLUICE_COMMIT"),
    };
    let status = command.current_dir(&workspace.root).status().context("cannot run cargo build")?;
    ensure!(status.success(), "cargo build failed");
    Ok(())
}

/// The commit that is checked out, abbreviated.
fn commit(workspace: &Workspace) -> Option<String> {
    let mut command = Command::new("git");
    command.args(["rev-parse", "--short=12", "HEAD"]).current_dir(&workspace.root);
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn finish(module: &WasmModule, compiled: &Path, dist: &Path, paths: &SourcePaths) -> Result<()> {
    let library = compiled.join(&module.library).with_extension("wasm");
    let before = fs::read(&library).with_context(|| library.display().to_string())?;
    let after = strip(&before, &module.exports)?;
    paths.check(&after)?;

    let file = dist.join(&module.module).with_extension("wasm");
    replace(&file, &after)?;
    println!("dist/{}.wasm  {} bytes (was {})", module.module, after.len(), before.len());
    Ok(())
}

/// Writes a file under a temporary name first, so that Envoy never loads a part of it.
pub fn replace(file: &Path, bytes: &[u8]) -> Result<()> {
    let unfinished = file.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&unfinished, bytes).with_context(|| unfinished.display().to_string())?;
    fs::rename(&unfinished, file).with_context(|| file.display().to_string())
}
