//! Paths of the programs and modules under test.

use std::path::{Path, PathBuf};

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

fn present(path: PathBuf, remedy: &str) -> PathBuf {
    match path.canonicalize() {
        Ok(path) => path,
        Err(_) => panic!("{} is missing; {remedy}", path.display()),
    }
}
