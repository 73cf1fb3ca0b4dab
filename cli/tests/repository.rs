//! All configuration of Envoy and Istio in this repository is correct: the sandbox, the scenarios
//! and the manifests.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files and folders without configuration of Envoy or Istio, or with settings that are rendered
/// together with the VirtualServices of a cluster.
const OTHERS: [&str; 5] =
    ["grafana", "kustomization.yaml", "mount.yaml", "scenario.yaml", "settings.yaml"];

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if OTHERS.contains(&name) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if name.ends_with(".yaml") {
            files.push(path);
        }
    }
}

#[test]
fn every_configuration_is_correct() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy"), &mut files);
    assert!(files.len() > 80, "{}", files.len());
    for file in files {
        let output =
            Command::new(env!("CARGO_BIN_EXE_sluice")).arg("check").arg(&file).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let is_correct = printed.ends_with("1 file, 0 errors, 0 warnings\n");
        assert!(output.status.success() && is_correct, "{printed}");
    }
}
