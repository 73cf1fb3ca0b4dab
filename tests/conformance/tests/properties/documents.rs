//! Every document compiles to a router or gives errors with paths.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use serde_json::Value;
use sluice_conformance::{case, cases, rejections};
use sluice_policy::router::Router;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

use crate::requests::assert_total;

#[test]
fn any_bytes_are_accepted_or_refused() {
    TestRunner::default()
        .run(&vec(any::<u8>(), 0..200), |bytes| {
            let _ = Router::compile(&bytes, &NoMetadata);
            Ok(())
        })
        .unwrap();
}

#[test]
fn documents_of_known_words_are_accepted_or_refused_with_paths() {
    let words = Words::of(&documents());
    TestRunner::default()
        .run(&words.document(), |document| {
            assert_answer(&document);
            Ok(())
        })
        .unwrap();
}

/// Valid documents with one value removed or replaced.
#[test]
fn mutated_documents_are_accepted_or_refused_with_paths() {
    let documents = documents();
    let words = Words::of(&documents);
    let mutation = (select(documents), any::<Index>(), prop::option::of(words.value()));
    TestRunner::new(ProptestConfig::with_cases(2000))
        .run(&mutation, |(mut document, place, value)| {
            let pointers: Vec<String> = places(&document).into_iter().map(|p| p.pointer).collect();
            mutate(&mut document, &pointers[place.index(pointers.len())], value);
            assert_answer(&document);
            Ok(())
        })
        .unwrap();
}

/// Asserts that the document compiles to a working router, or gives errors with paths that exist in
/// it.
fn assert_answer(document: &Value) {
    match Router::compile(document.to_string().as_bytes(), &NoMetadata) {
        Ok((router, notices)) => {
            let places = places(document);
            notices.iter().for_each(|notice| assert_place(&notice.path, &places, document));
            let request = &case("routing", "R1").requests[0];
            assert_total(&router, &request.pairs(), request);
        }
        Err(rejection) => {
            assert!(!rejection.errors.is_empty());
            let places = places(document);
            for error in &rejection.errors {
                assert!(!error.reason.is_empty());
                assert!(!error.reason.contains('\n'), "{error}");
                assert_place(&error.path, &places, document);
            }
        }
    }
}

/// Asserts that a path is that of a value, or of a member that is missing in an object.
fn assert_place(path: &str, places: &[Place], document: &Value) {
    let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
    let is_known = |path: &str| places.iter().any(|place| place.path == path);
    assert!(is_known(path) || is_known(parent), "{path:?} is not in {document}");
    assert!(!path.is_empty() || !document.is_object(), "an error without a path in {document}");
}

/// Place of a value.
struct Place {
    /// Path in the form that errors use
    path: String,
    /// As a JSON pointer
    pointer: String,
}

/// Returns the places of all values.
fn places(document: &Value) -> Vec<Place> {
    let mut places = Vec::new();
    let mut open = vec![(Place { path: String::new(), pointer: String::new() }, document)];
    while let Some((Place { path, pointer }, value)) = open.pop() {
        let child = |path, token: &str| {
            let token = token.replace('~', "~0").replace('/', "~1");
            Place { path, pointer: format!("{pointer}/{token}") }
        };
        match value {
            Value::Array(values) => open.extend(values.iter().enumerate().map(|(index, value)| {
                (child(format!("{path}[{index}]"), &index.to_string()), value)
            })),
            Value::Object(members) => open
                .extend(members.iter().map(|(key, value)| (child(member(&path, key), key), value))),
            _ => {}
        }
        places.push(Place { path, pointer });
    }
    places
}

fn member(path: &str, key: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    match key {
        _ if key.is_empty() || !key.bytes().all(is_plain) => format!("{path}[{key:?}]"),
        _ if path.is_empty() => key.to_owned(),
        _ => format!("{path}.{key}"),
    }
}

/// The configurations of all rows that are JSON, good and bad.
fn documents() -> Vec<Value> {
    let good = cases().into_iter().flat_map(|table| table.rows);
    let good = good.map(|case| case.config.get().to_owned());
    let bad = rejections().into_iter().flat_map(|table| table.rows).map(|row| row.text);
    good.chain(bad).filter_map(|text| serde_json::from_str(&text).ok()).collect()
}

/// Returns the keys and scalar values of documents.
struct Words {
    keys: Vec<String>,
    leaves: Vec<Value>,
}

impl Words {
    fn of(documents: &[Value]) -> Self {
        let mut words = Self { keys: Vec::new(), leaves: Vec::new() };
        let mut open: Vec<&Value> = documents.iter().collect();
        while let Some(value) = open.pop() {
            match value {
                Value::Array(values) => open.extend(values),
                Value::Object(members) => {
                    words.keys.extend(members.keys().cloned());
                    open.extend(members.values());
                }
                leaf if !words.leaves.contains(leaf) => words.leaves.push(leaf.clone()),
                _ => {}
            }
        }
        words.keys.sort();
        words.keys.dedup();
        words
    }

    /// A random value, mostly of known words.
    fn value(&self) -> impl Strategy<Value = Value> + use<> {
        let leaf = prop_oneof![
            4 => select(self.leaves.clone()),
            1 => any::<i64>().prop_map(Value::from),
            1 => any::<f64>().prop_map(Value::from),
            1 => any::<String>().prop_map(Value::from),
            1 => any::<bool>().prop_map(Value::from),
        ];
        let keys = select(self.keys.clone());
        leaf.prop_recursive(4, 32, 4, move |inner| {
            let key = prop_oneof![9 => keys.clone(), 1 => any::<String>().boxed()];
            let object = btree_map(key, inner.clone(), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect()));
            prop_oneof![vec(inner, 0..4).prop_map(Value::Array), object]
        })
    }

    /// A random object with the top-level fields of a document.
    fn document(&self) -> impl Strategy<Value = Value> + use<> {
        let rest = btree_map(select(self.keys.clone()), self.value(), 0..3);
        (self.value(), rest).prop_map(|(services, rest)| {
            let mut document: serde_json::Map<_, _> = rest.into_iter().collect();
            document.insert("virtualServices".to_owned(), services);
            Value::Object(document)
        })
    }
}

/// Replaces or removes one value.
fn mutate(document: &mut Value, pointer: &str, by: Option<Value>) {
    let parent = pointer.rsplit_once('/');
    match (by, parent) {
        (Some(value), _) => *document.pointer_mut(pointer).unwrap() = value,
        (None, None) => *document = Value::Null,
        (None, Some((parent, token))) => match document.pointer_mut(parent).unwrap() {
            Value::Array(values) => drop(values.remove(token.parse().unwrap())),
            Value::Object(members) => {
                let key = token.replace("~1", "/").replace("~0", "~");
                members.remove(&key).unwrap();
            }
            _ => unreachable!("the parent of a value has values"),
        },
    }
}
