//! The answers for a web page are those of the command, for all rules of the golden tests.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sluice_cli::page::{Asked, FILE, Users, check, document, explain, explain_answer, simulate};

use common::{Outcome, arguments, folders, run};

/// A folder of a test with rules under the name that the page has for them.
fn folder_of(test: &str, rules: &str, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page").join(test).join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(FILE), rules).unwrap();
    folder
}

/// Runs the command on rules.
fn command(words: &[&str], folder: &Path) -> Outcome {
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    run(Path::new(env!("CARGO_BIN_EXE_sluice")), &words, folder)
}

/// The rules of the golden tests that are texts, with the names of their tests.
fn all_rules() -> Vec<(String, String)> {
    let mut rules = Vec::new();
    for folder in folders() {
        let test = folder.file_name().unwrap().to_str().unwrap().to_owned();
        for word in arguments(&folder) {
            let file = folder.join(&word);
            let is_rules = [".yaml", ".json"].iter().any(|end| word.ends_with(end));
            let Ok(text) = fs::read_to_string(&file) else { continue };
            if is_rules {
                rules.push((format!("{test}-{}", word.replace('/', "-")), text));
            }
        }
    }
    assert!(rules.len() > 100, "{} files", rules.len());
    rules
}

fn asked(request: &str, headers: &[&str]) -> Asked {
    Asked {
        request: request.to_owned(),
        headers: headers.iter().map(|header| (*header).to_owned()).collect(),
        seed: 7,
        now: SystemTime::now(),
    }
}

#[test]
fn findings_are_those_of_the_command() {
    let mut found = 0;
    for (name, rules) in all_rules() {
        let folder = folder_of("check", &rules, &name);
        let expected = command(&["check", FILE, "--format", "json"], &folder).out;
        let own = check(&rules);
        assert_eq!(own, expected, "{name}");
        let own: Value = serde_json::from_str(&own).unwrap();
        found += own["findings"].as_array().unwrap().len();
    }
    assert!(found > 100, "{found} findings");
}

#[test]
fn explanations_are_those_of_the_command() {
    let (mut explained, mut refused) = (0, 0);
    for (name, rules) in all_rules() {
        let folder = folder_of("explain", &rules, &name);
        let (request, header) = ("GET /a/../reviews?x=1", "end-user: jason");
        let words = ["explain", FILE, "--request", request, "-H", header, "--seed", "7"];
        let text = command(&words, &folder);
        let json = command(&[&words[..], &["--format", "json"]].concat(), &folder);
        match explain(&rules, &asked(request, &[header])) {
            Ok(own) => {
                assert_eq!((own.text, own.notices), (text.out, text.err), "{name}");
                assert_eq!(own.json, json.out, "{name}");
                explained += 1;
            }
            Err(own) => {
                assert_eq!((text.out.as_str(), own), ("", text.err), "{name}");
                assert_ne!(text.status, 0, "{name}");
                refused += 1;
            }
        }
    }
    assert!(explained > 50 && refused > 20, "{explained} explained, {refused} refused");
}

/// A running filter names places of its document. They are those of the explanation without it.
#[test]
fn explanations_of_answers_are_those_of_the_command() {
    let routes = "\
clusterName: '{host}'
virtualServices:
- hosts: [a.com]
  http:
  - match: [{uri: {prefix: /old}}, {uri: {prefix: /new}}]
    route: [{destination: {host: old.com}}]
  - route: [{destination: {host: b.com}}]
";
    let folder = folder_of("answers", routes, "routes");
    for (path, tried, place) in [
        ("/new", &[0][..], "virtualServices[0].http[0].match[1]"),
        ("/other", &[0, 1], "virtualServices[0].http[1]"),
    ] {
        let tried = tried.iter().map(|number| {
            let place = format!("virtualServices[0].http[0].match[{number}]");
            json!({"place": place, "field": "uri", "wanted": "prefix", "found": path})
        });
        let router = json!({
            "outcome": "forwarded", "place": place, "rules": tried.collect::<Value>(),
        });
        let header = json!({ "router": router }).to_string();
        let own = explain_answer(routes, &header).unwrap();
        let printed = command(&["explain", FILE, "--from-header", &header], &folder);
        assert_eq!(own.text, printed.out);
        let own: Value = serde_json::from_str(&own.json).unwrap();
        let desk = explain(routes, &asked(&format!("GET http://a.com{path}"), &[])).unwrap();
        let mut desk: Value = serde_json::from_str(&desk.json).unwrap();
        for rule in desk["rules"].as_array_mut().unwrap() {
            rule.as_object_mut().unwrap().remove("conditions");
        }
        assert_eq!(own["router"]["route"], desk["router"]["route"], "{path}");
        assert_eq!(own["rules"], desk["rules"], "{path}");
    }
    assert!(explain_answer(routes, "").is_err());
    assert!(explain_answer("virtualServices: 1", r#"{"router":{}}"#).is_err());
}

const SPLIT: &str = "\
clusterName: '{host}'
faults: {notAfter: '2026-01-01T00:00:00Z'}
sampling: {key: [{header: end-user}], salt: '2026'}
virtualServices:
- hosts: [a.com]
  http:
  - match: [{uri: {prefix: /old}}]
    route: [{destination: {host: old.com}}]
  - fault: {delay: {fixedDelay: 1s, percentage: {value: 100}}}
    mirror: {host: copy.com}
    route:
    - {destination: {host: b.com}, weight: 75}
    - {destination: {host: c.com}, weight: 25}
";

fn users(header: &str, count: u32) -> Users<'_> {
    Users { header, first: 0, count }
}

#[test]
fn requests_of_many_users_have_the_shares_of_the_rule() {
    let counts = simulate(SPLIT, &asked("GET /", &[]), users("end-user", 1000)).unwrap();
    let destinations: Vec<_> = counts.destinations.iter().collect();
    let [(b, of_b), (c, of_c)] = destinations[..] else { panic!("{counts:?}") };
    assert_eq!((b.as_str(), c.as_str(), of_b + of_c), ("b.com", "c.com", 1000));
    // 750 on average, with a standard deviation of 14; five of these are allowed.
    assert!((680..=820).contains(of_b), "{counts:?}");
    assert_eq!(counts.effects.get("copy to copy.com"), Some(&1000), "{counts:?}");
}

#[test]
fn one_user_stays_at_one_destination() {
    let request = asked("GET /", &["end-user: cheng"]);
    let one = simulate(SPLIT, &request, users("", 100)).unwrap();
    assert_eq!(one.destinations.len(), 1, "{one:?}");
    let many = simulate(SPLIT, &request, users("End-User", 100)).unwrap();
    assert_eq!(many.destinations.len(), 2, "{many:?}");
}

#[test]
fn a_simulated_request_has_the_explanation_of_its_seed() {
    let rules = SPLIT.replace("sampling", "# sampling");
    for seed in 0..20 {
        let request = Asked { seed, ..asked("GET /", &[]) };
        let first = u32::try_from(seed).unwrap();
        let users = Users { header: "", first, count: 1 };
        let counts = simulate(&rules, &request, users).unwrap();
        let destination = counts.destinations.keys().next().unwrap();
        let text = explain(&rules, &request).unwrap().text;
        let edit = format!("adds x-sluice-cluster: {destination}\n");
        assert!(text.contains(&edit), "{seed}: {destination}: {text}");
    }
}

#[test]
fn documents_are_those_that_render_writes() {
    let mut rendered = 0;
    for (name, rules) in all_rules().into_iter().filter(|(name, _)| name.starts_with("render-")) {
        let folder = folder_of("render", &rules, &name);
        let expected = command(&["render", FILE, "--allow-partial"], &folder);
        // What no filter needs is an error of render only.
        if let (Ok(own), true) = (document(&rules), expected.status == 0) {
            let read = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
            assert_eq!(read(&own), read(&expected.out), "{name}");
            rendered += 1;
        }
    }
    assert!(rendered > 20, "{rendered} rendered");
    let wrong = SPLIT.replace("weight: 75", "weight: -1");
    assert!(document(&wrong).unwrap_err().starts_with("rules.yaml:12: error: "));
}

#[test]
fn errors_of_rules_and_requests_are_reported() {
    let wrong = SPLIT.replace("weight: 75", "weight: -1");
    let reason = simulate(&wrong, &asked("GET /", &[]), users("", 1)).unwrap_err();
    assert!(reason.starts_with("rules.yaml:12: error: "), "{reason}");
    assert_eq!(explain(&wrong, &asked("GET /", &[])).unwrap_err(), reason);
    let reason = explain(SPLIT, &asked("GET", &[])).unwrap_err();
    assert!(reason.contains("--request"), "{reason}");
    let reason = explain(SPLIT, &asked("GET /", &["x"])).unwrap_err();
    assert!(reason.contains("--header"), "{reason}");
}

#[test]
fn faults_end_by_the_time_of_the_request() {
    let day = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 24 * 60 * 60);
    // 2025-12-31 and 2026-01-02.
    for (days, is_delayed) in [(20_453, true), (20_455, false)] {
        let request = Asked { now: day(days), ..asked("GET /", &[]) };
        let text = explain(SPLIT, &request).unwrap().text;
        assert_eq!(text.contains("delays the request by 1s"), is_delayed, "{text}");
    }
}
