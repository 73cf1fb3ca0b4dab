//! Labels of namespaces, and label selectors.

use std::collections::HashMap;

use crate::tree::Tree;

/// The label that Kubernetes gives each namespace, with its name.
const NAME: &str = "kubernetes.io/metadata.name";

/// The labels of the namespaces in the files.
#[derive(Default)]
pub struct Namespaces(HashMap<String, HashMap<String, String>>);

/// A condition on a label: the key, and what it must be.
type Requirement = (String, Operator);

/// A label selector (`metav1.LabelSelector`): all conditions must hold.
pub struct Selector(Vec<Requirement>);

enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    /// An operator that Kubernetes does not have
    Unknown,
}

impl Namespaces {
    /// Adds a Namespace.
    pub fn add(&mut self, name: &str, labels: Option<&Tree>) {
        let labels = labels.map_or(&[][..], Tree::fields).iter();
        let labels = labels.filter_map(|(key, own)| Some((key.text.clone(), own.as_str()?.into())));
        self.0.insert(name.to_owned(), labels.collect());
    }

    /// Returns whether a selector selects a namespace. Of a namespace that is not in the files only
    /// the name is known.
    pub fn are_selected(&self, name: &str, Selector(requirements): &Selector) -> bool {
        requirements.iter().all(|(key, operator)| {
            let labels = self.0.get(name).and_then(|labels| labels.get(key));
            let value = labels.map(String::as_str).or((key == NAME).then_some(name));
            let is_one =
                |values: &[String]| value.is_some_and(|own| values.iter().any(|v| v == own));
            match operator {
                Operator::In(values) => is_one(values),
                Operator::NotIn(values) => !is_one(values),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
                Operator::Unknown => false,
            }
        })
    }
}

impl Selector {
    /// Reads a selector. One without any condition selects all namespaces.
    pub fn new(selector: &Tree) -> Self {
        let labels = selector.field("matchLabels").map_or(&[][..], Tree::fields).iter();
        let labels = labels.map(|(key, value)| {
            let values = value.as_str().map(str::to_owned).into_iter().collect();
            (key.text.clone(), Operator::In(values))
        });
        let expressions = selector.list("matchExpressions").iter().map(|own| {
            let text = |name| own.field(name).and_then(Tree::as_str).unwrap_or_default();
            let values = own.list("values").iter().filter_map(Tree::as_str);
            let values = values.map(str::to_owned).collect();
            let operator = match text("operator") {
                "In" => Operator::In(values),
                "NotIn" => Operator::NotIn(values),
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => Operator::Unknown,
            };
            (text("key").to_owned(), operator)
        });
        Self(labels.chain(expressions).collect())
    }
}
