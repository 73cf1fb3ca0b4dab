//! Why a request is treated as it is: rule by rule, what was asked and what was found. At a desk only,
//! no filter asks for it.
//!
//! The conditions are those by which the filters decide; only that all of them are looked at, and in
//! order, is different.

use std::collections::HashSet;
use std::time::SystemTime;

use crate::desk::lint::{remove_route_names, route_path};
use crate::document::filter::Filter;
use crate::document::json::Json;
use crate::document::report::Rejection;
use crate::fault::{self, Faults};
use crate::mirror::{self, Mirrors};
use crate::request::{Draws, Request};
use crate::router::Router;
use crate::router::decision::Decision;
use crate::spec::document::Document;
use crate::spec::http_route::Action;
use crate::spec::proxy::NodeMetadata;
use crate::spec::virtual_services::VirtualServices;
use crate::value::header::CLUSTER;

/// The rules of a document, to be asked about requests.
#[derive(Debug)]
pub struct Explainer {
    router: Router,
    faults: Faults,
    mirrors: Mirrors,
    /// The same rules, whose matches go by their paths
    rules: VirtualServices,
    left_out: Vec<String>,
}

/// The rules that were tried for a request, up to the one that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Whether any virtual service has the request's host
    pub has_virtual_host: bool,
    /// Each match that was looked at
    pub tried: Vec<Tried>,
    /// The clusters of the route that is taken, with their weights out of the sum of all
    pub shares: Vec<(u32, String)>,
}

/// A match that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The JSON path of the match, or of a route without one
    pub path: String,
    /// What it asks for
    pub conditions: Vec<Condition>,
    /// Whether the request takes this route
    pub fits: bool,
}

/// One condition of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The field of the match, such as `headers.end-user`
    pub field: String,
    /// What it asks for, such as `exact "cheng"`
    pub wanted: String,
    /// What the request has, in quotes, or `absent`
    pub found: String,
    /// Whether that is enough
    pub holds: bool,
}

impl Explainer {
    /// Reads a document as the filters do.
    ///
    /// # Errors
    /// A document with any error is rejected as a whole, with all of its errors.
    pub fn from_json(document: &[u8], metadata: &dyn NodeMetadata) -> Result<Self, Rejection> {
        let (router, _) = Router::from_json(document, metadata)?;
        let (faults, _) = Faults::from_json(document, metadata)?;
        let (mirrors, _) = Mirrors::from_json(document, metadata)?;
        let mut json = Json::parse(document).unwrap_or(Json::Null);
        remove_route_names(&mut json);
        let (document, _) = Document::compile(&json, Filter::Router, metadata)?;
        let rules = document.services;
        let left_out = left_out(&json, &rules);
        Ok(Self { router, faults, mirrors, rules, left_out })
    }

    /// The JSON paths of virtual services, routes and matches that are not for this proxy, by its gateways,
    /// labels or namespace. The filters do not have them at all.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The rules that are tried for a request.
    pub fn trace(&self, request: &Request<'_>) -> Trace {
        let candidates = self.rules.candidates(request);
        let mut trace =
            Trace { has_virtual_host: candidates.is_some(), tried: Vec::new(), shares: Vec::new() };
        for route in candidates.unwrap_or_default() {
            for (name, conditions) in route.named_matches() {
                let fits = conditions.matches(request).is_some();
                let path = name.to_owned();
                trace.tried.push(Tried { path, conditions: conditions.conditions(request), fits });
                if !fits {
                    continue;
                }
                if let Action::Forward(split) = &route.action {
                    let cluster = |edits: &[crate::value::header::FixedEdit]| {
                        let edit = edits.iter().rev().find(|edit| edit.name() == CLUSTER);
                        let value = edit.map(|edit| edit.as_edit().value);
                        String::from_utf8_lossy(&value.unwrap_or_default()).into_owned()
                    };
                    let shares = split.shares();
                    trace.shares =
                        shares.map(|(weight, target)| (weight, cluster(&target.request))).collect();
                }
                return trace;
            }
        }
        trace
    }

    /// The router's decision.
    pub fn route<'a, 'r: 'a>(
        &'a self,
        request: &Request<'r>,
        draws: &mut dyn Draws,
    ) -> Decision<'a> {
        self.router.route(request, draws)
    }

    /// What the fault filter does, before its limits.
    pub fn fault(
        &self,
        request: &Request<'_>,
        now: SystemTime,
        draws: &mut dyn Draws,
    ) -> fault::Plan {
        self.faults.plan(request, || now, draws)
    }

    /// What the mirror filter does, before its budget.
    pub fn mirror<'a>(&'a self, request: &Request<'_>, draws: &mut dyn Draws) -> mirror::Plan<'a> {
        self.mirrors.plan(request, draws)
    }
}

impl Trace {
    /// The JSON path of the match that decided.
    pub fn taken(&self) -> Option<&str> {
        self.tried.last().filter(|tried| tried.fits).map(|tried| tried.path.as_str())
    }

    /// The JSON path of the route that is taken.
    pub fn route(&self) -> Option<&str> {
        self.taken().map(route_path)
    }
}

/// What `json` has and `rules` have not.
fn left_out(json: &Json, rules: &VirtualServices) -> Vec<String> {
    let routes = rules.lists().flatten().flat_map(|route| route.named_matches());
    let names: HashSet<&str> = routes.map(|(name, _)| name).collect();
    let mut left_out = Vec::new();
    for key in ["virtualServices", "virtual_services"] {
        for (path, service) in elements(json, key, "") {
            let mut routes = Vec::new();
            let mut has_any = false;
            for (path, route) in elements(service, "http", &path) {
                let of_route = names.contains(&*path);
                let matches = elements(route, "match", &path).into_iter().map(|(path, _)| path);
                let (known, missing) = matches.partition::<Vec<_>, _>(|m| names.contains(&**m));
                has_any |= of_route || !known.is_empty();
                if !of_route && known.is_empty() {
                    routes.push(path);
                } else if !of_route {
                    routes.extend(missing);
                }
            }
            if has_any || routes.is_empty() {
                left_out.extend(routes);
            } else {
                left_out.push(path);
            }
        }
    }
    left_out
}

/// The elements of the list `key` with their paths.
fn elements<'a>(json: &'a Json, key: &str, path: &str) -> Vec<(String, &'a Json)> {
    let Json::Object(fields) = json else { return Vec::new() };
    let list = fields.iter().find(|(name, _)| name == key);
    let Some((_, Json::Array(elements))) = list else { return Vec::new() };
    let dot = if path.is_empty() { "" } else { "." };
    let indexed = elements.iter().enumerate();
    indexed.map(|(index, element)| (format!("{path}{dot}{key}[{index}]"), element)).collect()
}

/// A value in quotes, with escapes for what is not printable.
pub(crate) fn shown(value: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::proxy::NoMetadata;
    use crate::testing::{FixedAttributes, FixedDraw, pairs};

    const DOCUMENT: &str = r#"{"clusterName": "{host}[-{subset}]", "virtualServices": [{"hosts": ["a.com"],
        "http": [{"name": "first", "match": [{"name": "one", "method": {"exact": "PUT"}},
            {"uri": {"regex": "/x.*"}, "headers": {"u": {"exact": "1"}}, "withoutHeaders": {"v": {}},
             "queryParams": {"q": {"prefix": "a"}}, "port": 80}],
          "route": [{"destination": {"host": "b", "subset": "v1"}, "weight": 1},
                    {"destination": {"host": "b", "subset": "v2"}, "weight": 3}]}]}]}"#;

    #[test]
    fn every_condition_is_told_with_what_was_found() {
        let explainer = Explainer::from_json(DOCUMENT.as_bytes(), &NoMetadata).unwrap();
        let headers = pairs(&[
            (":authority", "a.com"),
            (":method", "GET"),
            (":path", "/xy?q=b"),
            ("u", "1"),
            ("v", ""),
        ]);
        let attributes = FixedAttributes { port: Some(81), ..Default::default() };
        let trace = explainer.trace(&Request::new(&headers, &attributes));
        let told = |tried: &Tried| {
            let told = tried.conditions.iter();
            let told = told.map(|c| format!("{} {} {} {}", c.field, c.wanted, c.found, c.holds));
            (tried.path.clone(), told.collect::<Vec<_>>().join("\n"))
        };
        assert_eq!(
            trace.tried.iter().map(told).collect::<Vec<_>>(),
            [
                (
                    "virtualServices[0].http[0].match[0]".to_owned(),
                    "uri prefix \"/\" \"/xy\" true\nmethod exact \"PUT\" \"GET\" false".to_owned()
                ),
                (
                    "virtualServices[0].http[0].match[1]".to_owned(),
                    "uri regex \"/x.*\" \"/xy\" true\nheaders.u exact \"1\" \"1\" true\n\
                     withoutHeaders.v any value \"\" false\n\
                     queryParams.q prefix \"a\" \"b\" false\nport exact \"80\" \"81\" false"
                        .to_owned()
                ),
            ]
        );
        assert_eq!((trace.taken(), trace.has_virtual_host), (None, true));
    }

    #[test]
    fn the_route_that_is_taken_has_its_shares() {
        let explainer = Explainer::from_json(DOCUMENT.as_bytes(), &NoMetadata).unwrap();
        let headers = pairs(&[(":authority", "a.com"), (":method", "PUT"), (":path", "/")]);
        let attributes = FixedAttributes::default();
        let request = Request::new(&headers, &attributes);
        let trace = explainer.trace(&request);
        assert_eq!(trace.taken(), Some("virtualServices[0].http[0].match[0]"));
        assert_eq!(trace.route(), Some("virtualServices[0].http[0]"));
        assert_eq!(trace.shares, [(1, "b-v1".to_owned()), (3, "b-v2".to_owned())]);
        assert_eq!(explainer.route(&request, &mut FixedDraw(0)).note, "first.one");
    }

    #[test]
    fn what_is_not_for_the_proxy_is_told() {
        let document = r#"{"clusterName": "{host}", "proxy": {"gateways": ["mesh"], "namespace": "ns", "labels": {}},
            "virtualServices": [
            {"hosts": ["a.com"], "gateways": ["gw"], "http": [{"route": [{"destination": {"host": "b"}}]}]},
            {"hosts": ["b.com"], "http": [
                {"match": [{"sourceLabels": {"app": "x"}}], "route": [{"destination": {"host": "b"}}]},
                {"match": [{"uri": {"prefix": "/a"}, "gateways": ["gw"]}, {"port": 80}],
                 "route": [{"destination": {"host": "b"}}]}]}]}"#;
        let explainer = Explainer::from_json(document.as_bytes(), &NoMetadata).unwrap();
        assert_eq!(
            explainer.left_out(),
            [
                "virtualServices[0]",
                "virtualServices[1].http[0]",
                "virtualServices[1].http[1].match[0]"
            ]
        );
        let explainer = Explainer::from_json(DOCUMENT.as_bytes(), &NoMetadata).unwrap();
        assert_eq!(explainer.left_out(), [""; 0]);
    }
}
