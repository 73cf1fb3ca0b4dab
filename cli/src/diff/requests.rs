//! The requests of access logs and HAR files.

use std::net::IpAddr;

use serde_json::Value;

use crate::explain::{Logged, host_and_path};

/// A request with its place in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The line of a log, or the number of the entry of a HAR file, counted from 1
    pub number: usize,
    /// The request, or why there is none
    pub request: Result<Logged, String>,
}

/// Fields of JSON logs that have a header: as Envoy's examples and Istio name them.
const HEADERS: [(&str, &str); 5] = [
    ("user_agent", "user-agent"),
    ("x_forwarded_for", "x-forwarded-for"),
    ("request_id", "x-request-id"),
    ("referer", "referer"),
    ("cookie", "cookie"),
];

/// Fields of JSON logs that have all headers in an object.
const HEADER_OBJECTS: [&str; 3] = ["headers", "request_headers", "requestHeaders"];

const METHODS: [&str; 4] = ["method", ":method", "request_method", "requestMethod"];
// A path that Envoy has rewritten is not what the client sent.
const PATHS: [&str; 5] =
    ["x_envoy_original_path", "x-envoy-original-path", "original_path", "path", ":path"];
const AUTHORITIES: [&str; 3] = ["authority", ":authority", "host"];
const SCHEMES: [&str; 4] = ["scheme", ":scheme", "x_forwarded_proto", "x-forwarded-proto"];
const LOCAL_ADDRESSES: [&str; 2] = ["downstream_local_address", "downstreamLocalAddress"];
const REMOTE_ADDRESSES: [&str; 3] =
    ["downstream_direct_remote_address", "downstream_remote_address", "downstreamRemoteAddress"];

/// Reads a HAR file, or a log with a line for each request: a JSON object, or text in Envoy's
/// default format or in Istio's. `fields` are further fields of JSON with the headers that they
/// have.
pub fn read(text: &str, fields: &[(String, String)]) -> Vec<Found> {
    if text.trim_start().starts_with('{')
        && let Ok(archive) = serde_json::from_str::<Value>(text)
        && let Some(entries) = archive.pointer("/log/entries").and_then(Value::as_array)
    {
        let entries = entries.iter().zip(1..);
        let found = entries.map(|(entry, number)| Found { number, request: of_entry(entry) });
        return found.collect();
    }
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    let found = lines.map(|(line, number)| {
        let request = match line.trim_start().starts_with('{') {
            true => match serde_json::from_str(line) {
                Ok(object) => of_json(&object, fields),
                Err(error) => Err(format!("is not JSON: {error}")),
            },
            false => of_text(line),
        };
        Found { number, request }
    });
    found.collect()
}

/// The text in the first of these fields that has one. A `-` stands for nothing.
fn text<'a>(object: &'a Value, names: &[&str]) -> Option<&'a str> {
    let texts = names.iter().filter_map(|name| object.get(name)?.as_str());
    texts.into_iter().find(|text| !matches!(*text, "" | "-"))
}

fn of_json(object: &Value, fields: &[(String, String)]) -> Result<Logged, String> {
    let required = |names: &[&str]| {
        let found = text(object, names).map(str::to_owned);
        found.ok_or_else(|| format!("has none of the fields {}", names.join(", ")))
    };
    let (method, path) = (required(&METHODS)?, required(&PATHS)?);
    let mut headers = Vec::new();
    let mut add = |name: &str, value: &str| headers.push((name.to_ascii_lowercase(), value.into()));
    for (field, header) in HEADERS {
        text(object, &[field]).into_iter().for_each(|value| add(header, value));
    }
    for all in HEADER_OBJECTS.iter().filter_map(|name| object.get(name)?.as_object()) {
        for (name, value) in all.iter().filter(|(name, _)| !name.starts_with(':')) {
            value.as_str().into_iter().for_each(|value| add(name, value));
        }
    }
    for (field, header) in fields {
        text(object, &[field]).into_iter().for_each(|value| add(header, value));
    }
    Ok(Logged {
        method,
        scheme: text(object, &SCHEMES).unwrap_or("http").to_owned(),
        authority: required(&AUTHORITIES)?,
        path,
        headers,
        port: text(object, &LOCAL_ADDRESSES).and_then(port),
        source: text(object, &REMOTE_ADDRESSES).and_then(address),
    })
}

/// A line in Envoy's default format or in Istio's. In both, the request line is the first text in
/// quotation marks, and the last five are x-forwarded-for, user-agent, x-request-id, the authority
/// and the upstream.
fn of_text(line: &str) -> Result<Logged, String> {
    let quoted: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
    let [request, .., client, agent, id, authority, _] = quoted.as_slice() else {
        return Err("is neither JSON nor in Envoy's default format".to_owned());
    };
    let mut words = request.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(format!("has {request:?} in place of METHOD PATH PROTOCOL"));
    };
    if matches!(method, "" | "-") || matches!(path, "" | "-") || matches!(*authority, "" | "-") {
        return Err("has no method, path or host; the client sent no complete request".to_owned());
    }
    let headers = [("x-forwarded-for", client), ("user-agent", agent), ("x-request-id", id)];
    let headers = headers.into_iter().filter(|(_, value)| **value != "-");
    // Istio's format goes on with the cluster and addresses: upstream, downstream local and remote.
    let rest: Vec<_> = line.rsplit('"').next().unwrap_or_default().split_whitespace().collect();
    let [local, remote] = match rest.as_slice() {
        [_, _, local, remote, ..] => [Some(*local), Some(*remote)],
        _ => [None, None],
    };
    Ok(Logged {
        method: method.to_owned(),
        scheme: "http".to_owned(),
        authority: (*authority).to_owned(),
        path: path.to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), (*value).to_owned())).collect(),
        port: local.and_then(port),
        source: remote.and_then(address),
    })
}

/// An entry of a HAR file.
fn of_entry(entry: &Value) -> Result<Logged, String> {
    let field = |name: &str| entry.get("request")?.get(name);
    let text = |name: &str| field(name).and_then(Value::as_str);
    let (Some(method), Some(url)) = (text("method"), text("url")) else {
        return Err("has no request.method or request.url".to_owned());
    };
    let Some((scheme @ ("http" | "https"), rest)) = url.split_once("://") else {
        return Err(format!("request.url: {url:?} is not a URL of http or https"));
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (host, path) = host_and_path(rest);
    let mut authority = host.to_owned();
    let mut headers = Vec::new();
    for header in field("headers").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        let (Some(name), Some(value)) = (text("name"), text("value")) else { continue };
        match name.to_ascii_lowercase() {
            name if name == "host" => authority = value.to_owned(),
            name if name.starts_with(':') => {}
            name => headers.push((name, value.to_owned())),
        }
    }
    Ok(Logged {
        method: method.to_owned(),
        scheme: scheme.to_owned(),
        authority,
        path,
        headers,
        port: None,
        source: None,
    })
}

/// The port of `ADDRESS:PORT`.
fn port(text: &str) -> Option<u16> {
    text.rsplit_once(':')?.1.parse().ok()
}

/// The address of `ADDRESS:PORT`.
fn address(text: &str) -> Option<IpAddr> {
    let address = text.rsplit_once(':').map_or(text, |(address, _)| address);
    address.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Logged, String> {
        let mut found = read(text, &[("end_user".to_owned(), "end-user".to_owned())]);
        assert_eq!((found.len(), found[0].number), (1, 1));
        found.remove(0).request
    }

    fn logged(headers: &[(&str, &str)]) -> Logged {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Logged {
            method: "GET".to_owned(),
            scheme: "http".to_owned(),
            authority: "shop.example.com".to_owned(),
            path: "/cart?id=7".to_owned(),
            headers: headers.collect(),
            port: None,
            source: None,
        }
    }

    #[test]
    fn envoys_default_format() {
        let line = r#"[2026-11-20T10:00:00.000Z] "GET /cart?id=7 HTTP/1.1" 200 - 0 5 2 1 "-" "curl/8" "4f" "shop.example.com" "10.0.0.1:80""#;
        assert_eq!(one(line), Ok(logged(&[("user-agent", "curl/8"), ("x-request-id", "4f")])));
    }

    #[test]
    fn istios_format_also_has_addresses() {
        let line = r#"[2026-11-20T10:00:00.000Z] "GET /cart?id=7 HTTP/1.1" 200 - via_upstream - "-" 0 5 2 1 "10.9.9.9" "-" "4f" "shop.example.com" "10.0.0.1:80" outbound|80||shop 10.0.0.2:4000 10.0.0.3:8080 [fd00::1]:5000 - default"#;
        let headers = [("x-forwarded-for", "10.9.9.9"), ("x-request-id", "4f")];
        let source = "fd00::1".parse().ok();
        let expected = Logged { port: Some(8080), source, ..logged(&headers) };
        assert_eq!(one(line), Ok(expected));
    }

    #[test]
    fn objects_of_json() {
        let line = r#"{"method": "GET", "path": "/rewritten", "x_envoy_original_path": "/cart?id=7",
            "authority": "shop.example.com", "x_forwarded_for": "-", "end_user": "kim",
            "downstream_local_address": "10.0.0.3:8080", "headers": {"X-A": "1", ":path": "/"},
            "downstream_remote_address": "10.0.0.4:5000", "response_code": 200}"#;
        let source = "10.0.0.4".parse().ok();
        let expected = logged(&[("x-a", "1"), ("end-user", "kim")]);
        let expected = Logged { port: Some(8080), source, ..expected };
        assert_eq!(one(&line.replace('\n', " ")), Ok(expected));
        assert_eq!(
            one(r#"{"method": "GET", "path": "/"}"#),
            Err("has none of the fields authority, :authority, host".to_owned())
        );
    }

    #[test]
    fn archives_of_browsers() {
        let entry = r#"{"request": {"method": "GET", "url": "https://x/cart?id=7#top",
            "headers": [{"name": "Host", "value": "shop.example.com"},
                        {"name": ":path", "value": "/"}, {"name": "Cookie", "value": "a=1"}]}}"#;
        let expected = logged(&[("cookie", "a=1")]);
        let expected = Logged { scheme: "https".to_owned(), ..expected };
        assert_eq!(one(&format!(r#"{{"log": {{"entries": [{entry}]}}}}"#)), Ok(expected));
        let error = r#"request.url: "ftp://x/" is not a URL of http or https"#;
        let archive =
            r#"{"log": {"entries": [{"request": {"method": "GET", "url": "ftp://x/"}}]}}"#;
        assert_eq!(one(archive), Err(error.to_owned()));
    }

    #[test]
    fn other_lines_are_errors() {
        let error = Err("is neither JSON nor in Envoy's default format".to_owned());
        assert_eq!(one("[2026] GET / 200"), error);
        assert!(one("{\"method\": ").unwrap_err().starts_with("is not JSON: "));
        let line = r#"[2026] "- - HTTP/1.1" 400 DPE 0 11 0 - "-" "-" "-" "-" "-""#;
        let error = "has no method, path or host; the client sent no complete request";
        assert_eq!(one(line), Err(error.to_owned()));
        assert_eq!(read("\n  \n", &[]), []);
    }
}
