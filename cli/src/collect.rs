//! Collects the plugin documents of the filters from files.
//!
//! A file can have:
//! - plugin documents;
//! - Kubernetes objects, and lists of them: the `spec` of each VirtualService, HTTPRoute,
//!   GRPCRoute, DestinationRule and ServiceEntry becomes part of a plugin document, and so do the
//!   ports of each Service that is a destination;
//! - configuration that contains plugin documents: EnvoyFilters, WasmPlugins, TrafficExtensions
//!   and Envoy's own;
//! - specs without their objects.
//!
//! Objects of other kinds are counted and skipped.

mod attachment;
mod defaults;
mod delegates;
mod embedded;
mod envelope;
mod object;
mod order;
mod reports;
mod restrictions;
pub mod routes;
mod services;
mod subject;

pub use defaults::Defaults;

use std::collections::HashMap;

use crate::bundle::{Bundle, Origin, OtherObject};
use crate::finding::{Finding, Place, Skipped};
use crate::foreign::Foreign;
use crate::kinds::{
    GATEWAY_API, ISTIO, LISTS, ROUTES, is_envoy, is_of_group, kind_of_spec, versions,
};
use crate::lint::inventory::Inventory;
use crate::source::Source;
use crate::tree::{self, Tree, Value};
use attachment::Attachments;
use object::Object;
use routes::Refused;
use services::Service;
use sluice_policy::document::field_name::is_field;
use sluice_policy::document::report::Kind;
use subject::Subject;

/// A plugin document.
struct Plugin {
    file: String,
    /// Its path in the file's document; empty for all of it
    path: String,
    document: Tree,
}

#[derive(Default)]
struct Collector {
    objects: Vec<Object>,
    plugins: Vec<Plugin>,
    findings: Vec<Finding>,
    /// The Services, which are in a document only if it has them as destinations
    services: Vec<Service>,
    /// Objects that the filters do not use
    others: Vec<OtherObject>,
    /// What other objects refer to
    inventory: Inventory,
    /// The Gateways that routes are attached to
    attachments: Attachments,
    /// Kinds, namespaces and names of the objects, with the number of objects that have them, and
    /// the place of the first
    names: HashMap<(String, String, String), (usize, Place)>,
    skipped: Skipped,
}

/// What files contain.
#[derive(Default)]
pub struct Collected {
    /// The plugin documents, one for each namespace of the objects
    pub bundles: Vec<Bundle>,
    /// What objects refer to
    pub inventory: Inventory,
    /// Findings about objects that are wrong outside of their `spec`, and about files
    pub findings: Vec<Finding>,
    /// Findings about routes that Gateways do not accept, and about references that they refuse
    pub notices: Vec<Finding>,
    /// The objects that the filters do not use
    pub skipped: Skipped,
}

/// Collects what the filters use.
pub fn collect(sources: Vec<Source>, defaults: &Defaults) -> Collected {
    let mut collector = Collector::default();
    for Source { input, documents, may_be_template } in sources {
        for document in documents {
            let file = &*input.file;
            match Foreign::of(&document, input.is_named, may_be_template) {
                Some(foreign) => {
                    let (kind, reason) = foreign.report(input.is_named);
                    collector.report(kind, Subject { file, title: "" }, document.line, "", reason);
                }
                None => collector.add(file, document, defaults),
            }
        }
    }
    collector.finish(defaults)
}

impl Collector {
    /// Adds a document of a file, or an item of a list.
    fn add(&mut self, file: &str, document: Tree, defaults: &Defaults) {
        let subject = Subject { file, title: "" };
        let known_kind = document.field("kind").and_then(Tree::as_str);
        // The search takes time, and most objects are of these kinds.
        if !LISTS.iter().any(|(kind, _)| Some(*kind) == known_kind) {
            let embedded = embedded::find(&document);
            if !embedded.is_empty() {
                for own in restrictions::find(&document) {
                    self.report(Kind::NoEffect, subject, own.position, &own.path, &own.reason);
                }
                for (path, plugin) in embedded {
                    self.add_embedded(file, path, plugin);
                }
                return;
            }
        }
        let Some(kind) = document.field("kind") else {
            self.add_without_kind(file, document, defaults);
            return;
        };
        let Some(kind) = kind.as_str().map(str::to_owned) else {
            self.value_error(subject, "kind", kind, "is not a string");
            return;
        };
        if let Some(version) = document.field("apiVersion").filter(|own| own.as_str().is_none()) {
            let subject = Subject { file, title: &kind };
            self.value_error(subject, "apiVersion", version, "is not a string");
            return;
        }
        if kind == "List" || LISTS.iter().any(|(known, _)| kind == format!("{known}List")) {
            self.add_list(file, &kind, document, defaults);
        } else {
            self.add_object(file, kind, document, defaults);
        }
    }

    /// Adds a plugin document from inside other configuration. The filters of one Envoy usually
    /// share a document, which is added once.
    fn add_embedded(&mut self, file: &str, path: String, document: Tree) {
        let is_known = |known: &Plugin| known.file == file && known.document.is_same(&document);
        if !self.plugins.iter().any(is_known) {
            self.plugins.push(Plugin { file: file.to_owned(), path, document });
        }
    }

    fn add_without_kind(&mut self, file: &str, document: Tree, defaults: &Defaults) {
        let subject = Subject { file, title: "" };
        if let Some((key, _)) = document.entry("apiVersion") {
            self.error(subject, key.position(), "kind", "is required");
        } else if !matches!(document.value, Value::Object(_)) {
            let reason = "is not an object; write a plugin document or a Kubernetes object";
            self.value_error(subject, "", &document, reason);
        } else if is_envoy(&document) {
            let reason = "is ignored: it is a configuration of Envoy without Sluice's filters";
            self.note(subject, document.line, reason);
        } else if let Some(kind) = kind_of_spec(&document)
            && let Some((_, list)) = LISTS.iter().find(|(known, _)| *known == kind)
        {
            let (file, title) = (file.to_owned(), kind.to_owned());
            let (name, place) = (String::new(), "");
            let namespace = defaults.namespace.clone();
            let spec = document;
            let copy = 0;
            self.objects.push(Object { file, title, name, namespace, copy, list, place, spec });
        } else {
            self.plugins.push(Plugin { file: file.to_owned(), path: String::new(), document });
        }
    }

    fn add_list(&mut self, file: &str, kind: &str, document: Tree, defaults: &Defaults) {
        let subject = Subject { file, title: kind };
        let line = document.line;
        match document.into_field("items") {
            Some(Tree { value: Value::Array(items), .. }) => {
                for item in items {
                    self.add(file, item, defaults);
                }
            }
            Some(items) => self.value_error(subject, "items", &items, "is not a list"),
            None => self.error(subject, line, "items", "is required"),
        }
    }

    fn add_object(&mut self, file: &str, kind: String, document: Tree, defaults: &Defaults) {
        let version = document.field("apiVersion").and_then(Tree::as_str).unwrap_or_default();
        let metadata = |name| document.field("metadata").and_then(|m| m.field(name)?.as_str());
        let name = metadata("name").unwrap_or_default().to_owned();
        let namespace = metadata("namespace").filter(|namespace| !namespace.is_empty());
        let namespace = namespace.map(str::to_owned).or_else(|| defaults.namespace.clone());
        let title = match &namespace {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}").trim_end().to_owned(),
        };
        let subject = Subject { file, title: &title };
        self.inventory.add(file, &title, namespace.as_deref(), &document);
        if let Some(service) = Service::new(file, &title, &document, namespace.as_deref()) {
            self.services.push(service);
            return;
        }
        if self.attachments.add(subject, namespace.as_deref(), &document) {
            self.others.push(OtherObject { file: file.to_owned(), title, object: document });
            return;
        }
        if kind == "ReferenceGrant" && version.starts_with(GATEWAY_API) {
            return;
        }
        let known = LISTS.iter().find(|(known, _)| *known == kind);
        let Some((_, list)) = known.filter(|(_, list)| is_of_group(list, version)) else {
            self.report_unused(subject, &document, &kind, version);
            return;
        };
        if !versions(list).contains(&version) {
            let own = tree::find(&document, "apiVersion").tree;
            let reason = format!("is not one of {}", versions(list).join(", "));
            self.value_error(subject, "apiVersion", own, &reason);
        }
        self.check_envelope(subject, &document, &name);
        let key = (kind, namespace.clone().unwrap_or_default(), name.clone());
        let place =
            subject.place(tree::find(&document, "metadata.name").position(), "metadata.name");
        let (count, first) = self.names.entry(key).or_insert_with(|| (0, place.clone()));
        let copy = if name.is_empty() { 0 } else { *count };
        *count += 1;
        if copy > 0 {
            let other = Some(first.clone());
            let reason = "is the name of an earlier object too, which is replaced if both are \
                          applied; rename or remove one of them"
                .to_owned();
            self.findings.push(Finding { kind: Kind::Repeated, place, value: None, reason, other });
        }
        let line = document.line;
        let Some(spec) = document.into_field("spec") else {
            self.error(subject, line, "spec", "is required");
            return;
        };
        // Plugin documents have these fields of the metadata in the spec.
        let has_names = *list == "virtualServices" || ROUTES.contains(list);
        for field in ["name", "namespace"].into_iter().filter(|_| has_names) {
            if let Some((key, _)) = spec.entry(field) {
                let path = format!("spec.{}", key.text);
                self.error(subject, key.position(), &path, "unknown field, write it in metadata");
            }
        }
        let (file, place) = (file.to_owned(), "spec");
        self.objects.push(Object { file, title, name, namespace, copy, list, place, spec });
    }

    /// Reports an object of a kind that the filters do not use. In Istio's networking API, a kind
    /// that Istio does not have is an error, as it is probably misspelled.
    fn report_unused(&mut self, subject: Subject<'_>, document: &Tree, kind: &str, version: &str) {
        let line = document.line;
        let others =
            ["Gateway", "Sidecar", "EnvoyFilter", "ProxyConfig", "WorkloadEntry", "WorkloadGroup"];
        if version.is_empty() {
            self.error(subject, line, "apiVersion", "is required");
        } else if version.starts_with(ISTIO) && !others.contains(&kind) {
            let kinds = LISTS.iter().filter(|(_, list)| is_of_group(list, ISTIO));
            let kinds: Vec<_> = kinds.map(|(kind, _)| *kind).chain(others).collect();
            let own = tree::find(document, "kind").tree;
            self.value_error(subject, "kind", own, &format!("is not one of {}", kinds.join(", ")));
        } else {
            *self.skipped.entry(kind.to_owned()).or_default() += 1;
            let (file, title) = (subject.file.to_owned(), subject.title.to_owned());
            self.others.push(OtherObject { file, title, object: document.clone() });
        }
    }

    fn finish(mut self, defaults: &Defaults) -> Collected {
        let mut namespaces: Vec<Option<String>> = Vec::new();
        for object in &self.objects {
            if !namespaces.contains(&object.namespace) {
                namespaces.push(object.namespace.clone());
            }
        }
        // Objects without a namespace belong to the current one, as in kubectl.
        if namespaces.len() == 2 && namespaces.contains(&None) {
            namespaces.retain(Option::is_some);
            let only = namespaces.first().cloned().flatten();
            for object in &mut self.objects {
                object.namespace = object.namespace.take().or_else(|| only.clone());
            }
        }
        if let [None] = namespaces[..] {
            let specs = self.objects.iter().map(|object| &object.spec);
            let own = services::namespace(specs, &self.services);
            self.objects.iter_mut().for_each(|object| object.namespace.clone_from(&own));
            namespaces = vec![own];
        }
        let proxy = self.plugins.iter().find_map(|plugin| plugin.document.field("proxy"));
        let mut notices = self.attachments.attach(&mut self.objects, proxy, defaults);
        let is_of_gateway = defaults.attaches_routes && !self.attachments.is_empty();
        let refused = Refused::by(defaults.attaches_routes, is_of_gateway);
        let found = routes::place(&mut self.objects, &self.inventory, refused);
        if is_of_gateway { &mut notices } else { &mut self.findings }.extend(found);
        let first = namespaces.first().cloned().flatten();
        let objects = std::mem::take(&mut self.objects);
        let documents = self.plugins.iter().map(|plugin| &plugin.document);
        self.objects = delegates::place(objects, documents, first.as_deref());
        namespaces.retain(|own| self.objects.iter().any(|object| object.namespace == *own));
        // Plugin documents beside Istio's objects are the settings of each namespace.
        let mut bundles = Vec::new();
        if namespaces.is_empty() {
            for Plugin { file, path, document } in std::mem::take(&mut self.plugins) {
                let origin = Origin { file, object: String::new(), place: path };
                bundles.push(Bundle::new(document, Some(origin)));
            }
        }
        let plugins = std::mem::take(&mut self.plugins);
        let copies = self.objects.iter().map(|object| object.copy).max().map_or(0, |most| most + 1);
        for copy in 0..copies {
            for (index, namespace) in namespaces.iter().enumerate() {
                let is_first = copy == 0 && index == 0;
                bundles.extend(self.assemble(namespace.as_deref(), copy, &plugins, is_first));
            }
        }
        for bundle in &mut bundles {
            if defaults.routes_services {
                services::route(&self.services, bundle, defaults);
            }
            services::add(&mut self.services, bundle);
            bundle.complete("clusterName", defaults.cluster_name.as_deref().map(Tree::text));
            bundle.complete("proxy", defaults.proxy());
            if is_of_gateway {
                self.attachments.isolate(bundle);
            }
        }
        let unused = self.services.iter().filter(|service| !service.is_used).count();
        if unused > 0 {
            *self.skipped.entry("Service".to_owned()).or_default() += unused;
        }
        for bundle in &mut bundles {
            bundle.others.clone_from(&self.others);
        }
        let Self { inventory, findings, skipped, .. } = self;
        Collected { bundles, inventory, findings, notices, skipped }
    }

    /// Combines the objects of a namespace and the plugin documents into one document. The rules
    /// of the plugin documents belong to the first one only. Objects whose name an earlier object
    /// has are in documents of their own.
    fn assemble(
        &mut self,
        namespace: Option<&str>,
        copy: usize,
        plugins: &[Plugin],
        is_first: bool,
    ) -> Option<Bundle> {
        let is_own = |own: &Object| own.namespace.as_deref() == namespace && own.copy == copy;
        let objects = std::mem::take(&mut self.objects).into_iter();
        let (mut own, others) = objects.partition::<Vec<_>, _>(is_own);
        self.objects = others;
        let line = own.first()?.spec.line;
        let root = Tree::at(Value::Object(Vec::new()), line);
        let origin = own.first().map(|first| Origin {
            file: first.file.clone(),
            object: String::new(),
            place: String::new(),
        });
        let mut bundle = Bundle::new(root, origin);
        for Plugin { file, path, document } in plugins {
            for (key, value) in document.fields() {
                let list = LISTS.iter().find(|(_, list)| is_field(&key.text, list));
                let place =
                    if path.is_empty() { key.text.clone() } else { format!("{path}.{}", key.text) };
                if let Some((_, list)) = list {
                    let elements = value.elements().iter().filter(|_| is_first);
                    for (index, element) in elements.enumerate() {
                        let place = format!("{place}[{index}]");
                        let (file, object) = (file.clone(), String::new());
                        bundle.append(list, element.clone(), Origin { file, object, place });
                    }
                } else if bundle.has_field(&key.text) {
                    let subject = Subject { file, title: "" };
                    let reason = "is already set, in this or another document; set it once";
                    self.error(subject, key.position(), &place, reason);
                } else {
                    let (file, object) = (file.clone(), String::new());
                    bundle.add(key.clone(), value.clone(), Origin { file, object, place });
                }
            }
        }
        bundle.complete("namespace", namespace.map(Tree::text));
        order::sort(&mut own, namespace, &self.inventory);
        for object in own {
            let (file, place) = (object.file, object.place.to_owned());
            let origin = Origin { file, object: object.title, place };
            bundle.append(object.list, object.spec, origin);
        }
        Some(bundle)
    }
}
