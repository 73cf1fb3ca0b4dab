//! Paths, which become text only for errors: most values have none.

use std::fmt;

/// The path of a value.
#[derive(Clone, Copy)]
pub enum Path<'a> {
    /// An element of a list of a plugin document, by the path of the list
    Root(&'a str, usize),
    /// An element of a list
    Index(&'a Path<'a>, usize),
    /// A member of an object
    Member(&'a Path<'a>, &'a str),
}

impl<'a> Path<'a> {
    /// The path of an element of this list.
    pub fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }

    /// The path of a member of this object.
    pub fn member(&'a self, key: &'a str) -> Self {
        Self::Member(self, key)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(list, index) => write!(f, "{list}[{index}]"),
            Self::Index(list, index) => write!(f, "{list}[{index}]"),
            Self::Member(object, key) => f.write_str(&member(object, key)),
        }
    }
}

/// The path of a member of an object.
pub fn member(path: impl fmt::Display, key: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if key.is_empty() || !key.chars().all(is_plain) {
        format!("{path}[{key:?}]")
    } else {
        format!("{path}.{key}")
    }
}
