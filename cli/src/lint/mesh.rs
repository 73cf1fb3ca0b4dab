//! The objects of all namespaces, as lints look at them.

use std::borrow::Cow;

use sluice_policy::value::host_name::qualify;

use super::inventory::Inventory;
use crate::bundle::Bundle;
use crate::kinds::ROUTES;
use crate::tree::Tree;

/// All objects.
#[derive(Debug)]
pub struct Mesh<'a> {
    bundles: &'a [Bundle],
    /// What is known of objects that are not in the documents
    pub inventory: &'a Inventory,
    /// The namespace of objects without one; `None` if it is not known
    pub namespace: Option<&'a str>,
    /// The VirtualServices, in the order of the documents
    pub virtual_services: Vec<Spec<'a>>,
    /// The VirtualServices of second policies (`shadow`), in the order of the documents
    pub shadow_services: Vec<Spec<'a>>,
    /// The HTTPRoutes and GRPCRoutes, in the order of the documents
    pub routes: Vec<Spec<'a>>,
    /// The DestinationRules, in the order of the documents
    pub destination_rules: Vec<Spec<'a>>,
    /// The ServiceEntries, in the order of the documents
    pub service_entries: Vec<Spec<'a>>,
}

/// The `spec` of an object, or an element of a list of plugin configuration.
#[derive(Clone, Copy, Debug)]
pub struct Spec<'a> {
    /// The content
    pub tree: &'a Tree,
    /// The index of its document
    pub bundle: usize,
    /// Its namespace: that of its document, or the one that a delegate or route names
    pub namespace: Option<&'a str>,
    /// Kind, namespace and name of the object; empty for plugin configuration
    pub title: &'a str,
    /// The path of the object that has the list, with a dot at the end; empty for the document
    parent: &'static str,
    list: &'a str,
    index: usize,
}

impl<'a> Mesh<'a> {
    /// The objects of the documents.
    pub fn new(bundles: &'a [Bundle], inventory: &'a Inventory) -> Self {
        let specs = |list: &'static str| {
            let own = bundles.iter().enumerate();
            own.flat_map(|(bundle, own)| specs(bundle, own, list)).collect::<Vec<_>>()
        };
        let mut namespaces: Vec<_> = bundles.iter().map(namespace).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        let namespace = if let [only] = namespaces[..] { only } else { None };
        Self {
            bundles,
            inventory,
            namespace,
            virtual_services: specs("virtualServices"),
            shadow_services: bundles.iter().enumerate().flat_map(shadow_specs).collect(),
            routes: ROUTES.into_iter().flat_map(specs).collect(),
            destination_rules: specs("destinationRules"),
            service_entries: specs("serviceEntries"),
        }
    }

    /// The hosts in `services` of plugin configuration, complete.
    pub fn listed_hosts(&self) -> impl Iterator<Item = String> {
        self.bundles.iter().flat_map(|own| {
            let services = own.document.list("services").iter();
            let hosts = services.filter_map(|service| service.field("host")?.as_str());
            hosts.map(|host| qualify(host, namespace(own)))
        })
    }

    /// The VirtualServices that are Kubernetes objects, and those of a second policy that is to
    /// replace such objects.
    pub fn virtual_service_objects(&self) -> impl Iterator<Item = &Spec<'a>> {
        let replaces_objects = |shadow: &&Spec<'_>| {
            self.bundles.get(shadow.bundle).is_some_and(Bundle::has_virtual_service_object)
        };
        let objects = self.virtual_services.iter().filter(|service| service.is_object());
        objects.chain(self.shadow_services.iter().filter(replaces_objects))
    }
}

fn namespace(bundle: &Bundle) -> Option<&str> {
    bundle.document.field("namespace").and_then(Tree::as_str)
}

fn specs<'a>(bundle: usize, own: &'a Bundle, list: &str) -> Vec<Spec<'a>> {
    specs_within("", &own.document, (bundle, own), list)
}

fn shadow_specs((bundle, own): (usize, &Bundle)) -> Vec<Spec<'_>> {
    let Some(shadow) = own.document.field("shadow") else { return Vec::new() };
    specs_within("shadow.", shadow, (bundle, own), "virtualServices")
}

/// The elements of the list `list` of `object`, whose path in the document is `parent`.
fn specs_within<'a>(
    parent: &'static str,
    object: &'a Tree,
    (bundle, own): (usize, &'a Bundle),
    list: &str,
) -> Vec<Spec<'a>> {
    let Some((key, elements)) = object.entry(list) else { return Vec::new() };
    let list = key.text.as_str();
    let elements = elements.elements().iter().enumerate();
    let spec = |(index, tree)| Spec {
        tree,
        bundle,
        namespace: own_namespace(tree).or(namespace(own)),
        title: own.object(&path(parent, list, index)),
        parent,
        list,
        index,
    };
    elements.map(spec).collect()
}

/// The namespace in a VirtualService without hosts, or in a route of the Gateway API.
fn own_namespace(tree: &Tree) -> Option<&str> {
    tree.field("namespace").filter(|_| tree.list("hosts").is_empty()).and_then(Tree::as_str)
}

fn path(parent: &str, list: &str, index: usize) -> String {
    format!("{parent}{list}[{index}]")
}

impl<'a> Spec<'a> {
    /// The path in the document.
    pub fn path(&self) -> String {
        path(self.parent, self.list, self.index)
    }

    /// Returns whether it comes from a Kubernetes object.
    pub fn is_object(&self) -> bool {
        !self.title.is_empty()
    }

    /// Namespace and name of the object, or the name alone.
    pub fn name(&self) -> &'a str {
        self.title.split_once(' ').map_or("", |(_, name)| name)
    }

    /// The texts in the list field `name`.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.tree.list(name).iter().filter_map(Tree::as_str)
    }

    /// The namespaces that may use the object.
    pub fn exports(&self) -> Exports<'a> {
        let own = self.namespace;
        let namespaces: Vec<_> = self
            .texts("exportTo")
            .map(|name| if name == "." { own.map(Cow::Borrowed) } else { Some(name.into()) })
            .collect();
        Exports::new(namespaces)
    }
}

/// The namespaces that may use an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exports<'a> {
    /// All
    All,
    /// These; empty for none
    Only(Vec<Cow<'a, str>>),
}

impl<'a> Exports<'a> {
    /// The namespaces of `exportTo`, of which an unknown one may be any; all if there is none.
    pub fn new(namespaces: Vec<Option<Cow<'a, str>>>) -> Self {
        let is_given = !namespaces.is_empty();
        let only: Option<Vec<_>> = namespaces.into_iter().collect();
        match only.filter(|only| is_given && only.iter().all(|name| name != "*")) {
            Some(mut only) => {
                only.retain(|name| name != "~");
                only.sort_unstable();
                only.dedup();
                Self::Only(only)
            }
            None => Self::All,
        }
    }

    /// Returns whether a namespace may use the object. An unknown one may.
    pub fn include(&self, namespace: Option<&str>) -> bool {
        match (self, namespace) {
            (Self::Only(only), Some(namespace)) => only.iter().any(|own| own == namespace),
            _ => true,
        }
    }
}
