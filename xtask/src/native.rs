//! `cargo xtask module`: compiles the dynamic module, `dist/libsluice.so`.
//!
//! `cargo xtask command`: compiles the command, `dist/sluice`.
//!
//! `cargo xtask test-module`: compiles the module that the end-to-end tests need besides.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, Result};

use crate::build::{replace, run_cargo};
use crate::shared_object;
use crate::source_paths::SourcePaths;
use crate::workspace::Workspace;

const FILE: &str = "libsluice.so";
const TEST_FILE: &str = "libsluice_test_panics.so";
const COMMAND: &str = "sluice";

/// What to build.
struct Package {
    name: &'static str,
    profile: &'static str,
}

const MODULE: Package = Package { name: "sluice-native", profile: "native" };
const TEST_MODULE: Package = Package { name: "sluice-test-panics", profile: "native" };
const PROGRAM: Package = Package { name: "sluice-cli", profile: "release" };

/// Builds the module for this machine, or for a target such as `aarch64-unknown-linux-gnu`, which
/// goes to `dist/TARGET/`. Prints the file and its size.
pub fn run(target: Option<&str>) -> Result<()> {
    let workspace = Workspace::load()?;
    let source_paths = SourcePaths::of(&workspace)?;
    let compiled = compile(&MODULE, target, &workspace, &source_paths)?.join(FILE);
    let module = fs::read(&compiled).with_context(|| compiled.display().to_string())?;
    source_paths.check(&module)?;
    let glibc = shared_object::check(&module).with_context(|| compiled.display().to_string())?;
    let file = folder(target, &workspace)?.join(FILE);
    replace(&file, &module)?;
    let shown = file.strip_prefix(&workspace.root).unwrap_or(&file);
    println!("{}  {} bytes, requires glibc {glibc}", shown.display(), module.len());
    Ok(())
}

/// Builds the command in the same way, so that it contains no path of this machine either. Prints
/// the file and its size.
pub fn run_command(target: Option<&str>) -> Result<()> {
    let workspace = Workspace::load()?;
    let source_paths = SourcePaths::of(&workspace)?;
    let compiled = compile(&PROGRAM, target, &workspace, &source_paths)?.join(COMMAND);
    let program = fs::read(&compiled).with_context(|| compiled.display().to_string())?;
    source_paths.check(&program)?;
    let file = folder(target, &workspace)?.join(COMMAND);
    replace(&file, &program)?;
    fs::set_permissions(&file, Permissions::from_mode(0o755))?;
    let shown = file.strip_prefix(&workspace.root).unwrap_or(&file);
    println!("{}  {} bytes", shown.display(), program.len());
    Ok(())
}

/// Creates the folder of the results for a target in `dist/`.
fn folder(target: Option<&str>, workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.root.join("dist").join(target.unwrap_or_default());
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Builds the module of the tests with the same options. It is not shipped, so it stays in the
/// target folder. Prints the file.
pub fn run_test() -> Result<()> {
    let workspace = Workspace::load()?;
    let source_paths = SourcePaths::of(&workspace)?;
    let folder = compile(&TEST_MODULE, None, &workspace, &source_paths)?;
    println!("{}", folder.join(TEST_FILE).display());
    Ok(())
}

/// Compiles a package. Returns the folder of the result.
fn compile(
    package: &Package,
    target: Option<&str>,
    workspace: &Workspace,
    source_paths: &SourcePaths,
) -> Result<PathBuf> {
    let mut arguments = vec!["--package", package.name, "--profile", package.profile];
    let linker = target.and_then(cross_linker);
    if let Some(target) = target {
        arguments.extend(["--target", target]);
    }
    if let Some(linker) = &linker {
        arguments.extend(["--config", linker]);
    }
    run_cargo(&arguments, workspace, source_paths)?;
    Ok(workspace.target_directory.join(target.unwrap_or_default()).join(package.profile))
}

/// Returns cargo's setting of the linker for a target of another processor: the C compiler for it,
/// as Debian names it. None if there is a setting already.
fn cross_linker(target: &str) -> Option<String> {
    let processor = target.strip_suffix("-unknown-linux-gnu")?;
    let variable = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    let is_other = processor != env::consts::ARCH && env::var_os(variable).is_none();
    is_other.then(|| format!("target.{target}.linker = \"{processor}-linux-gnu-gcc\""))
}
