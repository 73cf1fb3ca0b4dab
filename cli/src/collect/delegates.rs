//! Delegates: VirtualServices without hosts, which routes of other VirtualServices name in
//! `delegate`. A plugin document has them beside the VirtualServices that name them.

use crate::collect::object::Object;
use crate::tree::{Key, Tree};

/// A VirtualService that a route names.
struct Reference {
    /// The namespace of the document with the route
    from: Option<String>,
    namespace: Option<String>,
    name: String,
}

/// Moves each delegate to the documents with routes that name it, and gives it its name, and its
/// namespace if that is another. Delegates that no route names stay as they are. The rules of
/// `plugins` are in the namespace `first`.
pub fn place<'a>(
    objects: Vec<Object>,
    plugins: impl Iterator<Item = &'a Tree>,
    first: Option<&str>,
) -> Vec<Object> {
    let mut references = Vec::new();
    for object in objects.iter().filter(|object| object.list == "virtualServices") {
        references.extend(references_of(&object.spec, object.namespace.as_deref()));
    }
    let services = plugins.flat_map(|document| document.list("virtualServices"));
    references.extend(services.flat_map(|service| references_of(service, first)));
    if references.is_empty() {
        return objects;
    }
    let mut placed = Vec::with_capacity(objects.len());
    for object in objects {
        let is_delegate = object.list == "virtualServices" && object.spec.list("hosts").is_empty();
        let is_it = |reference: &&Reference| {
            reference.name == object.name && reference.namespace == object.namespace
        };
        let mut documents: Vec<&Option<String>> = Vec::new();
        for reference in references.iter().filter(|_| is_delegate).filter(is_it) {
            if !documents.contains(&&reference.from) {
                documents.push(&reference.from);
            }
        }
        if documents.is_empty() {
            placed.push(object);
            continue;
        }
        for document in documents {
            let mut copy = object.clone();
            copy.spec.push_field(Key::new("name"), Tree::text(&object.name));
            if let Some(namespace) =
                object.namespace.as_deref().filter(|_| *document != object.namespace)
            {
                copy.spec.push_field(Key::new("namespace"), Tree::text(namespace));
            }
            copy.namespace.clone_from(document);
            placed.push(copy);
        }
    }
    placed
}

/// The references in the spec of a VirtualService of a document with the namespace `from`.
fn references_of(spec: &Tree, from: Option<&str>) -> Vec<Reference> {
    let routes = spec.list("http").iter().filter(|_| !spec.list("hosts").is_empty());
    let references = routes.filter_map(|route| {
        let delegate = route.field("delegate")?;
        let namespace = delegate.field("namespace").and_then(Tree::as_str);
        let namespace = namespace.filter(|own| !own.is_empty()).or(from);
        Some(Reference {
            from: from.map(str::to_owned),
            namespace: namespace.map(str::to_owned),
            name: delegate.field("name")?.as_str()?.to_owned(),
        })
    });
    references.collect()
}
