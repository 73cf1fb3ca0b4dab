//! Paths of the programs and modules under test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the root of the repository.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Returns the folder with the built modules.
///
/// # Panics
/// If none is built.
pub(crate) fn modules() -> PathBuf {
    present(workspace().join("dist"), "run `make build` first")
}

/// Returns the folder of the dynamic modules that only tests use, `target/native`.
pub fn test_modules() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test");
    // TARGET/PROFILE/deps/TEST
    test.ancestors().nth(3).expect("the target folder").join("native")
}

/// Returns the path of the module `dist/NAME.wasm`. A name that ends with `.wasm` is a path itself.
///
/// # Panics
/// If it is not built.
pub fn module(name: &str) -> PathBuf {
    match name.ends_with(".wasm") {
        true => present(name.into(), "build it first"),
        false => present(workspace().join(format!("dist/{name}.wasm")), "run `make build` first"),
    }
}

/// Returns the path of a certificate or key of the tests.
///
/// # Panics
/// If it does not exist.
pub(crate) fn certificate(file: &str) -> PathBuf {
    present(workspace().join("dist/certificates").join(file), "run `make certificates` first")
}

/// Returns the path of the Envoy to test with: `$ENVOY`, else `.tools/envoy`.
///
/// # Panics
/// If there is none.
pub fn envoy_program() -> PathBuf {
    match std::env::var_os("ENVOY") {
        Some(path) => present(path.into(), "set ENVOY to the path of an Envoy"),
        None => present(workspace().join(".tools/envoy"), "run `make setup` first"),
    }
}

/// Returns whether the Envoy to test with is of a series, such as `1.38.`.
///
/// # Panics
/// If it does not say its version.
pub fn envoy_is_of(series: &str) -> bool {
    let output = Command::new(envoy_program()).arg("--version").output().expect("Envoy");
    let text = String::from_utf8_lossy(&output.stdout);
    // PROGRAM  version: COMMIT/VERSION/...
    let version = text.rsplit(' ').next().and_then(|version| version.split('/').nth(1));
    version.unwrap_or_else(|| panic!("no version in {text:?}")).starts_with(series)
}

fn present(path: PathBuf, remedy: &str) -> PathBuf {
    match path.canonicalize() {
        Ok(path) => path,
        Err(_) => panic!("{} is missing; {remedy}", path.display()),
    }
}
