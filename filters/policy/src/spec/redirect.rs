//! `HTTPRedirect`: an answer that sends the client elsewhere, put together as Envoy's
//! `RedirectAction` does it.

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
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

const SCHEMES: [&str; 2] = ["http", "https"];

const DERIVED_PORTS: [&str; 2] = ["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"];

fields!(Redirect, "A redirect: at least one of the fields but redirectCode.", {
    "uri": Kind::Text => "The new path.";
    "prefixRewrite": Kind::Text => "Replaces the prefix that was matched.";
    "authority": Kind::Text => "The new host.";
    "scheme": Kind::OneOf(&SCHEMES) => "The new scheme; that of the request if absent.";
    "port": Kind::PORT => "The new port.";
    "derivePort": Kind::OneOf(&DERIVED_PORTS) =>
        "Where the new port comes from: the default of the scheme, or the port that was called.";
    "redirectCode": Kind::OneOfIntegers(&[0, 301, 302, 303, 307, 308]) =>
        "The status; 301 if absent or 0.";
});

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    /// The port of the authority.
    Unchanged,
    Fixed(u16),
    /// The port that the client called.
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
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let given = |name, read: fn(&Node<'_>) -> Result<Box<[u8]>, Reported>| {
            object.given(name).map(|node| read(&node)).transpose()
        };
        let uri = given("uri", read_path);
        let prefix = given("prefixRewrite", read_path);
        let authority = given("authority", read_authority);
        let scheme = object.given("scheme").map(|node| read_scheme(&node)).transpose();
        let port = object.optional("port", Node::port);
        let derived = object.optional("derivePort", read_derived_port);
        let status = object.optional("redirectCode", read_status);

        let paths = object.exclude("uri", "prefixRewrite");
        let ports = object.exclude("port", "derivePort");

        let (uri, prefix, authority) = (uri?, prefix?, authority?);
        let (scheme, port, derived) = (scheme?, port?, derived?);
        paths?;
        ports?;
        let has_target = uri.is_some() || prefix.is_some() || authority.is_some();
        if !has_target && scheme.is_none() && port.is_none() && derived.is_none() {
            return Err(node.error(
                "must have one of uri, prefixRewrite, authority, scheme, port, derivePort",
            ));
        }
        let path = match (uri, prefix) {
            (Some(uri), _) => Path::Replaced(uri),
            (None, Some(prefix)) => Path::PrefixReplaced(prefix),
            (None, None) => Path::Unchanged,
        };
        let port = port.map(Port::Fixed).or(derived).unwrap_or(Port::Unchanged);
        Ok(Self { status: status?.unwrap_or(301), authority, scheme, port, path })
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

fn read_scheme(node: &Node<'_>) -> Result<Scheme, Reported> {
    let name = node.one_of(&SCHEMES)?;
    Ok(if name == "http" { Scheme::Http } else { Scheme::Https })
}

fn read_derived_port(node: &Node<'_>) -> Result<Port, Reported> {
    let name = node.one_of(&DERIVED_PORTS)?;
    Ok(if name == "FROM_REQUEST_PORT" { Port::FromRequest } else { Port::Unchanged })
}

fn read_status(node: &Node<'_>) -> Result<u16, Reported> {
    match node.integer()? {
        0 => Ok(301),
        status @ (301 | 302 | 303 | 307 | 308) => {
            u16::try_from(status).map_err(|_| node.invalid("is not a status"))
        }
        _ => Err(node.invalid("is not one of 301, 302, 303, 307, 308")),
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
            "configuration: must have one of uri, prefixRewrite, authority, scheme, port, derivePort"
        );
        assert_eq!(
            refuse(
                r#"{"uri": "/", "prefixRewrite": "/", "port": 1, "derivePort": "X",
                    "scheme": "ftp", "redirectCode": 304, "authority": "a b"}"#
            ),
            "configuration: cannot have both uri and prefixRewrite\n\
             configuration: cannot have both port and derivePort\n\
             derivePort: \"X\" is not one of FROM_PROTOCOL_DEFAULT, FROM_REQUEST_PORT\n\
             scheme: \"ftp\" is not one of http, https\n\
             redirectCode: 304 is not one of 301, 302, 303, 307, 308\n\
             authority: \"a b\" is not an authority"
        );
        assert_eq!(
            refuse(r#"{"derivePort": "X"}"#),
            "derivePort: \"X\" is not one of FROM_PROTOCOL_DEFAULT, FROM_REQUEST_PORT"
        );
    }
}
