//! `HTTPRoute`: what happens to a request that satisfies one of the route's matches.

use std::sync::Arc;

use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::request::Request;
use crate::spec::cors::Cors;
use crate::spec::delegate::{Delegate, Delegation};
use crate::spec::destination::{Destination, Naming};
use crate::spec::direct_response::DirectResponse;
use crate::spec::fault::{self, FAULT, Fault};
use crate::spec::header_operations::{self, Headers};
use crate::spec::http_match::{HttpMatch, MatchedPath};
use crate::spec::mirror::{self, Mirror};
use crate::spec::place::{Place, Places};
use crate::spec::redirect::Redirect;
use crate::spec::rewrite::Rewrite;
use crate::spec::scope::Scope;
use crate::spec::split::Split;
use crate::spec::target::{self, TWO_AUTHORITIES, Target, WeightedDestination};
use crate::spec::timeouts::{self, Retries};
use crate::value::header::FixedEdit;
use crate::value::percent::Percent;

/// A match with its route.
#[derive(Debug)]
pub struct Rule {
    /// Name in logs: Istio's name of the route, or the place if the route has no name
    pub name: Box<str>,
    /// Place of the match, or of the route if it has no matches
    pub place: Place,
    /// Conditions of the match
    pub conditions: HttpMatch,
    /// Route of the requests that satisfy the conditions
    pub route: Arc<HttpRoute>,
}

/// A route, compiled.
#[derive(Debug)]
pub struct HttpRoute {
    /// Action on a request
    pub action: Action,
    /// Rewrite of forwarded requests
    pub rewrite: Rewrite,
    /// CORS policy of forwarded requests
    pub cors: Option<Cors>,
    /// Faults to inject
    pub fault: Option<Fault>,
    /// Destinations of copies of the requests
    pub mirrors: Box<[Mirror]>,
}

/// Action of a route on a request.
#[derive(Debug)]
pub enum Action {
    /// Sends the request to a cluster.
    Forward(Split<Target>),
    /// Answers with a redirect.
    Redirect(Redirect, Box<[FixedEdit]>),
    /// Answers with a fixed response.
    Respond(DirectResponse, Box<[FixedEdit]>),
}

/// Rules of routes that apply to this proxy.
#[derive(Default)]
pub struct RouteRules {
    /// The rules, in order
    pub rules: Vec<Arc<Rule>>,
    /// Places of the matches that do not apply to this proxy, or of a route if none of its applies
    pub left_out: Vec<Place>,
    /// Routes with `delegate`
    pub delegations: Vec<Delegation>,
}

fields!(HttpRoute as "HTTPRoute", "What happens to requests that satisfy one of the matches.", {
    "name": Kind::Text => "Name of the route in logs.";
    "match": Kind::List(&Kind::Object(HttpMatch::schema)) =>
        "Matches, of which a request must satisfy one; without matches the route applies to all \
         requests.";
    "route": Kind::List(&Kind::Object(WeightedDestination::schema)) =>
        "Destinations of the requests, selected by weight.";
    "redirect": Kind::AnyOf(&Kind::Object(Redirect::schema), &REDIRECT) =>
        "Answers with a redirect.";
    "directResponse": Kind::Object(DirectResponse::schema) => "Answers with a fixed response.";
    "delegate": Kind::Object(Delegate::schema) =>
        "A VirtualService without hosts, whose HTTP routes replace this one.";
    "rewrite": Kind::AnyOf(&Kind::Object(Rewrite::schema), &REWRITE) =>
        "Changes the path or the host of forwarded requests.";
    "timeout": Kind::Duration =>
        "Maximum time until the response is complete, such as 3s; that of Envoy's route if absent.";
    "retries": Kind::Object(Retries::schema) =>
        "Retries of failed requests; those of Envoy's route if absent.";
    "fault": Kind::AnyOf(&Kind::Object(Fault::schema), &FAULT) =>
        "Faults to inject, such as delays and aborts.";
    "mirror": Kind::Object(Destination::schema) => "Destination of copies of the requests.";
    "mirrorPercentage": Kind::Object(Percent::schema) =>
        "Share of the requests that are copied, in percent; all if absent.";
    "mirrorPercent": Kind::PERCENT => "Deprecated, use mirrorPercentage.";
    "mirrors": Kind::List(&Kind::Object(Mirror::schema)) =>
        "Several destinations of copies of the requests.";
    "corsPolicy": Kind::Object(Cors::schema) => "Policy for cross-origin requests.";
    "headers": Kind::Object(Headers::schema) => "Operations on request and response headers.";
});

/// Fields of which an object must have at least one.
const REDIRECT: [&str; 6] = ["uri", "prefixRewrite", "authority", "scheme", "port", "derivePort"];
const REWRITE: [&str; 3] = ["uri", "uriRegexRewrite", "authority"];

impl Rule {
    /// Returns the part of the path that matched, or `None` if a condition does not hold.
    #[inline]
    pub fn matches(&self, request: &Request<'_>) -> Option<MatchedPath> {
        self.conditions.matches(request)
    }
}

impl HttpRoute {
    /// Returns the edits of the response for the destination with the index `target`.
    #[inline]
    pub fn response_edits(&self, target: usize) -> &[FixedEdit] {
        match &self.action {
            Action::Forward(split) => split.target(target).map_or(&[], |target| &target.response),
            Action::Redirect(_, edits) | Action::Respond(_, edits) => edits,
        }
    }

    /// Reads a route, and adds its rules to `found`.
    pub fn read(
        node: &Node<'_>,
        places: Places<'_>,
        naming: &Naming,
        scope: &Scope<'_>,
        found: &mut RouteRules,
    ) -> Result<(), Reported> {
        let object = node.object::<Self>()?;
        let name = object.string("name");
        let matches = object.list_with("match", |node| HttpMatch::read(node, scope));
        let headers = object.optional("headers", header_operations::read);
        let rewrite = object.optional("rewrite", Rewrite::read);
        let cors = object.optional("corsPolicy", Cors::read);
        let timeout = object.optional("timeout", timeouts::read_timeout);
        let retries = object.optional("retries", timeouts::read_retries);
        let delegate = object.optional("delegate", |node| Delegate::check(node, scope));
        let fault = object.optional("fault", |node| {
            let left_to = report::Kind::LeftToFilter(Filter::Fault);
            node.notice_to(Filter::Router, left_to, "is left to the fault filter");
            fault::read(node)
        });
        let is_merged = places.matches.is_some(); // istiod does not check merged routes
        let mirrors = read_mirrors(&object, naming, is_merged);
        let targets = target::read_destinations(&object, naming);
        let redirect = object.optional("redirect", |node| {
            Ok(Redirect::read(node)?.for_called_port(scope.proxy.port))
        });
        let response = object.optional("directResponse", DirectResponse::read);
        let conflict = if is_merged { Ok(()) } else { check_action(&object) };
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
        conflict?;
        // The rules of the delegate are added after all virtual services are read.
        if delegate?.is_some() {
            return Ok(());
        }

        let edits = || headers.response.fixed_edits().into();
        let action = match (redirect, response) {
            (Some(redirect), _) => Action::Redirect(redirect, edits()),
            (None, Some(response)) => Action::Respond(response, edits()),
            (None, None) => {
                let entries = object.field("route").filter(|_| !targets.is_empty());
                let split = |list| target::split(&list, &targets, &headers, &rewrite, &fixed);
                Action::Forward(entries.map_or(Ok(Split::default()), split)?)
            }
        };
        let is_forwarded = matches!(action, Action::Forward(_));
        let mirrors = if is_forwarded { mirrors.into() } else { Box::default() };
        // Envoy's CORS filter ignores routes that do not forward (`CorsFilter::decodeHeaders`).
        let cors = cors.filter(|_| is_forwarded);
        if let Some(node) = object.field("corsPolicy").filter(|_| !is_forwarded) {
            let reason = "has no effect, because the route forwards nothing";
            node.notice_to(Filter::Router, report::Kind::NoEffect, reason);
        }
        let route = Arc::new(Self { action, rewrite, cors, fault, mirrors });
        found.add(places, name, matches, &route);
        Ok(())
    }
}

impl From<Action> for HttpRoute {
    /// A route that does only this.
    fn from(action: Action) -> Self {
        let rewrite = Rewrite::default();
        Self { action, rewrite, cors: None, fault: None, mirrors: Box::default() }
    }
}

impl RouteRules {
    /// Adds the rules of a route, one for each match.
    pub(crate) fn add(
        &mut self,
        places: Places<'_>,
        name: Option<&str>,
        matches: Vec<HttpMatch>,
        route: &Arc<HttpRoute>,
    ) {
        let rule = |place: Place, name: Option<String>, conditions| {
            let name = name.unwrap_or_else(|| place.path()).into();
            Arc::new(Rule { name, place, conditions, route: Arc::clone(route) })
        };
        if matches.is_empty() {
            self.rules.push(rule(places.route, name.map(str::to_owned), HttpMatch::any()));
            return;
        }
        if matches.iter().all(|conditions| !conditions.is_for_this_proxy) {
            self.left_out.push(places.route);
            return;
        }
        for (index, conditions) in matches.into_iter().enumerate() {
            let place = places.of_match(index);
            if !conditions.is_for_this_proxy {
                self.left_out.push(place);
                continue;
            }
            // Istio names the route in the same way.
            let name = name.map(|name| match &conditions.name {
                Some(own) => format!("{name}.{own}"),
                None => name.to_owned(),
            });
            self.rules.push(rule(place, name, conditions));
        }
    }
}

fn read_mirrors(
    object: &Object<'_>,
    naming: &Naming,
    is_merged: bool,
) -> Result<Vec<Mirror>, Reported> {
    let mirrors = mirror::read(object, naming, is_merged)?;
    for mirror in &mirrors {
        let reason = format_args!("mirroring to {} is left to the mirror filter", mirror.cluster);
        let left_to = report::Kind::LeftToFilter(Filter::Mirror);
        object.node.notice_to(Filter::Router, left_to, reason);
    }
    let is_answered =
        ["redirect", "directResponse"].iter().any(|name| object.field(name).is_some());
    if !mirrors.is_empty() && is_answered {
        let reason = "has mirrors that have no effect, because the route forwards nothing";
        object.node.notice_to(Filter::Mirror, report::Kind::NoEffect, reason);
    }
    Ok(mirrors)
}

/// Checks that a route does exactly one thing.
fn check_action(object: &Object<'_>) -> Result<(), Reported> {
    let has = |name: &&'static str| {
        let is_list = ["route", "mirrors"].contains(name);
        object.field(name).is_some_and(|node| !is_list || !node.is_empty_list())
    };
    // Without the router, faults and mirrors are enough.
    let is_routed = object.node.filters().contains(Filter::Router);
    let enough: &[&'static str] =
        if is_routed { &["route"] } else { &["route", "fault", "mirror", "mirrors"] };
    let (name, others): (_, &[&'static str]) = if object.field("delegate").is_some() {
        ("delegate", &["route", "redirect"])
    } else if has(&"redirect") {
        ("redirect", &["route", "directResponse", "fault", "rewrite"])
    } else if has(&"directResponse") {
        ("directResponse", &["route", "fault", "rewrite"])
    } else if enough.iter().any(has) {
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
