//! The programs of the workspace that READMEs use.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use sluice_e2e::workspace;

/// Returns the folder with the programs of this package, which are built once.
///
/// # Errors
/// It cannot be built.
pub fn folder_of(package: &str) -> Result<PathBuf, String> {
    static BUILT: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().map_err(|error| error.to_string())?;
    if !built.contains_key(package) {
        let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
        cargo.args(["build", "--quiet", "--locked", "--package", package]);
        let status = cargo.current_dir(workspace()).status();
        let is_built = status.map_err(|error| format!("cargo: {error}"))?.success();
        built.insert(package.to_owned(), is_built);
    }
    match built.get(package) {
        Some(true) => Ok(workspace().join("target/debug")),
        _ => Err(format!("{package} cannot be built")),
    }
}
