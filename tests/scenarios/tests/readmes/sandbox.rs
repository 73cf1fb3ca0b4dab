//! The sandbox prints the output of the commands, and logs what the READMEs show.

use sluice_e2e::{Scenario, envoy_program};
use sluice_scenarios::built;
use sluice_scenarios::native;
use sluice_scenarios::readme::{Step, steps};
use sluice_scenarios::run::bash;
use tempfile::TempDir;

use crate::{Kind, READMES};

#[tokio::test]
async fn commands_print_what_the_readmes_show() {
    let scenario = Scenario::new();
    check(&scenario, &scenario.text("envoy/sandbox.yaml")).await;
}

#[tokio::test]
async fn commands_print_the_same_with_the_dynamic_module() {
    let scenario = Scenario::new();
    check(&scenario, &native::attach(&scenario.text("envoy/sandbox.yaml")).unwrap()).await;
}

/// One sandbox runs the commands of all READMEs, because its modules take seconds to compile.
async fn check(scenario: &Scenario, configuration: &str) {
    // One worker, as `make sandbox` has.
    let sandbox = scenario.envoy_of(configuration, 1).await;
    let home = TempDir::new().unwrap();
    let path = format!("PATH={}:$PATH\n", built::folder_of("sluice-cli").unwrap().display());
    let mut failures = Vec::new();
    for readme in &READMES {
        for (block, _) in readme.blocks().iter().filter(|(_, kind)| *kind == Kind::Commands) {
            for Step { command, output, line } in steps(block).unwrap() {
                let own = scenario.own(&command);
                let own = own.replace(".tools/envoy", &envoy_program().display().to_string());
                let (printed, _) = bash(&(path.clone() + &own), home.path()).await.unwrap();
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
    let log = sandbox.log();
    for readme in &READMES {
        for (block, _) in readme.blocks().iter().filter(|(_, kind)| *kind == Kind::Log) {
            for line in block.text.lines() {
                if !log.lines().any(|logged| has_fields(logged, line)) {
                    failures.push(format!("{}: the log has no such line:\n{line}", readme.file));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Returns whether a line of Envoy's log has these fields: the same names in the same order, with
/// any values.
fn has_fields(logged: &str, shown: &str) -> bool {
    let names = |text: &str| -> Vec<String> {
        let fields = text.split(' ').filter_map(|word| word.split_once('='));
        fields.map(|(name, _)| name.to_owned()).collect()
    };
    let beginning = shown.split('=').next().unwrap_or_default();
    logged.contains(beginning) && names(logged) == names(shown)
}

/// Rounds curl's times to whole seconds: the rest differs each time, and Envoy's timers may end a
/// few milliseconds early.
pub fn whole_seconds(output: &str) -> String {
    let mut parts = output.split("after ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| match part.split_once(" s") {
        Some((time, rest)) => match time.parse::<f64>() {
            Ok(seconds) => format!("{text}after {seconds:.0} s{rest}"),
            Err(_) => format!("{text}after {part}"),
        },
        None => format!("{text}after {part}"),
    })
}

#[test]
fn fields_are_compared_by_name() {
    let logged = "[warning] wasm log sni: sni outcome=no_route sni=- source=127.0.0.1:1";
    assert!(has_fields(logged, "sni outcome=misdirected sni=a.com source=10.0.0.1:2"));
    assert!(!has_fields(logged, "sni outcome=misdirected source=10.0.0.1:2"));
    assert!(!has_fields(logged, "sni result=misdirected sni=a.com source=10.0.0.1:2"));
}

#[test]
fn times_differ_by_less_than_a_second() {
    assert_eq!(whole_seconds("200 after 7.013323 s\n"), "200 after 7 s\n");
    assert_eq!(whole_seconds("200 after 6.997 s and after all"), "200 after 7 s and after all");
    assert_ne!(whole_seconds("200 after 0.013323 s"), whole_seconds("200 after 7.013323 s"));
}
