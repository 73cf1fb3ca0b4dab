//! The sandbox prints the output of the commands.

use sluice_e2e::{Scenario, envoy_program};
use sluice_scenarios::readme::{Step, steps};
use sluice_scenarios::run::bash;
use tempfile::TempDir;

use crate::{Kind, READMES};

/// One sandbox runs the commands of all READMEs, because its modules take seconds to compile.
#[tokio::test]
async fn commands_print_what_the_readmes_show() {
    let scenario = Scenario::new();
    // One worker, as `make sandbox` has.
    let _sandbox = scenario.envoy_of(&scenario.text("envoy/sandbox.yaml"), 1).await;
    let home = TempDir::new().unwrap();
    let mut failures = Vec::new();
    for readme in &READMES {
        for (block, _) in readme.blocks().iter().filter(|(_, kind)| *kind == Kind::Commands) {
            for Step { command, output, line } in steps(block).unwrap() {
                let own = scenario.own(&command);
                let own = own.replace(".tools/envoy", &envoy_program().display().to_string());
                let (printed, _) = bash(&own, home.path()).await.unwrap();
                let printed = whole_seconds(&scenario.disown(&printed));
                let step = Step { output: whole_seconds(&output), command, line };
                if !step.allows(&printed) {
                    failures.push(format!(
                        "{}:{line}\n$ {}\nis to print:\n{output}\nand printed:\n{printed}",
                        readme.file, step.command
                    ));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Removes the microseconds of curl's times, which differ each time.
fn whole_seconds(output: &str) -> String {
    let mut parts = output.split("after ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| match part.split_once(" s") {
        Some((time, rest)) if time.parse::<f64>().is_ok() => {
            let seconds = time.split('.').next().unwrap_or_default();
            format!("{text}after {seconds} s{rest}")
        }
        _ => format!("{text}after {part}"),
    })
}

#[test]
fn times_differ_by_less_than_a_second() {
    assert_eq!(whole_seconds("200 after 7.013323 s\n"), "200 after 7 s\n");
    assert_ne!(whole_seconds("200 after 0.013323 s"), whole_seconds("200 after 7.013323 s"));
}
