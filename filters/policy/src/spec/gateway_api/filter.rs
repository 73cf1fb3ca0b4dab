//! `HTTPRouteFilter` and `GRPCRouteFilter`: what a rule does with requests and responses.

use crate::document::fields::{Fields, fields};
use crate::document::filter::Filter;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::name_set::NameSet;
use crate::spec::cors::Cors;
use crate::spec::destination::Naming;
use crate::spec::gateway_api::backend::{MirrorBackend, read_mirror};
use crate::spec::gateway_api::cors::{self, CorsFilter};
use crate::spec::gateway_api::filter_type;
use crate::spec::gateway_api::header_modifier::{self, HeaderModifier};
use crate::spec::gateway_api::url::{RequestRedirect, UrlRewrite, read_redirect, read_rewrite};
use crate::spec::header_operations::Headers;
use crate::spec::mirror::Mirror;
use crate::spec::redirect::Redirect;
use crate::spec::rewrite::Rewrite;
use crate::value::percent::Percent;

/// The filters of a rule.
#[derive(Default)]
pub struct Filters {
    /// Operations on headers
    pub headers: Headers,
    /// The redirect
    pub redirect: Option<Redirect>,
    /// The rewrite
    pub rewrite: Rewrite,
    /// The mirrors
    pub mirrors: Vec<Mirror>,
    /// The CORS policy
    pub cors: Option<Cors>,
    /// Whether the redirect or the rewrite replaces the prefix that matched
    pub replaces_prefix: bool,
    /// Whether there is a filter that cannot be carried out. The Gateway API demands that requests
    /// get an error then, since skipping a filter may be unsafe
    pub has_unknown: bool,
}

/// `HTTPRouteFilter`
pub struct HttpFilter;

/// `GRPCRouteFilter`
pub struct GrpcFilter;

const HTTP_TYPES: [&str; 8] = [
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "RequestMirror",
    "RequestRedirect",
    "URLRewrite",
    "CORS",
    "ExternalAuth",
    "ExtensionRef",
];

const GRPC_TYPES: [&str; 4] =
    ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef"];

fields!(HttpFilter as "GatewayHTTPRouteFilter", "What a rule does with requests and responses.", {
    "type" required: Kind::OneOf(&HTTP_TYPES) =>
        "The field that has the filter's settings. With ExtensionRef or ExternalAuth, which are not \
         supported, requests are answered with 500.";
    "requestHeaderModifier": Kind::Object(HeaderModifier::schema) =>
        "Operations on the headers of the request.";
    "responseHeaderModifier": Kind::Object(HeaderModifier::schema) =>
        "Operations on the headers of the response.";
    "requestMirror": Kind::Object(RequestMirror::schema) => "Copies requests.";
    "requestRedirect": Kind::Object(RequestRedirect::schema) => "Answers with a redirect.";
    "urlRewrite": Kind::Object(UrlRewrite::schema) => "Changes the path or the host of requests.";
    "cors": Kind::Object(CorsFilter::schema) => "Policy for cross-origin requests.";
    "externalAuth": Kind::Any => "Not supported; use Envoy's ext_authz filter.";
    "extensionRef": Kind::Any => "Not supported; use the settings of Sluice.";
});

fields!(GrpcFilter as "GatewayGRPCRouteFilter", "What a rule does with requests and responses.", {
    "type" required: Kind::OneOf(&GRPC_TYPES) =>
        "The field that has the filter's settings. With ExtensionRef, which is not supported, \
         requests are answered with 500.";
    "requestHeaderModifier": Kind::Object(HeaderModifier::schema) =>
        "Operations on the headers of the request.";
    "responseHeaderModifier": Kind::Object(HeaderModifier::schema) =>
        "Operations on the headers of the response.";
    "requestMirror": Kind::Object(RequestMirror::schema) => "Copies requests.";
    "extensionRef": Kind::Any => "Not supported; use the settings of Sluice.";
});

/// `HTTPRequestMirrorFilter`
struct RequestMirror;

fields!(RequestMirror as "GatewayRequestMirror", "Copies requests.", {
    "backendRef" required: Kind::Object(MirrorBackend::schema) => "Destination of the copies.";
    "percent": Kind::PERCENT => "Share of the requests that are copied, in percent; all if absent.";
    "fraction": Kind::Object(Fraction::schema) => "Share of the requests that are copied.";
});

/// `Fraction`
struct Fraction;

fields!(Fraction as "GatewayFraction", "A share: numerator divided by denominator.", {
    "numerator" required: Kind::Integer(0, i32::MAX as i64) => "At most the denominator.";
    "denominator": Kind::Integer(1, i32::MAX as i64) => "100 if absent.";
});

const EXTENSION: &str = "ExtensionRef is not supported, so the requests of the rule are answered \
    with 500; use the settings of the document (faults, mirroring, sampling) or put an Envoy filter \
    beside it";
const AUTHORIZATION: &str = "ExternalAuth is not supported, so the requests of the rule are \
    answered with 500; put Envoy's ext_authz filter before this one in the filter chain";

impl Filters {
    /// Reads `filters` of a rule of `T`, which is [`HttpFilter`] or [`GrpcFilter`].
    pub fn read<T: Fields>(rule: &Object<'_>, naming: &Naming) -> Result<Self, Reported> {
        let mut filters = Self::default();
        let mut seen = NameSet::default();
        let mut result = Ok(());
        for node in rule.elements("filters")? {
            let read = node.object::<T>();
            let read = read.and_then(|object| filters.add(&object, T::NAMES, &mut seen, naming));
            result = result.and(read);
        }
        if filters.redirect.is_some()
            && filters.rewrite.is_some()
            && let Some(node) = rule.field("filters")
        {
            return Err(node.error("cannot have both RequestRedirect and URLRewrite"));
        }
        result.map(|()| filters)
    }

    #[inline(never)]
    fn add(
        &mut self,
        object: &Object<'_>,
        names: &[&'static str],
        seen: &mut NameSet,
        naming: &Naming,
    ) -> Result<(), Reported> {
        let types: &[&str] = if names.contains(&"urlRewrite") { &HTTP_TYPES } else { &GRPC_TYPES };
        let (node, kind) =
            object.required("type").and_then(|node| Ok((node, node.one_of(types)?)))?;
        let field = filter_type::field(object, kind, types)?;
        let unsupported = match kind {
            "ExtensionRef" => Some(EXTENSION),
            "ExternalAuth" => Some(AUTHORIZATION),
            _ => None,
        };
        if let Some(reason) = unsupported {
            node.notice_to(Filter::Router, report::Kind::Unresolved, reason);
            self.has_unknown = true;
            return Ok(());
        }
        let settings = object.required(field)?;
        if kind != "RequestMirror" && !seen.insert(kind.as_bytes()) {
            return Err(node.invalid("cannot occur twice in a rule"));
        }
        match kind {
            "RequestHeaderModifier" => {
                self.headers.request = header_modifier::read_request(&settings)?;
            }
            "ResponseHeaderModifier" => {
                self.headers.response = header_modifier::read_response(&settings)?;
            }
            "RequestMirror" => {
                let mirror = read_request_mirror(&settings, self.mirrors.len(), naming)?;
                self.mirrors.extend(mirror);
            }
            "RequestRedirect" => {
                let (redirect, is_of_prefix) = read_redirect(&settings)?;
                self.redirect = Some(redirect.for_called_port(naming.called));
                self.replaces_prefix |= is_of_prefix;
            }
            "URLRewrite" => {
                let (rewrite, is_of_prefix) = read_rewrite(&settings)?;
                self.rewrite = rewrite;
                self.replaces_prefix |= is_of_prefix;
            }
            _ => self.cors = Some(cors::read(&settings)?),
        }
        Ok(())
    }
}

fn read_request_mirror(
    node: &Node<'_>,
    index: usize,
    naming: &Naming,
) -> Result<Option<Mirror>, Reported> {
    let object = node.object::<RequestMirror>()?;
    let backend = object.required("backendRef").and_then(|node| read_mirror(&node, naming));
    let percent = object.optional("percent", |node| {
        let percent = u32::try_from(node.integer()?).ok();
        let percent = percent.and_then(|percent| Percent::of(percent, 100));
        percent.ok_or_else(|| node.invalid("is not in the range 0 to 100"))
    });
    let fraction = object.optional("fraction", read_fraction);
    let exclusive = object.exclude("percent", "fraction");
    let (backend, percent, fraction) = (backend?, percent?, fraction?);
    exclusive?;
    let percentage = percent.or(fraction).unwrap_or(Percent::ALL);
    let mirror = backend.map(|destination| Mirror::new(index, &destination, percentage));
    if let Some(mirror) = &mirror {
        let reason = format_args!("mirroring to {} is left to the mirror filter", mirror.cluster);
        let left_to = report::Kind::LeftToFilter(Filter::Mirror);
        node.notice_to(Filter::Router, left_to, reason);
    }
    Ok(mirror)
}

fn read_fraction(node: &Node<'_>) -> Result<Percent, Reported> {
    let object = node.object::<Fraction>()?;
    let number = |node: &Node<'_>, least| match i32::try_from(node.integer()?).map(u32::try_from) {
        Ok(Ok(number)) if number >= least => Ok(number),
        _ => Err(node.invalid(format_args!("is not in the range {least} to 2147483647"))),
    };
    let part = object.required("numerator").and_then(|node| Ok((node, number(&node, 0)?)));
    let whole = object.optional("denominator", |node| number(node, 1));
    let ((node, part), whole) = (part?, whole?.unwrap_or(100));
    Percent::of(part, whole).ok_or_else(|| node.invalid("is greater than the denominator"))
}
