//! Evaluates the conditions of a match one by one.

use crate::request::Request;
use crate::spec::http_match::HttpMatch;

/// One condition of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The field of the match, such as `headers.end-user`
    pub field: String,
    /// What the match requires, such as `exact "cheng"`
    pub wanted: String,
    /// What the request has, in quotes, or `absent`
    pub found: String,
    /// Whether the request fulfils the condition
    pub holds: bool,
}

/// Evaluates the conditions of a match for a request. The match applies if all of them hold.
pub fn conditions(own: &HttpMatch, request: &Request<'_>) -> Vec<Condition> {
    let mut conditions = Vec::new();
    let mut add = |field: &str, wanted: String, found: Option<&[u8]>, holds: bool| {
        let found = found.map_or("absent".to_owned(), shown);
        conditions.push(Condition { field: field.to_owned(), wanted, found, holds });
    };
    let path = request.path();
    let uri = match (&own.uri, own.ignore_uri_case) {
        (None, _) => r#"prefix "/""#.to_owned(),
        (Some(uri), _) if own.is_by_element => format!("{uri} of whole elements"),
        (Some(uri), false) => uri.to_string(),
        (Some(uri), true) => format!("{uri} in any case"),
    };
    add("uri", uri, Some(path), own.match_path(path).is_some());
    for (field, condition, value) in [
        ("method", &own.method, request.method),
        ("scheme", &own.scheme, request.scheme),
        ("authority", &own.authority, request.authority),
    ] {
        if let Some(condition) = condition {
            add(field, condition.to_string(), Some(value), condition.is_match(value));
        }
    }
    for header in &own.headers {
        let field = if header.is_inverted { "withoutHeaders" } else { "headers" };
        let value = request.header(&header.name);
        let (wanted, holds) = (header.condition.to_string(), header.holds(request));
        add(&format!("{field}.{}", header.name), wanted, value.as_deref(), holds);
    }
    for (name, condition) in &own.query {
        let field = format!("queryParams.{}", String::from_utf8_lossy(name));
        let value = request.query_parameter(name);
        add(&field, condition.to_string(), value, condition.is_match(value));
    }
    for claim in &own.claims {
        let field = if claim.is_inverted { "withoutHeaders" } else { "headers" };
        let field = format!("{field}.@request.auth.claims.{}", claim.path.join("."));
        let values = request.claim(&claim.path);
        let value = (!values.is_empty()).then(|| values.join(&b','));
        add(&field, claim.condition.to_string(), value.as_deref(), claim.holds(request));
    }
    if let Some(port) = own.port {
        let called = request.destination_port();
        let text = called.map(|called| called.to_string());
        let wanted = format!("exact \"{port}\"");
        add("port", wanted, text.as_deref().map(str::as_bytes), called == Some(port));
    }
    conditions
}

/// A value in quotes, with escapes for what is not printable.
fn shown(value: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(value))
}
