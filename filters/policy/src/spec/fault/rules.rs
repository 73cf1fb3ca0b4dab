//! `faults.rules` of a document: faults with conditions of their own. They apply beside the rules
//! of VirtualServices, and to routes of the Gateway API, which have no faults.

use std::sync::Arc;

use super::{FAULT, Fault};
use crate::document::fields::fields;
use crate::document::filter::Filter;
use crate::document::node::{Node, Object};
use crate::document::report::{self, Reported};
use crate::spec::http_match::HttpMatch;
use crate::spec::http_route::{Action, HttpRoute, RouteRules};
use crate::spec::place::{List, Place, Places};
use crate::spec::scope::Scope;
use crate::spec::split::Split;
use crate::spec::virtual_service::VirtualService;
use crate::spec::virtual_services::VirtualServices;

/// An entry of `faults.rules`.
pub struct FaultRule;

fields!(FaultRule, "Faults for the requests that satisfy one of the matches.", {
    "name": Kind::Text => "Name of the rule in explanations.";
    "match": Kind::List(&Kind::Object(HttpMatch::schema)) =>
        "Matches, of which a request must satisfy one; without matches the rule applies to all \
         requests.";
    "fault" required: Kind::AnyOf(&Kind::Object(Fault::schema), &FAULT) =>
        "Faults to inject, such as delays and aborts.";
});

/// Reads `rules` of `faults`. Every host has them. `None` if there are no rules, or the filter does
/// not need them.
pub fn read(faults: &Object<'_>, scope: &Scope<'_>) -> Result<Option<VirtualServices>, Reported> {
    let mut found = RouteRules::default();
    let mut index = 0;
    faults.list_with("rules", |node| {
        let place = Place::of_element(List::FaultRules, index);
        index += 1;
        read_rule(node, place, scope, &mut found)
    })?;
    if found.rules.is_empty() || !faults.node.filters().need(&[Filter::Fault]) {
        return Ok(None);
    }
    let service = VirtualService::of_gateway_api(vec!["*".to_owned()], found.rules);
    Ok(Some(VirtualServices::new(&[service], None, Some(false))))
}

fn read_rule(
    node: &Node<'_>,
    place: Place,
    scope: &Scope<'_>,
    found: &mut RouteRules,
) -> Result<(), Reported> {
    let object = node.object::<FaultRule>()?;
    let name = object.string("name");
    let matches = object.list_with("match", |node| HttpMatch::read(node, scope));
    let fault = object.required("fault").and_then(|node| {
        let left_to = report::Kind::LeftToFilter(Filter::Fault);
        node.notice_to(Filter::Router, left_to, "is left to the fault filter");
        super::read(&node)
    });
    let (name, matches, fault) = (name?, matches?, fault?);
    let passed = HttpRoute::from(Action::Forward(Split::default()));
    let route = Arc::new(HttpRoute { fault: Some(fault), ..passed });
    found.add(Places { route: place, matches: None }, name, matches, &route);
    Ok(())
}
