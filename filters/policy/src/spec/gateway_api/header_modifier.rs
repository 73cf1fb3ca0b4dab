//! `HTTPHeaderFilter`: operations on headers. Unlike in Envoy's formats and in VirtualServices, a
//! `%` in a value is a plain character.

use crate::document::fields::fields;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::name_set::NameSet;
use crate::sort::sort;
use crate::spec::gateway_api::value_match::NOT_EMPTY;
use crate::spec::header_operations::{HeaderOps, Message, NamedValue, is_authority, read_name};
use crate::value::url::read_authority;

/// `HTTPHeaderFilter`
pub struct HeaderModifier;

fields!(HeaderModifier as "GatewayHeaderModifier", "Operations on the headers of a message.", {
    "set": Kind::List(&Kind::Object(Header::schema)) =>
        "Headers to set; the value replaces all present values.";
    "add": Kind::List(&Kind::Object(Header::schema)) => "Headers to add; present values remain.";
    "remove": Kind::TOKENS => "Names of headers to remove.";
});

/// `HTTPHeader`
struct Header;

fields!(Header as "GatewayHeader", "A header.", {
    "name" required: Kind::TOKEN => "Name of the header.";
    "value" required: Kind::Pattern(NOT_EMPTY) => "Value of the header.";
});

/// Reads the operations on the request. `Host` is the authority.
pub fn read_request(node: &Node<'_>) -> Result<HeaderOps, Reported> {
    read(node, Message::Request)
}

/// Reads the operations on the response.
pub fn read_response(node: &Node<'_>) -> Result<HeaderOps, Reported> {
    read(node, Message::Response)
}

#[inline(never)]
fn read(node: &Node<'_>, message: Message) -> Result<HeaderOps, Reported> {
    let object = node.object::<HeaderModifier>()?;
    let sets = read_values(&object, "set", message);
    let adds = read_values(&object, "add", message);
    let removes = object.list("remove", |node| read_name(node, node.string()?));
    Ok(HeaderOps::new(sets?, adds?, removes?))
}

fn read_values(
    object: &Object<'_>,
    field: &'static str,
    message: Message,
) -> Result<Vec<NamedValue>, Reported> {
    let mut seen = NameSet::default();
    let mut values: Vec<NamedValue> = Vec::new();
    for (node, value) in object.list_with(field, |node| Ok((*node, read_value(node, message)?)))? {
        if seen.insert(value.0.as_bytes()) {
            values.push(value);
        } else {
            let reason = "has no effect, because an earlier entry has the same name";
            node.notice(report::Kind::NoEffect, reason);
        }
    }
    sort(&mut values, |(left, _), (right, _)| left.cmp(right));
    Ok(values)
}

fn read_value(node: &Node<'_>, message: Message) -> Result<NamedValue, Reported> {
    let object = node.object::<Header>()?;
    let name = object.required("name").and_then(|node| match node.string()? {
        name if message == Message::Request && is_authority(name) => Ok(":authority".to_owned()),
        name => read_name(&node, name),
    });
    let value = object.required("value").and_then(|node| {
        let text = node.string()?;
        if text.is_empty() {
            return Err(node.error("must not be empty"));
        }
        if text.bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) {
            return Err(node.invalid("has a control character"));
        }
        match name.as_deref() {
            Ok(":authority") => read_authority(&node),
            _ => Ok(text.as_bytes().into()),
        }
    });
    let value = value?;
    Ok((name?, value))
}
