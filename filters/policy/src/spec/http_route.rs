//! `HTTPRoute`: what happens to the requests that one of its matches fits.

use std::rc::Rc;

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::node::{Node, Object, all};
use crate::document::report::{self, Reported};
use crate::request::Request;
use crate::spec::cors::Cors;
use crate::spec::destination::{self, Destination, Naming};
use crate::spec::direct_response::DirectResponse;
use crate::spec::fault::{self, Fault};
use crate::spec::header_operations::{self, Headers};
use crate::spec::http_match::{HttpMatch, MatchedPath};
use crate::spec::mirror::{self, Mirror};
use crate::spec::place::Place;
use crate::spec::redirect::Redirect;
use crate::spec::rewrite::Rewrite;
use crate::spec::scope::Scope;
use crate::spec::split::{Choice, Split, read_weight};
use crate::spec::timeouts::{self, Retries};
use crate::value::header::{CLUSTER, FixedEdit, HeaderOperation};
use crate::value::percent::Percent;

/// Why a route or a destination with more than one new authority is refused.
const TWO_AUTHORITIES: &str = "sets the authority more than once";

/// A match with the route that it leads to.
#[derive(Debug)]
pub struct Rule {
    /// The name for logs: Istio's name of the route, or else the place
    pub name: Box<str>,
    /// The place of the match, or of a route without matches
    pub place: Place,
    /// The conditions
    pub conditions: HttpMatch,
    /// What happens to a request that fulfils them
    pub route: Rc<HttpRoute>,
}

/// A route, compiled.
#[derive(Debug)]
pub struct HttpRoute {
    /// What it does
    pub action: Action,
    /// The rewrite of what is forwarded
    pub rewrite: Rewrite,
    /// The CORS policy
    pub cors: Option<Cors>,
    /// The fault that it injects
    pub fault: Option<Fault>,
    /// Where its requests are copied
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

/// The rules of a route, without those that are not for this proxy.
pub struct RouteRules {
    /// The rules, in order
    pub rules: Vec<Rc<Rule>>,
    /// The places of the matches that are left out, or of the route if all of them are
    pub left_out: Vec<Place>,
}

fields!(HttpRoute as "HTTPRoute", "What happens to the requests that one of its matches fits.", {
    "name": Kind::Text => "For logs.";
    "match": Kind::List(&Kind::Object(HttpMatch::schema)) =>
        "Conditions; the route is taken when one of them is fulfilled. None fits every request.";
    "route": Kind::List(&Kind::Object(WeightedDestination::schema)) =>
        "Where requests are sent, by weight.";
    "redirect": Kind::Object(Redirect::schema) => "Answers with a redirect.";
    "directResponse": Kind::Object(DirectResponse::schema) => "Answers with a fixed response.";
    "delegate": Kind::Unsupported => "Not supported; write the routes of the delegate instead.";
    "rewrite": Kind::Object(Rewrite::schema) =>
        "Changes the path or the host of what is forwarded.";
    "timeout": Kind::Text => "How long the response may take, such as 3s.";
    "retries": Kind::Object(Retries::schema) => "Retries.";
    "fault": Kind::Object(Fault::schema) => "Delays and aborts.";
    "mirror": Kind::Object(Destination::schema) => "Where copies go.";
    "mirrorPercentage": Kind::Object(Percent::schema) => "Share of the requests; all if absent.";
    "mirrorPercent": Kind::PERCENT => "Deprecated, use mirrorPercentage.";
    "mirrors": Kind::List(&Kind::Object(Mirror::schema)) => "Where copies go, several targets.";
    "corsPolicy": Kind::Object(Cors::schema) => "Cross-origin requests.";
    "headers": Kind::Object(Headers::schema) => "Header operations.";
});

impl Rule {
    /// The part of the path that matched, if the request fulfils all conditions.
    #[inline]
    pub fn matches(&self, request: &Request<'_>) -> Option<MatchedPath> {
        self.conditions.matches(request)
    }
}

impl HttpRoute {
    /// Edits of the response for the destination with this index.
    #[inline]
    pub fn response_edits(&self, target: usize) -> &[FixedEdit] {
        match &self.action {
            Action::Forward(split) => split.target(target).map_or(&[], |target| &target.response),
            Action::Redirect(_, edits) | Action::Respond(_, edits) => edits,
        }
    }

    /// Reads the route at `place`.
    pub fn read(
        node: &Node<'_>,
        place: Place,
        naming: &Naming,
        scope: &Scope<'_>,
    ) -> Result<RouteRules, Reported> {
        let object = node.object::<Self>()?;
        let name = object.string("name");
        let matches = object
            .elements("match")
            .and_then(|nodes| all(nodes.iter().map(|node| HttpMatch::read(node, scope))));
        let headers = object.optional("headers", header_operations::read);
        let rewrite = object.optional("rewrite", Rewrite::read);
        let cors = object.optional("corsPolicy", Cors::read);
        let timeout = object.optional("timeout", timeouts::read_timeout);
        let retries = object.optional("retries", timeouts::read_retries);
        let delegate = object.optional("delegate", |node| {
            Err::<(), _>(node.error("is not supported; write the routes of the delegate instead"))
        });
        let fault = object.optional("fault", |node| {
            let left_to = report::Kind::LeftToFilter(Filter::Fault);
            node.notice_to(Filter::Router, left_to, "is left to the fault filter");
            fault::read(node)
        });
        let mirrors = read_mirrors(&object, naming);
        let targets = read_destinations(&object, naming);
        let redirect = object.optional("redirect", Redirect::read);
        let response = object.optional("directResponse", DirectResponse::read);
        let conflict = check_action(&object);
        if let (Ok(Some(redirect)), Ok(matches), Some(node)) =
            (&redirect, &matches, object.field("redirect"))
            && redirect.replaces_prefix()
            && matches.iter().any(HttpMatch::matches_whole_path)
        {
            node.error("has prefixRewrite, which requires matches on a uri prefix");
        }

        let (headers, rewrite) = (headers?.unwrap_or_default(), rewrite?.unwrap_or_default());
        let is_rewritten = rewrite.authority.is_some() && headers.request.authority.is_some();
        if is_rewritten || headers.request.has_two_authorities {
            node.error(TWO_AUTHORITIES);
        }
        let (name, matches, cors, mirrors) = (name?, matches?, cors?, mirrors?);
        let (targets, redirect, response) = (targets?, redirect?, response?);
        let mut fixed: Vec<FixedEdit> = Vec::new();
        fixed.extend(timeout?);
        fixed.extend(retries?.unwrap_or_default());
        let fault = fault?;
        delegate?;
        conflict?;

        let edits = || headers.response.fixed_edits().into();
        let action = match (redirect, response) {
            (Some(redirect), _) => Action::Redirect(redirect, edits()),
            (None, Some(response)) => Action::Respond(response, edits()),
            (None, None) => {
                let list = object.required("route")?;
                Action::Forward(split(&list, &targets, &headers, &rewrite, &fixed)?)
            }
        };
        let is_forwarded = matches!(action, Action::Forward(_));
        let mirrors = if is_forwarded { mirrors.into() } else { Box::default() };
        let route = Rc::new(Self { action, rewrite, cors, fault, mirrors });
        Ok(rules(place, name, matches, &route))
    }
}

/// The rules of a route, one for each match.
fn rules(
    place: Place,
    name: Option<&str>,
    matches: Vec<HttpMatch>,
    route: &Rc<HttpRoute>,
) -> RouteRules {
    let rule = |place: Place, name: Option<String>, conditions| {
        let name = name.unwrap_or_else(|| place.to_string()).into();
        Rc::new(Rule { name, place, conditions, route: Rc::clone(route) })
    };
    if matches.is_empty() {
        let rules = vec![rule(place, name.map(str::to_owned), HttpMatch::any())];
        return RouteRules { rules, left_out: Vec::new() };
    }
    let mut found = RouteRules { rules: Vec::with_capacity(matches.len()), left_out: Vec::new() };
    for (index, conditions) in matches.into_iter().enumerate() {
        let place = place.matched(index);
        if !conditions.is_for_this_proxy {
            found.left_out.push(place);
            continue;
        }
        // The name that Istio gives to the route.
        let name = name.map(|name| match &conditions.name {
            Some(own) => format!("{name}.{own}"),
            None => name.to_owned(),
        });
        found.rules.push(rule(place, name, conditions));
    }
    if found.rules.is_empty() {
        found.left_out = vec![place];
    }
    found
}

fn read_mirrors(object: &Object<'_>, naming: &Naming) -> Result<Vec<Mirror>, Reported> {
    let mirrors = mirror::read(object, naming)?;
    for mirror in &mirrors {
        let reason = format_args!("mirroring to {} is left to the mirror filter", mirror.cluster);
        let left_to = report::Kind::LeftToFilter(Filter::Mirror);
        object.node.notice_to(Filter::Router, left_to, reason);
    }
    if !mirrors.is_empty() && object.field("route").is_none() {
        let reason = "has mirrors that have no effect, because the route forwards nothing";
        object.node.notice_to(Filter::Mirror, report::Kind::NoEffect, reason);
    }
    Ok(mirrors)
}

/// Checks that a route does exactly one thing.
fn check_action(object: &Object<'_>) -> Result<(), Reported> {
    let has = |name: &&'static str| {
        object.field(name).is_some_and(|node| *name != "route" || !node.is_empty_list())
    };
    let (name, others): (_, &[&'static str]) = if has(&"redirect") {
        ("redirect", &["route", "directResponse", "fault", "rewrite"])
    } else if has(&"directResponse") {
        ("directResponse", &["route", "fault", "rewrite"])
    } else if has(&"route") {
        return Ok(());
    } else {
        return Err(object.node.error("must have one of route, redirect, directResponse"));
    };
    let mut result = Ok(());
    for other in others.iter().filter(|other| has(other)) {
        let reason = format_args!("cannot have both {name} and {other}");
        result = Err(object.node.error(reason));
    }
    result
}

/// An entry of `route[]`, as `HTTPRouteDestination`.
struct WeightedDestination {
    destination: Destination,
    weight: u32,
    headers: Headers,
}

fields!(WeightedDestination as "HTTPRouteDestination", "A destination with its weight.", {
    "destination" required: Kind::Object(Destination::schema) => "Where requests are sent.";
    "weight": Kind::Integer(0, i32::MAX as i64) => "The share, out of the sum of all weights.";
    "headers": Kind::Object(Headers::schema) => "Header operations.";
});

fn read_destinations(
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

fn split(
    list: &Node<'_>,
    entries: &[WeightedDestination],
    headers: &Headers,
    rewrite: &Rewrite,
    fixed: &[FixedEdit],
) -> Result<Split<Target>, Reported> {
    if let [entry] = entries {
        for node in list.elements()? {
            notice_overridden_headers(&node, headers, &entry.headers);
        }
    }
    let choice = |entry: &WeightedDestination| Choice {
        weight: entry.weight,
        sampling_name: entry.destination.sampling_name().into(),
        target: target(entry, headers, rewrite, fixed),
    };
    Split::try_new(entries.iter().map(choice).collect()).map_err(|reason| list.error(reason))
}

/// Everything fixed about a destination, in the order in which it applies.
fn target(
    entry: &WeightedDestination,
    headers: &Headers,
    rewrite: &Rewrite,
    fixed: &[FixedEdit],
) -> Target {
    let own = &entry.headers;
    let mut request = own.request.fixed_edits().to_vec();
    request.extend_from_slice(headers.request.fixed_edits());
    let authority = [&rewrite.authority, &headers.request.authority, &own.request.authority];
    let authority = authority.into_iter().flatten().next();
    let set = |value: &[u8]| FixedEdit::new(HeaderOperation::Set, ":authority", value);
    request.extend(authority.map(|value| set(value)));
    request.extend_from_slice(fixed);
    request.push(FixedEdit::steering(CLUSTER, entry.destination.cluster.as_bytes()));
    let response = [own.response.fixed_edits(), headers.response.fixed_edits()].concat();
    Target { request: request.into(), response: response.into() }
}

/// With a single destination Istio lets its `set` win over the route's. Here the route's wins.
fn notice_overridden_headers(node: &Node<'_>, route: &Headers, own: &Headers) {
    let pairs =
        [("request", &route.request, &own.request), ("response", &route.response, &own.response)];
    for (message, route, own) in pairs {
        for name in own.names_set().filter(|name| route.names_set().any(|other| other == *name)) {
            let reason = format_args!(
                "sets the {message} header {name}, which the route sets too; the route's value is sent"
            );
            node.notice_to(Filter::Router, report::Kind::Overridden, reason);
        }
    }
}
