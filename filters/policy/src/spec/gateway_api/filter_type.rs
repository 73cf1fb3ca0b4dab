//! `type` of a filter: the one field that has the filter's settings.

use crate::document::node::Object;
use crate::document::report::Reported;

/// Returns the field of the settings of a filter of the type `kind`. `types` are the types that the
/// filter could have.
///
/// # Errors
/// The filter also has the field of another type.
pub fn field(
    filter: &Object<'_>,
    kind: &'static str,
    types: &[&'static str],
) -> Result<&'static str, Reported> {
    for other in types.iter().filter(|other| **other != kind) {
        if let Some(node) = filter.field(name(other)) {
            return Err(node.error(format_args!("cannot be used with type {kind}")));
        }
    }
    Ok(name(kind))
}

fn name(kind: &str) -> &'static str {
    match kind {
        "RequestHeaderModifier" => "requestHeaderModifier",
        "ResponseHeaderModifier" => "responseHeaderModifier",
        "RequestMirror" => "requestMirror",
        "RequestRedirect" => "requestRedirect",
        "URLRewrite" => "urlRewrite",
        "CORS" => "cors",
        "ExternalAuth" => "externalAuth",
        _ => "extensionRef",
    }
}
