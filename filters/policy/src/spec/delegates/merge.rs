//! Merges routes and matches as JSON. Sources: istiod's `mergeHTTPRoute`, `mergeHTTPMatchRequests`
//! and `mergeHTTPMatchRequest` in `pilot/pkg/model/virtualservice.go`.

use crate::document::json::{Field, Json};
use crate::document::parse::MAX_BYTES;
use crate::spec::delegates::conflict::conflict;
use crate::spec::delegates::part::{Part, complete_hosts, keys};
use crate::spec::delegates::rule::{MATCH, ROUTE, Rule};

/// The matches of a merged route.
#[derive(Debug, Default, PartialEq)]
pub struct Matches<'a> {
    /// The matches; one without conditions if neither route has any
    pub list: Vec<Json<'a>>,
    /// Index of the match of the delegate that each is from; `None` if its route has no matches
    pub indices: Vec<Option<usize>>,
}

/// A match of a delegate's route that conflicts with all matches of the route that it is merged
/// with.
pub struct Conflict<'a> {
    /// The match
    pub json: &'a Json<'a>,
    /// A field in which they conflict
    pub field: &'static str,
}

/// Merges each match of a delegate's route with each match of the route with `delegate` that it
/// does not conflict with. Adds the length of merged and of conflicting matches to `length`, and
/// ends when that exceeds [`MAX_BYTES`].
pub fn merge_matches<'a>(
    root: Part<'a>,
    own: Part<'a>,
    length: &mut usize,
) -> Result<Matches<'a>, Conflict<'a>> {
    let none = std::slice::from_ref(&Json::Null);
    let [roots, owns] = [root, own].map(|part| match part.json.elements("match") {
        [] => none,
        matches => matches,
    });
    let mut merged = Matches::default();
    for (index, json) in owns.iter().enumerate() {
        let own = Part { json, ..own };
        let index = Some(index).filter(|_| *json != Json::Null);
        let before = merged.list.len();
        let mut conflicting = "";
        for json in roots {
            let root = Part { json, ..root };
            let is_alone = *root.json == Json::Null || index.is_none();
            let added = match conflict(root, own).filter(|_| !is_alone) {
                Some(field) => {
                    conflicting = field;
                    root.json.length() + own.json.length()
                }
                None => {
                    let json = Json::Object(merge_fields(&MATCH, root, own));
                    let length = json.length();
                    merged.list.push(json);
                    merged.indices.push(index);
                    length
                }
            };
            *length = length.saturating_add(added);
            if *length > MAX_BYTES {
                return Ok(merged);
            }
        }
        if merged.list.len() == before {
            return Err(Conflict { json, field: conflicting });
        }
    }
    Ok(merged)
}

/// Merges a route with `delegate` and a route of the delegate, without their matches.
pub fn merge_route<'a>(root: Part<'a>, own: Part<'a>) -> Json<'a> {
    Json::Object(merge_fields(&ROUTE, root, own))
}

/// Merges the fields of two objects.
#[inline(never)]
fn merge_fields<'a>(
    rules: &[(&'static str, Rule)],
    root: Part<'a>,
    own: Part<'a>,
) -> Vec<Field<'a>> {
    let mut fields = Vec::new();
    for (name, rule) in rules {
        let (root, own) = (root.field(name), own.field(name));
        let Some(part) = own.or(root) else { continue };
        let value = match (rule, root, own) {
            (Rule::Name, Some(root), Some(own)) => {
                let [root, own] = [root, own].map(|part| part.json.as_str().unwrap_or_default());
                Json::String(format!("{root}-{own}").into())
            }
            (Rule::Conditions | Rule::Labels, Some(root), Some(own)) => {
                Json::Object(merge_entries(root.json.fields(), own.json.fields()))
            }
            (Rule::Gateways, ..) => {
                Json::Array(part.gateways().map(|own| Json::String(own.into())).collect())
            }
            _ => {
                let mut value = part.json.clone();
                if *rule == Rule::Destinations {
                    complete_hosts(&mut value, part.namespace);
                }
                value
            }
        };
        fields.push(((*name).into(), value));
    }
    fields
}

/// Merges entries whose keys the user chooses. Those of the delegate replace others.
fn merge_entries<'a>(root: &[Field<'a>], own: &[Field<'a>]) -> Vec<Field<'a>> {
    let keys = keys(own);
    let mut merged = own.to_vec();
    for entry in root {
        if !keys.contains(entry.0.as_bytes()) {
            merged.push(entry.clone());
        }
    }
    merged
}
