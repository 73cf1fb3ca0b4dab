//! Findings as SARIF 2.1.0, which code scanning and editors read.
//!
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use serde_json::{Value, json};

use super::{Finding, KINDS, Place, Severity, kind_name, relative_path};

/// The findings as one log with one run.
pub fn log(findings: &[Finding]) -> String {
    let rules = KINDS.map(|(kind, description)| {
        json!({
            "id": kind_name(kind),
            "shortDescription": {"text": description},
            "defaultConfiguration": {"level": level(Severity::of(kind))},
        })
    });
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "sluice",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": findings.iter().map(result).collect::<Value>(),
        }],
    });
    format!("{log:#}\n")
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn result(finding: &Finding) -> Value {
    let id = kind_name(finding.kind);
    let mut result = json!({
        "ruleId": id,
        "ruleIndex": KINDS.iter().position(|(kind, _)| kind_name(*kind) == id),
        "level": level(finding.severity()),
        "message": {"text": finding.message()},
        "locations": [location(&finding.place)],
    });
    if let (Some(other), Some(fields)) = (&finding.other, result.as_object_mut()) {
        fields.insert("relatedLocations".to_owned(), json!([location(other)]));
    }
    result
}

fn location(place: &Place) -> Value {
    let mut physical = json!({"artifactLocation": {"uri": uri(&relative_path(&place.file))}});
    if let Some(fields) = physical.as_object_mut().filter(|_| place.line > 0) {
        let mut region = json!({"startLine": place.line});
        if let (Some((start, end)), Some(region)) = (place.columns.range(), region.as_object_mut())
        {
            region.insert("startColumn".to_owned(), json!(start));
            end.map(|end| region.insert("endColumn".to_owned(), json!(end)));
        }
        fields.insert("region".to_owned(), region);
    }
    let parts = [&*place.object, &*place.path].map(str::to_owned);
    let name = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    let mut location = json!({"physicalLocation": physical});
    if let Some(fields) = location.as_object_mut().filter(|_| !name.is_empty()) {
        fields.insert("logicalLocations".to_owned(), json!([{"fullyQualifiedName": name}]));
    }
    location
}

/// A path as a URI reference (RFC 3986): relative, unless the path is absolute.
fn uri(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&byte);
    let mut uri = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match is_plain(byte) {
            true => uri.push(char::from(byte)),
            false => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
