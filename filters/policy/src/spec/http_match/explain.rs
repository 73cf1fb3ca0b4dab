//! The conditions of a match one by one, see [`crate::desk::explain`].

use std::fmt;

use super::HttpMatch;
use crate::desk::explain::{Condition, shown};
use crate::request::Request;
use crate::spec::string_match::{StringMatch, ValueMatch};

impl fmt::Display for StringMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "exact {}", shown(text)),
            Self::Prefix(text) => write!(f, "prefix {}", shown(text)),
            Self::Regex(pattern) => write!(f, "regex {:?}", pattern.as_str()),
        }
    }
}

impl fmt::Display for ValueMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("any value"),
            Self::Value(condition) => condition.fmt(f),
        }
    }
}

impl HttpMatch {
    /// What the match asks for, what the request has, and whether that is enough. All of it holding is
    /// what [`HttpMatch::matches`] asks for.
    pub(crate) fn conditions(&self, request: &Request<'_>) -> Vec<Condition> {
        let mut conditions = Vec::new();
        let mut add = |field: &str, wanted: String, found: Option<&[u8]>, holds: bool| {
            let found = found.map_or("absent".to_owned(), shown);
            conditions.push(Condition { field: field.to_owned(), wanted, found, holds });
        };
        let path = request.path();
        let uri = match (&self.uri, self.ignore_uri_case) {
            (None, _) => r#"prefix "/""#.to_owned(),
            (Some(uri), false) => uri.to_string(),
            (Some(uri), true) => format!("{uri} in any case"),
        };
        add("uri", uri, Some(path), self.match_path(path).is_some());
        for (field, condition, value) in [
            ("method", &self.method, request.method),
            ("scheme", &self.scheme, request.scheme),
            ("authority", &self.authority, request.authority),
        ] {
            if let Some(condition) = condition {
                add(field, condition.to_string(), Some(value), condition.is_match(value));
            }
        }
        for header in &self.headers {
            let (name, condition, is_inverted) = header.parts();
            let field = if is_inverted { "withoutHeaders" } else { "headers" };
            let value = request.header(name);
            let holds = header.holds(request);
            add(&format!("{field}.{name}"), condition.to_string(), value.as_deref(), holds);
        }
        for (name, condition) in &self.query {
            let field = format!("queryParams.{}", String::from_utf8_lossy(name));
            let value = request.query_parameter(name);
            add(&field, condition.to_string(), value, condition.is_match(value));
        }
        for claim in &self.claims {
            let field = if claim.is_inverted { "withoutHeaders" } else { "headers" };
            let field = format!("{field}.@request.auth.claims.{}", claim.path.join("."));
            let values = request.claim(&claim.path);
            let value = (!values.is_empty()).then(|| values.join(&b','));
            add(&field, claim.condition.to_string(), value.as_deref(), claim.holds(request));
        }
        if let Some(port) = self.port {
            let own = request.destination_port();
            let text = own.map(|own| own.to_string());
            let wanted = format!("exact \"{port}\"");
            add("port", wanted, text.as_deref().map(str::as_bytes), own == Some(port));
        }
        conditions
    }
}
