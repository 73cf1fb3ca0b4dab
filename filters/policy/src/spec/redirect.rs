//! `HTTPRedirect`: a redirect response, with the same location as Envoy's `RedirectAction`.

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::request::{Request, split_path};
use crate::spec::http_match::MatchedPath;
use crate::spec::rewrite::{replace_elements, replace_matched};
use crate::value::host_name::without_port;
use crate::value::url::{read_authority, read_path};

/// A redirect, compiled.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// HTTP status: 301, 302, 303, 307 or 308
    pub status: u16,
    pub(crate) authority: Option<Box<[u8]>>,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) port: Port,
    pub(crate) path: Path,
    /// Whether the port of the request's authority is dropped even if the redirect has no new port
    pub(crate) drops_port: bool,
}

pub(crate) const SCHEMES: [&str; 2] = ["http", "https"];

const DERIVED_PORTS: [&str; 2] = ["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"];

fields!(Redirect, "A redirect; requires at least one field other than redirectCode.", {
    "uri": Kind::PATH => "New path; that of the request if absent.";
    "prefixRewrite": Kind::PATH => "Replacement for the prefix of the path that matched.";
    "authority": Kind::AUTHORITY => "New host; that of the request if absent.";
    "scheme": Kind::OneOf(&SCHEMES) => "New scheme; that of the request if absent.";
    "port": Kind::PORT => "New port, 1 to 65535.";
    "derivePort": Kind::OneOf(&DERIVED_PORTS) =>
        "Source of the new port: FROM_PROTOCOL_DEFAULT, the default port of the scheme, or \
         FROM_REQUEST_PORT, the port that the client connected to.";
    "redirectCode": Kind::OneOfIntegers(&[0, 301, 302, 303, 307, 308]) =>
        "HTTP status; 301 if absent or 0.";
});

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// The port of the authority.
    Unchanged,
    Fixed(u16),
    /// The port that the client connected to.
    FromRequest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Unchanged,
    /// Replaces the whole path. Keeps the query, unless the value contains a query.
    Replaced(Box<[u8]>),
    /// Replaces the prefix that matched.
    PrefixReplaced(Box<[u8]>),
    /// Replaces the path elements that matched, see [`replace_elements`].
    ElementsReplaced(Box<[u8]>),
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
        let status = status?.unwrap_or(301);
        Ok(Self { status, authority, scheme, port, path, drops_port: false })
    }

    /// Returns the redirect for a proxy whose clients call this port, if all call the same.
    pub fn for_called_port(self, called: Option<u16>) -> Self {
        match (self.port, called) {
            (Port::FromRequest, Some(port)) => Self { port: Port::Fixed(port), ..self },
            _ => self,
        }
    }

    /// Returns whether `prefixRewrite` is set, which requires a match on a prefix.
    pub fn replaces_prefix(&self) -> bool {
        matches!(self.path, Path::PrefixReplaced(_))
    }

    /// Returns the value of the `location` header.
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
        // The default port of the scheme is omitted.
        let port = port.filter(|port| !matches!((scheme, port), (b"http", 80) | (b"https", 443)));
        let authority = match &self.authority {
            Some(authority) => authority,
            None => kept_authority(request, scheme, port.is_some() || self.drops_port),
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
            Path::ElementsReplaced(elements) => replace_elements(target, elements, matched),
        }
    }
}

/// Returns the URL of the request, as Envoy writes it in `location`.
pub fn own_url(request: &Request<'_>) -> Vec<u8> {
    let authority = kept_authority(request, request.scheme, false);
    [request.scheme, b"://", authority, request.path_and_query].concat()
}

/// Returns the request's authority. Omits its port if the redirect has a port of its own, or if the
/// scheme changes and the port is the default port of the old scheme.
fn kept_authority<'a>(request: &Request<'a>, scheme: &[u8], has_new_port: bool) -> &'a [u8] {
    let host = without_port(request.authority);
    let port = request.authority.get(host.len()..).unwrap_or_default();
    let forwarded = request.header("x-forwarded-proto");
    let old_scheme = forwarded.as_deref().unwrap_or_default();
    let is_default_port = scheme != old_scheme
        && matches!((old_scheme, port), (b"https", b":443") | (b"http", b":80"));
    if has_new_port || is_default_port { host } else { request.authority }
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
    fn ports_are_derived_as_in_istio() {
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
    fn the_default_port_of_the_old_scheme_is_omitted() {
        let headers = [&get("b:80", "/")[..], &[("x-forwarded-proto", "http")][..]].concat();
        let text = r#"{"scheme": "https"}"#;
        assert_eq!(location(text, &headers, 80, MatchedPath::Whole), "https://b/");
    }

    #[test]
    fn paths_keep_the_query_unless_the_new_path_has_one() {
        let to = |text: &str, matched| location(text, &get("h", "/foo/bar?k=v"), 80, matched);
        assert_eq!(to(r#"{"uri": "/new"}"#, MatchedPath::Whole), "http://h/new?k=v");
        assert_eq!(to(r#"{"uri": "/new?x"}"#, MatchedPath::Whole), "http://h/new?x");
        let prefix = r#"{"prefixRewrite": "/new/"}"#;
        assert_eq!(to(prefix, MatchedPath::Prefix(5)), "http://h/new/bar?k=v");
        assert_eq!(to(r#"{"authority": "o:1"}"#, MatchedPath::Whole), "http://o:1/foo/bar?k=v");
    }

    #[test]
    fn rejects_invalid_fields() {
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
