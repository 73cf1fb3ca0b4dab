//! `CorsPolicy`: answers preflight requests, and adds the response headers that allow a browser to
//! read a response. The headers are those of Envoy's CORS filter.

use std::borrow::Cow;

use crate::document::fields::fields;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::request::Request;
use crate::spec::string_match::{self, EmptyPrefix, StringMatch};
use crate::value::duration;
use crate::value::header::{HeaderEdit, is_token};

/// Methods in `allowMethods`; `*` stands for all.
pub(crate) const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

const UNMATCHED_PREFLIGHTS: [&str; 3] = ["FORWARD", "IGNORE", "UNSPECIFIED"];

fields!(Cors as "CorsPolicy", "Cross-origin requests.", {
    "allowOrigin": Kind::TEXTS => "Deprecated, use allowOrigins.";
    "allowOrigins": Kind::List(&StringMatch::KIND) =>
        "Allowed origins; none if absent.";
    "allowMethods": Kind::List(&Kind::OneOf(&METHODS)) => "Allowed methods; * allows any method.";
    "allowHeaders": Kind::TOKENS => "Allowed request headers; * allows any header.";
    "exposeHeaders": Kind::TOKENS => "Response headers that a browser may read.";
    "maxAge": Kind::Duration =>
        "Time for which a browser may cache the answer to a preflight request, such as 24h.";
    "allowCredentials": Kind::Boolean =>
        "Whether requests with credentials are allowed; false if absent.";
    "unmatchedPreflights": Kind::OneOf(&UNMATCHED_PREFLIGHTS) =>
        "What happens to a preflight request of an origin that is not allowed: FORWARD \
         (default), or IGNORE, which answers 200 without access-control-allow-origin.";
});

/// A CORS policy, compiled.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    pub(crate) origins: Vec<StringMatch>,
    pub(crate) methods: Box<[u8]>,
    pub(crate) headers: Box<[u8]>,
    pub(crate) exposed: Box<[u8]>,
    pub(crate) max_age: Option<Box<[u8]>>,
    pub(crate) allows_credentials: bool,
    pub(crate) ignores_unmatched_preflights: bool,
}

/// Decision of a policy about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsDecision<'a> {
    /// The request is a preflight request: answer 200 with these headers.
    Preflight(Vec<(&'static str, Cow<'a, [u8]>)>),
    /// The request has this allowed origin: forward it and add the CORS headers to the response.
    Allowed(Vec<u8>),
    /// The request has no origin, or one that is not allowed: forward it unchanged.
    Forward,
}

impl Cors {
    /// Reads a `corsPolicy`.
    pub fn read(node: &Node<'_>) -> Result<Self, Reported> {
        let object = node.object::<Self>()?;
        let deprecated = object.optional("allowOrigin", |node| {
            node.notice(report::Kind::Deprecated, "is deprecated, use allowOrigins");
            node.each(|node| Ok(StringMatch::Exact(node.string()?.as_bytes().into())))
        });
        let origins = object.list("allowOrigins", read_origin);
        let is_method = |text: &str| METHODS.contains(&text);
        let is_name = |text: &str| text == "*" || is_token(text);
        let methods = read_list(&object, "allowMethods", is_method, "is not an HTTP method");
        let headers = read_list(&object, "allowHeaders", is_name, "is not a header name");
        let exposed = read_list(&object, "exposeHeaders", is_name, "is not a header name");
        let max_age = object.optional("maxAge", read_max_age);
        let allows_credentials = object.flag("allowCredentials");
        let unmatched =
            object.optional("unmatchedPreflights", |node| node.one_of(&UNMATCHED_PREFLIGHTS));
        let mut allowed = deprecated?.unwrap_or_default();
        allowed.append(&mut origins?);
        Ok(Self {
            origins: allowed,
            methods: methods?,
            headers: headers?,
            exposed: exposed?,
            max_age: max_age?,
            allows_credentials: allows_credentials?,
            ignores_unmatched_preflights: unmatched? == Some("IGNORE"),
        })
    }

    /// Returns the decision about a request. Does not compare the requested method and headers of a
    /// preflight request with the lists, because the browser does that.
    pub fn decide<'a, 'r: 'a>(&'a self, request: &Request<'r>) -> CorsDecision<'a> {
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
            (Some(method), false) if self.ignores_unmatched_preflights => {
                // Without access-control-allow-origin, a browser ignores the other headers.
                CorsDecision::Preflight(self.preflight_headers(request, None, method))
            }
            (_, false) => CorsDecision::Forward,
            (Some(method), true) => {
                CorsDecision::Preflight(self.preflight_headers(request, Some(origin), method))
            }
        }
    }

    fn preflight_headers<'a, 'r: 'a>(
        &'a self,
        request: &Request<'r>,
        allowed_origin: Option<Cow<'a, [u8]>>,
        method: Cow<'a, [u8]>,
    ) -> Vec<(&'static str, Cow<'a, [u8]>)> {
        let mut headers = Vec::new();
        // Browsers ignore them here, but Envoy sends them, and the Gateway API requires them.
        let exposed = allowed_origin.as_ref().filter(|_| !self.exposed.is_empty());
        let exposed = exposed.map(|_| Cow::Borrowed(&*self.exposed));
        headers.extend(allowed_origin.map(|origin| ("access-control-allow-origin", origin)));
        if self.allows_credentials {
            headers.push(("access-control-allow-credentials", Cow::Borrowed(b"true")));
        }
        let requested_headers = request.header("access-control-request-headers");
        let methods = allowed_values(&self.methods, Some(method));
        let allowed = allowed_values(&self.headers, requested_headers);
        headers.extend(methods.map(|value| ("access-control-allow-methods", value)));
        headers.extend(allowed.map(|value| ("access-control-allow-headers", value)));
        let max_age = self.max_age.as_deref().map(Cow::Borrowed);
        headers.extend(max_age.map(|value| ("access-control-max-age", value)));
        headers.extend(exposed.map(|value| ("access-control-expose-headers", value)));
        headers
    }

    /// Returns the edits of the response to a request with an allowed origin.
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

/// Returns the header value for a list: the requested value if the list is `*`, no value if the
/// list is empty, otherwise the list.
fn allowed_values<'a>(list: &'a [u8], requested: Option<Cow<'a, [u8]>>) -> Option<Cow<'a, [u8]>> {
    match list {
        b"" => None,
        b"*" => requested,
        list => Some(Cow::Borrowed(list)),
    }
}

/// Reads `maxAge` as the value of `access-control-max-age`, in whole seconds.
fn read_max_age(node: &Node<'_>) -> Result<Box<[u8]>, Reported> {
    let milliseconds = duration::read_milliseconds(node)?;
    if milliseconds % 1000 != 0 {
        return Err(node.invalid("is not a whole number of seconds"));
    }
    Ok((milliseconds / 1000).to_string().into_bytes().into())
}

fn read_origin(node: &Node<'_>) -> Result<StringMatch, Reported> {
    let condition = string_match::read(node, EmptyPrefix::Refused)?;
    if matches!(&condition, StringMatch::Exact(exact) if exact.is_empty()) {
        return Err(node.error("must not be an empty origin"));
    }
    Ok(condition)
}

/// Reads a list of names and joins it with commas.
pub(crate) fn read_list(
    object: &Object<'_>,
    field: &'static str,
    is_valid: impl Fn(&str) -> bool,
    reason: &str,
) -> Result<Box<[u8]>, Reported> {
    let names = object.list_with(field, |node| {
        let name = node.string()?;
        if is_valid(name) { Ok(name) } else { Err(node.invalid(reason)) }
    });
    Ok(names?.join(",").into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, FixedAttributes, pairs};

    const POLICY: &str = r#"{
        "allowOrigins": [{"exact": "https://a.com"}, {"regex": "https://[bc]\\.com"}],
        "allowMethods": ["POST", "GET"], "allowHeaders": ["X-Foo-Bar", "X-Foo-Baz"],
        "exposeHeaders": ["X-Out"], "maxAge": "24h", "allowCredentials": true}"#;

    /// Returns the decision as one line of text.
    fn decide(text: &str, headers: &[(&str, &str)]) -> String {
        let cors = testing::read(text, Cors::read).unwrap();
        let headers = pairs(headers);
        let attributes = FixedAttributes::default();
        match cors.decide(&Request::new(&headers, &attributes)) {
            CorsDecision::Forward => "forward".to_owned(),
            CorsDecision::Allowed(origin) => {
                let edits = cors.response_edits(&origin);
                let shown = edits.iter().map(|e| format!("{}={}", e.name, text_of(&e.value)));
                shown.collect::<Vec<_>>().join(" ")
            }
            CorsDecision::Preflight(headers) => {
                let shown = headers.iter().map(|(n, v)| format!("{n}={}", text_of(v)));
                format!("200 {}", shown.collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn text_of(value: &[u8]) -> String {
        String::from_utf8_lossy(value).into_owned()
    }

    fn preflight(origin: &'static str) -> Vec<(&'static str, &'static str)> {
        let headers = [
            (":method", "OPTIONS"),
            ("origin", origin),
            ("access-control-request-method", "DELETE"),
            ("access-control-request-headers", "x-a,x-b"),
        ];
        headers.to_vec()
    }

    #[test]
    fn preflights_of_allowed_origins_are_answered() {
        assert_eq!(
            decide(POLICY, &preflight("https://b.com")),
            "200 access-control-allow-origin=https://b.com access-control-allow-credentials=true \
             access-control-allow-methods=POST,GET access-control-allow-headers=X-Foo-Bar,X-Foo-Baz \
             access-control-max-age=86400 access-control-expose-headers=X-Out"
        );
        let any =
            r#"{"allowOrigins": [{"exact": "*"}], "allowMethods": ["*"], "allowHeaders": ["*"]}"#;
        assert_eq!(
            decide(any, &preflight("https://z.com")),
            "200 access-control-allow-origin=https://z.com access-control-allow-methods=DELETE \
             access-control-allow-headers=x-a,x-b"
        );
    }

    #[test]
    fn other_requests_are_forwarded_unless_the_policy_ignores_preflights() {
        assert_eq!(decide(POLICY, &preflight("https://z.com")), "forward");
        let ignore = POLICY.replacen('{', r#"{"unmatchedPreflights": "IGNORE", "#, 1);
        assert_eq!(
            decide(&ignore, &preflight("https://z.com")),
            "200 access-control-allow-credentials=true access-control-allow-methods=POST,GET \
             access-control-allow-headers=X-Foo-Bar,X-Foo-Baz access-control-max-age=86400"
        );
        assert_eq!(decide(POLICY, &preflight("")), "forward");
        assert_eq!(decide(POLICY, &[(":method", "GET")]), "forward");
        assert_eq!(decide(POLICY, &[(":method", "GET"), ("origin", "https://z.com")]), "forward");
    }

    #[test]
    fn responses_to_allowed_origins_get_cors_headers() {
        let expected = "access-control-allow-origin=https://a.com \
             access-control-allow-credentials=true access-control-expose-headers=X-Out";
        for method in ["GET", "OPTIONS"] {
            let headers = [(":method", method), ("origin", "https://a.com")];
            assert_eq!(decide(POLICY, &headers), expected, "{method}");
        }
    }

    #[test]
    fn rejects_invalid_fields() {
        let text = r#"{"allowOrigins": [{"exact": ""}, {}], "allowMethods": ["get"],
            "allowHeaders": ["a b"], "exposeHeaders": ["*"], "maxAge": "1500ms",
            "unmatchedPreflights": "DROP", "allowCredentials": "yes"}"#;
        assert_eq!(
            testing::read(text, Cors::read).unwrap_err(),
            "allowOrigins[0]: must not be an empty origin\n\
             allowOrigins[1]: must have one of exact, prefix, regex\n\
             allowMethods[0]: \"get\" is not an HTTP method\n\
             allowHeaders[0]: \"a b\" is not a header name\n\
             maxAge: \"1500ms\" is not a whole number of seconds\n\
             unmatchedPreflights: \"DROP\" is not one of FORWARD, IGNORE, UNSPECIFIED\n\
             allowCredentials: \"yes\" is neither true nor false"
        );
    }
}
