//! What findings are about.

use crate::columns::Position;
use crate::finding::Place;

/// What a finding is about: a file, and an object in it unless the title is empty.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The file
    pub file: &'a str,
    /// Kind, namespace and name of the object
    pub title: &'a str,
}

impl Subject<'_> {
    /// The place of the value at `path`.
    pub fn place(&self, Position { line, columns }: Position, path: &str) -> Place {
        let (file, object) = (self.file.to_owned(), self.title.to_owned());
        Place { file, line, columns, object, path: path.to_owned() }
    }
}
