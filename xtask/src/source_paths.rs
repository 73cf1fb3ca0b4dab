//! Removes paths of the build machine from the modules.
//!
//! Panic messages contain the path of their source file. Replacing the first part of the paths with
//! a fixed name hides the build directory and makes builds reproducible.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;

/// Directories and their replacements in a module.
#[derive(Debug)]
pub struct SourcePaths(Vec<(PathBuf, String)>);

impl SourcePaths {
    /// The directories that source files of this workspace's modules come from.
    pub fn of(workspace: &Workspace) -> Result<Self> {
        let sysroot = PathBuf::from(rustc(&["--print", "sysroot"])?.trim());
        let version = rustc(&["--version", "--verbose"])?;
        let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
        let commit = commit.context("rustc --version --verbose names no commit-hash")?;

        let mut paths = vec![(workspace.root.clone(), ".".to_owned())];
        // Build scripts write sources there. rustc applies the last prefix that fits, so that the
        // replacement is the same inside and outside of the workspace.
        paths.push((workspace.target_directory.clone(), "./target".to_owned()));
        for directory in &workspace.dependency_directories {
            paths.push((directory.clone(), "dependencies".to_owned()));
        }
        // Where the rust-src component is installed, rustc names its files instead of these.
        paths.push((sysroot.join("lib/rustlib/src/rust"), format!("/rustc/{commit}")));
        Ok(Self(paths))
    }

    /// Returns the flags for rustc in the format of `CARGO_ENCODED_RUSTFLAGS`.
    pub fn encoded_rustflags(&self) -> String {
        let flags = self.0.iter().map(|(from, to)| {
            let from = from.display();
            format!("--remap-path-prefix={from}={to}")
        });
        flags.collect::<Vec<_>>().join("\u{1f}")
    }

    /// Fails if a module still contains one of the directories.
    pub fn check(&self, wasm: &[u8]) -> Result<()> {
        for (directory, _) in &self.0 {
            let name = directory.as_os_str().as_encoded_bytes();
            let found = wasm.windows(name.len()).any(|window| window == name);
            ensure!(!found, "contains a path of this machine, {}", directory.display());
        }
        Ok(())
    }
}

/// Returns what rustc prints.
pub fn rustc(arguments: &[&str]) -> Result<String> {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&program).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {}", Path::new(&program).display()))?;
    ensure!(output.status.success(), "rustc {} failed", arguments.join(" "));
    String::from_utf8(output.stdout).context("output of rustc")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> SourcePaths {
        SourcePaths(vec![
            ("/home/me/repo".into(), ".".to_owned()),
            ("/home/me/cargo".into(), "dependencies".to_owned()),
        ])
    }

    #[test]
    fn every_directory_is_a_flag() {
        assert_eq!(
            paths().encoded_rustflags(),
            "--remap-path-prefix=/home/me/repo=.\u{1f}--remap-path-prefix=/home/me/cargo=dependencies"
        );
    }

    #[test]
    fn a_remaining_path_is_found() {
        let error = paths().check(b"..\0/home/me/cargo/log/lib.rs\0..").unwrap_err();
        assert_eq!(error.to_string(), "contains a path of this machine, /home/me/cargo");
    }

    #[test]
    fn other_paths_may_stay() {
        assert!(paths().check(b"/rustc/0123/library/core/src/panicking.rs").is_ok());
    }
}
