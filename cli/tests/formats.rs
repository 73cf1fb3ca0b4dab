//! The formats for programs: each has the findings of the others, in the shape that its readers
//! require.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::path::{Path, PathBuf};

use common::{Outcome, arguments, folders, run, with_format};
use serde_json::{Value, json};

/// The parts of SARIF 2.1.0 that the command writes, with the fields that the format and code
/// scanning require.
fn sarif_schema() -> Value {
    let message = json!({
        "type": "object",
        "required": ["text"],
        "properties": {"text": {"type": "string", "minLength": 1}},
    });
    let level = json!({"enum": ["none", "note", "warning", "error"]});
    let column = json!({"type": "integer", "minimum": 1});
    let region = json!({
        "type": "object",
        "required": ["startLine"],
        "additionalProperties": false,
        "properties": {"startLine": column, "startColumn": column, "endColumn": column},
    });
    // A relative reference (RFC 3986): no scheme, and only characters of a URI.
    let uri = json!({"type": "string", "pattern": "^(?!/|[a-z]+:)([-\\w.~/!$&'()*+,;=@]|%[0-9A-F]{2})+$"});
    let location = json!({
        "type": "object",
        "required": ["physicalLocation"],
        "additionalProperties": false,
        "properties": {
            "physicalLocation": {
                "type": "object",
                "required": ["artifactLocation"],
                "additionalProperties": false,
                "properties": {
                    "artifactLocation": {"required": ["uri"], "properties": {"uri": uri}},
                    "region": region,
                },
            },
            "logicalLocations": {
                "type": "array",
                "items": {"required": ["fullyQualifiedName"]},
            },
        },
    });
    let rule = json!({
        "type": "object",
        "required": ["id", "shortDescription"],
        "properties": {
            "id": {"type": "string"},
            "shortDescription": message,
            "defaultConfiguration": {"properties": {"level": level}},
        },
    });
    let result = json!({
        "type": "object",
        "required": ["message", "ruleId", "ruleIndex", "level", "locations"],
        "properties": {
            "message": message,
            "ruleId": {"type": "string"},
            "ruleIndex": {"type": "integer", "minimum": 0},
            "level": level,
            "locations": {"type": "array", "items": location, "minItems": 1, "maxItems": 1},
            "relatedLocations": {"type": "array", "items": location},
        },
    });
    let driver = json!({
        "type": "object",
        "required": ["name", "rules"],
        "properties": {"name": {"type": "string"}, "rules": {"type": "array", "items": rule}},
    });
    json!({
        "type": "object",
        "required": ["$schema", "version", "runs"],
        "properties": {
            "version": {"const": "2.1.0"},
            "runs": {"minItems": 1, "maxItems": 1, "items": {
                "type": "object",
                "required": ["tool", "results"],
                "properties": {
                    "tool": {"required": ["driver"], "properties": {"driver": driver}},
                    "results": {"type": "array", "items": result},
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                },
            }},
        },
    })
}

/// The folders with a `check` of files.
fn checks() -> Vec<PathBuf> {
    let mut checks = folders();
    checks.retain(|folder| folder.file_name().unwrap().to_str().unwrap().starts_with("check-"));
    assert!(checks.len() > 40, "{}", checks.len());
    checks
}

/// What the checks print in this format.
fn outcomes(format: &str) -> Vec<(String, Outcome)> {
    let program = Path::new(env!("CARGO_BIN_EXE_sluice"));
    let outcome = |folder: PathBuf| {
        let arguments = with_format(arguments(&folder), format);
        (folder.display().to_string(), run(program, &arguments, &folder))
    };
    checks().into_iter().map(outcome).collect()
}

/// The findings of each folder, as `--format json` prints them.
fn findings() -> Vec<Vec<Value>> {
    let outcomes = outcomes("json").into_iter();
    let outcomes =
        outcomes.map(|(_, outcome)| serde_json::from_str::<Value>(&outcome.out).unwrap());
    outcomes
        .map(|mut document| {
            document.get_mut("findings").unwrap().as_array_mut().unwrap().split_off(0)
        })
        .collect()
}

#[test]
fn sarif_has_the_required_shape_and_all_findings() {
    let validator = jsonschema::validator_for(&sarif_schema()).unwrap();
    let mut ids = Vec::new();
    for ((folder, outcome), findings) in outcomes("sarif").into_iter().zip(findings()) {
        let log: Value = serde_json::from_str(&outcome.out).unwrap();
        validator.validate(&log).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let run = &log["runs"][0];
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), findings.len(), "{folder}");
        for (result, finding) in results.iter().zip(&findings) {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            let rule = &run["tool"]["driver"]["rules"][index];
            assert_eq!(rule["id"], result["ruleId"]);
            assert_eq!(rule["defaultConfiguration"]["level"], result["level"]);
            assert_eq!(
                [&result["ruleId"], &result["level"]],
                [&finding["kind"], &finding["severity"]]
            );
            let place = &result["locations"][0]["physicalLocation"];
            let region = &place["region"];
            for (own, name) in
                [("startLine", "line"), ("startColumn", "column"), ("endColumn", "endColumn")]
            {
                assert_eq!(region.get(own).unwrap_or(&Value::Null), &finding[name], "{folder}");
            }
            ids.push(result["ruleId"].as_str().unwrap().to_owned());
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() > 5, "{ids:?}");
}

#[test]
fn annotations_are_one_line_with_escapes() {
    for ((folder, outcome), findings) in outcomes("github").into_iter().zip(findings()) {
        let lines: Vec<_> = outcome.out.lines().filter(|line| line.starts_with("::")).collect();
        assert_eq!(lines.len(), findings.len(), "{folder}");
        for (line, finding) in lines.iter().zip(&findings) {
            let (command, message) = line[2..].split_once("::").unwrap();
            let (command, properties) = command.split_once(' ').unwrap();
            let severity = finding["severity"].as_str().unwrap();
            assert_eq!(command, if severity == "note" { "notice" } else { severity });
            let unescape = |text: &str| {
                let text = text.replace("%2C", ",").replace("%3A", ":");
                text.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
            };
            let mut properties = properties.split(',').map(|own| own.split_once('=').unwrap());
            let (name, file) = properties.next().unwrap();
            assert_eq!(
                (name, unescape(file)),
                ("file", finding["file"].as_str().unwrap().to_owned())
            );
            let number = |name: &str| finding[name].as_u64();
            for (name, value) in properties {
                let expected = match name {
                    "line" => number("line"),
                    "col" => number("column"),
                    "endColumn" => number("endColumn").map(|end| end - 1),
                    _ => panic!("{name}"),
                };
                assert_eq!(value.parse().ok(), expected, "{line}");
            }
            let reason = finding["reason"].as_str().unwrap();
            assert!(unescape(message).contains(reason), "{line}");
        }
    }
}

/// The columns of a finding are those of its value, or of its key, in the line of the file.
#[test]
fn columns_are_those_of_the_value() {
    let mut values = 0;
    let folders = folders()
        .into_iter()
        .filter(|folder| arguments(folder).first().is_some_and(|command| command == "check"));
    for (folder, findings) in folders.zip(findings()) {
        let is_of_filters = |finding: &&Value| finding["path"].as_str().unwrap().contains('[');
        for finding in findings.iter().filter(is_of_filters) {
            let file = folder.join(finding["file"].as_str().unwrap());
            let (Some(start), Some(end)) =
                (finding["column"].as_u64(), finding["endColumn"].as_u64())
            else {
                continue;
            };
            let Ok(text) = std::fs::read_to_string(file) else { continue };
            let line = usize::try_from(finding["line"].as_u64().unwrap()).unwrap();
            let line = text.lines().nth(line - 1).unwrap();
            let [start, end] = [start, end].map(|own| usize::try_from(own).unwrap() - 1);
            let own: String = line.chars().skip(start).take(end - start).collect();
            let value = match &finding["value"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let path = finding["path"].as_str().unwrap();
            let trimmed = own.trim_matches(['"', '\'']);
            let is_key = path.ends_with(trimmed) || path.ends_with(&format!("[{trimmed:?}]"));
            let is_flow = own.starts_with(['[', '{']);
            // Numbers are shown in another form.
            let is_number = finding["value"].is_number() && own.parse::<f64>().is_ok();
            let json = finding["value"].to_string();
            let is_text = trimmed == value || own == json;
            let is_value = is_number || is_text;
            values += usize::from(is_value);
            // A path that does not exist ends at the object without it.
            let is_parent = finding["value"].is_null() && path.contains(trimmed);
            assert!(is_key || is_flow || is_value || is_parent, "{finding:#}: {own}");
        }
    }
    assert!(values >= 15, "{values}");
}
