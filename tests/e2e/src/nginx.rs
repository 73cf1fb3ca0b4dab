//! Running a real NGINX.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::spawn::spawn;
use crate::wait::until;

/// A running NGINX. It ends when this is dropped, or at the latest when the test process ends.
pub struct Nginx {
    child: Child,
    _directory: TempDir,
}

impl Nginx {
    pub(crate) async fn start(configuration: &str, address: SocketAddr) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        std::fs::write(path.join("nginx.conf"), configuration).unwrap();
        // setpriv: the kernel ends NGINX when the thread that started it ends, even if this process
        // is killed.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "setsid"])
            .arg(server("nginx", "nginx-light"))
            .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
            .arg(path)
            .stdin(Stdio::null())
            .stderr(File::create(path.join("log")).unwrap());
        let child = spawn(command);
        let mut nginx = Self { child, _directory: directory };
        until("NGINX accepts", async || {
            if let Some(status) = nginx.child.try_wait().unwrap() {
                let log = std::fs::read_to_string(nginx._directory.path().join("log"));
                panic!("NGINX ended ({status}):\n{}", log.unwrap_or_default());
            }
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Finds a server program. Debian installs them in folders that only root has in its `PATH`.
///
/// # Panics
/// If it is not installed. The message contains the name of Debian's package.
pub fn server(name: &str, package: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]);
    let mut programs = folders.map(|folder| Path::new(folder).join(name));
    programs
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is missing; install it (Debian: {package})"))
}
