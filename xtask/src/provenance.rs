//! `cargo xtask provenance`: says how the files of a release were made, and checks that they are
//! unchanged.
//!
//! The statement has the format of in-toto with the predicate of SLSA
//! (<https://slsa.dev/spec/v1.0/provenance>). It is not signed: RELEASING.md says how to sign
//! `SHA256SUMS`, which lists all files and the statement.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::checksums::{self, Checksums};
use crate::source_paths::rustc;
use crate::workspace::Workspace;

/// The statement in the folder of a release.
const STATEMENT: &str = "provenance.json";
/// The list of all files, for `sha256sum`.
const SUMS: &str = "SHA256SUMS";
/// Signatures of the list, which are made after it.
const SIGNATURES: [&str; 3] = ["SHA256SUMS.asc", "SHA256SUMS.minisig", "SHA256SUMS.sigstore.json"];

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// What RELEASING.md describes.
const BUILD_TYPE: &str = "urn:sluice:build:make-release:v1";
/// Who has built, if the environment does not say it: nobody vouches for the build.
const UNKNOWN_BUILDER: &str = "urn:sluice:builder:unknown";

/// How a release was made.
struct Build {
    /// The commit of the sources.
    revision: String,
    /// The repository of the sources, if the environment names it.
    repository: Option<String>,
    /// An identifier of the machine or service that builds.
    builder: String,
    /// Versions of the toolchain: name and what the program prints.
    tools: Vec<(&'static str, String)>,
    /// The commit of the Rust compiler.
    compiler: String,
    /// SHA-256 of `Cargo.lock`.
    lock: String,
}

impl Build {
    /// Describes a build of this workspace on this machine.
    ///
    /// `SLUICE_BUILDER_ID` and `SLUICE_SOURCE_URI` in the environment are URIs of the builder and
    /// of the repository.
    fn of(workspace: &Workspace) -> Result<Self> {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let version = rustc(&["--version", "--verbose"])?;
        let compiler = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
        let lock = fs::read(workspace.root.join("Cargo.lock")).context("Cargo.lock")?;
        Ok(Self {
            revision: first_line(Command::new("git").args(["rev-parse", "HEAD"]))?,
            repository: variable("SLUICE_SOURCE_URI"),
            builder: variable("SLUICE_BUILDER_ID").unwrap_or_else(|| UNKNOWN_BUILDER.to_owned()),
            tools: vec![
                ("rustc", rustc(&["--version"])?.trim().to_owned()),
                ("cc", first_line(Command::new("cc").arg("--version"))?),
                ("ld", first_line(Command::new("ld").arg("--version"))?),
            ],
            compiler: compiler.context("rustc names no commit-hash")?.to_owned(),
            lock: checksums::sha256(&lock),
        })
    }

    fn statement(&self, files: &Checksums) -> Value {
        let subject: Vec<Value> = files
            .iter()
            .map(|(name, hash)| json!({ "name": name, "digest": { "sha256": hash } }))
            .collect();
        let digest = json!({ "gitCommit": self.revision });
        let source = match &self.repository {
            Some(uri) => json!({ "name": "source", "uri": uri, "digest": digest }),
            None => json!({ "name": "source", "digest": digest }),
        };
        let tools = self.tools.iter().map(|(name, version)| (*name, version.as_str()));
        let tools: serde_json::Map<_, _> =
            tools.map(|(name, version)| (name.to_owned(), version.into())).collect();
        json!({
            "_type": STATEMENT_TYPE,
            "subject": subject,
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": { "target": "make release" },
                    "internalParameters": tools,
                    "resolvedDependencies": [
                        source,
                        {
                            "name": "rust",
                            "uri": "git+https://github.com/rust-lang/rust",
                            "digest": { "gitCommit": self.compiler },
                        },
                        { "name": "Cargo.lock", "digest": { "sha256": self.lock } },
                    ],
                },
                "runDetails": { "builder": { "id": self.builder } },
            },
        })
    }
}

/// Writes the statement and the list of files into the folder of a release.
pub fn create(folder: &str) -> Result<()> {
    write(Path::new(folder), &Build::of(&Workspace::load()?)?)
}

fn write(folder: &Path, build: &Build) -> Result<()> {
    let mut files = checksums::of_folder(folder)?;
    files.retain(|name, _| name != STATEMENT && name != SUMS);
    ensure!(!files.is_empty(), "{} has no files", folder.display());
    let statement = format!("{:#}\n", build.statement(&files));
    fs::write(folder.join(STATEMENT), &statement)?;
    files.insert(STATEMENT.to_owned(), checksums::sha256(statement.as_bytes()));
    fs::write(folder.join(SUMS), checksums::format(&files))?;
    Ok(())
}

/// Fails unless the files of a folder are exactly those of its statement and of its list, with the
/// same contents. Prints the revision and the builder, which are only as trustworthy as the
/// signature of the list.
pub fn verify(folder: &str) -> Result<()> {
    println!("{}", verified(Path::new(folder))?);
    Ok(())
}

fn verified(folder: &Path) -> Result<String> {
    let mut files = checksums::of_folder(folder)?;
    files.retain(|name, _| name != SUMS && !SIGNATURES.contains(&name.as_str()));
    let sums = fs::read_to_string(folder.join(SUMS)).context(SUMS)?;
    let mut problems = named(SUMS, &checksums::differences(&files, &checksums::parse(&sums)?));

    files.remove(STATEMENT);
    let text = fs::read(folder.join(STATEMENT)).context(STATEMENT)?;
    let statement: Value = serde_json::from_slice(&text).context(STATEMENT)?;
    let subject = subject(&statement).context(STATEMENT)?;
    problems.extend(named(STATEMENT, &checksums::differences(&files, &subject)));
    if !problems.is_empty() {
        bail!("{} is not the release that was made:\n{}", folder.display(), problems.join("\n"));
    }
    let text = |pointer| statement.pointer(pointer).and_then(Value::as_str);
    let revision = "/predicate/buildDefinition/resolvedDependencies/0/digest/gitCommit";
    let revision = text(revision).context("provenance.json names no commit of the sources")?;
    let builder = text("/predicate/runDetails/builder/id");
    let builder = builder.context("provenance.json names no builder")?;
    Ok(format!("{} files are unchanged: commit {revision}, built by {builder}", files.len()))
}

fn named(list: &str, differences: &[String]) -> Vec<String> {
    differences.iter().map(|line| format!("  {line} ({list})")).collect()
}

/// The files of a statement.
fn subject(statement: &Value) -> Result<Checksums> {
    for (field, expected) in [("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)] {
        ensure!(statement[field] == expected, "{field} is {}", statement[field]);
    }
    let subject = statement["subject"].as_array().context("subject: expected an array")?;
    let mut files = Checksums::new();
    for file in subject {
        let name = file["name"].as_str().context("subject: a file without a name")?;
        let hash = file.pointer("/digest/sha256").and_then(Value::as_str);
        let hash = hash.with_context(|| format!("subject: {name} has no sha256"))?;
        ensure!(files.insert(name.into(), hash.into()).is_none(), "subject has {name} twice");
    }
    Ok(files)
}

fn first_line(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} failed");
    let output = String::from_utf8(output.stdout).with_context(|| program.clone())?;
    let line = output.lines().next().with_context(|| format!("{program} printed nothing"))?;
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn build() -> Build {
        Build {
            revision: "1234".to_owned(),
            repository: None,
            builder: UNKNOWN_BUILDER.to_owned(),
            tools: vec![("rustc", "rustc 1.0".to_owned())],
            compiler: "5678".to_owned(),
            lock: "9abc".to_owned(),
        }
    }

    /// A release of two files.
    fn release() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("wasm")).unwrap();
        fs::write(folder.path().join("wasm/router.wasm"), b"\0asm router").unwrap();
        fs::write(folder.path().join("LICENSE"), b"Apache").unwrap();
        write(folder.path(), &build()).unwrap();
        folder
    }

    /// The error after a change of a release.
    fn error_after(change: impl Fn(&Path)) -> String {
        let folder = release();
        change(folder.path());
        let error = format!("{:#}", verified(folder.path()).unwrap_err());
        error.replace(&folder.path().display().to_string(), "FOLDER")
    }

    #[test]
    fn an_unchanged_release_is_verified() {
        let folder = release();
        let expected = "2 files are unchanged: commit 1234, built by urn:sluice:builder:unknown";
        assert_eq!(verified(folder.path()).unwrap(), expected);
        // It is the same if it is made again, and when it is signed.
        let before = checksums::of_folder(folder.path()).unwrap();
        write(folder.path(), &build()).unwrap();
        assert_eq!(checksums::of_folder(folder.path()).unwrap(), before);
        fs::write(folder.path().join("SHA256SUMS.minisig"), b"signature").unwrap();
        assert_eq!(verified(folder.path()).unwrap(), expected);
    }

    #[test]
    fn the_statement_has_the_files_and_the_source() {
        let files = Checksums::from([("a".to_owned(), "00".to_owned())]);
        let mut build = build();
        let statement = build.statement(&files);
        assert_eq!(statement["subject"], json!([{ "name": "a", "digest": { "sha256": "00" } }]));
        let definition = &statement["predicate"]["buildDefinition"];
        assert_eq!(definition["internalParameters"], json!({ "rustc": "rustc 1.0" }));
        let source = "/resolvedDependencies/0";
        let expected = json!({ "name": "source", "digest": { "gitCommit": "1234" } });
        assert_eq!(definition.pointer(source).unwrap(), &expected);
        build.repository = Some("git+https://host.test/sluice".to_owned());
        let statement = build.statement(&files);
        let uri = "/predicate/buildDefinition/resolvedDependencies/0/uri";
        assert_eq!(statement.pointer(uri).unwrap(), "git+https://host.test/sluice");
    }

    #[test]
    fn one_changed_byte_is_found() {
        let error = error_after(|folder| {
            fs::write(folder.join("wasm/router.wasm"), b"\0asm routes").unwrap();
        });
        assert_eq!(
            error,
            "FOLDER is not the release that was made:\n  \
             changed: wasm/router.wasm (SHA256SUMS)\n  \
             changed: wasm/router.wasm (provenance.json)"
        );
    }

    #[test]
    fn missing_and_extra_files_are_found() {
        let error = error_after(|folder| fs::remove_file(folder.join("LICENSE")).unwrap());
        assert!(error.contains("  missing: LICENSE (SHA256SUMS)\n"), "{error}");
        assert!(error.ends_with("  missing: LICENSE (provenance.json)"), "{error}");
        let error = error_after(|folder| fs::write(folder.join("wasm/sni.wasm"), b"").unwrap());
        assert!(error.ends_with("  extra: wasm/sni.wasm (provenance.json)"), "{error}");
        let link = |folder: &Path| std::os::unix::fs::symlink("LICENSE", folder.join("link"));
        let error = error_after(|folder| link(folder).unwrap());
        assert_eq!(error, "link is not a regular file");
    }

    #[test]
    fn a_file_cannot_be_changed_together_with_one_list() {
        // The list fits the changed file, but the statement does not.
        let error = error_after(|folder| {
            fs::write(folder.join("LICENSE"), b"None").unwrap();
            let mut files = checksums::of_folder(folder).unwrap();
            files.remove(SUMS);
            fs::write(folder.join(SUMS), checksums::format(&files)).unwrap();
        });
        assert!(error.ends_with(":\n  changed: LICENSE (provenance.json)"), "{error}");
        // The statement fits, but the list does not.
        let error = error_after(|folder| {
            let sums = fs::read(folder.join(SUMS)).unwrap();
            fs::write(folder.join("LICENSE"), b"None").unwrap();
            fs::remove_file(folder.join(SUMS)).unwrap();
            write(folder, &build()).unwrap();
            fs::write(folder.join(SUMS), sums).unwrap();
        });
        assert!(error.contains("  changed: LICENSE (SHA256SUMS)\n"), "{error}");
    }

    #[test]
    fn another_document_is_no_statement() {
        let error = error_after(|folder| fs::write(folder.join(STATEMENT), "{}").unwrap());
        assert_eq!(error, "provenance.json: _type is null");
    }
}
