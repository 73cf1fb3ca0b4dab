//! Build tool of this workspace: `cargo xtask build`, `cargo xtask module` and
//! `cargo xtask command` create the modules and the command in `dist/`.

mod bill;
mod build;
mod callbacks;
mod capabilities;
mod checksums;
mod linked;
mod native;
mod provenance;
#[cfg(test)]
mod releasing;
mod sbom;
mod shared_object;
mod source_paths;
mod speed;
mod strip;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

commands:
  build              build every wasm module of the workspace into dist/
  capabilities       write the table of the host calls of the modules in dist/,
                     cli/src/render/capabilities.txt
  module [TARGET]    build the dynamic module libsluice.so into dist/, or for
                     another target into dist/TARGET/
  command [TARGET]   build the command sluice into dist/, or into dist/TARGET/
  sbom FOLDER        write a bill of materials of each module and program of a
                     release into FOLDER/sbom
  provenance create FOLDER
                     write provenance.json and SHA256SUMS of a release
  provenance verify FOLDER
                     check that no file of a release is missing, extra or changed
  test-module        build the dynamic module of the end-to-end tests, which
                     panics, into the target folder
  speed              draw the table of docs/performance.md as docs/speed.svg";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["build"] => build::run(),
        ["capabilities"] => capabilities::write(),
        ["module"] => native::run(None),
        ["speed"] => speed::write(),
        ["test-module"] => native::run_test(),
        ["module", target] => native::run(Some(target)),
        ["command"] => native::run_command(None),
        ["sbom", folder] => sbom::run(folder),
        ["provenance", "create", folder] => provenance::create(folder),
        ["provenance", "verify", folder] => provenance::verify(folder),
        ["command", target] => native::run_command(Some(target)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
