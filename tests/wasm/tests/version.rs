//! Each module logs its version and the commit that it was built from when its VM starts.

use sluice_wasm_tests::{Instance, cases};

#[test]
fn modules_log_their_version_when_they_start() {
    let mut modules = Vec::new();
    for case in cases() {
        if modules.contains(&case.module) {
            continue;
        }
        let mut instance = Instance::start(case.module).unwrap();
        instance.configure(&case.document).unwrap();
        let [line] = instance.host().log() else { panic!("{:?}", instance.host().log()) };
        let version = env!("CARGO_PKG_VERSION");
        let commit = line.strip_prefix(&format!("sluice {} {version} (", case.module));
        let commit = commit.and_then(|commit| commit.strip_suffix(')'));
        let commit = commit.unwrap_or_else(|| panic!("{line}"));
        let is_hash = commit.len() >= 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_hash || commit == "unknown", "{line}");
        modules.push(case.module);
    }
    assert_eq!(modules.len(), 7);
}
