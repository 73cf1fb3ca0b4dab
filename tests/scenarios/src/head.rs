//! The head of a configuration, which says how to run its scenario.

/// Returns the commands in the head of a configuration: the lines of its first comments that are
/// indented by four spaces.
///
/// # Errors
/// If the head has neither commands nor the name of the script that starts the program, and does
/// not say how `make` runs this scenario.
pub fn commands(configuration: &str, scenario: &str) -> Result<Vec<String>, String> {
    let head = || configuration.lines().take_while(|line| line.starts_with('#'));
    let commands = head().filter_map(|line| line.strip_prefix("#     "));
    let commands: Vec<_> = commands.map(str::to_owned).collect();
    let text = head().collect::<Vec<_>>().join(" ");
    let made = text.split("make scenario NAME=").nth(1);
    let made = made.map(|rest| rest.split([' ', '`']).next().unwrap_or_default());
    match made {
        Some(name) if name != scenario => Err(format!("its head runs the scenario {name}")),
        None if commands.is_empty() && !text.contains("network.sh") => {
            Err("its head does not say how to run it".to_owned())
        }
        _ => same_base_ids(&commands).map(|()| commands),
    }
}

/// Checks that Envoys on the same machine have different ids for their shared memory.
fn same_base_ids(commands: &[String]) -> Result<(), String> {
    let envoys = commands.iter().filter(|command| command.starts_with("envoy "));
    let id = |command: &String| command.split("--base-id ").nth(1).unwrap_or("0").to_owned();
    let mut ids: Vec<_> = envoys.map(id).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    if ids.len() == count { Ok(()) } else { Err("two Envoys have the same --base-id".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_configuration_contains_commands() {
        let head = "# X1: x. Run it with `make scenario NAME=x`, or:\n#\n#     mkdir dist/x\n\
            #     envoy -c x.yaml\n\n# Other text.\n#     no command\nadmin:\n";
        assert_eq!(commands(head, "x").unwrap(), ["mkdir dist/x", "envoy -c x.yaml"]);
        let made = "# X1: x.\n# Run it with: make scenario NAME=x\n\nadmin:\n";
        assert_eq!(commands(made, "x").unwrap(), [""; 0]);
        assert!(commands(made, "y").is_err());
        assert!(commands("# X1: x.\nadmin:\n", "x").is_err());
        let twice = "# X1: x.\n#     envoy -c a.yaml\n#     envoy -c b.yaml\n";
        assert!(commands(twice, "x").is_err());
        assert!(commands(&twice.replacen("a.yaml", "a.yaml --base-id 1", 1), "x").is_ok());
    }
}
