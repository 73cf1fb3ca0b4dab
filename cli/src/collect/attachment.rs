//! Which listeners of the Gateways in the files accept an HTTPRoute or GRPCRoute, and for which
//! hosts. Without a Gateway of the Gateway API in the files, routes stay as they are.

mod gateway;
mod hostname;
mod namespaces;

use sluice_policy::document::report::Kind;

use crate::bundle::{Bundle, Origin};
use crate::collect::defaults::Defaults;
use crate::collect::object::Object;
use crate::collect::subject::Subject;
use crate::finding::{Finding, Place};
use crate::kinds::{GATEWAY_API, ROUTES};
use crate::tree::{self, Key, Tree, Value};
use gateway::{Gateway, Listener, Parent, Refusal, Route};
use hostname::Hostnames;
use namespaces::Namespaces;

/// The Gateways of the files, and the labels of the namespaces.
#[derive(Default)]
pub struct Attachments {
    gateways: Vec<(Gateway, Place)>,
    namespaces: Namespaces,
}

/// The listeners that a document is for.
struct Chosen {
    /// Names of the Gateways, `NAMESPACE/NAME`; all if empty
    gateways: Vec<String>,
    /// Their port; `None` for all
    port: Option<i64>,
}

/// What becomes of an entry of `parentRefs`.
enum Outcome {
    /// It is no Gateway, or not one of the files; a Gateway that the document is for has the hosts
    Unknown(Option<Hostnames>),
    /// Listeners that the document is for accept the route, for these hosts
    Accepted(Hostnames),
    /// It has no listener that the document is for, or they take no host of the route
    Other,
    /// No listener of the Gateway accepts the route
    Refused(Box<Finding>),
}

impl Attachments {
    /// Adds an object. Returns whether it is a Gateway of the Gateway API.
    pub fn add(&mut self, subject: Subject<'_>, namespace: Option<&str>, document: &Tree) -> bool {
        let text = |name| document.field(name).and_then(Tree::as_str).unwrap_or_default();
        let metadata = document.field("metadata");
        let name = metadata.and_then(|own| own.field("name")?.as_str()).unwrap_or_default();
        match text("kind") {
            "Namespace" if text("apiVersion") == "v1" => {
                self.namespaces.add(name, metadata.and_then(|own| own.field("labels")));
                false
            }
            "Gateway" if text("apiVersion").starts_with(GATEWAY_API) => {
                let place = "spec.listeners";
                let place = subject.place(tree::find(document, place).position(), place);
                let spec = document.field("spec");
                self.gateways.push((Gateway::new(name, namespace, spec), place));
                true
            }
            _ => false,
        }
    }

    /// Returns whether there is no Gateway.
    pub fn is_empty(&self) -> bool {
        self.gateways.is_empty()
    }

    /// Attaches the routes to the listeners, and returns what is not attached. Attached routes get
    /// the hosts that the listeners have in common with them. Those that the document is not for
    /// are removed with `defaults.attaches_routes`, otherwise they are for a document of their own.
    /// `proxy` is that of the documents.
    pub fn attach(
        &self,
        objects: &mut Vec<Object>,
        proxy: Option<&Tree>,
        defaults: &Defaults,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.is_empty() {
            return findings;
        }
        let own = defaults.proxy();
        let chosen = Chosen::new(proxy.or(own.as_ref()));
        let attaches = defaults.attaches_routes;
        let apart = objects.iter().map(|object| object.copy).max().map_or(1, |most| most + 1);
        objects.retain_mut(|object| {
            let is_route = ROUTES.contains(&object.list);
            if !is_route || self.attach_route(object, &chosen, attaches, &mut findings) {
                return true;
            }
            object.copy = apart;
            !attaches
        });
        findings
    }

    /// Adds the hostnames of listeners to the document for one port of one Gateway, if another
    /// listener of the port includes them: as routes without rules, so that a request for such a
    /// host never gets to a route of the other listener.
    pub fn isolate(&self, bundle: &mut Bundle) {
        let chosen = Chosen::new(bundle.document.field("proxy"));
        let has_routes = ROUTES.into_iter().any(|list| !bundle.document.list(list).is_empty());
        let ([name], Some(port), true) = (&chosen.gateways[..], chosen.port, has_routes) else {
            return;
        };
        let mut gateways = self.gateways.iter();
        let Some((gateway, place)) = gateways.find(|(own, _)| own.full_name() == *name) else {
            return;
        };
        for (index, hostname) in gateway.included_hostnames(port) {
            let line = place.line;
            let names = vec![Tree::at(Value::String(hostname.to_owned()), line)];
            let mut route = Tree::at(Value::Object(Vec::new()), line);
            route.push_field(Key::at("hostnames", line), Tree::at(Value::Array(names), line));
            let (file, object) = (place.file.clone(), place.object.clone());
            let origin = Origin { file, object, place: format!("{}[{index}]", place.path) };
            bundle.append("grpcRoutes", route, origin);
        }
    }

    /// Attaches a route. Returns whether the document is for it. With `attaches`, the route loses
    /// the parents that do not accept it.
    fn attach_route(
        &self,
        object: &mut Object,
        chosen: &Chosen,
        attaches: bool,
        findings: &mut Vec<Finding>,
    ) -> bool {
        let parents = object.spec.list("parentRefs");
        if parents.is_empty() {
            return true;
        }
        let route = Route::new(object);
        let outcomes = parents.iter().enumerate();
        let outcomes =
            outcomes.map(|(index, own)| self.outcome(object, &route, own, index, chosen));
        let outcomes: Vec<_> = outcomes.collect();
        let mut hosts: Option<Hostnames> = None;
        let mut kept = Vec::new();
        for outcome in outcomes {
            let own = match outcome {
                Outcome::Unknown(own) => Some(own),
                Outcome::Accepted(own) => Some(Some(own)),
                Outcome::Other => None,
                Outcome::Refused(finding) => {
                    findings.push(*finding);
                    None
                }
            };
            kept.push(own.is_some());
            if let Some(own) = own.flatten() {
                hosts = Some(hosts.map_or(own.clone(), |known| known.union(own)));
            }
        }
        let is_attached = kept.contains(&true);
        if let Some(Tree { value: Value::Array(parents), .. }) = object.spec.field_mut("parentRefs")
        {
            if attaches && is_attached {
                let mut kept = kept.into_iter();
                parents.retain(|_| kept.next().unwrap_or(true));
            }
            let namespace = object.namespace.as_deref();
            parents.iter_mut().for_each(|parent| self.forget_listeners(parent, namespace));
        }
        if let Some(hosts) = hosts {
            set_hostnames(&mut object.spec, hosts);
        }
        is_attached
    }

    /// What becomes of the entry `own` of `parentRefs` with the index `index`.
    fn outcome(
        &self,
        object: &Object,
        route: &Route,
        own: &Tree,
        index: usize,
        chosen: &Chosen,
    ) -> Outcome {
        let Some(parent) = Parent::new(own, object.namespace.as_deref()) else {
            return Outcome::Unknown(None);
        };
        let Some((gateway, place)) = self.gateway(&parent) else {
            if !chosen.has(&parent) {
                return Outcome::Other;
            }
            return Outcome::Unknown(Some(Hostnames::new(&route.hostnames)));
        };
        let has_port = |listener: &Listener| chosen.port.is_none_or(|own| listener.port == own);
        let mut hosts: Option<Hostnames> = None;
        let mut refused = None;
        let mut is_accepted = false;
        for listener in &gateway.listeners {
            match listener.accepts(route, &parent, gateway, &self.namespaces) {
                Ok(own) => {
                    is_accepted = true;
                    let own = own.without(&gateway.nearer_hostnames(listener));
                    if !own.is_none() && has_port(listener) {
                        hosts = Some(hosts.map_or(own.clone(), |known| known.union(own)));
                    }
                }
                Err(own) => refused = refused.max(Some(own)),
            }
        }
        match hosts {
            _ if !chosen.has(&parent) => Outcome::Other,
            Some(hosts) => Outcome::Accepted(hosts),
            None if is_accepted => Outcome::Other,
            None => {
                let reason = refused.unwrap_or(Refusal::Kind).reason(route, &parent);
                let subject = Subject { file: &object.file, title: &object.title };
                let path = format!("parentRefs[{index}]");
                let position = tree::find(&object.spec, &path).position();
                let dot = if object.place.is_empty() { "" } else { "." };
                let at = subject.place(position, &format!("{}{dot}{path}", object.place));
                let (kind, other) = (Kind::Unresolved, Some(place.clone()));
                let finding = Finding { kind, place: at, value: None, reason, other };
                Outcome::Refused(Box::new(finding))
            }
        }
    }

    fn gateway(&self, parent: &Parent) -> Option<&(Gateway, Place)> {
        self.gateways.iter().find(|(own, _)| own.is(parent))
    }

    /// Removes what names listeners from a parent that is a Gateway of the files: the document is
    /// for its listeners already.
    fn forget_listeners(&self, tree: &mut Tree, namespace: Option<&str>) {
        let parent = Parent::new(tree, namespace);
        if parent.is_some_and(|parent| self.gateway(&parent).is_some())
            && let Value::Object(fields) = &mut tree.value
        {
            fields.retain(|(key, _)| !["sectionName", "port"].contains(&key.text.as_str()));
        }
    }
}

impl Chosen {
    /// The listeners that the field `proxy` of a document names.
    fn new(proxy: Option<&Tree>) -> Self {
        let gateways = proxy.map_or(&[][..], |proxy| proxy.list("gateways")).iter();
        let port = match proxy.and_then(|proxy| proxy.field("port")).map(|port| &port.value) {
            Some(Value::Integer(port)) => Some(*port),
            _ => None,
        };
        Self { gateways: gateways.filter_map(Tree::as_str).map(str::to_owned).collect(), port }
    }

    /// Returns whether a Gateway is one of them.
    fn has(&self, parent: &Parent) -> bool {
        self.gateways.is_empty() || self.gateways.contains(&parent.full_name())
    }
}

/// Replaces the hosts of a route.
fn set_hostnames(spec: &mut Tree, hosts: Hostnames) {
    let line = spec.field("hostnames").map_or(spec.line, |known| known.line);
    let known = spec.list("hostnames").to_vec();
    let Value::Object(fields) = &mut spec.value else { return };
    fields.retain(|(key, _)| key.text != "hostnames");
    let Some(names) = hosts.into_names() else { return };
    let names = names.into_iter().map(|name| {
        let same = known.iter().find(|own| own.as_str() == Some(&*name));
        same.cloned().unwrap_or_else(|| Tree::at(Value::String(name), line))
    });
    let names = Tree::at(Value::Array(names.collect()), line);
    spec.push_field(Key::at("hostnames", line), names);
}

#[cfg(test)]
mod tests;
