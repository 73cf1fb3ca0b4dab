//! `GRPCRouteMatch`: conditions on a gRPC request. The service and the method are its path,
//! `/SERVICE/METHOD`.

use crate::document::fields::fields;
use crate::document::node::Node;
use crate::document::report::Reported;
use crate::spec::gateway_api::http_match::Ranked;
use crate::spec::gateway_api::precedence::PathRank;
use crate::spec::gateway_api::value_match::{NamedMatch, TYPES, read_headers};
use crate::spec::string_match::StringMatch;
use crate::value::pattern::{compile_pattern, read_pattern};

/// `GRPCRouteMatch`
pub struct GrpcRouteMatch;

fields!(GrpcRouteMatch as "GatewayGRPCRouteMatch",
    "Conditions on a gRPC request; all of them must hold.", {
    "method": Kind::AnyOf(&Kind::Object(MethodMatch::schema), &["service", "method"]) =>
        "Condition on the gRPC service and method; all of them if absent.";
    "headers": Kind::List(&Kind::Object(NamedMatch::schema)) => "Conditions on headers.";
});

/// `GRPCMethodMatch`
struct MethodMatch;

fields!(MethodMatch as "GatewayMethodMatch", "A condition on the gRPC service and method.", {
    "type": Kind::OneOf(&TYPES) => "Exact (default), or RegularExpression (RE2).";
    "service": Kind::Text => "Name of the service with its package; any if absent.";
    "method": Kind::Text => "Name of the method; any if absent.";
});

/// Reads an entry of `matches`.
pub fn read(node: &Node<'_>) -> Result<Ranked, Reported> {
    let object = node.object::<GrpcRouteMatch>()?;
    let method = object.optional("method", read_method);
    let headers = read_headers(&object)?;
    let mut found = method?.unwrap_or_else(Ranked::any_grpc);
    found.rank.headers = headers.len();
    found.conditions.headers = headers.into();
    Ok(found)
}

/// Any service or method, as a regular expression.
const ANY: &str = "[^/]+";

fn read_method(node: &Node<'_>) -> Result<Ranked, Reported> {
    let object = node.object::<MethodMatch>()?;
    let kind = object.optional("type", |node| node.one_of(&TYPES));
    let (service, method) = (object.string("service"), object.string("method"));
    let (kind, service, method) = (kind?, service?, method?);
    let is_exact = kind != Some("RegularExpression");
    for (name, text) in [("service", service), ("method", method)] {
        let (Some(text), Some(node)) = (text, object.field(name)) else { continue };
        if !is_exact {
            // Each part is an expression of its own.
            read_pattern(&node)?;
        } else if !text.split('.').all(is_identifier) {
            return Err(node.invalid("is not the name of a gRPC service or method"));
        }
    }
    let bytes = |text: String| text.into_bytes().into();
    let mut found = match (service, method) {
        (None, None) => return Err(node.error("must have service, method or both")),
        (Some(service), Some(method)) if is_exact => {
            let uri = StringMatch::Exact(bytes(format!("/{service}/{method}")));
            Ranked::of_path(uri, PathRank::Exact, service.len())
        }
        (Some(service), None) if is_exact => {
            let uri = StringMatch::Prefix(bytes(format!("/{service}/")));
            Ranked::of_path(uri, PathRank::Prefix, service.len())
        }
        _ => {
            let part = |text: Option<&str>| text.unwrap_or(ANY).to_owned();
            let text = format!("/(?:{})/(?:{})", part(service), part(method));
            let uri = StringMatch::Regex(compile_pattern(node, &text)?);
            Ranked::of_path(uri, PathRank::Regex, service.map_or(0, str::len))
        }
    };
    found.rank.method_length = method.map_or(0, str::len);
    Ok(found)
}

/// Returns whether `text` is a part of the name of a service; a leading dot has an empty one.
fn is_identifier(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
}
