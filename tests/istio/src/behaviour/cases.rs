//! The objects whose behaviour is compared: those of one file, or of one example.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use sluice_e2e::workspace;

use super::objects::{ANNOTATION, NAMESPACE, complete, destinations, kind, namespace};
use crate::verdicts::{self, documents, module, texts};

/// The kinds that are compared, or that say which endpoints there are.
const KINDS: [&str; 4] = ["VirtualService", "DestinationRule", "ServiceEntry", "Service"];

/// The annotation of VirtualServices that another case has too.
const EQUAL: &str = "equal";

/// Objects that apply together.
#[derive(Clone)]
pub struct Case {
    /// The origin and the file
    pub name: String,
    /// The objects, each with a name and a namespace
    pub objects: Vec<Value>,
    /// The namespace whose VirtualServices are compared
    pub namespace: String,
    /// Whether it cannot be merged with others
    pub is_alone: bool,
}

/// What is left out before any comparison, with its number.
pub type LeftOut = BTreeMap<String, usize>;

/// Reads the cases of Istio's modules, of this repository and of `SLUICE_CORPUS`, and asks Istio
/// which objects it accepts.
///
/// # Panics
/// If a folder has none.
pub fn read(crds: &Path, left_out: &mut LeftOut) -> Vec<Case> {
    let mut folders = vec![
        ("istio.io/istio", module("istio.io/istio").expect("Go")),
        ("istio.io/api", module("istio.io/api").expect("Go")),
        ("this repository", workspace().to_owned()),
    ];
    if let Some(folder) = std::env::var_os("SLUICE_CORPUS") {
        folders.push(("SLUICE_CORPUS", folder.into()));
    }
    let mut groups = Vec::new();
    for (title, folder) in folders {
        let mut templates = 0;
        let texts = texts(&folder, &verdicts::ISTIO, &mut templates);
        *left_out.entry("files that are templates".to_owned()).or_default() += templates;
        assert!(!texts.is_empty(), "{} has no objects", folder.display());
        for (file, text) in texts {
            let objects = objects(&text);
            let name = format!("{title}: {file}");
            let is_example = file.ends_with(".md") || file.ends_with(".proto");
            groups.extend(split(objects, is_example).into_iter().map(|own| (name.clone(), own)));
        }
    }
    keep_accepted(crds, &mut groups, left_out);
    let mut known = BTreeSet::new();
    let mut cases = Vec::new();
    let mut names = BTreeMap::<String, usize>::new();
    for (file, mut objects) in groups {
        let count = names.entry(file.clone()).or_default();
        *count += 1;
        let name = if *count == 1 { file } else { format!("{file}, part {count}") };
        for own in &mut objects {
            own["metadata"]["annotations"] = json!({ ANNOTATION: name });
        }
        let services = objects.iter().filter(|own| kind(own) == "VirtualService");
        let (http, other): (Vec<_>, Vec<_>) =
            services.partition(|own| own["spec"]["http"].is_array());
        *left_out.entry("VirtualServices without http".to_owned()).or_default() += other.len();
        // Envoy draws the value.
        let (random, http): (Vec<_>, Vec<_>) =
            http.into_iter().partition(|own| own["spec"].to_string().contains("x-request-id"));
        let reason = "VirtualServices with x-request-id".to_owned();
        *left_out.entry(reason).or_default() += random.len();
        let (new, equal): (Vec<_>, Vec<_>) =
            http.into_iter().partition(|own| known.insert(identity(own, &objects)));
        let same = "VirtualServices that are equal to another".to_owned();
        *left_out.entry(same).or_default() += equal.len();
        let namespaces: BTreeSet<_> = new.iter().map(|own| namespace(own).to_owned()).collect();
        let equal = equal.iter().chain(&random);
        let equal: BTreeSet<_> = equal.map(|own| own["metadata"].to_string()).collect();
        for own in objects.iter_mut().filter(|own| equal.contains(&own["metadata"].to_string())) {
            own["metadata"]["annotations"][EQUAL] = "yes".into();
        }
        for namespace in namespaces {
            let (name, objects) = (name.clone(), objects.clone());
            cases.push(Case { name, objects, namespace, is_alone: true });
        }
    }
    cases
}

/// Everything that decides what becomes of the requests for a VirtualService: those of its hosts,
/// their rules, and the objects of their destinations.
fn identity(object: &Value, objects: &[Value]) -> String {
    let hosts = |own: &Value| -> BTreeSet<String> {
        let hosts = own["spec"]["hosts"].as_array().into_iter().flatten();
        let hosts = hosts.chain([&own["spec"]["host"]]).filter_map(Value::as_str);
        let service = own["metadata"]["name"].as_str().filter(|_| kind(own) == "Service");
        hosts.chain(service).map(|host| complete(host, namespace(own))).collect()
    };
    let is_delegating = object.to_string().contains("\"delegate\"");
    let own_hosts = hosts(object);
    let targets = destinations(object).into_iter().filter_map(|own| own["host"].as_str());
    let targets: BTreeSet<_> = targets.map(|host| complete(host, namespace(object))).collect();
    let related = objects.iter().filter(|other| {
        let hosts = hosts(other);
        let is_wildcard = hosts.iter().any(|host| host.contains('*'));
        match kind(other) {
            "VirtualService" if hosts.is_empty() => is_delegating,
            "VirtualService" => !hosts.is_disjoint(&own_hosts),
            _ => is_wildcard || !hosts.is_disjoint(&targets) || !hosts.is_disjoint(&own_hosts),
        }
    });
    let related: Vec<_> = related
        .map(|own| {
            let name = own["metadata"]["name"].as_str().filter(|_| kind(own) == "Service");
            json!([kind(own), namespace(own), name, own["spec"]])
        })
        .collect();
    json!([namespace(object), object["spec"], related]).to_string()
}

/// Returns whether requests are derived from a VirtualService: it is not the same as in another
/// case.
pub fn is_new(object: &Value) -> bool {
    object["metadata"]["annotations"][EQUAL].is_null()
}

/// The objects of a YAML stream, also those in lists.
fn objects(text: &str) -> Vec<Value> {
    let mut objects = Vec::new();
    for (_, value) in documents(text) {
        let is_list = kind(&value).ends_with("List");
        match value["items"].as_array().filter(|_| is_list) {
            Some(items) => objects.extend(items.iter().cloned()),
            None => objects.push(value),
        }
    }
    let is_read = |own: &Value| {
        let version = own["apiVersion"].as_str().unwrap_or_default();
        let has_version = match kind(own) {
            "Service" => version == "v1",
            _ => version.starts_with("networking.istio.io/"),
        };
        has_version && KINDS.contains(&kind(own)) && own["spec"].is_object()
    };
    objects.retain(is_read);
    for (index, own) in objects.iter_mut().enumerate() {
        let metadata = &own["metadata"];
        let name = metadata["name"].as_str().filter(|name| !name.is_empty());
        let name = name.map_or_else(|| format!("object-{index}"), str::to_owned);
        let namespace = metadata["namespace"].as_str().unwrap_or(NAMESPACE).to_owned();
        own["metadata"] = json!({ "name": name, "namespace": namespace });
    }
    objects
}

/// The objects of each example, which has one VirtualService; the other objects of the text apply
/// to all. The objects of another file apply together, unless there are several of a name: then
/// each replaces the one before, as in the steps of a tutorial.
fn split(objects: Vec<Value>, is_example: bool) -> Vec<Vec<Value>> {
    let id = |own: &Value| format!("{} {} {}", kind(own), namespace(own), own["metadata"]["name"]);
    if !is_example {
        let mut steps: Vec<Vec<Value>> = vec![Vec::new()];
        for own in objects {
            let mut step = steps.last().cloned().unwrap_or_default();
            match step.iter_mut().find(|known| id(known) == id(&own)) {
                Some(known) => {
                    *known = own;
                    steps.push(step);
                }
                None => steps.last_mut().into_iter().for_each(|step| step.push(own.clone())),
            }
        }
        return steps;
    }
    let is_root = |own: &Value| kind(own) == "VirtualService" && own["spec"]["hosts"].is_array();
    let (roots, mut others): (Vec<_>, Vec<_>) = objects.into_iter().partition(is_root);
    let mut names = BTreeSet::new();
    others.retain(|own| names.insert(id(own)));
    roots.into_iter().map(|root| [vec![root], others.clone()].concat()).collect()
}

/// Removes the objects that Istio refuses.
fn keep_accepted(crds: &Path, groups: &mut [(String, Vec<Value>)], left_out: &mut LeftOut) {
    let directory = tempfile::tempdir().expect("a folder");
    let name = |group: usize, index: usize| format!("{group:05}-{index:05}.yaml");
    for (group, (_, objects)) in groups.iter().enumerate() {
        for (index, own) in objects.iter().enumerate().filter(|(_, own)| kind(own) != "Service") {
            let file = directory.path().join(name(group, index));
            std::fs::write(file, own.to_string()).expect("a file");
        }
    }
    let verdicts = verdicts::ask_istio(&[crds.to_owned()], directory.path());
    for (group, (_, objects)) in groups.iter_mut().enumerate() {
        let mut index = 0;
        objects.retain(|own| {
            let verdict = verdicts.get(&name(group, index));
            index += 1;
            let is_accepted = verdict.is_none_or(|own| own.accepts());
            if !is_accepted {
                *left_out.entry(format!("{}s that Istio refuses", kind(own))).or_default() += 1;
            }
            is_accepted
        });
    }
}
