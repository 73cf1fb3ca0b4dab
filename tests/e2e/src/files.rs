//! Where the programs and modules under test are.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The folder with the modules that ship.
///
/// # Panics
/// When none has been built.
pub(crate) fn modules() -> PathBuf {
    present(workspace().join("dist"), "run `make build` first")
}

/// The module that ships as `dist/NAME.wasm`, or the one at a path that ends so.
///
/// # Panics
/// When it has not been built.
pub fn module(name: &str) -> PathBuf {
    match name.ends_with(".wasm") {
        true => present(name.into(), "build it first"),
        false => present(workspace().join(format!("dist/{name}.wasm")), "run `make build` first"),
    }
}

/// A file of the certificates that the tests use.
///
/// # Panics
/// When they have not been made.
pub(crate) fn certificate(file: &str) -> PathBuf {
    present(workspace().join("dist/certificates").join(file), "run `make certificates` first")
}

/// The Envoy to test with: `$ENVOY`, else `.tools/envoy`.
///
/// # Panics
/// When there is none.
pub(crate) fn envoy() -> PathBuf {
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
