//! Programs that run beside the test.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A program in the background. It ends when this is dropped, or at the latest when the thread that
/// started it ends.
pub struct Background {
    child: Child,
    log: PathBuf,
}

impl Background {
    /// Starts a program, whose output goes to a file.
    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let output = File::create(&log).unwrap();
        let mut with_end = Command::new("setpriv");
        with_end.args(["--pdeathsig", "KILL", "setsid"]);
        with_end.arg(command.get_program()).args(command.get_args());
        with_end.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = command.get_current_dir() {
            with_end.current_dir(folder);
        }
        let child = with_end
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .expect("cannot run setpriv of util-linux");
        Self { child, log }
    }

    /// Returns its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Panics with its log if it has ended.
    pub fn assert_runs(&mut self) {
        assert!(!self.has_ended(), "{} ended:\n{}", self.log.display(), self.log());
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
