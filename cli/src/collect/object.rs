//! A Kubernetes object for the filters.

use crate::tree::Tree;

/// A Kubernetes object whose spec is for the filters.
#[derive(Clone)]
pub struct Object {
    /// The file
    pub file: String,
    /// Its kind, namespace and name
    pub title: String,
    /// Its name
    pub name: String,
    /// Its namespace, or that of the document where a delegate is used
    pub namespace: Option<String>,
    /// The number of earlier objects with the same kind, namespace and name; a higher number for a
    /// route that is attached to nothing. Each number makes a document
    pub copy: usize,
    /// The list of a plugin document that has its spec
    pub list: &'static str,
    /// Path of the spec in the file's document; empty for all of it
    pub place: &'static str,
    /// Its spec
    pub spec: Tree,
}
