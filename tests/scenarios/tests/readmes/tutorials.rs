//! The tutorials can be followed: their files are accepted, and their commands print what is shown.
//!
//! Each has a sandbox of its own, because tutorials show counters. It is that of
//! `make playground sandbox`: the server of the page, and an Envoy that reads the rules from it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use sluice_e2e::{Envoy, Scenario, workspace};
use sluice_scenarios::built;
use sluice_scenarios::readme::{Block, Step, blocks, steps};
use sluice_scenarios::run::bash_in;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::sandbox::whole_seconds;

const FOLDER: &str = "docs/tutorials";

/// The end of the drill in its tutorial, which has to be in the future.
const END: &str = "2027-01-31T18:00:00Z";

/// A sandbox with a page.
struct Sandbox {
    scenario: Scenario,
    /// The address of the page, with its token
    page: String,
    /// Ends when this is dropped
    _server: Child,
    envoy: Envoy,
    _folder: TempDir,
}

impl Sandbox {
    async fn start() -> Self {
        let (scenario, folder) = (Scenario::new(), TempDir::new().unwrap());
        let file = folder.path().join("sandbox.yaml");
        fs::write(&file, scenario.text("envoy/sandbox.yaml")).unwrap();
        let programs = built::folder_of("sluice-playground-server").unwrap();
        let mut server = Command::new(programs.join("sluice-playground-server"));
        server.arg(&file).arg(workspace().join("playground/page")).arg(folder.path());
        let mut server = server.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        // It prints the address when the configuration of Envoy is written.
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let page = lines.next_line().await.unwrap().expect("the address of the page");
        let configuration = fs::read_to_string(folder.path().join("envoy.json")).unwrap();
        let envoy = scenario.envoy_of(&configuration, 1).await;
        Self { scenario, page, _server: server, envoy, _folder: folder }
    }

    /// Runs a command in a folder. Returns what it prints.
    async fn run(&self, command: &str, folder: &Path) -> String {
        let programs = built::folder_of("sluice-cli").unwrap();
        let command = format!(
            "PATH={}:$PATH\nexport SANDBOX_PAGE='{}'\n{}",
            programs.display(),
            self.page,
            self.scenario.own(command)
        );
        // As `make sandbox` has it.
        fs::create_dir_all(folder.join(".tools")).unwrap();
        fs::write(folder.join(".tools/sandbox.log"), self.envoy.log()).unwrap();
        let (printed, _) = bash_in(folder, &command, folder).await.unwrap();
        self.scenario.disown(&printed)
    }
}

/// The name of a file that a block shows, from its first line: `# NAME.yaml`.
pub fn file_name(block: &Block) -> &str {
    let name = block.text.lines().next().and_then(|line| line.strip_prefix("# "));
    name.filter(|name| name.ends_with(".yaml")).expect("the name of the file in the first line")
}

/// Does what a tutorial says, block by block.
async fn follow(name: &str) {
    let file = format!("{FOLDER}/{name}.md");
    let text = fs::read_to_string(workspace().join(&file)).unwrap();
    let sandbox = Sandbox::start().await;
    let folder = TempDir::new().unwrap();
    symlink(workspace().join("tools"), folder.path().join("tools")).unwrap();
    let in_an_hour =
        humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(3600));
    let (mut failures, mut count) = (Vec::new(), 0);
    for block in blocks(&text).unwrap() {
        if block.fence.as_deref() == Some("yaml") {
            let content = block.text.replace(END, &in_an_hour.to_string());
            fs::write(folder.path().join(file_name(&block)), content).unwrap();
            continue;
        }
        assert_eq!(block.fence, None, "{file}:{}: is neither YAML nor commands", block.line);
        for Step { command, output, line } in steps(&block).unwrap() {
            let printed = whole_seconds(&sandbox.run(&command, folder.path()).await);
            let step = Step { output: whole_seconds(&output), command, line };
            count += 1;
            if !step.allows(&printed) {
                failures.push(format!(
                    "{file}:{line}\n$ {}\nis to print:\n{output}\nand printed:\n{printed}",
                    step.command
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(count > 4, "{file} has {count} commands");
}

#[tokio::test]
async fn canary_by_user() {
    follow("canary-by-user").await;
}

#[tokio::test]
async fn mirror_and_compare() {
    follow("mirror-and-compare").await;
}

#[tokio::test]
async fn fault_drill() {
    follow("fault-drill").await;
}

#[tokio::test]
async fn egress_lock_down() {
    follow("egress-lock-down").await;
}

#[test]
fn every_tutorial_is_followed_and_in_the_table_of_contents() {
    let contents = fs::read_to_string(workspace().join("docs/README.md")).unwrap();
    let own = include_str!("tutorials.rs");
    for entry in fs::read_dir(workspace().join(FOLDER)).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let name = file.strip_suffix(".md").expect("a page");
        assert!(contents.contains(&format!("(tutorials/{file})")), "{file}");
        assert!(own.contains(&format!("follow(\"{name}\")")), "{file}");
    }
}
