//! The destinations of a route, with the edits of the requests that they get.

use crate::document::fields::fields;
use crate::document::node::{Node, Object};
use crate::document::report::Reported;
use crate::request::Request;
use crate::spec::destination::{self, ClusterName, Destination, Naming};
use crate::spec::header_operations::{self, Headers};
use crate::spec::rewrite::Rewrite;
use crate::spec::split::{Choice, Split, read_weight};
use crate::value::header::{CLUSTER, FixedEdit, HeaderOperation};

/// Error for a route or a destination with more than one new authority.
pub(crate) const TWO_AUTHORITIES: &str = "sets the authority more than once";

/// A destination with the edits that do not depend on the request.
#[derive(Debug)]
pub struct Target {
    /// Edits of the request, including the header that selects the cluster unless its name depends
    /// on the port that the client called
    pub request: Box<[FixedEdit]>,
    /// Name of the cluster if it depends on the port that the client called
    pub cluster_by_port: Option<Box<ClusterName>>,
    /// Edits of the response
    pub response: Box<[FixedEdit]>,
    /// Whether there is no such destination, so that its share of the requests is answered with 500
    pub is_invalid: bool,
}

impl Target {
    /// Returns the name of the cluster, with the placeholder `{port}` if it depends on the port
    /// that the client called; `None` if there is no such destination.
    pub fn cluster(&self) -> Option<String> {
        if let Some(cluster) = &self.cluster_by_port {
            return Some(cluster.text().to_owned());
        }
        // The last edit: header operations of the document come before it.
        let edit = self.request.iter().rfind(|edit| edit.name() == CLUSTER)?;
        Some(String::from_utf8_lossy(&edit.as_edit().value).into_owned())
    }
}

/// `HTTPRouteDestination`: an entry of `route[]`.
pub(crate) struct WeightedDestination {
    pub(crate) destination: Destination,
    pub(crate) weight: u32,
    pub(crate) headers: Headers,
}

fields!(WeightedDestination as "HTTPRouteDestination", "A destination with its weight.", {
    "destination" required: Kind::Object(Destination::schema) => "Destination of the requests.";
    "weight": Kind::Integer(0, i32::MAX as i64) =>
        "Share of the requests, relative to the sum of all weights; 0 if absent.";
    "headers": Kind::Object(Headers::schema) => "Operations on request and response headers.";
});

/// Reads the list `route`.
pub(crate) fn read_destinations(
    object: &Object<'_>,
    naming: &Naming,
) -> Result<Vec<WeightedDestination>, Reported> {
    object.list_with("route", |node| {
        let object = node.object::<WeightedDestination>()?;
        let destination = object.required("destination");
        let destination = destination.and_then(|node| destination::read(&node, naming));
        let weight = object.optional("weight", read_weight);
        let headers = object.optional("headers", header_operations::read);
        let headers = headers?.unwrap_or_default();
        if headers.request.has_two_authorities {
            return Err(node.error(TWO_AUTHORITIES));
        }
        let weight = weight?.unwrap_or_default();
        Ok(WeightedDestination { destination: destination?, weight, headers })
    })
}

/// The destinations of a route, in `list`, with their weights and edits.
pub(crate) fn split(
    list: &Node<'_>,
    entries: &[WeightedDestination],
    headers: &Headers,
    rewrite: &Rewrite,
    fixed: &[FixedEdit],
) -> Result<Split<Target>, Reported> {
    if let [entry] = entries {
        for node in list.elements()? {
            header_operations::notice_overridden(&node, headers, &entry.headers);
        }
    }
    let choice = |entry: &WeightedDestination| Choice {
        weight: entry.weight,
        sampling_name: match entries {
            [_] => Box::default(),
            _ => entry.destination.sampling_name().into(),
        },
        target: target(entry, headers, rewrite, fixed),
    };
    Split::try_new(entries.iter().map(choice).collect()).map_err(|reason| list.error(reason))
}

/// Returns a destination with its edits, in the order in which they apply.
pub(crate) fn target(
    entry: &WeightedDestination,
    headers: &Headers,
    rewrite: &Rewrite,
    fixed: &[FixedEdit],
) -> Target {
    let own = &entry.headers;
    let authority = [&rewrite.authority, &headers.request.authority, &own.request.authority];
    let authority = authority.into_iter().flatten().next();
    let set = |value: &[u8]| FixedEdit::new(HeaderOperation::Set, ":authority", value);
    let authority = authority.map(|value| set(value));
    let cluster = &entry.destination.cluster;
    let cluster_by_port = cluster.is_by_port().then(|| Box::new(cluster.clone()));
    let (own_edits, of_route) = (own.request.fixed_edits(), headers.request.fixed_edits());
    let more = usize::from(authority.is_some()) + usize::from(cluster_by_port.is_none());
    let mut request = Vec::with_capacity(own_edits.len() + of_route.len() + fixed.len() + more);
    request.extend_from_slice(own_edits);
    request.extend_from_slice(of_route);
    request.extend(authority);
    request.extend_from_slice(fixed);
    if cluster_by_port.is_none() {
        request.push(FixedEdit::steering(CLUSTER, cluster.text().as_bytes()));
    }
    let response = [own.response.fixed_edits(), headers.response.fixed_edits()].concat();
    let (request, response) = (request.into(), response.into());
    Target { request, cluster_by_port, response, is_invalid: false }
}

/// The cluster of a destination, or what happens to the share of an invalid one.
pub(crate) fn cluster(target: &Target, request: &Request<'_>) -> String {
    if target.is_invalid {
        return "500 (no valid backend)".to_owned();
    }
    match &target.cluster_by_port {
        Some(cluster) => cluster.at(|| request.destination_port()).into_owned(),
        None => target.cluster().unwrap_or_default(),
    }
}
