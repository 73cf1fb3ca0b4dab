//! The packages of the workspace and their source files, read from `cargo metadata`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The workspace that a directory belongs to.
#[derive(Debug)]
pub struct Workspace {
    /// Directory of the workspace's `Cargo.toml`. The other paths are relative to it.
    pub root: PathBuf,
    /// The libraries and programs of all packages.
    pub targets: Vec<Target>,
}

/// A library or a program.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// Name of its package.
    pub package: String,
    /// The file with the root module: `src/lib.rs` or `src/main.rs`, unless the manifest says
    /// otherwise.
    pub root_file: PathBuf,
}

impl Workspace {
    /// Reads the workspace that `directory` belongs to.
    ///
    /// # Errors
    /// If cargo cannot read the workspace.
    pub fn load(directory: &Path) -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
        let output =
            command.current_dir(directory).output().context("cannot run cargo metadata")?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cargo metadata failed: {message}");
        Self::from_metadata(&serde_json::from_slice(&output.stdout).context("cargo metadata")?)
    }

    fn from_metadata(metadata: &Value) -> Result<Self> {
        let root = PathBuf::from(metadata["workspace_root"].as_str().context("workspace_root")?);
        let mut targets = Vec::new();
        for package in metadata["packages"].as_array().context("packages")? {
            for target in package["targets"].as_array().into_iter().flatten() {
                let mut kinds = target["kind"].as_array().into_iter().flatten();
                if !kinds.any(|kind| kind == "bin" || kind.as_str().is_some_and(is_library)) {
                    continue;
                }
                let file = Path::new(target["src_path"].as_str().context("src_path")?);
                targets.push(Target {
                    package: package["name"].as_str().context("name")?.to_owned(),
                    root_file: file.strip_prefix(&root).unwrap_or(file).to_owned(),
                });
            }
        }
        targets.sort_by(|left, right| left.root_file.cmp(&right.root_file));
        Ok(Self { root, targets })
    }

    /// Reads a source file. There is none where the result is [`None`].
    pub fn read(&self, file: &Path) -> Option<String> {
        fs::read_to_string(self.root.join(file)).ok()
    }

    /// All files below the workspace's directory, in alphabetical order. What is built and the
    /// tools are left out.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            let full = self.root.join(&directory);
            for entry in fs::read_dir(&full).with_context(|| full.display().to_string())? {
                let entry = entry?;
                let name = entry.file_name();
                let path = directory.join(&name);
                if !entry.file_type()?.is_dir() {
                    files.push(path);
                } else if !LEFT_OUT.iter().any(|left_out| name == *left_out) {
                    directories.push(path);
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// All Rust files below the workspace's directory, in alphabetical order.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn rust_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = self.files()?;
        files.retain(|file| file.extension() == Some(OsStr::new("rs")));
        Ok(files)
    }
}

/// Directories without sources of this workspace, which are skipped.
const LEFT_OUT: [&str; 5] = [".git", ".tools", "dist", "node_modules", "target"];

fn is_library(kind: &str) -> bool {
    matches!(kind, "lib" | "rlib" | "dylib" | "cdylib" | "staticlib" | "proc-macro")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn libraries_and_programs_are_targets() {
        let target =
            |kind: &str, file: &str| json!({ "kind": [kind], "src_path": format!("/repo/{file}") });
        let metadata = json!({
            "workspace_root": "/repo",
            "packages": [
                { "name": "command", "targets": [
                    target("bin", "cli/src/main.rs"),
                    target("test", "cli/tests/golden.rs"),
                    target("custom-build", "cli/build.rs"),
                ] },
                { "name": "filter", "targets": [target("cdylib", "a/src/lib.rs")] },
            ],
        });
        let workspace = Workspace::from_metadata(&metadata).unwrap();
        let targets: Vec<_> = workspace
            .targets
            .iter()
            .map(|target| (target.package.as_str(), target.root_file.to_str().unwrap()))
            .collect();
        assert_eq!(targets, [("filter", "a/src/lib.rs"), ("command", "cli/src/main.rs")]);
    }

    #[test]
    fn this_workspace_has_this_crate() {
        let workspace = Workspace::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let own = Path::new("tests/architecture/src/lib.rs");
        assert!(workspace.targets.iter().any(|target| target.root_file == own));
        let files = workspace.rust_files().unwrap();
        assert!(files.iter().any(|file| file == own));
        assert!(!files.iter().any(|file| file.starts_with("target")));
        assert!(files.iter().all(|file| file.extension() == Some(OsStr::new("rs"))));
        assert!(workspace.files().unwrap().contains(&PathBuf::from("Makefile")));
        assert!(workspace.read(own).unwrap().contains("mod workspace;"));
        assert_eq!(workspace.read(Path::new("tests/architecture/src/none.rs")), None);
    }
}
