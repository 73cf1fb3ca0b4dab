//! The part `references`: `sluice check` and `istioctl analyze` find the same references to hosts,
//! ports, subsets and gateways that do not exist, and the same hosts of several VirtualServices.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};
use sluice_e2e::workspace;

use crate::verdicts::{module, sluice};

/// Test data of the analyzers in `istio.io/istio`.
const TESTDATA: &str = "pkg/config/analysis/analyzers/testdata";

/// An example in `istio.io/istio`: Services, and rules of which each file is given beside them.
const EXAMPLE: [&str; 2] =
    ["samples/bookinfo/platform/kube/bookinfo.yaml", "samples/bookinfo/networking"];

/// What is found, and the object that it is about: `subset`, `VirtualService default/reviews`.
type Found = BTreeSet<(&'static str, String)>;

/// Files that are checked together.
struct Case {
    name: String,
    documents: Vec<Value>,
}

impl Case {
    /// Returns why the command does not have a finding: the files do not have the objects that it
    /// requires.
    fn lacks(&self, finding: &str) -> Option<&'static str> {
        let has = |kind: &str| self.documents.iter().any(|own| own["kind"] == kind);
        match finding {
            "host" | "host of a rule" if !has("Service") => Some("files without Services"),
            "subset" if !has("DestinationRule") => Some("files without DestinationRules"),
            "gateway" | "host at gateway" if !has("Gateway") => Some("files without Gateways"),
            _ => None,
        }
    }
}

/// What the command says of a file.
struct Checked {
    found: Found,
    /// Objects with errors
    rejected: BTreeSet<String>,
}

/// A difference that has a reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Argued {
    /// Who reports it
    reported_by: Tool,
    /// What is found
    finding: String,
    /// The end of the name of the case, and of the object; empty for any
    #[serde(default)]
    case: String,
    #[serde(default)]
    object: String,
    #[serde(rename = "reason")]
    _reason: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Tool {
    Istio,
    Sluice,
}

/// Compares the findings on all cases and prints them.
///
/// # Panics
/// If one differs without a reason in references.yaml.
pub fn run() {
    let program = workspace().join(".tools/istio/bin/analyze");
    let Some(istio) = module("istio.io/istio").filter(|_| program.exists()) else {
        println!("left out without Go: the findings of istioctl analyze");
        return;
    };
    let cases = cases(&istio);
    let directory = tempfile::tempdir().expect("a folder");
    let write = |(index, case): (usize, &Case)| {
        let file = directory.path().join(format!("{index:04}.yaml"));
        let documents: Vec<_> = case.documents.iter().map(Value::to_string).collect();
        std::fs::write(&file, documents.join("\n---\n")).expect("a file");
        file
    };
    let files: Vec<_> = cases.iter().enumerate().map(write).collect();
    let istio = ask_istio(&program, &files);
    let mut comparison = Comparison::load();
    for (case, file) in cases.iter().zip(&files) {
        let theirs = istio.get(file).cloned().unwrap_or_default();
        comparison.add(case, &theirs, &ask_sluice(file));
    }
    println!("{} cases", cases.len());
    comparison.finish();
}

/// The findings of both tools, compared.
struct Comparison {
    /// The numbers of equal findings
    equal: BTreeMap<&'static str, usize>,
    /// The numbers of findings of Istio that depend on objects that are not given
    left_out: BTreeMap<&'static str, usize>,
    /// The argued differences, each with its number
    argued: Vec<(Argued, usize)>,
    /// The other differences
    open: Vec<String>,
}

impl Comparison {
    fn load() -> Self {
        let text = std::fs::read_to_string(workspace().join("tests/istio/references.yaml"));
        let argued: Vec<Argued> =
            serde_yaml_ng::from_str(&text.expect("references.yaml")).expect("references.yaml");
        let argued = argued.into_iter().map(|argued| (argued, 0)).collect();
        let (equal, left_out) = (BTreeMap::new(), BTreeMap::new());
        Self { equal, left_out, argued, open: Vec::new() }
    }

    fn add(&mut self, case: &Case, istio: &Found, sluice: &Checked) {
        for (finding, _) in istio.intersection(&sluice.found) {
            *self.equal.entry(finding).or_default() += 1;
        }
        for (finding, object) in istio.difference(&sluice.found) {
            match case.lacks(finding) {
                _ if sluice.rejected.contains(object) => self.leave_out("objects with errors"),
                Some(reason) => self.leave_out(reason),
                None => self.add_difference(Tool::Istio, finding, object, case),
            }
        }
        for (finding, object) in sluice.found.difference(istio) {
            self.add_difference(Tool::Sluice, finding, object, case);
        }
    }

    fn leave_out(&mut self, reason: &'static str) {
        *self.left_out.entry(reason).or_default() += 1;
    }

    fn add_difference(&mut self, tool: Tool, finding: &str, object: &str, case: &Case) {
        let is_argued = |(own, _): &&mut (Argued, usize)| {
            own.reported_by == tool
                && own.finding == finding
                && case.name.ends_with(&own.case)
                && object.ends_with(&own.object)
        };
        match self.argued.iter_mut().find(is_argued) {
            Some((_, count)) => *count += 1,
            None => {
                self.open.push(format!("{tool:?} alone: {finding} of {object} in {}", case.name));
            }
        }
    }

    fn finish(self) {
        println!("\nthe same findings of both:");
        self.equal.iter().for_each(|(finding, count)| println!("{count:6}  {finding}"));
        println!("\nfindings of Istio alone, left out:");
        self.left_out.iter().for_each(|(reason, count)| println!("{count:6}  {reason}"));
        println!("\nargued in references.yaml:");
        for (Argued { reported_by, finding, case, object, .. }, count) in &self.argued {
            println!("{count:6}  {reported_by:?} alone: {finding} of ..{object} in ..{case}");
        }
        println!("\nwithout a reason:\n{}", self.open.join("\n"));
        assert!(self.open.is_empty(), "{} findings differ without a reason", self.open.len());
        let is_used = self.argued.iter().all(|(_, count)| *count > 0);
        assert!(is_used, "references.yaml has a reason without a difference");
    }
}

fn cases(istio: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &Path, base: &Path, files: &[&Path]| {
        let documents: Option<Vec<_>> = files.iter().map(|file| read(file)).collect();
        let name = name.strip_prefix(base).unwrap_or(name).display().to_string();
        cases.extend(documents.map(|documents| Case { name, documents: documents.concat() }));
    };
    for file in list(&istio.join(TESTDATA)) {
        add(&file, istio, &[&file]);
    }
    let [services, rules] = EXAMPLE.map(|path| istio.join(path));
    for file in list(&rules) {
        add(&file, istio, &[&services, &file]);
    }
    let own = workspace();
    for folder in ["envoy/scenarios", "cli/tests/golden"].map(|folder| own.join(folder)) {
        let mut files: Vec<_> = std::fs::read_dir(&folder).expect("a folder").flatten().collect();
        files.sort_by_key(std::fs::DirEntry::path);
        for entry in files {
            // The goldens of other commands have nothing to find.
            let is_check = entry.file_name().to_string_lossy().starts_with("check-");
            let name = if is_check { "input.yaml" } else { "istio.yaml" };
            let file = entry.path().join(name);
            for file in [file].iter().filter(|file| file.is_file()) {
                add(file, own, &[file]);
            }
        }
    }
    cases
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    files
}

/// The objects of a file, each with a namespace. `None` if the file is not YAML or has none of
/// the kinds that are compared.
fn read(file: &Path) -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(file).ok()?;
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(&text) {
        let mut value = Value::deserialize(document).ok()?;
        let metadata = value.get_mut("metadata").and_then(Value::as_object_mut);
        if let Some(metadata) = metadata {
            metadata.entry("namespace").or_insert_with(|| json!("default"));
            documents.push(value);
        }
    }
    let is_rule = |own: &Value| {
        ["VirtualService", "DestinationRule", "Service"].map(Value::from).contains(&own["kind"])
    };
    documents.iter().any(is_rule).then_some(documents)
}

fn ask_istio(program: &Path, files: &[PathBuf]) -> HashMap<PathBuf, Found> {
    let output = Command::new(program).args(files).output().expect("analyze");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found: HashMap<PathBuf, Found> = HashMap::new();
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        let finding = match (text("code"), text("what")) {
            ("IST0101", "host" | "mirror host") => "host",
            ("IST0101", "host:port") => "port",
            ("IST0101", "gateway") => "gateway",
            ("IST0101", what) if what.contains("+subset") => "subset",
            ("IST0109", _) => "same host",
            ("IST0112", _) => "no port",
            ("IST0132", _) => "host at gateway",
            ("IST0174", _) => "host of a rule",
            _ => continue,
        };
        let own = found.entry(text("file").into()).or_default();
        own.insert((finding, text("object").to_owned()));
    }
    found
}

fn ask_sluice(file: &Path) -> Checked {
    let output = Command::new(sluice()).args(["check", "--format", "json"]).arg(file).output();
    let output: Value = serde_json::from_slice(&output.expect("sluice").stdout).expect("JSON");
    let (mut found, mut rejected) = (Found::new(), BTreeSet::new());
    for own in output["findings"].as_array().expect("findings") {
        let text = |name: &str| own[name].as_str().unwrap_or_default();
        let (path, object) = (text("path"), text("object").to_owned());
        let is_of_rule = object.starts_with("DestinationRule");
        let finding = match (text("kind"), path.rsplit('.').next().unwrap_or_default()) {
            ("error", _) => {
                rejected.insert(object);
                continue;
            }
            ("unresolved", "host") if is_of_rule => "host of a rule",
            ("unresolved", "host") => "host",
            ("unresolved", "number") => "port",
            ("unresolved" | "unchecked", "subset") => "subset",
            ("unresolved", _) if path.starts_with("spec.gateways") && own["other"].is_null() => {
                "gateway"
            }
            ("unresolved", _) => "host at gateway",
            ("overridden", _) if path.starts_with("spec.hosts") => {
                // Istio reports both.
                found.insert((
                    "same host",
                    own["other"]["object"].as_str().unwrap_or_default().to_owned(),
                ));
                "same host"
            }
            _ => continue,
        };
        found.insert((finding, object));
    }
    Checked { found, rejected }
}
