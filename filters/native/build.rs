//! Options of the linker.

use std::env;
use std::path::Path;
use std::process::Command;

/// The unwinder of panics as a library to link into the module. Otherwise the module would need
/// `libgcc_s.so.1`, which images of Envoy without a distribution ("distroless") do not have.
const UNWINDER: &str = "libgcc_eh.a";

fn main() {
    // Envoy closes the object when no configuration uses it any more. Its timer's thread and what
    // the workers have made are still there then, so it stays in memory.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return;
    }
    let compiler = env::var("RUSTC_LINKER").unwrap_or_else(|_| "cc".to_owned());
    let printed = Command::new(&compiler).arg(format!("-print-file-name={UNWINDER}")).output();
    let file = printed.ok().and_then(|printed| String::from_utf8(printed.stdout).ok());
    // The compiler prints the name alone if it does not have the file.
    let folder = file.as_deref().and_then(|file| Path::new(file.trim()).parent());
    match folder.filter(|folder| folder.is_absolute()) {
        Some(folder) => {
            println!("cargo::rustc-link-search=native={}", folder.display());
            println!("cargo::rustc-link-lib=static:+whole-archive,-bundle=gcc_eh");
        }
        None => println!("cargo::warning={compiler} has no {UNWINDER}: needs libgcc_s.so.1"),
    }
}
