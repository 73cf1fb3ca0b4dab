//! `HTTPRoute`: what happens to the requests that one of its matches fits.

mod rules;

use std::rc::Rc;

use crate::document::filter::Filter;
use crate::document::node::{Node, Object};
use crate::lookup::rule_index::Key;
use crate::request::Request;
use crate::spec::cors::Cors;
use crate::spec::destination::{self, Destination, Naming};
use crate::spec::direct_response::DirectResponse;
use crate::spec::fault::{self, Fault};
use crate::spec::header_operations::{self, Headers};
use crate::spec::http_match::{HttpMatch, MatchedPath, Scope};
use crate::spec::mirror::{self, Mirror};
use crate::spec::redirect::Redirect;
use crate::spec::rewrite::Rewrite;
use crate::spec::split::{Choice, Split};
use crate::spec::timeouts;
use crate::value::header::{CLUSTER, FixedEdit, HeaderOperation};

/// Why a route or a destination with more than one new authority is refused.
const TWO_AUTHORITIES: &str = "sets the authority more than once";

/// A route, compiled.
#[derive(Debug)]
pub struct HttpRoute {
    /// The conditions, of which one is enough
    matches: Box<[NamedMatch]>,
    /// What it does
    pub action: Action,
    /// The rewrite of what is forwarded
    pub rewrite: Rewrite,
    /// The CORS policy
    pub cors: Option<Cors>,
    /// The fault that it injects
    pub fault: Option<Fault>,
    /// Where its requests are copied to
    pub mirrors: Box<[Mirror]>,
}

/// What a route does.
#[derive(Debug)]
pub enum Action {
    /// Sends the request to a cluster.
    Forward(Split<Target>),
    /// Answers with a redirect.
    Redirect(Redirect, Box<[FixedEdit]>),
    /// Answers with a fixed response.
    Respond(DirectResponse, Box<[FixedEdit]>),
}

/// A destination with everything that is fixed about sending a request there.
#[derive(Debug)]
pub struct Target {
    /// Edits of the request, the cluster included
    pub request: Box<[FixedEdit]>,
    /// Edits of the response
    pub response: Box<[FixedEdit]>,
}

#[derive(Debug)]
struct NamedMatch {
    name: Box<str>,
    conditions: HttpMatch,
}

impl HttpRoute {
    /// How many matches there are, of which one is enough.
    pub fn match_count(&self) -> usize {
        self.matches.len()
    }

    /// The name for logs of a match, and the part of the path that it is about, if it fits.
    #[inline]
    pub fn matches(&self, index: usize, request: &Request<'_>) -> Option<(&str, MatchedPath)> {
        let entry = self.matches.get(index)?;
        Some((&*entry.name, entry.conditions.matches(request)?))
    }

    /// The conditions of a match, for an index.
    pub fn keys(&self, index: usize) -> Vec<Key<'_>> {
        self.matches.get(index).map_or(Vec::new(), |entry| entry.conditions.keys())
    }

    /// Whether every request with a path matches.
    pub fn is_catch_all(&self) -> bool {
        self.matches.iter().any(|entry| entry.conditions.is_catch_all())
    }

    /// Edits of the response for the destination with this index.
    #[inline]
    pub fn response_edits(&self, target: usize) -> &[FixedEdit] {
        match &self.action {
            Action::Forward(split) => split.target(target).map_or(&[], |target| &target.response),
            Action::Redirect(_, edits) | Action::Respond(_, edits) => edits,
        }
    }

    /// Reads the route at `path`. `None` after an error, and for a route that is not for this proxy.
    pub fn read(
        node: &Node<'_>,
        path: &str,
        naming: &Naming,
        scope: &Scope<'_>,
    ) -> Option<Rc<Self>> {
        let mut object = node.object()?;
        let name = object.string("name");
        let match_nodes = object.list("match");
        let matches = read_matches(path, name, &match_nodes, scope);
        let headers = object.field("headers").and_then(|node| header_operations::read(&node));
        let headers = headers.unwrap_or_default();
        let rewrite_node = object.field("rewrite");
        let rewrite = rewrite_node.as_ref().and_then(Rewrite::read).unwrap_or_default();
        check_authority(&object, &rewrite, &headers);
        let cors = object.field("corsPolicy").and_then(|node| Cors::read(&node));
        let mut fixed: Vec<FixedEdit> = Vec::new();
        fixed.extend(object.field("timeout").and_then(|node| timeouts::read_timeout(&node)));
        fixed.extend(object.field("retries").map_or(Vec::new(), |n| timeouts::read_retries(&n)));
        if let Some(node) = object.field("delegate") {
            node.error("is not supported, write the delegate's routes here");
        }
        let fault = object.field("fault").and_then(|node| {
            node.notice_to(Filter::Router, "is not carried out by this filter");
            fault::read(&node)
        });
        let mirrors = read_mirrors(&mut object, naming);
        let action = read_action(&mut object, naming, &headers, &rewrite, &fixed);
        if let Some(Action::Redirect(redirect, _)) = &action {
            check_prefix_redirect(&mut object, redirect, &matches);
        }
        // Copied into as much memory as it takes: a vector has room for more, in every route.
        let matches: Box<[_]> =
            matches.into_iter().filter(|entry| entry.conditions.is_for_this_proxy).collect();
        if matches.is_empty() {
            return None;
        }
        let action = action?;
        let mirrors = if matches!(action, Action::Forward(_)) { mirrors } else { Box::default() };
        Some(Rc::new(Self { matches, action, rewrite, cors, fault, mirrors }))
    }
}

fn read_matches(
    path: &str,
    route_name: Option<&str>,
    nodes: &[Node<'_>],
    scope: &Scope<'_>,
) -> Vec<NamedMatch> {
    if nodes.is_empty() {
        let name = route_name.unwrap_or(path).into();
        return vec![NamedMatch { name, conditions: HttpMatch::any() }];
    }
    let mut matches = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let Some(conditions) = HttpMatch::read(node, scope) else { continue };
        // Istio's name of the route; without one, the place in the document.
        let name = match (route_name, &conditions.name) {
            (Some(route), Some(own)) => format!("{route}.{own}"),
            (Some(route), None) => route.to_owned(),
            (None, _) => format!("{path}.match[{index}]"),
        };
        matches.push(NamedMatch { name: name.into(), conditions });
    }
    matches
}

fn read_mirrors(object: &mut Object<'_>, naming: &Naming) -> Box<[Mirror]> {
    let mirrors = mirror::read(object, naming);
    for mirror in &mirrors {
        let text = format!("mirroring to {} is not carried out by this filter", mirror.cluster);
        object.node.notice_to(Filter::Router, text);
    }
    let is_forwarded = object.field("route").is_some();
    if !mirrors.is_empty() && !is_forwarded {
        object.node.notice_to(Filter::Mirror, "has mirrors without effect: it forwards nothing");
    }
    mirrors.into()
}

fn check_authority(object: &Object<'_>, rewrite: &Rewrite, headers: &Headers) {
    let is_rewritten = rewrite.authority.is_some() && headers.request.authority.is_some();
    if is_rewritten || headers.request.has_two_authorities {
        object.node.error(TWO_AUTHORITIES);
    }
}

fn check_prefix_redirect(object: &mut Object<'_>, redirect: &Redirect, matches: &[NamedMatch]) {
    let is_whole = matches.iter().any(|entry| entry.conditions.matches_whole_path());
    if let Some(node) = object.field("redirect").filter(|_| redirect.replaces_prefix() && is_whole)
    {
        node.error("has prefixRewrite, which needs matches on a uri prefix, not exact or regex");
    }
}

fn read_action(
    object: &mut Object<'_>,
    naming: &Naming,
    headers: &Headers,
    rewrite: &Rewrite,
    fixed: &[FixedEdit],
) -> Option<Action> {
    let node = object.node;
    let route = object.field("route").filter(|node| !node.is_empty_list());
    let redirect = object.field("redirect");
    let response = object.field("directResponse");
    let (fault, rewrite_given) = (object.field("fault"), object.field("rewrite"));

    let given = [
        ("route", route.is_some()),
        ("redirect", redirect.is_some()),
        ("directResponse", response.is_some()),
        ("fault", fault.is_some()),
        ("rewrite", rewrite_given.is_some()),
    ];
    let conflict = |name: &str, others: &[&str]| {
        for (other, is_given) in given {
            if is_given && others.contains(&other) {
                node.error(format_args!("has both {name} and {other}"));
            }
        }
    };
    if redirect.is_some() {
        conflict("redirect", &["route", "directResponse", "fault", "rewrite"]);
    } else if response.is_some() {
        conflict("directResponse", &["route", "fault", "rewrite"]);
    } else if route.is_none() {
        node.error("has none of route, redirect and directResponse");
    }

    let split = route.and_then(|node| read_split(&node, naming, headers, rewrite, fixed));
    let redirect = redirect.map(|node| Redirect::read(&node));
    let response = response.map(|node| DirectResponse::read(&node));
    let edits = || headers.response.fixed_edits().into();
    match (redirect, response, split) {
        (Some(redirect), _, _) => Some(Action::Redirect(redirect?, edits())),
        (None, Some(response), _) => Some(Action::Respond(response?, edits())),
        (None, None, split) => split.map(Action::Forward),
    }
}

fn read_split(
    node: &Node<'_>,
    naming: &Naming,
    headers: &Headers,
    rewrite: &Rewrite,
    fixed: &[FixedEdit],
) -> Option<Split<Target>> {
    let entries = node.elements();
    let is_single = entries.len() == 1;
    let read = |node: &Node<'_>| {
        let entry = read_weighted(node, naming)?;
        if is_single {
            notice_shadowed_headers(node, headers, &entry.headers);
        }
        let target = target(&entry, headers, rewrite, fixed);
        let sampling_name = entry.destination.sampling_name().into();
        Some(Choice { weight: entry.weight, sampling_name, target })
    };
    let choices: Vec<_> = entries.iter().map(read).collect();
    split_by_weight(node, choices.into_iter().collect::<Option<Vec<_>>>()?)
}

/// A split between choices; their errors are about `node`.
pub(crate) fn split_by_weight<T>(node: &Node<'_>, choices: Vec<Choice<T>>) -> Option<Split<T>> {
    let reason = match Split::try_new(choices) {
        Ok(split) => return Some(split),
        Err(reason) => reason,
    };
    node.error(reason);
    None
}

/// An entry of `route[]`.
struct WeightedDestination {
    destination: Destination,
    weight: u32,
    headers: Headers,
}

fn read_weighted(node: &Node<'_>, naming: &Naming) -> Option<WeightedDestination> {
    let mut object = node.object()?;
    let destination = object.required("destination");
    let weight = object.field("weight").map_or(Some(0), |node| read_weight(&node));
    let headers =
        object.field("headers").map_or(Some(Headers::default()), |n| header_operations::read(&n));
    if headers.as_ref().is_some_and(|headers| headers.request.has_two_authorities) {
        node.error(TWO_AUTHORITIES);
    }
    let destination = destination.and_then(|node| destination::read(&node, naming));
    Some(WeightedDestination { destination: destination?, weight: weight?, headers: headers? })
}

pub(crate) fn read_weight(node: &Node<'_>) -> Option<u32> {
    let weight = node.integer()?;
    if weight < 0 {
        node.invalid("is negative");
        return None;
    }
    let weight = i32::try_from(weight).ok().and_then(|weight| u32::try_from(weight).ok());
    if weight.is_none() {
        node.invalid("is above 2147483647");
    }
    weight
}

/// Everything fixed about a destination, in the order in which it applies.
fn target(
    entry: &WeightedDestination,
    headers: &Headers,
    rewrite: &Rewrite,
    fixed: &[FixedEdit],
) -> Target {
    let set = |name: &str, value: &[u8]| FixedEdit::new(HeaderOperation::Set, name, value);
    let own = &entry.headers;
    let mut request = own.request.fixed_edits().to_vec();
    request.extend_from_slice(headers.request.fixed_edits());
    let authority = [&rewrite.authority, &headers.request.authority, &own.request.authority];
    let authority = authority.into_iter().flatten().next();
    request.extend(authority.map(|authority| set(":authority", authority)));
    request.extend_from_slice(fixed);
    request.push(FixedEdit::steering(CLUSTER, entry.destination.cluster.as_bytes()));
    let response = [own.response.fixed_edits(), headers.response.fixed_edits()].concat();
    Target { request: request.into(), response: response.into() }
}

/// With a single destination Istio lets its `set` win over the route's, here the route's wins.
fn notice_shadowed_headers(node: &Node<'_>, route: &Headers, own: &Headers) {
    let pairs =
        [("request", &route.request, &own.request), ("response", &route.response, &own.response)];
    for (message, route, own) in pairs {
        for name in own.names_set().filter(|name| route.names_set().any(|other| other == *name)) {
            let text = format!(
                "sets the {message} header {name}, which the route sets too; the route's value is sent"
            );
            node.notice_to(Filter::Router, text);
        }
    }
}
