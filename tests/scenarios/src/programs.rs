//! The programs of a scenario, from their start to their end.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sluice_e2e::{Envoy, Nginx, Scenario, server, spawn, workspace};
use tokio::net::TcpStream;

use crate::folder::{Folder, Program};
use crate::without::{filters, without};

/// Maximum time until a program serves.
const PATIENCE: Duration = Duration::from_secs(30);

/// The programs. They end when this is dropped.
pub struct Programs {
    // Kept because dropping them ends the programs.
    _envoys: Vec<Envoy>,
    _servers: Vec<Server>,
    _nginxes: Vec<Nginx>,
}

/// A server of which only the process is known. It ends when this is dropped.
pub struct Server(pub Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

impl Programs {
    /// Starts all programs of a scenario in order and waits until they serve. Their output is in
    /// `written`: NAME.log, and NAME.out with the standard output of Envoys. `without` names a
    /// filter to remove from the configurations of all Envoys.
    ///
    /// # Panics
    /// If one does not start or is not installed. The message contains the reason.
    pub async fn start(
        folder: &Folder,
        scenario: &Scenario,
        written: &Path,
        taken_out: Option<&str>,
    ) -> Self {
        let mut programs = Self { _envoys: Vec::new(), _servers: Vec::new(), _nginxes: Vec::new() };
        for program in &folder.programs {
            let log = written.join(format!("{}.log", program.name()));
            match program {
                Program::Envoy { envoy: file, workers } => {
                    let text = scenario.text(&folder.file(file));
                    let text = taken_out.map_or(text.clone(), |filter| without(&text, filter));
                    let envoy = scenario.envoy_of(&text, workers.unwrap_or(1)).await;
                    let (its_log, its_output) = envoy.files();
                    symlink(its_log, &log).unwrap();
                    symlink(its_output, log.with_extension("out")).unwrap();
                    programs._envoys.push(envoy);
                }
                Program::Nginx { nginx: file, port } => {
                    programs._nginxes.push(scenario.nginx(&folder.file(file), *port).await);
                }
                Program::Squid { squid: file, port } => {
                    // Squid drops root privileges but must still write here.
                    fs::set_permissions(written, Permissions::from_mode(0o777)).unwrap();
                    let configuration = written.join("squid.conf");
                    fs::write(&configuration, scenario.text(&folder.file(file))).unwrap();
                    let address = scenario.address(*port);
                    // The name separates its shared memory from that of other Squids.
                    let name = address.ip().to_string().replace('.', "x");
                    let mut command = command(&server("squid", "squid"));
                    command.args(["-N", "-n", &format!("s{name}"), "-f"]).arg(configuration);
                    programs._servers.push(start(command, &log, address).await);
                }
                Program::Httpbin { httpbin } => {
                    let address = scenario.address(httpbin.port);
                    let mut command = command(&gunicorn());
                    command
                        .args(["--bind", &address.to_string(), "--access-logfile", "-"])
                        // Slow responses must not block each other.
                        .args(["--worker-class", "gthread", "--threads", "16", "httpbin:app"]);
                    programs._servers.push(start(command, &log, address).await);
                }
                Program::Script { script: file } => {
                    let text = fs::read_to_string(workspace().join(folder.file(file))).unwrap();
                    let script = written.join(file);
                    fs::write(&script, scenario.own(&text)).unwrap();
                    let mut command = command(Path::new("bash"));
                    command.arg(script).current_dir(workspace());
                    programs._servers.push(start_script(command, &log).await);
                }
            }
        }
        programs
    }
}

/// Returns Sluice's filters in a scenario.
pub fn filters_of(folder: &Folder) -> Vec<String> {
    let scenario = Scenario::at("127.0.0.1");
    let mut all = std::collections::BTreeSet::new();
    for program in &folder.programs {
        if let Program::Envoy { envoy: file, .. } = program {
            all.extend(filters(&scenario.text(&folder.file(file))));
        }
    }
    all.into_iter().collect()
}

fn gunicorn() -> PathBuf {
    let program = workspace().join(".tools/venv/bin/gunicorn");
    assert!(
        program.is_file(),
        "gunicorn is missing; `make setup` installs it (PyPI: gunicorn and httpbin)"
    );
    program
}

/// Returns a program that the kernel ends together with this process.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "setsid"]).arg(program);
    command
}

async fn start(command: Command, log: &Path, address: std::net::SocketAddr) -> Server {
    let accepts = async || TcpStream::connect(address).await.is_ok();
    start_until(command, log, "accepted a connection", accepts).await
}

async fn start_script(command: Command, log: &Path) -> Server {
    let ready = async || {
        let output = fs::read_to_string(log).unwrap_or_default();
        output.lines().any(|line| line == "ready")
    };
    start_until(command, log, "printed that it is ready", ready).await
}

async fn start_until(
    mut command: Command,
    log: &Path,
    what: &str,
    serves: impl AsyncFn() -> bool,
) -> Server {
    let file = File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let name = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut server = Server(spawn(command));
    let output = || fs::read_to_string(log).unwrap_or_default();
    let deadline = Instant::now() + PATIENCE;
    while !serves().await {
        if let Some(status) = server.0.try_wait().unwrap() {
            panic!("{name} ended ({status}):\n{}", output());
        }
        assert!(
            Instant::now() < deadline,
            "{name} never {what} within {PATIENCE:?}:\n{}",
            output()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server
}
