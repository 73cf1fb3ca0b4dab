//! Header operations of a route or a destination: `headers.request` and `headers.response`.
//!
//! Order within one level: removals, then `set`, then `add`, each sorted by name, as Istio gives
//! them to Envoy. Between the levels: the destination's first, then the route's, so where both set
//! one header the route wins. That is what Istio does with several destinations; with a single one
//! Istio lets the destination win, and adding a canary would silently turn it around.

use crate::document::node::{Node, Object};
use crate::value::header::{FixedEdit, HeaderEdit, HeaderOperation, OWN_PREFIX, check_name};
use crate::value::url::read_authority;

/// The operations of one level.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// On the request, before it goes upstream
    pub request: HeaderOps,
    /// On the response, before it goes to the client
    pub response: HeaderOps,
}

/// The operations on one message.
#[derive(Clone, Debug, Default)]
pub struct HeaderOps {
    /// The new authority, from setting or adding `Host`; `set` wins over `add`
    pub authority: Option<Box<[u8]>>,
    /// Whether the authority is both set and added
    pub has_two_authorities: bool,
    edits: Vec<FixedEdit>,
}

impl HeaderOps {
    /// The edits, in the order in which they apply.
    pub fn edits(&self) -> impl Iterator<Item = HeaderEdit<'_>> {
        self.edits.iter().map(FixedEdit::as_edit)
    }

    /// The edits as they are kept.
    pub fn fixed_edits(&self) -> &[FixedEdit] {
        &self.edits
    }

    /// The names that are set, not added or removed.
    pub fn names_set(&self) -> impl Iterator<Item = &str> {
        let sets = self.edits.iter().filter(|edit| edit.operation() == HeaderOperation::Set);
        sets.map(FixedEdit::name)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Message {
    Request,
    Response,
}

/// Reads the `headers` of a route or a destination.
pub fn read(node: &Node<'_>) -> Option<Headers> {
    let mut object = node.object()?;
    Some(Headers {
        request: read_ops(&mut object, "request", Message::Request),
        response: read_ops(&mut object, "response", Message::Response),
    })
}

fn read_ops(headers: &mut Object<'_>, field: &'static str, message: Message) -> HeaderOps {
    let mut ops = HeaderOps::default();
    let Some(mut object) = headers.field(field).and_then(|node| node.object()) else {
        return ops;
    };
    let sets = object.field("set").map_or(Vec::new(), |node| read_values(&node, message));
    let adds = object.field("add").map_or(Vec::new(), |node| read_values(&node, message));
    let mut removes: Vec<String> = Vec::new();
    for node in object.list("remove") {
        if let Some(name) = node.string().and_then(|name| read_name(&node, name)) {
            let place = removes.partition_point(|known| *known < name);
            removes.insert(place, name);
        }
    }

    let (host_sets, sets): (Vec<_>, Vec<_>) =
        sets.into_iter().partition(|(name, _)| name == ":authority");
    let (host_adds, adds): (Vec<_>, Vec<_>) =
        adds.into_iter().partition(|(name, _)| name == ":authority");
    ops.has_two_authorities = host_sets.len() + host_adds.len() > 1;
    ops.authority = host_sets.into_iter().chain(host_adds).next().map(|(_, value)| value);

    let remove = |name: String| FixedEdit::new(HeaderOperation::Remove, &name, []);
    ops.edits.extend(removes.into_iter().map(remove));
    let set =
        |(name, value): (String, Box<[u8]>)| FixedEdit::new(HeaderOperation::Set, &name, value);
    ops.edits.extend(sets.into_iter().map(set));
    let add =
        |(name, value): (String, Box<[u8]>)| FixedEdit::new(HeaderOperation::Add, &name, value);
    ops.edits.extend(adds.into_iter().map(add));
    ops
}

/// Names with their values, sorted by name.
fn read_values(node: &Node<'_>, message: Message) -> Vec<(String, Box<[u8]>)> {
    let mut values: Vec<(String, Box<[u8]>)> = Vec::new();
    for (name, node) in node.entries() {
        let name = match message {
            // The name Host, in any spelling, is a rewrite of the authority.
            Message::Request if is_authority(name) => Some(":authority".to_owned()),
            _ => read_name(&node, name),
        };
        let value = match name.as_deref() {
            Some(":authority") => read_authority(&node),
            _ => read_header_value(&node),
        };
        let (Some(name), Some(value)) = (name, value) else { continue };
        let place = values.partition_point(|(known, _)| *known < name);
        if values.get(place).is_some_and(|(known, _)| *known == name) {
            node.error("is given twice, in another spelling");
        } else {
            values.insert(place, (name, value));
        }
    }
    values
}

/// A name that may be changed: no pseudo-header, not `Host`, not one of Sluice's own.
fn read_name(node: &Node<'_>, name: &str) -> Option<String> {
    if is_authority(name) {
        node.error(format_args!("{name:?} cannot be changed here"));
        return None;
    }
    let lower = check_name(node, name, &[])?;
    if lower.starts_with(OWN_PREFIX) {
        node.error(format_args!("{name:?} is one of Sluice's own headers"));
        return None;
    }
    Some(lower)
}

fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// Reads a value and takes the doubled `%%` of Envoy's format for `%`.
///
/// A `%COMMAND%` is refused: Envoy would replace it, a filter cannot, and passing it on literally
/// would be wrong without a word.
fn read_header_value(node: &Node<'_>) -> Option<Box<[u8]>> {
    let text = node.string()?;
    if text.bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) {
        node.invalid("has a control character");
        return None;
    }
    let plain = text.replace("%%", "");
    match plain.matches('%').count() {
        0 => Some(text.replace("%%", "%").into_bytes().into()),
        count if count % 2 == 0 => {
            node.invalid(
                "has a %COMMAND%, which a filter cannot evaluate; set it in Envoy's route",
            );
            None
        }
        _ => {
            node.invalid("has a single %, write %%");
            None
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
    fn removes_then_sets_then_adds_each_sorted() {
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
    fn refusals_name_the_header() {
        let text = r#"{"request": {"set": {"": "1", ":path": "/", "x-sluice-cluster": "v"},
            "add": {"a": "abc%123", "b": "%START_TIME%", "c": "%START_TIME%%", "d": "\n"},
            "remove": ["Host"]}, "response": {"set": {":authority": "x"}}}"#;
        assert_eq!(
            read_text(text).unwrap_err(),
            "request.set[\"\"]: \"\" is not a header name\n\
             request.set[\":path\"]: \":path\" is a pseudo-header that cannot be used here\n\
             request.set.x-sluice-cluster: \"x-sluice-cluster\" is one of Sluice's own headers\n\
             request.add.a: \"abc%123\" has a single %, write %%\n\
             request.add.b: \"%START_TIME%\" has a %COMMAND%, which a filter cannot evaluate; \
             set it in Envoy's route\n\
             request.add.c: \"%START_TIME%%\" has a single %, write %%\n\
             request.add.d: \"\\n\" has a control character\n\
             request.remove[0]: \"Host\" cannot be changed here\n\
             response.set[\":authority\"]: \":authority\" cannot be changed here"
        );
    }
}
