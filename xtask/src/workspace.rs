//! Properties of the workspace that the build requires, read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The compilation target: Envoy's V8 runtime loads it, and std has clocks and randomness.
pub const TARGET: &str = "wasm32-wasip1";

/// The workspace as `cargo metadata` describes it.
#[derive(Debug)]
pub struct Workspace {
    /// Directory of the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Cargo's target directory.
    pub target_directory: PathBuf,
    /// The modules to build, in the order of their package names.
    pub modules: Vec<WasmModule>,
    /// The directory of each package of the workspace.
    pub packages: BTreeMap<String, PathBuf>,
    /// Directories that hold the sources of dependencies from a registry or a git repository.
    pub dependency_directories: BTreeSet<PathBuf>,
}

/// A package with a `[package.metadata.sluice]` table.
#[derive(Debug, PartialEq)]
pub struct WasmModule {
    /// Name of the cargo package.
    pub package: String,
    /// File name of the library that cargo builds, without its extension.
    pub library: String,
    /// File name in `dist/`, without its extension.
    pub module: String,
    /// Directory of the sources that implement its callbacks.
    pub sources: PathBuf,
    /// The callbacks that stay exported.
    pub exports: Vec<String>,
}

impl Workspace {
    /// Reads the workspace that the current directory belongs to.
    pub fn load() -> Result<Self> {
        let mut command = Command::new(cargo());
        command.args(["metadata", "--format-version", "1", "--locked"]);
        command.args(["--filter-platform", TARGET]);
        let output = command.stderr(std::process::Stdio::inherit()).output();
        let output = output.context("cannot run cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata failed");
        let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
        Self::from_metadata(&metadata)
    }

    fn from_metadata(metadata: &Value) -> Result<Self> {
        let mut modules = Vec::new();
        let mut packages = BTreeMap::new();
        let mut dependency_directories = BTreeSet::new();
        for package in metadata["packages"].as_array().into_iter().flatten() {
            let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
            if package["source"].is_string() {
                // DIRECTORY/PACKAGE-VERSION/Cargo.toml
                dependency_directories.extend(manifest.ancestors().nth(2).map(Path::to_owned));
                continue;
            }
            let name = text(&package["name"])?;
            packages.extend(manifest.parent().map(|folder| (name.to_owned(), folder.to_owned())));
            if let Some(sluice) = package.pointer("/metadata/sluice") {
                let module = WasmModule::from_metadata(package, sluice)
                    .with_context(|| format!("[package.metadata.sluice] of {name}"))?;
                modules.push(module);
            }
        }
        modules.sort_by(|left, right| left.package.cmp(&right.package));
        for pair in modules.windows(2) {
            if let [left, right] = pair
                && left.module == right.module
            {
                let (module, left, right) = (&left.module, &left.package, &right.package);
                bail!("module {module} is built by both {left} and {right}");
            }
        }
        Ok(Self {
            root: text(&metadata["workspace_root"])?.into(),
            target_directory: text(&metadata["target_directory"])?.into(),
            modules,
            packages,
            dependency_directories,
        })
    }
}

impl WasmModule {
    fn from_metadata(package: &Value, sluice: &Value) -> Result<Self> {
        let exports = sluice["exports"].as_array().context("exports: expected an array")?;
        let exports: Result<Vec<_>> = exports.iter().map(text).collect();
        let targets = package["targets"].as_array().into_iter().flatten();
        let library = targets
            .filter(|target| {
                target["crate_types"]
                    .as_array()
                    .is_some_and(|kinds| kinds.contains(&"cdylib".into()))
            })
            .find_map(|target| target["name"].as_str())
            .context("the package has no library of crate-type cdylib")?;
        let manifest = Path::new(text(&package["manifest_path"])?);
        // The directory of a crate that contains the filter without the module.
        let sources = sluice["sources"].as_str().unwrap_or("src");
        Ok(Self {
            package: text(&package["name"])?.to_owned(),
            library: library.to_owned(),
            module: text(&sluice["module"]).context("module")?.to_owned(),
            sources: manifest.with_file_name(sources),
            exports: exports.context("exports")?.into_iter().map(str::to_owned).collect(),
        })
    }
}

/// Returns the cargo that started this program, or the one in `PATH`.
pub fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("expected a string, not {value}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, sluice: Value) -> Value {
        json!({
            "name": name,
            "source": null,
            "manifest_path": format!("/repo/{name}/Cargo.toml"),
            "metadata": { "sluice": sluice },
            "targets": [
                { "name": "test_of_it", "crate_types": ["bin"] },
                { "name": name.replace('-', "_"), "crate_types": ["cdylib", "rlib"] },
            ],
        })
    }

    fn workspace(packages: Vec<Value>) -> Result<Workspace> {
        Workspace::from_metadata(&json!({
            "workspace_root": "/repo",
            "target_directory": "/repo/target",
            "packages": packages,
        }))
    }

    #[test]
    fn a_package_with_the_table_is_a_module() {
        let sluice = json!({ "module": "router", "exports": ["proxy_on_configure"] });
        let modules = workspace(vec![package("sluice-router", sluice)]).unwrap().modules;
        let router = WasmModule {
            package: "sluice-router".to_owned(),
            library: "sluice_router".to_owned(),
            module: "router".to_owned(),
            sources: "/repo/sluice-router/src".into(),
            exports: vec!["proxy_on_configure".to_owned()],
        };
        assert_eq!(modules, [router]);
    }

    #[test]
    fn a_filter_can_be_in_another_crate() {
        let sluice = json!({ "module": "router", "exports": [], "sources": "../src" });
        let modules = workspace(vec![package("module", sluice)]).unwrap().modules;
        assert_eq!(modules[0].sources, Path::new("/repo/module/../src"));
    }

    #[test]
    fn a_package_without_the_table_is_none() {
        let plain = json!({ "name": "plain", "source": null, "metadata": null });
        assert_eq!(workspace(vec![plain]).unwrap().modules, []);
    }

    #[test]
    fn dependencies_give_the_directory_that_holds_them() {
        let log = json!({
            "name": "log",
            "source": "registry+somewhere",
            "manifest_path": "/cargo/registry/src/mirror-0123/log-0.4.0/Cargo.toml",
        });
        let directories = workspace(vec![log]).unwrap().dependency_directories;
        assert_eq!(directories, BTreeSet::from(["/cargo/registry/src/mirror-0123".into()]));
    }

    #[test]
    fn a_table_without_exports_names_the_package() {
        let error = workspace(vec![package("sluice-sni", json!({ "module": "sni" }))]).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "[package.metadata.sluice] of sluice-sni: exports: expected an array"
        );
    }

    #[test]
    fn two_packages_cannot_build_one_module() {
        let sluice = json!({ "module": "router", "exports": [] });
        let error =
            workspace(vec![package("b", sluice.clone()), package("a", sluice)]).unwrap_err();
        assert_eq!(error.to_string(), "module router is built by both a and b");
    }
}
