//! Objects with one change each, from a seed.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Value, json};

use super::corpus::Object;

/// The title of the group of mutations.
pub const TITLE: &str = "mutations";

/// Makes `count` objects, each from a random one of `objects` by one change of its spec.
pub fn mutate(objects: &[&Object], count: usize) -> Vec<Object> {
    let mut random = Rng::with_seed(17);
    let known = Known::of(objects);
    let has_fields = |value: &Value| value.as_object().is_some_and(|fields| !fields.is_empty());
    let bases: Vec<_> = objects.iter().filter(|object| has_fields(&object.value["spec"])).collect();
    let mut mutations = Vec::new();
    while mutations.len() < count && !bases.is_empty() {
        let base = bases[random.usize(..bases.len())];
        let mut value = base.value.clone();
        let mut places = Vec::new();
        list(&value["spec"], "/spec", &mut places);
        let place = &places[random.usize(..places.len())];
        if !change(&mut value, place, &known, &mut random) || value == base.value {
            continue;
        }
        let file = format!("mutation {} of {}", mutations.len(), base.file);
        let (index, kind, text) = (base.index, base.kind.clone(), value.to_string());
        mutations.push(Object { file, index, kind, text, value });
    }
    mutations
}

/// Values of fields that occur, by the path of the object that has them, without indices.
struct Known(BTreeMap<String, Vec<(String, Value)>>);

impl Known {
    fn of(objects: &[&Object]) -> Self {
        let mut known: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
        for object in objects {
            let mut places = vec!["/spec".to_owned()];
            list(&object.value["spec"], "/spec", &mut places);
            for place in places {
                let Some(Value::Object(fields)) = object.value.pointer(&place) else { continue };
                let values = known.entry(shape(&place)).or_default();
                for (name, value) in fields {
                    values.push((name.clone(), value.clone()));
                }
            }
        }
        Self(known)
    }
}

/// A pointer without its indices.
fn shape(place: &str) -> String {
    let is_name = |part: &&str| part.parse::<usize>().is_err();
    place.split('/').filter(is_name).collect::<Vec<_>>().join("/")
}

/// The pointers to all values below `value`.
fn list(value: &Value, place: &str, places: &mut Vec<String>) {
    let mut add = |name: &str, value: &Value| {
        let place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
        places.push(place.clone());
        list(value, &place, places);
    };
    match value {
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(index, value)| add(&index.to_string(), value));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, value)| add(name, value)),
        _ => {}
    }
}

/// Changes the value at `place` or the one that contains it; false if that has no such change.
fn change(root: &mut Value, place: &str, known: &Known, random: &mut Rng) -> bool {
    let (parent, name) = place.rsplit_once('/').unwrap_or_default();
    let name = name.replace("~1", "/").replace("~0", "~");
    let shape = shape(parent);
    let Some(parent) = root.pointer_mut(parent) else { return false };
    match (random.u8(..8), parent) {
        (0, Value::Object(fields)) => fields.remove(&name).is_some(),
        (0, Value::Array(elements)) => {
            elements.remove(name.parse().unwrap_or_default());
            true
        }
        (1, Value::Object(fields)) => {
            let Some(value) = fields.remove(&name) else { return false };
            fields.insert(misspell(&name, random), value);
            true
        }
        (1, Value::Array(elements)) => {
            elements.push(elements[random.usize(..elements.len())].clone());
            true
        }
        (2, Value::Object(fields)) => {
            fields.insert(["unknown", "other", "spec"][random.usize(..3)].into(), json!("x"));
            true
        }
        (3 | 4, Value::Object(fields)) => {
            let Some(values) = known.0.get(&shape) else { return false };
            let (name, value) = &values[random.usize(..values.len())];
            fields.insert(name.clone(), value.clone());
            true
        }
        (5, parent) => {
            let others = [
                json!(null),
                json!(true),
                json!(0),
                json!(7),
                json!(-1),
                json!(101),
                json!(70_000),
                json!(1.5),
                json!(""),
                json!("*"),
                json!("x"),
                json!("A"),
                json!("*.x"),
                json!("0s"),
                json!("-1s"),
                json!("1ms"),
                json!("1us"),
                json!("5"),
                json!("a b"),
                json!([]),
                json!({}),
                json!([""]),
                json!([7]),
                json!([{}]),
                json!({ "x": "y" }),
            ];
            let other = others[random.usize(..others.len())].clone();
            child(parent, &name).map(|value| *value = other).is_some()
        }
        (_, parent) => match child(parent, &name) {
            Some(Value::String(text)) => {
                *text = respell(text, random);
                true
            }
            Some(value @ Value::Number(_)) => {
                let number = value.as_i64().unwrap_or(1);
                let others = [number + 1, number - 1, -number, number * 1000, number + 65_536];
                *value = others[random.usize(..others.len())].into();
                true
            }
            Some(Value::Bool(value)) => {
                *value = !*value;
                true
            }
            _ => false,
        },
    }
}

fn child<'a>(parent: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    match parent {
        Value::Array(elements) => elements.get_mut(name.parse::<usize>().ok()?),
        Value::Object(fields) => fields.get_mut(name),
        _ => None,
    }
}

/// A name with a usual mistake.
fn misspell(name: &str, random: &mut Rng) -> String {
    match random.u8(..4) {
        0 => format!("{name}s"),
        1 => name.chars().take(name.chars().count().saturating_sub(1)).collect(),
        2 => name.to_uppercase(),
        _ => name.to_lowercase(),
    }
}

/// A text with a usual mistake.
fn respell(text: &str, random: &mut Rng) -> String {
    match random.u8(..9) {
        0 => format!("{text}!"),
        1 => format!("*.{text}"),
        2 => text.to_uppercase(),
        3 => format!("{text}/"),
        4 => format!("{text}."),
        5 => format!("{text},x"),
        6 => text.replace('.', ""),
        7 => format!("-{text}"),
        _ => text.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_repeat_and_differ_from_their_base() {
        let value = json!({ "spec": { "host": "a", "subsets": [{ "name": "v1" }], "n": 1 } });
        let kind = "DestinationRule".to_owned();
        let base = Object { file: "a".to_owned(), index: 0, kind, text: String::new(), value };
        let run = || mutate(&[&base], 50);
        let texts = |objects: &[Object]| -> Vec<_> {
            objects.iter().map(|object| object.text.clone()).collect()
        };
        assert_eq!(texts(&run()), texts(&run()));
        assert_eq!(run().len(), 50);
        assert!(run().iter().all(|object| object.value != base.value));
    }
}
