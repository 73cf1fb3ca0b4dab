//! `HTTPRedirect`: an answer that sends the client elsewhere, put together as Envoy's
//! `RedirectAction` does it.

use crate::document::node::Node;
use crate::request::{Request, split_path};
use crate::spec::http_match::MatchedPath;
use crate::spec::rewrite::replace_matched;
use crate::value::host_name::without_port;
use crate::value::url::{read_authority, read_path};

/// A redirect, compiled.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// The status: 301, 302, 303, 307 or 308
    pub status: u16,
    authority: Option<Box<[u8]>>,
    scheme: Option<Scheme>,
    port: Port,
    path: Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    /// What the authority has.
    Unchanged,
    Fixed(u16),
    /// The port that the request came in by.
    FromRequest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Path {
    Unchanged,
    /// Takes the place of the whole path; the query stays, unless it has one of its own.
    Replaced(Box<[u8]>),
    /// Takes the place of the prefix that was matched.
    PrefixReplaced(Box<[u8]>),
}

impl Redirect {
    /// Reads `redirect: { uri, prefixRewrite, authority, scheme, port, derivePort, redirectCode }`.
    pub fn read(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let given = ["uri", "prefixRewrite", "authority"].map(|name| object.given(name));
        let [uri, prefix, authority] = &given;
        let uri = uri.as_ref().map(read_path);
        let prefix = prefix.as_ref().map(read_path);
        let authority = authority.as_ref().map(read_authority);
        let scheme_node = object.given("scheme");
        let scheme = scheme_node.as_ref().and_then(read_scheme);
        let port_node = object.field("port");
        let derive_node = object.field("derivePort");
        let status = object.field("redirectCode").map_or(Some(301), |node| read_status(&node));

        if uri.is_some() && prefix.is_some() {
            node.error("has both uri and prefixRewrite");
        }
        if port_node.is_some() && derive_node.is_some() {
            node.error("has both port and derivePort");
        }
        if given.iter().all(Option::is_none)
            && scheme_node.is_none()
            && port_node.is_none()
            && derive_node.is_none()
        {
            node.error("has none of uri, prefixRewrite, authority, scheme, port and derivePort");
        }
        let port = match (port_node, derive_node) {
            (Some(node), _) => Port::Fixed(node.port()?),
            (None, Some(node)) => read_derived_port(&node)?,
            (None, None) => Port::Unchanged,
        };
        let path = match (uri, prefix) {
            (Some(uri), _) => Path::Replaced(uri?),
            (None, Some(prefix)) => Path::PrefixReplaced(prefix?),
            (None, None) => Path::Unchanged,
        };
        Some(Self { status: status?, authority: authority.flatten(), scheme, port, path })
    }

    /// Whether the matched prefix is replaced, which needs a match on a prefix.
    pub fn replaces_prefix(&self) -> bool {
        matches!(self.path, Path::PrefixReplaced(_))
    }

    /// The value of the `location` header.
    pub fn location(&self, request: &Request<'_>, matched: MatchedPath) -> Vec<u8> {
        let scheme: &[u8] = match self.scheme {
            Some(Scheme::Http) => b"http",
            Some(Scheme::Https) => b"https",
            None => request.scheme,
        };
        let port = match self.port {
            Port::Unchanged => None,
            Port::Fixed(port) => Some(port),
            Port::FromRequest => request.destination_port(),
        };
        // The port that the scheme has anyway is not written.
        let port = port.filter(|port| !matches!((scheme, port), (b"http", 80) | (b"https", 443)));
        let authority = match &self.authority {
            Some(authority) => authority,
            None => kept_authority(request, scheme, port.is_some()),
        };
        let mut location = [scheme, b"://", authority].concat();
        if let Some(port) = port {
            location.extend_from_slice(format!(":{port}").as_bytes());
        }
        location.extend_from_slice(&self.target(request, matched));
        location
    }

    fn target(&self, request: &Request<'_>, matched: MatchedPath) -> Vec<u8> {
        let target = request.path_and_query;
        match &self.path {
            Path::Unchanged => target.to_vec(),
            Path::Replaced(path) if path.contains(&b'?') => path.to_vec(),
            Path::Replaced(path) => [path, split_path(target).1].concat(),
            Path::PrefixReplaced(prefix) => replace_matched(target, prefix, matched),
        }
    }
}

/// The request's authority, without its port where a new one follows or where it was the usual one
/// of a scheme that is left.
fn kept_authority<'a>(request: &Request<'a>, scheme: &[u8], has_new_port: bool) -> &'a [u8] {
    let host = without_port(request.authority);
    let port = request.authority.get(host.len()..).unwrap_or_default();
    let forwarded = request.header("x-forwarded-proto");
    let left = forwarded.as_deref().unwrap_or_default();
    let was_usual =
        scheme != left && matches!((left, port), (b"https", b":443") | (b"http", b":80"));
    if has_new_port || was_usual { host } else { request.authority }
}

fn read_scheme(node: &Node<'_>) -> Option<Scheme> {
    match node.string()? {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => {
            node.invalid("is neither http nor https");
            None
        }
    }
}

fn read_derived_port(node: &Node<'_>) -> Option<Port> {
    match node.string()? {
        "FROM_PROTOCOL_DEFAULT" => Some(Port::Unchanged),
        "FROM_REQUEST_PORT" => Some(Port::FromRequest),
        _ => {
            node.invalid("is neither FROM_PROTOCOL_DEFAULT nor FROM_REQUEST_PORT");
            None
        }
    }
}

fn read_status(node: &Node<'_>) -> Option<u16> {
    match node.integer()? {
        0 => Some(301),
        status @ (301 | 302 | 303 | 307 | 308) => u16::try_from(status).ok(),
        _ => {
            node.invalid("is not one of 301, 302, 303, 307 and 308");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, FixedAttributes, pairs};

    fn location(text: &str, headers: &[(&str, &str)], port: u16, matched: MatchedPath) -> String {
        let redirect = testing::read(text, Redirect::read).unwrap();
        let headers = pairs(headers);
        let attributes = FixedAttributes { port: Some(port), ..Default::default() };
        let location = redirect.location(&Request::new(&headers, &attributes), matched);
        String::from_utf8(location).unwrap()
    }

    fn get<'a>(host: &'a str, path: &'a str) -> [(&'static str, &'a str); 3] {
        [(":scheme", "http"), (":authority", host), (":path", path)]
    }

    #[test]
    fn ports_are_derived_as_istio_does() {
        let of_request = |more: &str, host: &str, port| {
            let text = format!(r#"{{"derivePort": "FROM_REQUEST_PORT"{more}}}"#);
            location(&text, &get(host, "/foo"), port, MatchedPath::Prefix(1))
        };
        assert_eq!(of_request(r#", "scheme": "https""#, "host", 80), "https://host:80/foo");
        assert_eq!(of_request("", "b", 80), "http://b/foo");
        assert_eq!(of_request("", "b:80", 80), "http://b:80/foo");
        assert_eq!(of_request("", "b", 85), "http://b:85/foo");
        assert_eq!(of_request("", "b:90", 85), "http://b:85/foo");
        assert_eq!(of_request("", "[::1]:90", 85), "http://[::1]:85/foo");
        let fixed = r#"{"port": 443, "scheme": "https"}"#;
        assert_eq!(location(fixed, &get("b", "/"), 80, MatchedPath::Whole), "https://b/");
    }

    #[test]
    fn the_usual_port_of_a_scheme_that_is_left_goes() {
        let headers = [&get("b:80", "/")[..], &[("x-forwarded-proto", "http")][..]].concat();
        let text = r#"{"scheme": "https"}"#;
        assert_eq!(location(text, &headers, 80, MatchedPath::Whole), "https://b/");
    }

    #[test]
    fn paths_keep_the_query_unless_they_have_one() {
        let to = |text: &str, matched| location(text, &get("h", "/foo/bar?k=v"), 80, matched);
        assert_eq!(to(r#"{"uri": "/new"}"#, MatchedPath::Whole), "http://h/new?k=v");
        assert_eq!(to(r#"{"uri": "/new?x"}"#, MatchedPath::Whole), "http://h/new?x");
        let prefix = r#"{"prefixRewrite": "/new/"}"#;
        assert_eq!(to(prefix, MatchedPath::Prefix(5)), "http://h/new/bar?k=v");
        assert_eq!(to(r#"{"authority": "o:1"}"#, MatchedPath::Whole), "http://o:1/foo/bar?k=v");
    }

    #[test]
    fn refusals() {
        let refuse = |text: &str| testing::read(text, Redirect::read).unwrap_err();
        assert_eq!(
            refuse("{}"),
            "configuration: has none of uri, prefixRewrite, authority, scheme, port and derivePort"
        );
        assert_eq!(
            refuse(
                r#"{"uri": "/", "prefixRewrite": "/", "port": 1, "derivePort": "X",
                    "scheme": "ftp", "redirectCode": 304, "authority": "a b"}"#
            ),
            "configuration: has both uri and prefixRewrite\n\
             configuration: has both port and derivePort\n\
             scheme: \"ftp\" is neither http nor https\n\
             redirectCode: 304 is not one of 301, 302, 303, 307 and 308\n\
             authority: \"a b\" is not an authority"
        );
        assert_eq!(
            refuse(r#"{"derivePort": "X"}"#),
            "derivePort: \"X\" is neither FROM_PROTOCOL_DEFAULT nor FROM_REQUEST_PORT"
        );
    }
}
