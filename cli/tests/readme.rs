//! Every command in the README of the command, and every `sluice` command in the page for
//! operators, is run as it is written.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;
use std::process::Command;

const RULES: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  http:
  - match: [{headers: {x-test: {exact: fault}}}]
    fault: {abort: {httpStatus: 503, percentage: {value: 100}}}
    route: [{destination: {host: api.example.com, port: {number: 80}}}]
  - match: [{method: {exact: PUT}, uri: {prefix: /v1/}}]
    route: [{destination: {host: api.example.com, port: {number: 80}}}]
  - directResponse: {status: 200}
";

const GATEWAYS: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: infra}
spec:
  gatewayClassName: sluice
  listeners: [{name: http, port: 80, protocol: HTTP}]
";

const ROUTES: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: infra}
spec:
  parentRefs: [{name: web, sectionName: http}]
  rules: [{backendRefs: [{name: api, port: 80}]}]
";

const LOG: &str = r#"{"method": "PUT", "path": "/v1/a", "authority": "api.example.com"}"#;

/// The lines of a README that are commands, with their names of files replaced.
fn commands(readme: &str) -> Vec<String> {
    let blocks = readme.lines().filter_map(|line| line.strip_prefix("    "));
    let is_command = |line: &&str| {
        let program = line.split(' ').next();
        matches!(program, Some("sluice" | "kubectl"))
    };
    let commands = blocks.filter(is_command);
    let replaced = |own: &str| {
        let own = own.replace("FILE...", "rules.yaml").replace("FOLDER", "k8s");
        own.replace("OLD NEW --requests FILE", "rules changed-rules --requests access.log")
    };
    commands.map(replaced).collect()
}

#[test]
fn every_command_of_the_pages_succeeds() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
    fs::create_dir_all(folder.join("k8s/more")).unwrap();
    for new in [".zfunc", "rules", "changed-rules", "old-rules"] {
        fs::create_dir_all(folder.join(new)).unwrap();
    }
    for (file, text) in [
        ("rules.yaml", RULES),
        ("k8s/more/rules.yaml", RULES),
        ("gateways.yaml", GATEWAYS),
        ("routes.yaml", ROUTES),
        ("rules/api.yaml", RULES),
        ("old-rules/api.yaml", RULES),
        ("changed-rules/api.yaml", &RULES.replace("503", "504")),
        ("access.log", LOG),
    ] {
        fs::write(folder.join(file), text).unwrap();
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_sluice")).parent().unwrap();
    let pages = ["README.md", "../docs/operations.md"]
        .map(|page| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap());
    // The document in the page for operators.
    let mut documents = pages[1].split("```yaml\n").filter_map(|part| part.split("```").next());
    let shadow = documents.find(|text| text.contains("\nshadow:\n")).unwrap();
    fs::write(folder.join("shadow.yaml"), shadow).unwrap();
    let commands: Vec<_> = pages.iter().flat_map(|page| commands(page)).collect();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        let output = Command::new("sh")
            .args(["-euc", &format!("kubectl() {{ cat rules.yaml; }}\n{command}")])
            .current_dir(&folder)
            .env("HOME", &folder)
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }
}
