//! The two judges: Istio's validation in the program of istiod/verdict, and `sluice check`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sluice_e2e::workspace;

/// What a judge says of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Its errors, none if it accepts the object
    pub errors: Vec<String>,
}

impl Verdict {
    /// Returns whether the judge accepts the object.
    pub fn accepts(&self) -> bool {
        self.errors.is_empty()
    }
}

/// The verdicts of Istio on the files of a folder by their names.
///
/// # Panics
/// If the program fails.
pub fn ask_istio(crds: &[PathBuf], folder: &Path) -> HashMap<String, Verdict> {
    let mut command = Command::new(program());
    for file in crds {
        command.arg("-crds").arg(file);
    }
    let output = command.arg(folder).output().expect("verdict");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    // Packages of Istio log lines of text while they are initialized.
    let verdicts = lines.lines().filter(|line| line.starts_with('{')).map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let file = Path::new(line["file"].as_str().expect("file")).file_name().expect("name");
        let by = line["by"].as_str().unwrap_or_default();
        let messages = line["messages"].as_array().into_iter().flatten();
        let messages = messages.filter_map(Value::as_str).map(|text| format!("{by}: {text}"));
        let mut errors: Vec<_> = messages.collect();
        if line["verdict"] != "accept" && errors.is_empty() {
            errors.push(format!("{by}: refused"));
        }
        (file.to_string_lossy().into_owned(), Verdict { errors })
    });
    verdicts.collect()
}

/// The verdicts of a table with the columns file, index of the document, kind, verdict and reason.
/// Those that are neither `accept` nor `refuse` are left out.
pub fn recorded(table: &str) -> HashMap<(String, usize, String), Verdict> {
    let verdicts = table.lines().filter_map(|line| {
        let mut columns = line.split('\t');
        let file = columns.next()?.to_owned();
        let index = columns.next()?.parse().ok()?;
        let kind = columns.next()?.to_owned();
        let errors = match columns.next()? {
            "accept" => Vec::new(),
            "refuse" => vec![columns.next().unwrap_or("refused").to_owned()],
            _ => return None,
        };
        Some(((file, index, kind), Verdict { errors }))
    });
    verdicts.collect()
}

/// Path of the program, installed by `tools/setup.sh verdict`.
pub fn program() -> PathBuf {
    workspace().join(".tools/istio/bin/verdict")
}

/// The verdict of the command on a file.
///
/// # Panics
/// If the command fails or its output is not what it is documented to be.
pub fn ask_sluice(file: &Path) -> Verdict {
    let output = Command::new(sluice())
        .args(["check", "--format", "json"])
        .arg(file)
        .output()
        .expect("sluice");
    let text = String::from_utf8_lossy(&output.stdout);
    let findings: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{}: {error}: {text}{}", file.display(), String::from_utf8_lossy(&output.stderr))
    });
    let findings = findings["findings"].as_array().expect("findings");
    let errors = findings.iter().filter(|finding| finding["severity"] == "error");
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let errors = errors.map(|own| format!("{}: {}", text(own, "path"), text(own, "reason")));
    Verdict { errors: errors.collect() }
}

/// Path of the command. It is built beside this program.
pub fn sluice() -> PathBuf {
    let own = std::env::current_exe().expect("path");
    own.with_file_name("sluice")
}
