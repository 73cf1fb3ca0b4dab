//! The objects of folders that the command reads, one by one.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize as _;
use serde_json::Value;
use sluice_e2e::workspace;

/// Istio's kinds that the filters read.
pub const ISTIO: [&str; 3] = ["VirtualService", "DestinationRule", "ServiceEntry"];

/// The kinds of the Gateway API that the filters read.
pub const ROUTES: [&str; 2] = ["HTTPRoute", "GRPCRoute"];

/// The Go module of the Gateway API.
pub const GATEWAY_API: &str = "sigs.k8s.io/gateway-api";

/// The ends of names of files that are read: YAML, and texts with examples in YAML.
const ENDS: [&str; 4] = [".yaml", ".yml", ".proto", ".md"];

/// One object.
pub struct Object {
    /// The file that it comes from, relative to the folder that was searched
    pub file: String,
    /// The index of its document in that file, without empty ones
    pub index: usize,
    /// Its kind
    pub kind: String,
    /// The text: that of the file, or JSON for an item of a list and for a mutation
    pub text: String,
    /// The text as JSON; null if only Istio's reader of YAML can tell
    pub value: Value,
}

/// The objects of a folder, and how many files with such objects are templates.
pub struct Found {
    /// The objects, in the order of file names
    pub objects: Vec<Object>,
    /// Files that are templates of other files, and therefore not YAML
    pub templates: usize,
}

/// Reads a folder with its subfolders. Hidden folders and those of builds are skipped.
pub fn read(folder: &Path) -> Found {
    let mut found = Found { objects: Vec::new(), templates: 0 };
    let kinds: Vec<_> = kinds().collect();
    for (name, text) in texts(folder, &kinds, &mut found.templates) {
        for (index, (part, value)) in documents(&text).into_iter().enumerate() {
            add(&mut found.objects, &name, index, &part, value);
        }
    }
    found
}

/// All kinds that the filters read.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    ISTIO.into_iter().chain(ROUTES)
}

/// The texts in YAML of the files of a folder that have objects of some kinds, by file name; counts
/// templates.
pub fn texts(folder: &Path, kinds: &[&str], templates: &mut usize) -> Vec<(String, String)> {
    let mut files = Vec::new();
    list(folder, &mut files);
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        // Some files of tests are not text on purpose.
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let name = file.strip_prefix(folder).unwrap_or(&file).display().to_string();
        if kinds.iter().all(|kind| !text.contains(kind)) {
            continue;
        }
        if text.contains("{{") {
            *templates += 1;
            continue;
        }
        let has_examples = file.extension().is_some_and(|end| end == "proto" || end == "md");
        texts.push((name, if has_examples { examples(&text) } else { text }));
    }
    texts
}

/// The documents of a YAML stream, as text and as JSON, without empty ones.
pub fn documents(text: &str) -> Vec<(String, Value)> {
    let mut documents = Vec::new();
    for part in split(text) {
        let value = match serde_yaml_ng::Deserializer::from_str(&part).next() {
            Some(document) => Value::deserialize(document).unwrap_or_default(),
            None => Value::Null,
        };
        let is_empty = part.lines().all(|line| line.is_empty() || line.starts_with('#'));
        if !(value.is_null() && is_empty) {
            documents.push((part, value));
        }
    }
    documents
}

/// Adds the object, or the items of a list.
fn add(objects: &mut Vec<Object>, file: &str, index: usize, text: &str, value: Value) {
    let mut push = |kind: &str, text: String, value: Value| {
        objects.push(Object { file: file.to_owned(), index, kind: kind.to_owned(), text, value });
    };
    if let (Some(items), true) = (value["items"].as_array(), ends_with_list(&value["kind"])) {
        for item in items {
            if let Some(kind) = kind_of(item) {
                push(kind, item.to_string(), item.clone());
            }
        }
    } else if let Some(kind) = kind_of(&value) {
        push(kind, text.to_owned(), value.clone());
    } else if value.is_null() {
        // Text that this reader refuses.
        let kind = kinds().find(|kind| text.lines().any(|l| l == format!("kind: {kind}")));
        kind.into_iter().for_each(|kind| push(kind, text.to_owned(), Value::Null));
    }
}

fn ends_with_list(kind: &Value) -> bool {
    kind.as_str().is_some_and(|kind| kind.ends_with("List"))
}

/// The kind, if the filters read objects of that kind.
fn kind_of(value: &Value) -> Option<&'static str> {
    let version = value["apiVersion"].as_str()?;
    let kind = value["kind"].as_str()?;
    let own: &[&'static str] = match version.split_once('/')?.0 {
        "networking.istio.io" => &ISTIO,
        "gateway.networking.k8s.io" => &ROUTES,
        _ => &[],
    };
    own.iter().copied().find(|known| *known == kind)
}

/// The examples in YAML of a text in Markdown, or in comments, as one YAML stream.
fn examples(text: &str) -> String {
    let mut stream = String::new();
    let mut is_inside = false;
    for line in text.lines() {
        let line = line.trim_start().strip_prefix("//").unwrap_or(line);
        let line = line.strip_prefix(' ').unwrap_or(line);
        match line.trim_start().strip_prefix("```") {
            Some(language) => {
                is_inside = language.starts_with("yaml");
                stream.push_str("---\n");
            }
            None if is_inside => {
                stream.push_str(line);
                stream.push('\n');
            }
            None => {}
        }
    }
    stream
}

/// The documents of a YAML stream as texts.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in text.lines() {
        let is_end = line.strip_prefix("---").is_some_and(|rest| rest.trim_start().is_empty());
        if is_end || line.starts_with("--- #") {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && !name.starts_with('.') && name != "target" {
            list(&path, files);
        } else if kind.is_file() && ENDS.iter().any(|end| name.ends_with(end)) {
            files.push(path);
        }
    }
}

/// The folder of a Go module, in the version that go.mod names; `None` without Go.
pub fn module(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("go")
        .args(["list", "-m", "-f", "{{.Dir}}", name])
        .current_dir(workspace().join("tests/istio/istiod"))
        .env("PATH", format!("{path}:/usr/local/go/bin"))
        .output()
        .ok()?;
    let folder = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !folder.is_empty()).then(|| folder.into())
}

/// The files of the Gateway API's CustomResourceDefinitions for the kinds of [`ROUTES`], of the
/// experimental channel, which has all fields.
pub fn gateway_api_crds() -> Option<Vec<PathBuf>> {
    let folder = module(GATEWAY_API)?.join("config/crd/experimental");
    let files = ["httproutes", "grpcroutes"];
    Some(files.map(|own| folder.join(format!("gateway.networking.k8s.io_{own}.yaml"))).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n";
        let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.istio.io/v1\n  \
                    kind: ServiceEntry\n  spec: {}\n- kind: Service\n";
        let text = format!("# DestinationRule\n---\n{rule}---\n{list}---\n{rule}a: [");
        std::fs::write(folder.path().join("a.yaml"), text).unwrap();
        std::fs::write(folder.path().join("b.yml"), format!("{rule}name: {{{{ x }}}}")).unwrap();
        let comment = format!("```yaml\n{rule}```\n").replace('\n', "\n// ");
        std::fs::write(folder.path().join("c.proto"), format!("// {comment}")).unwrap();
        let found = read(folder.path());
        let objects: Vec<_> =
            found.objects.iter().map(|own| (own.index, &*own.kind, own.value.is_null())).collect();
        let (rule, entry) = ("DestinationRule", "ServiceEntry");
        assert_eq!(
            objects,
            [(0, rule, false), (1, entry, false), (2, rule, true), (0, rule, false)]
        );
        assert_eq!(found.templates, 1);
    }
}
