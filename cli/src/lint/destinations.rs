//! The destinations of a VirtualService.

use crate::tree::{Tree, Value};

/// A destination, with its place in the VirtualService.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The destination
    pub tree: &'a Tree,
    /// `http`, `tls` or `tcp`
    kind: &'static str,
    /// The index of its route
    route: usize,
    /// The list that has it, and the index there; `None` for the one of `mirror`
    entry: Option<(&'static str, usize)>,
}

impl<'a> Destination<'a> {
    /// The path in the VirtualService, with a dot at the start.
    pub fn path(&self) -> String {
        let Self { kind, route, .. } = self;
        match self.entry {
            Some((list, index)) => format!(".{kind}[{route}].{list}[{index}].destination"),
            None => format!(".{kind}[{route}].mirror"),
        }
    }

    /// The text of a field; `None` if it is empty.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.tree.field(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// The number of the port.
    pub fn port(&self) -> Option<i64> {
        match self.tree.field("port")?.field("number")?.value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }
}

/// The kinds of routes.
pub const KINDS: [&str; 3] = ["http", "tls", "tcp"];

/// All destinations of a VirtualService, also those of mirrors.
pub fn destinations(service: &Tree) -> Vec<Destination<'_>> {
    let mut found = Vec::new();
    for kind in KINDS {
        for (number, route) in service.list(kind).iter().enumerate() {
            for list in ["route", "mirrors"] {
                for (index, entry) in route.list(list).iter().enumerate() {
                    let entry_of = entry.field("destination");
                    found.extend(entry_of.map(|tree| Destination {
                        tree,
                        kind,
                        route: number,
                        entry: Some((list, index)),
                    }));
                }
            }
            let mirror = route.field("mirror");
            found.extend(mirror.map(|tree| Destination { tree, kind, route: number, entry: None }));
        }
    }
    found
}
