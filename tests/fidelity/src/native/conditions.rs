//! Conditions as istiod's `TranslateRouteMatch` translates them.

use serde_json::{Value, json};

/// The `RouteMatch` for a block of conditions.
pub fn route_match(block: &Value) -> Value {
    let uri = &block["uri"];
    let mut own = json!({});
    if let Some(exact) = uri["exact"].as_str() {
        own["path"] = exact.into();
    } else if let Some(regex) = uri["regex"].as_str() {
        own["safe_regex"] = json!({ "regex": regex });
    } else {
        own["prefix"] = uri["prefix"].as_str().unwrap_or("/").into();
    }
    if block.is_null() {
        return own;
    }
    own["case_sensitive"] = (block["ignoreUriCase"] != true).into();
    let mut headers = Vec::new();
    for (name, condition) in entries(&block["headers"]) {
        headers.push(header(name, condition));
    }
    for (name, condition) in entries(&block["withoutHeaders"]) {
        let mut matcher = header(name, condition);
        matcher["invert_match"] = true.into();
        if !is_presence(condition) {
            matcher["treat_missing_header_as_empty"] = true.into();
        }
        headers.push(matcher);
    }
    for name in ["method", "authority", "scheme"] {
        if block[name].is_object() {
            headers.push(header(&format!(":{name}"), &block[name]));
        }
    }
    let parameters = entries(&block["queryParams"]).map(|(name, condition)| {
        let mut matcher = json!({ "name": name });
        match is_presence(condition) {
            true => matcher["present_match"] = true.into(),
            false => matcher["string_match"] = string_match(condition),
        }
        matcher
    });
    own["query_parameters"] = parameters.collect();
    own["headers"] = headers.into();
    own
}

/// A `StringMatcher`.
pub fn string_match(condition: &Value) -> Value {
    for kind in ["exact", "prefix"] {
        if let Some(text) = condition[kind].as_str() {
            return json!({ kind: text });
        }
    }
    json!({ "safe_regex": { "regex": condition["regex"] } })
}

fn header(name: &str, condition: &Value) -> Value {
    match is_presence(condition) {
        true => json!({ "name": name, "present_match": true }),
        false => json!({ "name": name, "string_match": string_match(condition) }),
    }
}

/// `{}` and the expression `*`, which is none, ask for presence.
fn is_presence(condition: &Value) -> bool {
    condition.as_object().is_none_or(|own| own.is_empty()) || condition["regex"] == "*"
}

fn entries(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}
