//! The process of an Envoy.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};
use tempfile::TempDir;

use crate::files;
use crate::spawn::spawn;

/// How an Envoy takes part in hot restarts: a new process gets the sockets of the old one, which
/// then drains and ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HotRestart {
    /// It takes no part.
    #[default]
    Disabled,
    /// It is the first process.
    First,
    /// It replaces the process with this [base id](crate::Envoy::base_id).
    Next(u32),
}

/// The file with the number by which the processes of a hot restart find each other.
const BASE_ID: &str = "base-id";
/// How long an old process serves after the new one has begun, in seconds.
const PARENT_SHUTDOWN: &str = "8";

/// Settings of Envoy's command line.
#[derive(Clone, Copy)]
pub(crate) struct CommandLine {
    /// The number of worker threads
    pub workers: u32,
    /// How long a listener that was replaced is kept
    pub drain_time: Duration,
    pub hot_restart: HotRestart,
}

impl Default for CommandLine {
    /// One worker, and Envoy's own drain time.
    fn default() -> Self {
        let hot_restart = HotRestart::Disabled;
        Self { workers: 1, drain_time: Duration::from_secs(600), hot_restart }
    }
}

/// The child process and its directory.
pub(crate) struct Process {
    // The lock only lets tests share an Envoy.
    child: Mutex<Child>,
    /// Its working directory
    pub directory: TempDir,
}

impl Process {
    pub fn spawn(file: &str, directory: TempDir, settings: CommandLine) -> Self {
        let path = directory.path();
        // setpriv: the kernel kills Envoy when the thread that started it ends, even if this
        // process is killed. setsid: Envoy does not get signals for the process group of the tests.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "setsid"])
            .arg(files::envoy_program())
            .args(["--config-path", file, "--admin-address-path", "admin"])
            .args(["--concurrency", &settings.workers.to_string()])
            .args(["--drain-time-s", &settings.drain_time.as_secs().to_string()])
            .args(["--file-flush-interval-msec", "20"])
            // These two components log long lists at level info.
            .args(["--component-log-level", "main:warning,config:warning"])
            // The folders of the dynamic module, and of those that only tests use.
            .env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", files::modules())
            .env("LD_LIBRARY_PATH", files::test_modules())
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(File::create(path.join("stdout")).unwrap())
            .stderr(File::create(path.join("log")).unwrap());
        let shutdown = ["--parent-shutdown-time-s", PARENT_SHUTDOWN];
        match settings.hot_restart {
            HotRestart::Disabled => command.arg("--disable-hot-restart"),
            HotRestart::First => {
                command.args(["--use-dynamic-base-id", "--base-id-path", BASE_ID]).args(shutdown)
            }
            HotRestart::Next(base) => command
                .args(["--base-id", &base.to_string(), "--restart-epoch", "1"])
                .args(shutdown),
        };
        Self { child: Mutex::new(spawn(command)), directory }
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.get_mut().unwrap().try_wait().unwrap()
    }

    pub fn base_id(&self) -> Option<u32> {
        read(&self.directory.path().join(BASE_ID)).trim().parse().ok()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let child = self.child.lock().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    }

    pub fn log(&self) -> String {
        read(&self.directory.path().join("log"))
    }

    pub fn resident_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.lock().unwrap().id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("VmRSS in kB");
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Returns the folders of its threads in `/proc`.
    fn tasks(&self) -> impl Iterator<Item = PathBuf> {
        let tasks = format!("/proc/{}/task", self.child.lock().unwrap().id());
        std::fs::read_dir(tasks).unwrap().map(|task| task.unwrap().path())
    }

    pub fn run_on(&self, processor: usize) {
        let mut processors = CpuSet::new();
        processors.set(processor);
        for task in self.tasks() {
            let id = task.file_name().and_then(|name| name.to_str()?.parse().ok());
            let id = id.and_then(Pid::from_raw).expect("the number of a thread");
            // Ignores threads that have already ended.
            match sched_setaffinity(Some(id), &processors) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => panic!("processor {processor} cannot be used: {error}"),
            }
        }
    }

    pub fn processor_time(&self) -> Duration {
        // The first number is the processor time in nanoseconds; /proc/PID/stat has only hundredths
        // of a second.
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

/// Returns the text of a file; empty if there is none.
pub(crate) fn read(path: &Path) -> String {
    // Logs contain bytes of clients, which may not be UTF-8.
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
