//! `HTTPPathModifier`: the new path of a rewrite or redirect.

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::value::url::read_path;

/// A new path.
pub enum PathModifier {
    /// Replaces the path elements that matched; does not end with a slash
    Elements(Box<[u8]>),
    /// Replaces the whole path
    Whole(Box<[u8]>),
}

const TYPES: [&str; 2] = ["ReplaceFullPath", "ReplacePrefixMatch"];

fields!(PathModifier as "GatewayPathModifier", "The new path.", {
    "type" required: Kind::OneOf(&TYPES) => "The field that has the path.";
    "replaceFullPath": Kind::Pattern(r"/[^\u0000-\u0020\u007f]*") =>
        "Replacement for the whole path.";
    "replacePrefixMatch": Kind::Pattern(r"(/[^\u0000-\u0020\u007f]*)?") =>
        "Replacement for the prefix that matched; a slash at the end is ignored.";
});

/// Reads `path` of a rewrite or redirect.
#[inline(never)]
pub fn read(node: &Node<'_>) -> Result<PathModifier, Reported> {
    let object = node.object::<PathModifier>()?;
    let kind = object.required("type").and_then(|node| node.one_of(&TYPES));
    let whole = object.optional("replaceFullPath", read_absolute);
    let elements = object.optional("replacePrefixMatch", |node| match node.string()? {
        "" => Ok(Box::default()),
        _ => read_absolute(node),
    });
    let (kind, whole, elements) = (kind?, whole?, elements?);
    let (name, other) = match kind {
        "ReplaceFullPath" => ("replaceFullPath", "replacePrefixMatch"),
        _ => ("replacePrefixMatch", "replaceFullPath"),
    };
    if let Some(node) = object.field(other) {
        return Err(node.error(format_args!("cannot be used with type {kind}")));
    }
    match (whole, elements) {
        (Some(path), None) => Ok(PathModifier::Whole(path)),
        (None, Some(path)) => {
            Ok(PathModifier::Elements(path.strip_suffix(b"/").unwrap_or(&path).into()))
        }
        _ => Err(object.absent(name, "is required")),
    }
}

fn read_absolute(node: &Node<'_>) -> Result<Box<[u8]>, Reported> {
    match node.string()?.starts_with('/') {
        true => read_path(node),
        false => Err(node.invalid("does not start with /")),
    }
}
