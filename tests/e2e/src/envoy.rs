//! A real Envoy, from its start to its end.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Client, Response};
use crate::config::{Bootstrap, Listener, OUTLIER_EVENTS, write_listeners};
use crate::files;
use crate::spawn::spawn;
use crate::wait::until;

/// A running Envoy. It ends when this is dropped, and at the latest with the test process.
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    listeners: Vec<(String, SocketAddr)>,
}

/// An Envoy that ended instead of serving.
#[derive(Debug)]
pub struct StartFailure {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it logged.
    pub log: String,
}

impl Envoy {
    /// Starts an Envoy and waits until it serves.
    ///
    /// # Panics
    /// When it does not start. The message has the end of its log.
    pub async fn start(bootstrap: &Bootstrap) -> Self {
        Self::try_start(bootstrap).await.unwrap_or_else(|failure| failure.panic())
    }

    /// Starts an Envoy and waits until it serves, or ends.
    pub async fn try_start(bootstrap: &Bootstrap) -> Result<Self, StartFailure> {
        let directory = TempDir::new().unwrap();
        bootstrap.write(directory.path());
        Self::run("envoy.json", directory, bootstrap.worker_count()).await
    }

    /// Starts a configuration in Envoy's own words and waits until it serves, with what a control
    /// plane gave it where there is one.
    ///
    /// # Panics
    /// When it does not start. The message has the end of its log.
    pub async fn of_configuration(configuration: &Value) -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("envoy.json"), configuration.to_string()).unwrap();
        let started = Self::run("envoy.json", directory, 1).await;
        started.unwrap_or_else(|failure| failure.panic())
    }

    /// Runs a file in a directory.
    pub(crate) async fn run_file(file: &str, directory: TempDir, workers: u32) -> Self {
        Self::run(file, directory, workers).await.unwrap_or_else(|failure| failure.panic())
    }

    async fn run(file: &str, directory: TempDir, workers: u32) -> Result<Self, StartFailure> {
        let mut process = Process::spawn(file, directory, workers);
        let admin = until("Envoy opens its admin port", async || {
            if let Some(status) = process.ended() {
                return Some(Err(status));
            }
            let address = std::fs::read_to_string(process.directory.path().join("admin")).ok()?;
            address.parse().ok().map(Ok)
        });
        let admin = match admin.await {
            Ok(admin) => admin,
            Err(status) => {
                return Err(StartFailure { status, log: process.log() });
            }
        };
        let ready = until("Envoy is ready", async || {
            if let Some(status) = process.ended() {
                return Some(Err(status));
            }
            (get(admin, "/ready").await.ok()?.status == 200).then_some(Ok(()))
        });
        if let Err(status) = ready.await {
            return Err(StartFailure { status, log: process.log() });
        }
        let listeners = listeners(&get(admin, "/listeners?format=json").await.unwrap().json());
        Ok(Self { process, admin, listeners })
    }

    /// A client of the listener called `name`.
    ///
    /// # Panics
    /// When there is none.
    pub fn listener(&self, name: &str) -> Client {
        let mut listeners = self.listeners.iter();
        match listeners.find(|(known, _)| known == name) {
            Some((_, address)) => Client::new(*address),
            None => panic!("no listener {name}; there are {:?}", self.listeners),
        }
    }

    /// Puts other listeners in the place of the [dynamic](Bootstrap::dynamic_listeners) ones and
    /// waits until Envoy has taken or refused them. Says whether it took them.
    pub async fn update(&self, listeners: &[Listener]) -> bool {
        const TAKEN: &str = "listener_manager.lds.update_success";
        const REFUSED: &str = "listener_manager.lds.update_rejected";
        let before = (self.stat(TAKEN).await, self.stat(REFUSED).await);
        write_listeners(self.process.directory.path(), listeners);
        until("Envoy takes or refuses the listeners", async || {
            let after = (self.stat(TAKEN).await, self.stat(REFUSED).await);
            (after != before).then_some(after.0 > before.0)
        })
        .await
    }

    /// Asks the admin interface.
    pub async fn admin(&self, target: &str) -> Response {
        get(self.admin, target).await.unwrap()
    }

    /// The value of a counter or gauge; 0 when there is none of this name.
    pub async fn stat(&self, name: &str) -> u64 {
        let stats = self.admin("/stats?format=json").await.json();
        let stats = stats["stats"].as_array().expect("a list of stats");
        let stat = stats.iter().find(|stat| stat["name"] == name);
        stat.and_then(|stat| stat["value"].as_u64()).unwrap_or(0)
    }

    /// The physical memory that the process has, in bytes.
    pub fn resident_memory(&self) -> u64 {
        self.process.resident_memory()
    }

    /// The processor time that all threads of the process have taken so far.
    pub fn processor_time(&self) -> Duration {
        self.process.processor_time()
    }

    /// Keeps all its threads on one processor.
    ///
    /// # Panics
    /// When this process may not use that processor.
    pub fn run_on(&self, processor: usize) {
        self.process.run_on(processor);
    }

    /// The files that it writes: its log, and its standard output with the access log.
    pub fn files(&self) -> (PathBuf, PathBuf) {
        let directory = self.process.directory.path();
        (directory.join("log"), directory.join("stdout"))
    }

    /// What Envoy and the modules logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The lines of the log that tell of a module that panicked or trapped.
    pub fn traps(&self) -> Vec<String> {
        traps(&self.log())
    }

    /// Waits for the access log's line of the request with this path, and returns it.
    pub async fn access_log(&self, path: &str) -> Value {
        until(&format!("the access log shows {path}"), async || {
            let log = self.access_log_text();
            let mut lines = log.lines().map(|line| serde_json::from_str(line).unwrap_or_default());
            lines.find(|line: &Value| line["path"] == path)
        })
        .await
    }

    /// What Envoy's own outlier detection has done: a JSON object a line.
    pub fn outlier_events(&self) -> String {
        read(&self.process.directory.path().join(OUTLIER_EVENTS))
    }

    /// The access log as far as it is written.
    pub fn access_log_text(&self) -> String {
        read(&self.process.directory.path().join("stdout"))
    }
}

impl StartFailure {
    /// The lines of the log that tell of a module that panicked or trapped.
    pub fn traps(&self) -> Vec<String> {
        traps(&self.log)
    }

    fn panic(&self) -> ! {
        let lines: Vec<_> = self.log.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        panic!("Envoy ended ({}). The end of its log:\n{tail}", self.status);
    }
}

/// The operating system's side: the child process and its directory.
struct Process {
    // Behind a lock only so that an Envoy can be shared by tests.
    child: Mutex<Child>,
    directory: TempDir,
}

impl Process {
    fn spawn(file: &str, directory: TempDir, workers: u32) -> Self {
        let path = directory.path();
        // setpriv: the kernel ends Envoy when the thread that started it is gone, however this
        // process ends. setsid: signals for the process group of the tests are not for Envoy.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "setsid"])
            .arg(files::envoy())
            .args(["--config-path", file, "--admin-address-path", "admin"])
            .args(["--concurrency", &workers.to_string()])
            .args(["--disable-hot-restart", "--file-flush-interval-msec", "20"])
            // These two tell at length what is linked in and what is loaded.
            .args(["--component-log-level", "main:warning,config:warning"])
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(File::create(path.join("stdout")).unwrap())
            .stderr(File::create(path.join("log")).unwrap());
        Self { child: Mutex::new(spawn(command)), directory }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.get_mut().unwrap().try_wait().unwrap()
    }

    fn log(&self) -> String {
        read(&self.directory.path().join("log"))
    }

    fn resident_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.lock().unwrap().id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("VmRSS in kB");
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// The folders of its threads.
    fn tasks(&self) -> impl Iterator<Item = PathBuf> {
        let tasks = format!("/proc/{}/task", self.child.lock().unwrap().id());
        std::fs::read_dir(tasks).unwrap().map(|task| task.unwrap().path())
    }

    fn run_on(&self, processor: usize) {
        let mut processors = CpuSet::new();
        processors.set(processor);
        for task in self.tasks() {
            let id = task.file_name().and_then(|name| name.to_str()?.parse().ok());
            let id = id.and_then(Pid::from_raw).expect("the number of a thread");
            // A thread that has ended needs no processor.
            match sched_setaffinity(Some(id), &processors) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => panic!("processor {processor} cannot be used: {error}"),
            }
        }
    }

    fn processor_time(&self) -> Duration {
        // The first number is the time on a processor in nanoseconds; /proc/PID/stat has hundredths
        // of seconds.
        let nanoseconds = self.tasks().filter_map(|task| {
            let text = std::fs::read_to_string(task.join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Ok(None) = child.try_wait() {
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(3);
        while let Ok(None) = child.try_wait() {
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

async fn get(admin: SocketAddr, target: &str) -> Result<Response, String> {
    // Envoy may have written the address before it accepts.
    tokio::net::TcpStream::connect(admin).await.map_err(|error| error.to_string())?;
    let client = Client::new(admin);
    client.connect().await.try_send(client.get(target)).await
}

fn traps(log: &str) -> Vec<String> {
    const SIGNS: [&str; 2] = ["panicked at", "Uncaught RuntimeError"];
    let trap = |line: &&str| SIGNS.iter().any(|sign| line.contains(sign));
    log.lines().filter(trap).map(str::to_owned).collect()
}

fn listeners(status: &Value) -> Vec<(String, SocketAddr)> {
    let listener = |status: &Value| {
        let address = &status["local_address"]["socket_address"];
        let ip = address["address"].as_str()?.parse().ok()?;
        let port = address["port_value"].as_u64()?.try_into().ok()?;
        Some((status["name"].as_str()?.to_owned(), SocketAddr::new(ip, port)))
    };
    let listeners = status["listener_statuses"].as_array().into_iter().flatten();
    listeners.filter_map(listener).collect()
}

fn read(path: &Path) -> String {
    // A client decides on bytes in it, so it may not be UTF-8.
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
