//! `sluice`: checks, explains and renders Istio traffic policy, see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluice_cli::run()
}
