//! A bill of materials in the format CycloneDX.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::linked::Crate;

/// A document that `cargo-cyclonedx` has written, and that is edited.
#[derive(Debug)]
pub struct Bill(pub Value);

impl Bill {
    /// The number of components.
    pub fn components(&self) -> usize {
        self.0.get("components").and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// Makes the document that of a file instead of a package.
    ///
    /// The file gets the SHA-256, in hexadecimal, and the path in the release as its name.
    pub fn describe(&mut self, path: &str, sha256: &str) -> Result<()> {
        let component = self.0.pointer_mut(OWN).and_then(Value::as_object_mut);
        let component = component.context("no metadata.component")?;
        component.insert("name".to_owned(), path.into());
        component.insert("hashes".to_owned(), json!([{ "alg": "SHA-256", "content": sha256 }]));
        // The libraries and programs of the package.
        component.remove("components");
        Ok(())
    }

    /// Removes components, and dependencies on them, that are not in a list of crates. It is an
    /// error if a crate of the list has no component.
    pub fn keep(&mut self, crates: &BTreeSet<Crate>) -> Result<()> {
        let mut missing = crates.clone();
        let mut kept = BTreeSet::new();
        kept.extend(self.reference().map(str::to_owned));
        let components = list(&mut self.0, "components")?;
        components.retain(|component| {
            let name = text(component, "/name").unwrap_or_default().to_owned();
            let version = text(component, "/version").unwrap_or_default().to_owned();
            let key = (name, version);
            missing.remove(&key);
            let is_kept = crates.contains(&key);
            if is_kept {
                kept.extend(text(component, "/bom-ref").map(str::to_owned));
            }
            is_kept
        });
        ensure!(missing.is_empty(), "no component for {missing:?}");
        let is_kept =
            |reference: &Value| reference.as_str().is_some_and(|name| kept.contains(name));
        let dependencies = list(&mut self.0, "dependencies")?;
        dependencies.retain(|dependency| is_kept(&dependency["ref"]));
        for dependency in dependencies {
            if let Some(Value::Array(others)) = dependency.get_mut("dependsOn") {
                others.retain(is_kept);
            }
        }
        Ok(())
    }

    /// Replaces references and locations that contain paths of this machine. Afterwards the package
    /// `NAME` of the workspace is referred to as `pkg:cargo/NAME@VERSION`.
    pub fn replace_paths(&mut self) -> Result<()> {
        replace(&mut self.0);
        let rest = self.0.to_string();
        ensure!(!rest.contains("file://"), "contains a path of this machine");
        Ok(())
    }

    /// Adds a component on which the file depends.
    pub fn add(&mut self, component: Value) -> Result<()> {
        let own = self.reference().context("no metadata.component.bom-ref")?.to_owned();
        let reference = text(&component, "/bom-ref").context("no bom-ref")?.to_owned();
        let dependencies = list(&mut self.0, "dependencies")?;
        let is_own = |dependency: &&mut Value| text(dependency, "/ref") == Some(&own);
        let dependency = dependencies.iter_mut().find(is_own);
        let dependency = dependency.context("no dependencies of the file")?;
        list(dependency, "dependsOn")?.push(reference.as_str().into());
        dependencies.push(json!({ "ref": reference }));
        list(&mut self.0, "components")?.push(component);
        Ok(())
    }

    /// The reference to the file itself.
    fn reference(&self) -> Option<&str> {
        text(&self.0, &format!("{OWN}/bom-ref"))
    }
}

/// The place of the file itself in the document.
const OWN: &str = "/metadata/component";

fn list<'v>(value: &'v mut Value, name: &str) -> Result<&'v mut Vec<Value>> {
    let list = value.get_mut(name).and_then(Value::as_array_mut);
    list.with_context(|| format!("has no {name}"))
}

fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// Replaces `path+file:///FOLDER#NAME@VERSION`, or `#VERSION` in a folder of that name, and cuts
/// `?download_url=...` of locations.
fn replace(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(path) = text.strip_prefix("path+file://") {
                let (folder, package) = path.split_once('#').unwrap_or((path, ""));
                let name = folder.rsplit('/').next().unwrap_or_default();
                *text = match package.contains('@') {
                    true => format!("pkg:cargo/{package}"),
                    false => format!("pkg:cargo/{name}@{package}"),
                };
            } else if let Some((location, _)) = text.split_once("?download_url=file://") {
                *text = location.to_owned();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(replace),
        Value::Object(fields) => fields.values_mut().for_each(replace),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: &str = "path+file:///home/me/repo/router#sluice-router@0.1.0";
    const XTASK: &str = "path+file:///home/me/repo/xtask#0.1.0";
    const LOG: &str = "registry+https://github.com/rust-lang/crates.io-index#log@0.4.0";
    const SYN: &str = "registry+https://github.com/rust-lang/crates.io-index#syn@3.0.0";

    fn component(reference: &str, name: &str, version: &str) -> Value {
        let purl = format!("pkg:cargo/{name}@{version}?download_url=file://../x");
        json!({ "bom-ref": reference, "name": name, "version": version, "purl": purl })
    }

    fn bill() -> Bill {
        let mut own = component(ROUTER, "sluice-router", "0.1.0");
        own["components"] = json!([{ "name": "sluice_router" }]);
        Bill(json!({
            "metadata": { "component": own },
            "components": [
                component(XTASK, "xtask", "0.1.0"),
                component(LOG, "log", "0.4.0"),
                component(SYN, "syn", "3.0.0"),
            ],
            "dependencies": [
                { "ref": ROUTER, "dependsOn": [XTASK, LOG, SYN] },
                { "ref": XTASK, "dependsOn": [SYN] },
                { "ref": LOG },
                { "ref": SYN },
            ],
        }))
    }

    fn crates(names: &[(&str, &str)]) -> BTreeSet<Crate> {
        names.iter().map(|(name, version)| ((*name).into(), (*version).into())).collect()
    }

    #[test]
    fn only_what_is_linked_stays() {
        let mut bill = bill();
        bill.keep(&crates(&[("log", "0.4.0"), ("xtask", "0.1.0")])).unwrap();
        assert_eq!(bill.components(), 2);
        assert_eq!(
            bill.0["dependencies"],
            json!([
                { "ref": ROUTER, "dependsOn": [XTASK, LOG] },
                { "ref": XTASK, "dependsOn": [] },
                { "ref": LOG },
            ])
        );
    }

    #[test]
    fn every_linked_crate_needs_a_component() {
        let error = bill().keep(&crates(&[("log", "0.5.0")])).unwrap_err();
        assert_eq!(error.to_string(), r#"no component for {("log", "0.5.0")}"#);
    }

    #[test]
    fn paths_are_replaced() {
        let mut bill = bill();
        bill.replace_paths().unwrap();
        let own = &bill.0["metadata"]["component"];
        assert_eq!(own["bom-ref"], "pkg:cargo/sluice-router@0.1.0");
        assert_eq!(own["purl"], "pkg:cargo/sluice-router@0.1.0");
        assert_eq!(bill.0["dependencies"][1]["ref"], "pkg:cargo/xtask@0.1.0");
        assert_eq!(bill.0["dependencies"][2]["ref"], LOG);
        bill.0["other"] = "file:///home/me".into();
        assert!(bill.replace_paths().is_err());
    }

    #[test]
    fn the_file_is_described_with_its_hash() {
        let mut bill = bill();
        bill.describe("wasm/router.wasm", "00").unwrap();
        let own = &bill.0["metadata"]["component"];
        assert_eq!(own["name"], "wasm/router.wasm");
        assert_eq!(own["hashes"], json!([{ "alg": "SHA-256", "content": "00" }]));
        assert_eq!(own.get("components"), None);
    }

    #[test]
    fn what_cargo_does_not_know_is_added() {
        let mut bill = bill();
        bill.add(component("rust-std@1.95.0", "rust-std", "1.95.0")).unwrap();
        assert_eq!(bill.components(), 4);
        let own = &bill.0["dependencies"][0]["dependsOn"];
        assert_eq!(own, &json!([XTASK, LOG, SYN, "rust-std@1.95.0"]));
        assert_eq!(bill.0["dependencies"][4], json!({ "ref": "rust-std@1.95.0" }));
    }
}
