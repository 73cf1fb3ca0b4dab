//! The request as the policy sees it, and what the policy may ask of the world.

pub mod client_hello;
pub mod connection;
pub mod header_map;

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use crate::bytes;
use crate::request::header_map::{HeaderRefs, NameFilter};

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
    names: NameFilter,
    /// The names that occur more than once
    repeated: NameFilter,
    /// The header that was found last, as rules often ask for the same one again and again
    last_found: Cell<usize>,
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
        Self::of(refs, attributes)
    }

    /// Looks at a request whose headers are in [the encoding](header_map) in which Envoy passes them.
    #[inline]
    pub fn of_encoded(headers: &'a [u8], attributes: &'a dyn Attributes) -> Self {
        Self::of(header_map::decode(headers), attributes)
    }

    /// In one pass over the headers.
    #[inline]
    fn of(
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        attributes: &'a dyn Attributes,
    ) -> Self {
        let [mut method, mut path_and_query, mut authority, mut scheme]: [&[u8]; 4] = [&[]; 4];
        let (mut names, mut repeated) = (NameFilter::NONE, NameFilter::NONE);
        // In its place from the start, as it is large.
        let mut request = Self {
            headers: HeaderRefs::new(),
            names,
            repeated,
            last_found: Cell::new(0),
            attributes,
            port: OnceCell::new(),
            method,
            path_and_query,
            authority,
            scheme,
            path: &[],
            query: &[],
        };
        for (name, value) in headers {
            repeated = repeated.joined(names.common(name));
            names = names.with(name);
            if let [b':', ..] = name {
                match name {
                    b":method" => method = value,
                    b":path" => path_and_query = value,
                    b":authority" => authority = value,
                    b":scheme" => scheme = value,
                    _ => {}
                }
            }
            request.headers.push((name, value));
        }
        (request.path, request.query) = split_path(path_and_query);
        (request.names, request.repeated) = (names, repeated);
        (request.method, request.path_and_query) = (method, path_and_query);
        (request.authority, request.scheme) = (authority, scheme);
        request
    }

    /// All headers, names in lower case, in order.
    #[inline]
    pub fn headers(&self) -> &[(&'a [u8], &'a [u8])] {
        &self.headers
    }

    /// The value of a header, given in lower case. Several values are joined with a comma and no
    /// space, as Envoy joins them before it matches.
    #[inline]
    pub fn header(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.values(name.as_bytes())
    }

    /// The same for a name as it was received.
    #[inline]
    pub fn values(&self, name: &[u8]) -> Option<Cow<'a, [u8]>> {
        let place = self.place(name)?;
        self.values_at(place)
    }

    /// The values of the header at a place, see [`Self::header`]; `None` where it is not the first one of
    /// its name.
    #[inline]
    pub fn values_at(&self, place: usize) -> Option<Cow<'a, [u8]>> {
        let (name, first) = *self.headers.get(place)?;
        if !self.repeated.may_have(name) {
            self.last_found.set(place);
            return Some(Cow::Borrowed(first));
        }
        self.joined_values(place)
    }

    #[cold]
    fn joined_values(&self, place: usize) -> Option<Cow<'a, [u8]>> {
        let (before, rest) = self.headers.split_at_checked(place)?;
        let ((name, first), rest) = rest.split_first()?;
        let is_same = |(known, _): &&(&[u8], &[u8])| bytes::equal(known, name);
        if before.iter().any(|header| is_same(&header)) {
            return None;
        }
        let mut joined = Cow::Borrowed(*first);
        for (_, value) in rest.iter().filter(is_same) {
            let joined = joined.to_mut();
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        Some(joined)
    }

    /// The first value of a header, given in lower case.
    #[inline]
    pub fn first_header(&self, name: &str) -> Option<&'a [u8]> {
        let (_, value) = self.headers.get(self.place(name.as_bytes())?)?;
        Some(value)
    }

    /// Where the first header of this name is.
    #[inline]
    fn place(&self, name: &[u8]) -> Option<usize> {
        if !self.names.may_have(name) {
            return None;
        }
        let is_same = |(known, _): &(&[u8], &[u8])| bytes::equal(known, name);
        // Only ever the first of its name.
        let last = self.last_found.get();
        if self.headers.get(last).is_some_and(is_same) {
            return Some(last);
        }
        let place = self.headers.iter().position(is_same)?;
        self.last_found.set(place);
        Some(place)
    }

    /// The names of all headers.
    #[inline]
    pub fn names(&self) -> NameFilter {
        self.names
    }

    /// The path without query and fragment.
    #[inline]
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
        let lines = self.headers.iter().filter(|(name, _)| bytes::equal(name, b"cookie"));
        let mut cookies = lines.flat_map(|(_, line)| line.split(|byte| *byte == b';'));
        cookies.find_map(|cookie| {
            let mut parts = cookie.trim_ascii().splitn(2, |byte| *byte == b'=');
            if !bytes::equal(parts.next()?, name.as_bytes()) {
                return None;
            }
            let value = parts.next()?;
            let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            Some(unquoted.unwrap_or(value).to_vec())
        })
    }

    /// The local port of the downstream connection.
    #[inline]
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
#[inline]
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
        // By its place only the first one has a value.
        let at = |place| request.values_at(place).map(|value| value.into_owned());
        assert_eq!([at(0), at(1)], [Some(b"a,b,".to_vec()), Some(b"1".to_vec())]);
        assert_eq!([at(2), at(3), at(4)], [None, None, None]);
        assert_eq!(request.first_header("x"), Some(&b"a"[..]));
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
