//! Options of the linker.

fn main() {
    // Envoy closes the object when no configuration uses it any more. Its timer's thread and what
    // the workers have made are still there then, so it stays in memory.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
