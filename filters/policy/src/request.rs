//! The request that a policy decides about, and the interfaces to the attributes and random numbers
//! that the policy reads.

pub mod client_hello;
pub mod connection;
pub mod header_map;

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use crate::bytes;
use crate::request::header_map::{HeaderRefs, NameFilter};
use crate::value::percent::Percent;

/// The attributes of a request that are not in its headers. Each one is read only when a rule needs
/// it, because each read is a call to Envoy.
pub trait Attributes {
    /// The local port of the downstream connection.
    fn destination_port(&self) -> Option<u16>;

    /// The client's address without its port, as text.
    fn source_address(&self) -> Option<Vec<u8>>;

    /// The values of a claim of the request's verified JWT: empty if the claim is absent, several
    /// values if it is a list. `path` is the name of the claim, followed by the names of the nested
    /// members.
    fn claim(&self, path: &[String]) -> Vec<Vec<u8>>;
}

/// A source of uniformly distributed random numbers. Each decision uses a new number.
pub trait Draws {
    /// Returns a random number from the full range of `u64`.
    fn draw(&mut self) -> u64;

    /// Takes note of a choice, for explanations.
    fn chose(&mut self, _choice: Chance) {}
}

/// A random number that several decisions about a request share, so that only their rules differ.
/// Each of them takes at most one number.
pub struct SharedDraw<'a> {
    draws: &'a mut dyn Draws,
    drawn: Option<u64>,
}

impl<'a> SharedDraw<'a> {
    /// Shares the next number of `draws`, which is drawn when it is needed first.
    pub fn new(draws: &'a mut dyn Draws) -> Self {
        Self { draws, drawn: None }
    }
}

impl Draws for SharedDraw<'_> {
    fn draw(&mut self) -> u64 {
        *self.drawn.get_or_insert_with(|| self.draws.draw())
    }

    fn chose(&mut self, chance: Chance) {
        self.draws.chose(chance);
    }
}

/// A choice by a number, which is random or a hash of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance {
    /// What was chosen, such as `delay`
    pub of: &'static str,
    /// The number
    pub drawn: u64,
    /// The number is below this one
    pub total: u64,
    /// It happens if the number is below this one; `None` for one of several destinations, which
    /// each have a share of the numbers
    pub below: Option<u64>,
}

impl Chance {
    /// The choice whether something with a percentage happens, by the draw `random`.
    pub fn of_percent(of: &'static str, percent: Percent, random: u64) -> Self {
        let total = Percent::ALL.per_million().into();
        Self { of, drawn: random % total, total, below: Some(percent.per_million().into()) }
    }
}

/// The headers of a request in their order, with names in lower case, as Envoy passes them.
pub type HeaderPairs = [(String, Vec<u8>)];

/// A request whose headers have arrived.
pub struct Request<'a> {
    headers: HeaderRefs<'a>,
    names: NameFilter,
    /// The names that occur more than once
    repeated: NameFilter,
    /// Index of the header that was found last, because many rules read the same header
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
    /// Reads a request. Missing pseudo-headers are empty.
    pub fn new(headers: &'a HeaderPairs, attributes: &'a dyn Attributes) -> Self {
        let refs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()));
        Self::from_headers(refs, attributes)
    }

    /// Reads a request whose headers are in [the encoding](header_map) of proxy-wasm.
    #[inline]
    pub fn of_encoded(headers: &'a [u8], attributes: &'a dyn Attributes) -> Self {
        Self::from_headers(header_map::decode(headers), attributes)
    }

    /// Reads the headers in one pass.
    #[inline]
    fn from_headers(
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        attributes: &'a dyn Attributes,
    ) -> Self {
        let [mut method, mut path_and_query, mut authority, mut scheme]: [&[u8]; 4] = [&[]; 4];
        let (mut names, mut repeated) = (NameFilter::NONE, NameFilter::NONE);
        // Created before the headers are read, so that this large value is not moved.
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

    /// The value of the header `name`, which is in lower case. Several values are joined with a
    /// comma and no space, as Envoy joins them before it matches.
    #[inline]
    pub fn header(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.values(name.as_bytes())
    }

    /// The same as [`Self::header`], for a name in bytes.
    #[inline]
    pub fn values(&self, name: &[u8]) -> Option<Cow<'a, [u8]>> {
        let index = self.position(name)?;
        self.values_at(index)
    }

    /// The values of the header at this index, see [`Self::header`]. `None` if an earlier header
    /// has the same name.
    #[inline]
    pub fn values_at(&self, index: usize) -> Option<Cow<'a, [u8]>> {
        let (name, first) = *self.headers.get(index)?;
        if !self.repeated.may_have(name) {
            self.last_found.set(index);
            return Some(Cow::Borrowed(first));
        }
        self.joined_values(index)
    }

    #[cold]
    fn joined_values(&self, index: usize) -> Option<Cow<'a, [u8]>> {
        let (before, rest) = self.headers.split_at_checked(index)?;
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

    /// The first value of the header `name`, which is in lower case.
    #[inline]
    pub fn first_header(&self, name: &str) -> Option<&'a [u8]> {
        let (_, value) = self.headers.get(self.position(name.as_bytes())?)?;
        Some(value)
    }

    /// The index of the first header with this name.
    #[inline]
    fn position(&self, name: &[u8]) -> Option<usize> {
        if !self.names.may_have(name) {
            return None;
        }
        let is_same = |(known, _): &(&[u8], &[u8])| bytes::equal(known, name);
        // `last_found` is always the first header with its name.
        let last = self.last_found.get();
        if self.headers.get(last).is_some_and(is_same) {
            return Some(last);
        }
        let index = self.headers.iter().position(is_same)?;
        self.last_found.set(index);
        Some(index)
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

    /// The query parameters in order, as sent: they are not percent-decoded. The value of a
    /// parameter without `=` is empty.
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

    /// The value of a cookie, without quotes around it.
    pub fn cookie(&self, name: &str) -> Option<Vec<u8>> {
        // Each header is read separately: unlike other headers, cookies are not joined with commas.
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
        // Only the index of the first header with a name has a value.
        let at = |index| request.values_at(index).map(|value| value.into_owned());
        assert_eq!([at(0), at(1)], [Some(b"a,b,".to_vec()), Some(b"1".to_vec())]);
        assert_eq!([at(2), at(3), at(4)], [None, None, None]);
        assert_eq!(request.first_header("x"), Some(&b"a"[..]));
    }

    #[test]
    fn query_parameters_are_not_decoded() {
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
    fn cookies_match_by_their_full_name() {
        let headers = pairs(&[("cookie", "xuid=0; uid=\"a=b\"; uid=c"), ("cookie", "next=d")]);
        let attributes = FixedAttributes::default();
        let request = Request::new(&headers, &attributes);
        assert_eq!(request.cookie("uid").as_deref(), Some(&b"a=b"[..]));
        assert_eq!(request.cookie("next").as_deref(), Some(&b"d"[..]));
        assert_eq!(request.cookie("id"), None);
    }
}
