//! The Envoy that `sluice render` makes from the `istio.yaml` of a scenario.

use std::process::Command;

use sluice_e2e::{Scenario, workspace};

use crate::built;
use crate::folder::Folder;

/// Ports in READMEs, and those of the rendered Envoy. The first one is that of its listener.
const PORTS: [(&str, &str); 2] = [(":10000", ":10500"), (":9901", ":9902")];

/// Returns the configuration.
pub fn configuration(folder: &Folder, scenario: &Scenario) -> Result<String, String> {
    let own = folder.rendered.as_ref().map_or(&[][..], |rendered| &rendered.arguments);
    let modules = workspace().join("dist/{filter}.wasm");
    let mut command = Command::new(built::folder_of("sluice-cli")?.join("sluice"));
    command.current_dir(workspace());
    command.args(["render", &folder.file("istio.yaml"), "--to", "envoy", "--module-file"]);
    command.arg(modules);
    for (flag, port) in [("--listen", 10500), ("--listen-tls", 10501), ("--admin", 9902)] {
        command.arg(flag).arg(scenario.address(port).to_string());
    }
    let dist = format!("{}/", workspace().join("dist").display());
    command.args(own.iter().map(|own| scenario.own(own).replace("dist/", &dist)));
    let output = command.output().map_err(|error| format!("sluice: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

/// Returns a command of the README for the rendered Envoy.
pub fn with_own_ports(command: &str) -> String {
    PORTS.iter().fold(command.to_owned(), |text, (readme, own)| text.replace(readme, own))
}

/// Returns the output as the README has it.
pub fn with_ports_of_readme(output: &str) -> String {
    PORTS.iter().fold(output.to_owned(), |text, (readme, own)| text.replace(own, readme))
}
