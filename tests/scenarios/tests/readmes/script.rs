//! The commands that start an Envoy of their own print what the READMEs show.

use std::fs;
use std::os::unix::fs::symlink;

use sluice_e2e::{Scenario, envoy_program, workspace};
use sluice_scenarios::built;
use sluice_scenarios::readme::steps;
use sluice_scenarios::run::bash_in;
use tempfile::TempDir;

use crate::tutorials::file_name;
use crate::{Kind, READMES};

#[tokio::test]
async fn scripts_print_what_the_readmes_show() {
    let programs = built::folder_of("sluice-cli").unwrap();
    let mut count = 0;
    for readme in &READMES {
        let blocks = readme.blocks();
        for pair in blocks.windows(2).filter(|pair| pair[1].1 == Kind::Script) {
            let [(document, _), (script, _)] = pair else { unreachable!("two blocks") };
            let (scenario, folder) = (Scenario::new(), TempDir::new().unwrap());
            fs::write(folder.path().join(file_name(document)), &document.text).unwrap();
            symlink(workspace().join("dist"), folder.path().join("dist")).unwrap();
            let steps = steps(script).unwrap();
            let commands: Vec<_> = steps.iter().map(|step| step.command.as_str()).collect();
            // One shell, because a command refers to what an earlier one has started. `envoy` gets
            // addresses of its own, and ends with the shell.
            let commands = format!(
                "PATH={}:$PATH\nset -m\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n\
                 envoy() {{ sed -i 's/127.0.0.1/{}/' \"$2\"\n\
                 exec '{}' --use-dynamic-base-id \"$@\"; }}\n{}",
                programs.display(),
                scenario.own("127.0.0.1"),
                envoy_program().display(),
                scenario.own(&commands.join("\n")),
            );
            let (printed, _) = bash_in(folder.path(), &commands, folder.path()).await.unwrap();
            let shown: Vec<_> = steps.iter().map(|step| step.output.as_str()).collect();
            let shown: Vec<_> = shown.into_iter().filter(|output| !output.is_empty()).collect();
            let log = fs::read_to_string(folder.path().join("envoy.log")).unwrap_or_default();
            let name = format!("{}:{}", readme.file, script.line);
            assert_eq!(printed.trim_end(), shown.join("\n"), "{name}\n{log}");
            assert!(!shown.is_empty(), "{name} shows no output");
            count += 1;
        }
    }
    assert!(count > 0, "no README has a script");
}
