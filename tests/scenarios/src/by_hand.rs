//! The commands in the head of a configuration, which run a scenario without `make scenario`.
//!
//! A check runs them as they are written: in bash, in a folder that looks like the root of the
//! repository. In this copy of the files, the scenario has its own loopback address.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sluice_e2e::{Client, Scenario, envoy_program, server, spawn, workspace};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::folder::{Folder, Httpbin, Program};
use crate::programs::{Server, command};
use crate::run::bash_in;

/// Maximum time until all programs serve.
const PATIENCE: Duration = Duration::from_secs(30);

/// Programs that run until they are ended. All other commands have to end by themselves.
const SERVERS: [&str; 4] = ["envoy", "nginx", "squid", ".tools/venv/bin/gunicorn"];

/// Folder of the copy for the programs that the commands find in `PATH`, and for logs.
const HOME: &str = "home";

/// A copy of the repository in which the commands of a scenario run.
pub struct Copy {
    directory: TempDir,
    servers: Vec<Server>,
}

impl Copy {
    /// Runs the commands in the head of the configurations of a folder, and waits until all
    /// programs of the scenario serve.
    pub async fn start(folder: &Folder, scenario: &Scenario) -> Result<Self, String> {
        let directory = TempDir::new().map_err(|error| error.to_string())?;
        let root = directory.path();
        fill(root, folder, scenario).map_err(|error| format!("{}: {error}", root.display()))?;
        let mut copy = Self { directory, servers: Vec::new() };
        for line in &folder.by_hand {
            let line = scenario.own(line);
            if is_server(&line, folder) {
                let server = copy.serve(&line).map_err(|error| format!("{line}: {error}"))?;
                copy.servers.push(server);
                continue;
            }
            let (output, ok) = copy.bash(&line).await?;
            if !ok {
                return Err(format!("{line} failed:\n{output}"));
            }
        }
        copy.wait(folder, scenario).await?;
        Ok(copy)
    }

    /// Runs a command in the root of the copy and returns its output and whether it succeeded.
    pub async fn bash(&self, command: &str) -> Result<(String, bool), String> {
        let root = self.directory.path();
        bash_in(root, command, &root.join(HOME)).await
    }

    fn serve(&self, line: &str) -> std::io::Result<Server> {
        let log = File::create(self.log(self.servers.len()))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut bash = command(Path::new("bash"));
        bash.args(["-c", &format!("exec {line}")])
            .current_dir(self.directory.path())
            .env("PATH", format!("{}:{path}", self.directory.path().join(HOME).display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Server(spawn(bash)))
    }

    fn log(&self, index: usize) -> PathBuf {
        self.directory.path().join(HOME).join(format!("{index}.log"))
    }

    /// Waits until the programs in `scenario.yaml` serve.
    async fn wait(&mut self, folder: &Folder, scenario: &Scenario) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        for program in &folder.programs {
            while !self.serves(program, folder, scenario).await {
                for index in 0..self.servers.len() {
                    let ended = self.servers[index].0.try_wait();
                    if let Some(status) = ended.map_err(|error| error.to_string())? {
                        let log = fs::read_to_string(self.log(index)).unwrap_or_default();
                        return Err(format!("a program ended ({status}):\n{log}"));
                    }
                }
                if Instant::now() > deadline {
                    return Err(format!("{} does not serve after {PATIENCE:?}", program.name()));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    async fn serves(&self, program: &Program, folder: &Folder, scenario: &Scenario) -> bool {
        match program {
            Program::Envoy { envoy: file, .. } => {
                let text = scenario.text(&folder.file(file));
                let port = text.split("admin:").nth(1).and_then(|text| {
                    text.split("port_value: ").nth(1)?.split('}').next()?.parse().ok()
                });
                let admin = scenario.address(port.expect("the port of the admin interface"));
                TcpStream::connect(admin).await.is_ok()
                    && Client::new(admin).get("/ready").send().await.status == 200
            }
            Program::Nginx { port, .. }
            | Program::Squid { port, .. }
            | Program::Httpbin { httpbin: Httpbin { port } } => {
                TcpStream::connect(scenario.address(*port)).await.is_ok()
            }
            // It prints this when its programs serve.
            Program::Script { .. } => (0..self.servers.len()).any(|index| {
                let log = fs::read_to_string(self.log(index)).unwrap_or_default();
                log.lines().any(|line| line == "ready")
            }),
        }
    }
}

/// Whether a command runs until it is ended.
fn is_server(line: &str, folder: &Folder) -> bool {
    let is_script = |program: &Program| match program {
        Program::Script { script } => line == format!("bash {}", folder.file(script)),
        _ => false,
    };
    let name = line.split(' ').next().unwrap_or_default();
    SERVERS.contains(&name) || folder.programs.iter().any(is_script)
}

/// Writes the files of a folder with the address of the scenario, and links to what `make` builds.
fn fill(root: &Path, folder: &Folder, scenario: &Scenario) -> std::io::Result<()> {
    let own = root.join(folder.file(""));
    for path in [&own, &root.join("dist"), &root.join(HOME)] {
        fs::create_dir_all(path)?;
    }
    // Squid and NGINX drop root privileges.
    fs::set_permissions(root, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(workspace().join(folder.file("")))? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path())?;
        fs::write(own.join(entry.file_name()), scenario.own(&text))?;
    }
    for entry in fs::read_dir(workspace().join("dist"))? {
        let entry = entry?;
        if entry.file_name() != "scenarios" {
            symlink(entry.path().canonicalize()?, root.join("dist").join(entry.file_name()))?;
        }
    }
    symlink(workspace().canonicalize()?.join(".tools"), root.join(".tools"))?;
    // Envoys of other checks may run at the same time.
    let envoy = root.join(HOME).join("envoy");
    let script =
        format!("#!/bin/sh\nexec '{}' \"$@\" --disable-hot-restart\n", envoy_program().display());
    fs::write(&envoy, script)?;
    fs::set_permissions(&envoy, Permissions::from_mode(0o755))?;
    // Debian installs these programs in a folder that only root has in its `PATH`.
    for program in &folder.programs {
        let (name, package) = match program {
            Program::Nginx { .. } => ("nginx", "nginx-light"),
            Program::Squid { .. } => ("squid", "squid"),
            _ => continue,
        };
        symlink(server(name, package), root.join(HOME).join(name))?;
    }
    Ok(())
}
