//! Header operations of a route or a destination: `headers.request` and `headers.response`.
//!
//! Order within one level: removals, then `set`, then `add`, each sorted by name, as in the Envoy
//! configuration that Istio generates. The operations of the destination apply before those of the
//! route, so if both set the same header, the value of the route is sent. Istio does the same for
//! several destinations. For a single destination Istio sends the value of the destination; adding
//! a second destination would then silently change the value.

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::json::Quoted;
use crate::document::node::Node;
use crate::document::report::{self, Reported};
use crate::name_set::NameSet;
use crate::sort::sort;
use crate::value::header::{FixedEdit, HeaderEdit, HeaderOperation, OWN_PREFIX, check_name};
use crate::value::url::read_authority;

/// Operations of one level: a route or a destination.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// Operations on the request to the upstream
    pub request: HeaderOps,
    /// Operations on the response to the client
    pub response: HeaderOps,
}

/// Operations on one request or response.
#[derive(Clone, Debug, Default)]
pub struct HeaderOps {
    /// New authority, from `set` or `add` of `Host`; `set` has priority
    pub authority: Option<Box<[u8]>>,
    /// Whether both `set` and `add` contain the authority
    pub has_two_authorities: bool,
    edits: Vec<FixedEdit>,
}

impl HeaderOps {
    /// Creates the operations. `sets` and `adds` are sorted by name; the authority is among them.
    #[inline(never)]
    pub(crate) fn new(
        sets: Vec<NamedValue>,
        adds: Vec<NamedValue>,
        mut removes: Vec<String>,
    ) -> Self {
        sort(&mut removes, Ord::cmp);
        let is_authority = |(name, _): &NamedValue| name == ":authority";
        let (host_sets, sets): (Vec<_>, Vec<_>) = sets.into_iter().partition(is_authority);
        let (host_adds, adds): (Vec<_>, Vec<_>) = adds.into_iter().partition(is_authority);
        let mut ops = Self {
            has_two_authorities: host_sets.len() + host_adds.len() > 1,
            authority: host_sets.into_iter().chain(host_adds).next().map(|(_, value)| value),
            edits: Vec::with_capacity(removes.len() + sets.len() + adds.len()),
        };
        let mut push = |operation, name: String, value| {
            ops.edits.push(FixedEdit::new(operation, name, value));
        };
        removes.into_iter().for_each(|name| push(HeaderOperation::Remove, name, Box::default()));
        sets.into_iter().for_each(|(name, value)| push(HeaderOperation::Set, name, value));
        adds.into_iter().for_each(|(name, value)| push(HeaderOperation::Add, name, value));
        ops
    }

    /// Returns the edits, in the order in which they apply.
    pub fn edits(&self) -> impl Iterator<Item = HeaderEdit<'_>> {
        self.edits.iter().map(FixedEdit::as_edit)
    }

    /// Returns the stored edits, in the order in which they apply.
    pub fn fixed_edits(&self) -> &[FixedEdit] {
        &self.edits
    }

    /// Returns the names of the headers in `set`, sorted.
    pub fn names_set(&self) -> impl Iterator<Item = &str> {
        let sets = self.edits.iter().filter(|edit| edit.operation() == HeaderOperation::Set);
        sets.map(FixedEdit::name)
    }
}

/// The message that operations change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// The request to the upstream
    Request,
    /// The response to the client
    Response,
}

fields!(Headers, "Operations on request and response headers.", {
    "request": Kind::Object(HeaderOps::schema) => "Operations on the request.";
    "response": Kind::Object(HeaderOps::schema) => "Operations on the response.";
});

fields!(HeaderOps as "HeaderOperations", "Operations on the headers of a message.", {
    "set": Kind::TEXT_MAP => "Headers to set, by name; the value replaces all present values.";
    "add": Kind::TEXT_MAP => "Headers to add, by name; present values remain.";
    "remove": Kind::TOKENS => "Names of headers to remove.";
});

/// Reads the `headers` of a route or a destination.
pub fn read(node: &Node<'_>) -> Result<Headers, Reported> {
    let object = node.object::<Headers>()?;
    let request = object.optional("request", |node| read_ops(node, Message::Request));
    let response = object.optional("response", |node| read_ops(node, Message::Response));
    Ok(Headers { request: request?.unwrap_or_default(), response: response?.unwrap_or_default() })
}

fn read_ops(node: &Node<'_>, message: Message) -> Result<HeaderOps, Reported> {
    let object = node.object::<HeaderOps>()?;
    let sets = object.optional("set", |node| read_values(node, message));
    let adds = object.optional("add", |node| read_values(node, message));
    let removed = object.list("remove", |node| read_name(node, node.string()?));
    let (sets, adds) = (sets?.unwrap_or_default(), adds?.unwrap_or_default());
    Ok(HeaderOps::new(sets, adds, removed?))
}

/// Name of a header in lower case, and a value.
pub(crate) type NamedValue = (String, Box<[u8]>);

/// Reads header names with their values, and sorts them by name.
fn read_values(node: &Node<'_>, message: Message) -> Result<Vec<NamedValue>, Reported> {
    let mut values: Vec<NamedValue> = Vec::new();
    let mut seen = NameSet::default();
    let mut failure = None;
    for (name, node) in node.entries()? {
        let name = match message {
            // `Host` in any case rewrites the authority.
            Message::Request if is_authority(name) => Ok(":authority".to_owned()),
            _ => read_name(&node, name),
        };
        let value = match name.as_deref() {
            Ok(":authority") => read_authority(&node),
            _ => read_header_value(&node),
        };
        let (name, value) = match (name, value) {
            (Ok(name), Ok(value)) => (name, value),
            (Err(reported), _) | (_, Err(reported)) => {
                failure = Some(reported);
                continue;
            }
        };
        if seen.insert(name.as_bytes()) {
            values.push((name, value));
        } else {
            failure = Some(node.error("occurs twice, in another spelling"));
        }
    }
    sort(&mut values, |(left, _), (right, _)| left.cmp(right));
    failure.map_or(Ok(values), Err)
}

/// Reads the name of a header that may be changed. Rejects pseudo-headers, `Host` and the headers
/// of Sluice itself.
pub(crate) fn read_name(node: &Node<'_>, name: &str) -> Result<String, Reported> {
    if is_authority(name) {
        return Err(node.error(format_args!("{} cannot be changed here", Quoted(name))));
    }
    let lower = check_name(node, name, &[])?;
    if lower.starts_with(OWN_PREFIX) {
        return Err(node.error(format_args!("{} is one of Sluice's own headers", Quoted(name))));
    }
    Ok(lower)
}

pub(crate) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// Reads a header value, in which `%%` means `%` as in Envoy's format.
///
/// Rejects a `%COMMAND%`: Envoy would replace it, but a filter cannot, and the unchanged text would
/// be a wrong value.
fn read_header_value(node: &Node<'_>) -> Result<Box<[u8]>, Reported> {
    let text = node.string()?;
    if text.bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) {
        return Err(node.invalid("has a control character"));
    }
    if text.is_empty() {
        node.needs_wasm("cannot be empty in a dynamic module; use the wasm module")?;
    }
    let plain = text.replace("%%", "");
    match plain.matches('%').count() {
        0 => Ok(text.replace("%%", "%").into_bytes().into()),
        count if count % 2 == 0 => Err(node.invalid(
            "has a %COMMAND%, which a filter cannot evaluate; set the header in Envoy's route",
        )),
        _ => Err(node.invalid("has a single %; write %%")),
    }
}

/// Reports headers that both the route and its single destination set. Istio sends the value of the
/// destination in this case, Sluice that of the route.
pub fn notice_overridden(node: &Node<'_>, route: &Headers, own: &Headers) {
    let pairs =
        [("request", &route.request, &own.request), ("response", &route.response, &own.response)];
    for (message, route, own) in pairs {
        let of_route: Vec<&str> = route.names_set().collect();
        for name in own.names_set().filter(|name| of_route.binary_search(name).is_ok()) {
            let reason = format_args!(
                "sets the {message} header {name}, which the route sets too; the route's value is sent"
            );
            node.notice_to(Filter::Router, report::Kind::Overridden, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn read_text(text: &str) -> Result<Headers, String> {
        testing::read(text, read)
    }

    #[test]
    fn edits_are_ordered_by_operation_and_name() {
        let headers = read_text(
            r#"{"request": {"add": {"B": "1", "a": "100%%"}, "set": {"d": "3", "Host": "x"},
                "remove": ["Z", "y"]}}"#,
        )
        .unwrap();
        let edits: Vec<_> = headers.request.edits().collect();
        let shown: Vec<String> = edits
            .iter()
            .map(|e| {
                let value = String::from_utf8_lossy(&e.value).into_owned();
                format!("{:?} {} {value}", e.operation, e.name)
            })
            .collect();
        assert_eq!(shown, ["Remove y ", "Remove z ", "Set d 3", "Add a 100%", "Add b 1"]);
        assert_eq!(headers.request.authority.as_deref(), Some(&b"x"[..]));
    }

    #[test]
    fn errors_name_the_header() {
        let text = r#"{"request": {"set": {"": "1", ":path": "/", "x-sluice-cluster": "v"},
            "add": {"a": "abc%123", "b": "%START_TIME%", "c": "%START_TIME%%", "d": "\n"},
            "remove": ["Host"]}, "response": {"set": {":authority": "x"}}}"#;
        assert_eq!(
            read_text(text).unwrap_err(),
            "request.set[\"\"]: \"\" is not a header name\n\
             request.set[\":path\"]: \":path\" is a pseudo-header that cannot be used here\n\
             request.set.x-sluice-cluster: \"x-sluice-cluster\" is one of Sluice's own headers\n\
             request.add.a: \"abc%123\" has a single %; write %%\n\
             request.add.b: \"%START_TIME%\" has a %COMMAND%, which a filter cannot evaluate; \
             set the header in Envoy's route\n\
             request.add.c: \"%START_TIME%%\" has a single %; write %%\n\
             request.add.d: \"\\n\" has a control character\n\
             request.remove[0]: \"Host\" cannot be changed here\n\
             response.set[\":authority\"]: \":authority\" cannot be changed here"
        );
    }
}
