//! Tests of the commands in RELEASING.md that sign and verify a release.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::checksums;

/// A release of one file, and a maintainer with keys.
struct Release {
    root: TempDir,
    /// The public key of minisign, if it is installed
    public_key: Option<String>,
    has_gpg: bool,
}

impl Release {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let release = root.path().join("dist/release");
        fs::create_dir_all(release.join("wasm")).unwrap();
        fs::write(release.join("wasm/router.wasm"), b"\0asm router").unwrap();
        let sums = checksums::format(&checksums::of_folder(&release).unwrap());
        fs::write(release.join("SHA256SUMS"), sums).unwrap();
        let mut own = Self { root, public_key: None, has_gpg: false };
        if is_installed("minisign") {
            // Without a password.
            own.succeeds("mkdir .minisign; minisign -G -W -p minisign.pub >/dev/null", "");
            let key = fs::read_to_string(own.root.path().join("minisign.pub")).unwrap();
            own.public_key = key.lines().nth(1).map(str::to_owned);
        }
        if is_installed("gpg") {
            own.succeeds(
                "gpg --batch --passphrase '' --quick-generate-key 'Test <test@example.com>'",
                "",
            );
            own.has_gpg = true;
        }
        own
    }

    /// Runs a command in a folder below the root.
    fn run(&self, command: &str, folder: &str) -> Output {
        let root = self.root.path();
        let mut bash = Command::new("bash");
        bash.args(["-euc", command]).current_dir(root.join(folder)).env("HOME", root);
        bash.env("GNUPGHOME", root).output().unwrap()
    }

    fn succeeds(&self, command: &str, folder: &str) {
        let output = self.run(command, folder);
        assert!(output.status.success(), "{command}: {output:?}");
    }

    /// The commands of a section of RELEASING.md whose programs are installed and need no account.
    fn commands(&self, section: &str) -> Vec<String> {
        let text = fs::read_to_string(workspace().join("RELEASING.md")).unwrap();
        let (_, rest) = text.split_once(&format!("\n## {section}\n")).expect("the section");
        let section = rest.split("\n## ").next().unwrap_or_default();
        let lines = section.lines().filter_map(|line| line.strip_prefix("    "));
        let key = self.public_key.clone();
        let run = |line: &str| match line.split(' ').next() {
            Some("minisign") => Some(line.replace("PUBLIC_KEY", key.as_deref()?)),
            Some("gpg") => self.has_gpg.then(|| line.to_owned()),
            Some("sha256sum") => Some(line.to_owned()),
            _ => None,
        };
        lines.filter_map(run).collect()
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if self.has_gpg {
            self.run("gpgconf --kill gpg-agent", "");
        }
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn is_installed(program: &str) -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    let is_installed = env::split_paths(&folders).any(|folder| folder.join(program).is_file());
    if !is_installed {
        eprintln!("{program} is not installed, so its commands are not tested");
    }
    is_installed
}

#[test]
fn a_release_is_signed_and_verified_as_described() {
    let release = Release::new();
    for command in release.commands("Sign") {
        release.succeeds(&command, "");
    }
    let commands = release.commands("Verify");
    assert!(commands.iter().any(|command| command.starts_with("sha256sum ")), "{commands:?}");
    for command in &commands {
        release.succeeds(command, "dist/release");
    }

    // A signature is of the list, and the list is of the files.
    let change = |file: &str| {
        let path = release.root.path().join("dist/release").join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, [&bytes[..], b"\n"].concat()).unwrap();
    };
    change("wasm/router.wasm");
    change("SHA256SUMS");
    for command in &commands {
        assert!(!release.run(command, "dist/release").status.success(), "{command}");
    }
}
