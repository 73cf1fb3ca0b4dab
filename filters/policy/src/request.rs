//! The request as the policy sees it, and what the policy may ask of the world.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::header_map::{self, HeaderRefs};

/// What a filter can learn about a request beside its headers. Asked only when a rule needs it,
/// since every answer costs a call into Envoy.
pub trait Attributes {
    /// The local port of the downstream connection.
    fn destination_port(&self) -> Option<u16>;

    /// The client's address without its port, as text.
    fn source_address(&self) -> Option<Vec<u8>>;

    /// The values of a claim of the request's verified JWT: none when it is absent, several when it
    /// is a list. `path` names the claim and then the members inside it.
    fn claim(&self, path: &[String]) -> Vec<Vec<u8>>;
}

/// Uniform random numbers, one per decision.
pub trait Draws {
    /// A number from the full range.
    fn draw(&mut self) -> u64;
}

/// The headers of a request, in order, names in lower case, as Envoy gives them.
pub type HeaderPairs = [(String, Vec<u8>)];

/// A request whose headers have arrived.
pub struct Request<'a> {
    headers: HeaderRefs<'a>,
    attributes: &'a dyn Attributes,
    port: OnceCell<Option<u16>>,
    /// `:method`
    pub method: &'a [u8],
    /// `:path`, with the query; empty for CONNECT
    pub path_and_query: &'a [u8],
    /// `:authority`, with the port
    pub authority: &'a [u8],
    /// `:scheme`
    pub scheme: &'a [u8],
    path: &'a [u8],
    query: &'a [u8],
}

impl<'a> Request<'a> {
    /// Looks at a request. Missing pseudo-headers are empty.
    pub fn new(headers: &'a HeaderPairs, attributes: &'a dyn Attributes) -> Self {
        let refs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()));
        Self::of(refs.collect(), attributes)
    }

    /// Looks at a request whose headers are in [the encoding](header_map) in which Envoy passes them.
    pub fn of_encoded(headers: &'a [u8], attributes: &'a dyn Attributes) -> Self {
        Self::of(header_map::decode(headers), attributes)
    }

    fn of(headers: HeaderRefs<'a>, attributes: &'a dyn Attributes) -> Self {
        let [mut method, mut path_and_query, mut authority, mut scheme]: [&[u8]; 4] = [&[]; 4];
        for (name, value) in headers.iter().filter(|(name, _)| name.first() == Some(&b':')) {
            match *name {
                b":method" => method = value,
                b":path" => path_and_query = value,
                b":authority" => authority = value,
                b":scheme" => scheme = value,
                _ => {}
            }
        }
        let (path, query) = split_path(path_and_query);
        Self {
            headers,
            attributes,
            port: OnceCell::new(),
            method,
            path_and_query,
            authority,
            scheme,
            path,
            query,
        }
    }

    /// All headers, names in lower case, in order.
    pub fn headers(&self) -> &HeaderRefs<'a> {
        &self.headers
    }

    /// The value of a header, given in lower case. Several values are joined with a comma and no
    /// space, as Envoy joins them before it matches.
    pub fn header(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.values(name.as_bytes())
    }

    /// The same for a name as it was received.
    pub fn values(&self, name: &[u8]) -> Option<Cow<'a, [u8]>> {
        let mut values = self.headers.iter().filter(|(known, _)| *known == name);
        let (_, first) = values.next()?;
        let mut joined = Cow::Borrowed(*first);
        for (_, value) in values {
            let joined = joined.to_mut();
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        Some(joined)
    }

    /// The first value of a header, given in lower case.
    pub fn first_header(&self, name: &str) -> Option<&'a [u8]> {
        let first = self.headers.iter().find(|(known, _)| *known == name.as_bytes());
        first.map(|(_, value)| *value)
    }

    /// The path without query and fragment.
    pub fn path(&self) -> &'a [u8] {
        self.path
    }

    /// The query parameters in order, as sent: nothing is percent-decoded. A parameter without `=`
    /// is empty.
    pub fn query_parameters(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let query = self.query.strip_prefix(b"?");
        let query = query.and_then(|query| query.split(|byte| *byte == b'#').next());
        let parameters = query.into_iter().flat_map(|query| query.split(|byte| *byte == b'&'));
        parameters.map(|parameter| {
            let end = parameter.iter().position(|byte| *byte == b'=');
            let (name, value) = parameter.split_at(end.unwrap_or(parameter.len()));
            (name, value.get(1..).unwrap_or_default())
        })
    }

    /// The first value of the query parameter `name`.
    pub fn query_parameter(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.query_parameters().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The value of a cookie, without the quotes that it may have.
    pub fn cookie(&self, name: &str) -> Option<Vec<u8>> {
        // Line by line: unlike other headers, cookies are not joined with commas.
        let lines = self.headers.iter().filter(|(name, _)| *name == b"cookie");
        let mut cookies = lines.flat_map(|(_, line)| line.split(|byte| *byte == b';'));
        cookies.find_map(|cookie| {
            let mut parts = cookie.trim_ascii().splitn(2, |byte| *byte == b'=');
            if parts.next()? != name.as_bytes() {
                return None;
            }
            let value = parts.next()?;
            let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            Some(unquoted.unwrap_or(value).to_vec())
        })
    }

    /// The local port of the downstream connection.
    pub fn destination_port(&self) -> Option<u16> {
        *self.port.get_or_init(|| self.attributes.destination_port())
    }

    /// The client's address without its port.
    pub fn source_address(&self) -> Option<Vec<u8>> {
        self.attributes.source_address()
    }

    /// The values of a claim, see [`Attributes::claim`].
    pub fn claim(&self, path: &[String]) -> Vec<Vec<u8>> {
        self.attributes.claim(path)
    }
}

/// Splits a request target into the path and the rest, which starts with `?` or `#`.
pub fn split_path(target: &[u8]) -> (&[u8], &[u8]) {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
    target.split_at_checked(end).unwrap_or((target, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FixedAttributes, pairs};

    #[test]
    fn repeated_headers_are_joined_without_a_space() {
        let headers = pairs(&[("x", "a"), ("y", "1"), ("x", "b"), ("x", "")]);
        let attributes = FixedAttributes::default();
        let request = Request::new(&headers, &attributes);
        assert_eq!(request.header("x").as_deref(), Some(&b"a,b,"[..]));
        assert_eq!(request.header("y").as_deref(), Some(&b"1"[..]));
        assert_eq!(request.header("z"), None);
    }

    #[test]
    fn query_parameters_are_taken_as_sent() {
        let headers = pairs(&[(":path", "/a?x=1&y&x=2&Z=a=b&p=%41&=e#x=3")]);
        let attributes = FixedAttributes::default();
        let request = Request::new(&headers, &attributes);
        let parameter = |name: &str| request.query_parameter(name.as_bytes());
        assert_eq!(request.path(), b"/a");
        assert_eq!(parameter("x"), Some(&b"1"[..]));
        assert_eq!(parameter("y"), Some(&b""[..]));
        assert_eq!(parameter("Z"), Some(&b"a=b"[..]));
        assert_eq!(parameter("z"), None);
        assert_eq!(parameter("p"), Some(&b"%41"[..]));
        assert_eq!(parameter(""), Some(&b"e"[..]));
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let headers = pairs(&[("cookie", "xuid=0; uid=\"a=b\"; uid=c"), ("cookie", "next=d")]);
        let attributes = FixedAttributes::default();
        let request = Request::new(&headers, &attributes);
        assert_eq!(request.cookie("uid").as_deref(), Some(&b"a=b"[..]));
        assert_eq!(request.cookie("next").as_deref(), Some(&b"d"[..]));
        assert_eq!(request.cookie("id"), None);
    }
}
