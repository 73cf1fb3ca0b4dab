//! Checks what no filter carries out, and therefore no filter reads: whether Istio would accept it.
//!
//! The readers of the filters know such fields by name only, for the sake of the size of modules.
//! Here they are checked with Istio's published schemas, and with the rules that istiod's webhook
//! has for them.

mod errors;
mod export_to;
mod path;
mod table;
mod traffic_policy;
mod virtual_service;

use sluice_policy::document::field_name::is_field;
use sluice_policy::document::fields::{Fields as _, Kind, ObjectSchema};
use sluice_policy::document::report::Finding;
use sluice_policy::spec::document::Document;
use sluice_policy::spec::shadow::ShadowPolicy;

use crate::tree::Tree;
use errors::Errors;
use path::Path;
use table::Schema;

/// The lists of a plugin document with the kinds of their elements.
const LISTS: [(&str, &str); 3] = [
    ("virtualServices", "VirtualService"),
    ("destinationRules", "DestinationRule"),
    ("serviceEntries", "ServiceEntry"),
];

/// The errors in fields of a plugin document that no filter reads. `is_object` tells by the path
/// whether an element of a list is a Kubernetes object: the API server accepts less of those.
pub fn check(document: &Tree, is_object: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut errors = Errors::default();
    let namespace = document.field("namespace").and_then(Tree::as_str);
    let shadow = document.field("shadow").map(|own| ("shadow.", own, ShadowPolicy::schema()));
    for (parent, object, schema) in [("", document, Document::schema())].into_iter().chain(shadow) {
        for field in schema.fields {
            let list = LISTS.iter().find(|(list, _)| *list == field.name);
            let Some((_, kind)) = list else { continue };
            let Some(schema) = table::spec(kind) else { continue };
            let Some((key, list)) = object.entry(field.name) else { continue };
            let (Kind::List(own) | Kind::RequiredList(own)) = field.kind else { continue };
            let name = format!("{parent}{}", key.text);
            for (index, element) in list.elements().iter().enumerate() {
                let path = &Path::Root(&name, index);
                errors.is_object = is_object(&path.to_string());
                walk(schema, own, element, path, &mut errors);
                export_to::check(element, kind, namespace, path, &mut errors);
            }
        }
    }
    errors.into_findings()
}

/// Follows the declarations of the readers to the fields that they do not read.
fn walk(schema: &'static Schema, own: &Kind, value: &Tree, path: &Path<'_>, errors: &mut Errors) {
    match own {
        Kind::Any => schema.check(value, path, errors),
        Kind::Object(object) => walk_object(schema, object(), value, path, errors),
        Kind::AnyOf(own, _) | Kind::Nullable(own) => walk(schema, own, value, path, errors),
        Kind::List(own) | Kind::RequiredList(own) => {
            let Some(schema) = schema.element() else { return };
            for (index, element) in value.elements().iter().enumerate() {
                walk(schema, own, element, &path.index(index), errors);
            }
        }
        _ => {}
    }
}

fn walk_object(
    schema: &'static Schema,
    object: &ObjectSchema,
    value: &Tree,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let before = errors.count();
    for (key, field) in value.fields() {
        let own = object.fields.iter().find(|own| is_field(&key.text, own.name));
        // What Istio does not have is an addition of the filters.
        let Some((own, of_field)) = own.and_then(|own| Some((own, schema.field(own.name)?))) else {
            continue;
        };
        let path = path.member(&key.text);
        // Few fields are in Istio's schemas in both spellings, such as mirror_percent.
        if key.text != own.name && schema.field(&key.text).is_none() {
            errors.check_spelling(&path, own.name);
        }
        walk(of_field, &own.kind, field, &path, errors);
    }
    // The rules of the webhook are for values that fit the schema.
    if errors.count() == before {
        match object.name {
            "TrafficPolicy" => traffic_policy::check(value, &path.to_string(), errors),
            "PortPolicy" => traffic_policy::check_port(value, &path.to_string(), errors),
            "VirtualService" => virtual_service::check(value, &path.to_string(), errors),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
