//! `CorsPolicy`: answers to preflights and the headers that let a browser read a response, as
//! Envoy's CORS filter gives them.

use std::borrow::Cow;

use crate::duration;
use crate::header::{HeaderEdit, is_token};
use crate::node::{Node, Object};
use crate::request::Request;
use crate::string_match::{self, EmptyPrefix, StringMatch};

const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

/// A CORS policy, compiled.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    origins: Vec<StringMatch>,
    methods: Box<[u8]>,
    headers: Box<[u8]>,
    exposed: Box<[u8]>,
    max_age: Option<Box<[u8]>>,
    allows_credentials: bool,
    ignores_unmatched_preflights: bool,
}

/// What a policy says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsDecision<'a> {
    /// A preflight: answer 200 with these headers.
    Preflight(Vec<(&'static str, Cow<'a, [u8]>)>),
    /// A request of this allowed origin: forward it and mark the response.
    Allowed(Vec<u8>),
    /// Not a matter of CORS, or of an origin that is not allowed: forward it.
    Forward,
}

impl Cors {
    /// Reads a `corsPolicy`.
    pub fn read(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let mut cors = Self::default();
        for node in object.list("allowOrigin") {
            node.notice("allowOrigin is deprecated, use allowOrigins");
            cors.origins.extend(node.string().map(|o| StringMatch::Exact(o.as_bytes().into())));
        }
        for node in object.list("allowOrigins") {
            cors.origins.extend(read_origin(&node));
        }
        let is_method = |text: &str| METHODS.contains(&text);
        let is_name = |text: &str| text == "*" || is_token(text);
        cors.methods = read_list(&mut object, "allowMethods", is_method, "is not an HTTP method");
        cors.headers = read_list(&mut object, "allowHeaders", is_name, "is not a header name");
        cors.exposed = read_list(&mut object, "exposeHeaders", is_name, "is not a header name");
        cors.max_age = object.field("maxAge").and_then(|node| {
            let milliseconds = duration::read_milliseconds(&node)?;
            if milliseconds % 1000 != 0 {
                node.invalid("is not a whole number of seconds");
            }
            Some((milliseconds / 1000).to_string().into_bytes().into())
        });
        let credentials = object.field("allowCredentials");
        cors.allows_credentials = credentials.and_then(|node| node.boolean()).unwrap_or_default();
        cors.ignores_unmatched_preflights =
            object.field("unmatchedPreflights").is_some_and(|node| match node.string() {
                Some("IGNORE") => true,
                None | Some("FORWARD" | "UNSPECIFIED") => false,
                Some(_) => {
                    node.invalid("is neither FORWARD nor IGNORE");
                    false
                }
            });
        Some(cors)
    }

    /// Decides about a request. The requested method and headers of a preflight are not compared
    /// with the lists: the browser does that.
    pub fn decide<'a>(&'a self, request: &Request<'a>) -> CorsDecision<'a> {
        let Some(origin) = request.header("origin").filter(|origin| !origin.is_empty()) else {
            return CorsDecision::Forward;
        };
        let is_allowed =
            self.origins.iter().any(|allowed| allowed.is_match(b"*") || allowed.is_match(&origin));
        let method = request
            .header("access-control-request-method")
            .filter(|method| request.method == b"OPTIONS" && !method.is_empty());
        match (method, is_allowed) {
            (None, true) => CorsDecision::Allowed(origin.into_owned()),
            (Some(_), false) if self.ignores_unmatched_preflights => {
                CorsDecision::Preflight(Vec::new())
            }
            (_, false) => CorsDecision::Forward,
            (Some(method), true) => {
                CorsDecision::Preflight(self.preflight_headers(request, origin, method))
            }
        }
    }

    fn preflight_headers<'a>(
        &'a self,
        request: &Request<'a>,
        origin: Cow<'a, [u8]>,
        method: Cow<'a, [u8]>,
    ) -> Vec<(&'static str, Cow<'a, [u8]>)> {
        let mut headers = vec![("access-control-allow-origin", origin)];
        if self.allows_credentials {
            headers.push(("access-control-allow-credentials", Cow::Borrowed(b"true")));
        }
        let requested_headers = request.header("access-control-request-headers");
        let methods = echo_if_any(&self.methods, Some(method));
        let allowed = echo_if_any(&self.headers, requested_headers);
        headers.extend(methods.map(|value| ("access-control-allow-methods", value)));
        headers.extend(allowed.map(|value| ("access-control-allow-headers", value)));
        let max_age = self.max_age.as_deref().map(Cow::Borrowed);
        headers.extend(max_age.map(|value| ("access-control-max-age", value)));
        headers
    }

    /// The edits of the response to a request of an allowed origin.
    pub fn response_edits<'a>(&'a self, origin: &'a [u8]) -> Vec<HeaderEdit<'a>> {
        let mut edits = vec![HeaderEdit::set("access-control-allow-origin", origin)];
        if self.allows_credentials {
            edits.push(HeaderEdit::set("access-control-allow-credentials", &b"true"[..]));
        }
        if !self.exposed.is_empty() {
            edits.push(HeaderEdit::set("access-control-expose-headers", &*self.exposed));
        }
        edits
    }
}

/// The list to answer: what the browser asked for where the list is `*`, nothing where it is empty.
fn echo_if_any<'a>(list: &'a [u8], requested: Option<Cow<'a, [u8]>>) -> Option<Cow<'a, [u8]>> {
    match list {
        b"" => None,
        b"*" => requested,
        list => Some(Cow::Borrowed(list)),
    }
}

fn read_origin(node: &Node<'_>) -> Option<StringMatch> {
    let condition = string_match::read(node, EmptyPrefix::Refused)?;
    if matches!(&condition, StringMatch::Exact(exact) if exact.is_empty()) {
        node.error("is an empty origin");
        return None;
    }
    Some(condition)
}

/// Reads a list of names and joins it with commas.
fn read_list(
    object: &mut Object<'_>,
    field: &'static str,
    is_valid: impl Fn(&str) -> bool,
    reason: &str,
) -> Box<[u8]> {
    let mut names = Vec::new();
    for node in object.list(field) {
        match node.string() {
            Some(name) if is_valid(name) => names.push(name),
            Some(_) => node.invalid(reason),
            None => {}
        }
    }
    names.join(",").into_bytes().into()
}
