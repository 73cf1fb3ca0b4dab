//! `BackendRef` and `BackendObjectReference`: the Services that requests are sent to.

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::spec::destination::{Destination, Naming};
use crate::spec::gateway_api::filter_type;
use crate::spec::gateway_api::header_modifier::{self, HeaderModifier};
use crate::spec::header_operations::Headers;
use crate::spec::proxy::read_namespace;
use crate::value::host_name::{is_label, qualify};

/// An entry of `backendRefs`.
pub struct Backend {
    /// The Service; `None` if the reference is to another kind of object
    pub destination: Option<Destination>,
    /// Weight among the backends of the rule
    pub weight: u32,
    /// Operations of the entry's own filters
    pub headers: Headers,
}

/// The default group and kind of references.
const KIND: &str = "Service";

/// The fields of a reference, and some more.
macro_rules! backend_fields {
    ($type:ident as $name:literal, $description:literal, { $($more:tt)* }) => {
        fields!($type as $name, $description, {
            "group": Kind::Text => "API group of the backend; empty or absent for Services.";
            "kind": Kind::Text => "Kind of the backend; Service if absent, others are invalid.";
            "name" required: Kind::Text => "Name of the Service.";
            "namespace": Kind::OPTIONAL_LABEL => "Namespace of the Service; that of the route if absent.";
            "port": Kind::PORT => "Port of the Service; required for a Service.";
            $($more)*
        });
    };
}

/// `HTTPBackendRef` and `GRPCBackendRef`
pub struct BackendRef;

backend_fields!(BackendRef as "GatewayBackendRef", "A Service with its weight.", {
    "weight": Kind::Integer(0, MAX_WEIGHT) =>
        "Share of the requests, relative to the sum of all weights; 1 if absent.";
    "filters": Kind::List(&Kind::Object(BackendFilter::schema)) =>
        "Operations on headers, for requests to this backend.";
});

/// `BackendObjectReference`
pub struct MirrorBackend;

backend_fields!(MirrorBackend as "GatewayMirrorBackend", "A Service.", {});

const MAX_WEIGHT: i64 = 1_000_000;

/// A filter of a backend.
struct BackendFilter;

/// Types of filters. Of those, only the first two are supported on a backend.
const TYPES: [&str; 8] = [
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "CORS",
    "ExtensionRef",
    "ExternalAuth",
    "RequestMirror",
    "RequestRedirect",
    "URLRewrite",
];

fields!(BackendFilter as "GatewayBackendFilter", "Operations on headers.", {
    "type" required: Kind::OneOf(&TYPES) =>
        "The field that has the operations. With another type than RequestHeaderModifier and \
         ResponseHeaderModifier, the share of the backend is answered with 500.";
    "requestHeaderModifier": Kind::Object(HeaderModifier::schema) => "Operations on the request.";
    "responseHeaderModifier": Kind::Object(HeaderModifier::schema) => "Operations on the response.";
    "cors": Kind::Any => "Not supported on a backend.";
    "extensionRef": Kind::Any => "Not supported.";
    "externalAuth": Kind::Any => "Not supported.";
    "requestMirror": Kind::Any => "Not supported on a backend.";
    "requestRedirect": Kind::Any => "Not supported on a backend.";
    "urlRewrite": Kind::Any => "Not supported on a backend.";
});

impl Backend {
    /// Reads an entry of `backendRefs`.
    pub fn read(node: &Node<'_>, naming: &Naming) -> Result<Self, Reported> {
        let object = node.object::<BackendRef>()?;
        let destination = read_service(&object, naming, UNANSWERED);
        let weight = object.optional("weight", |node| match u32::try_from(node.integer()?) {
            Ok(weight) if i64::from(weight) <= MAX_WEIGHT => Ok(weight),
            _ => Err(node.invalid("is not in the range 0 to 1000000")),
        });
        let headers = object.list("filters", read_filter);
        let mut own = Headers::default();
        let (mut destination, weight) = (destination?, weight?.unwrap_or(1));
        for (name, headers) in headers? {
            match name {
                "RequestHeaderModifier" => own.request = headers.request,
                "ResponseHeaderModifier" => own.response = headers.response,
                _ => destination = None,
            }
        }
        Ok(Self { destination, weight, headers: own })
    }
}

/// Reads `backendRef` of a mirror; `None` if it is invalid.
pub fn read_mirror(node: &Node<'_>, naming: &Naming) -> Result<Option<Destination>, Reported> {
    read_service(&node.object::<MirrorBackend>()?, naming, NOT_COPIED)
}

/// What becomes of references to other kinds of objects.
const UNANSWERED: &str = "is not a Service: its share of the requests is answered with 500";
const NOT_COPIED: &str = "is not a Service: no copies are sent to it";

/// What becomes of backends with filters that only a rule may have.
const NOT_ON_BACKEND: &str = "this type is not supported on a backend, so its share of the \
    requests is answered with 500; put it on the rule";

/// Reads the fields of a reference. If it is not to a Service, returns `None` after the notice
/// `invalid`.
#[inline(never)]
fn read_service(
    object: &Object<'_>,
    naming: &Naming,
    invalid: &str,
) -> Result<Option<Destination>, Reported> {
    let (group, kind) = (object.string("group"), object.string("kind"));
    let name = object.required("name").and_then(|node| match node.string()? {
        "" => Err(node.error("must not be empty")),
        name => Ok((node, name)),
    });
    let namespace = object.given("namespace").map(|node| read_namespace(&node)).transpose();
    let port = object.optional("port", Node::port);
    let (group, kind) = (group?, kind?.unwrap_or(KIND));
    let ((node, name), namespace, port) = (name?, namespace?, port?);
    if group.is_some() || kind != KIND {
        object.node.notice_to(Filter::Router, report::Kind::Unresolved, invalid);
        return Ok(None);
    }
    let port = port.ok_or_else(|| object.absent("port", "is required for a Service"))?;
    if !is_label(name) {
        node.notice_to(Filter::Router, report::Kind::Unresolved, invalid);
        return Ok(None);
    }
    let host = qualify(name, namespace.as_deref().or(naming.namespace.as_deref()));
    Ok(Some(Destination::of_service(host, port, naming)))
}

fn read_filter(node: &Node<'_>) -> Result<(&'static str, Headers), Reported> {
    let object = node.object::<BackendFilter>()?;
    let kind = object.required("type").and_then(|node| {
        let kind = node.one_of(&TYPES)?;
        if !TYPES.iter().take(2).any(|own| *own == kind) {
            node.notice_to(Filter::Router, report::Kind::Unresolved, NOT_ON_BACKEND);
        }
        Ok(kind)
    })?;
    let request = object.optional("requestHeaderModifier", header_modifier::read_request);
    let response = object.optional("responseHeaderModifier", header_modifier::read_response);
    let headers = (request?, response?);
    let own = filter_type::field(&object, kind, &TYPES)?;
    if object.field(own).is_none() {
        return Err(object.absent(own, "is required"));
    }
    let (request, response) = (headers.0.unwrap_or_default(), headers.1.unwrap_or_default());
    Ok((kind, Headers { request, response }))
}
