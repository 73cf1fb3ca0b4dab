//! Mirrors of a route as they are written, with everything that Istio refuses about them.
//!
//! The router does not mirror; it checks, because every filter checks the whole document.

use crate::destination::{self, Destination, Naming};
use crate::node::{Node, Object};
use crate::percent::{Percent, read_mirror_percent};

/// One target of copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where the copies go
    pub destination: Destination,
    /// How many requests are copied; all when absent, as in Istio
    pub percentage: Percent,
}

/// Reads the mirror fields of a route: `mirror` with `mirrorPercentage` or the deprecated
/// `mirrorPercent`, or `mirrors`.
pub fn read(route: &mut Object<'_>, naming: &Naming) -> Vec<Mirror> {
    let single = route.field("mirror");
    let percentage = route.field("mirrorPercentage").map(|node| read_mirror_percent(&node));
    let percent = route.field("mirrorPercent").map(|node| read_percent(&node));
    let list = route.field("mirrors");
    if let (Some(_), Some(node)) = (&single, &list) {
        node.error("is given beside mirror");
    }
    let mut mirrors = Vec::new();
    if let Some(node) = single {
        let percentage = percentage.or(percent).unwrap_or(Some(Percent::ALL));
        if let (Some(destination), Some(percentage)) =
            (destination::read(&node, naming), percentage)
        {
            mirrors.push(Mirror { destination, percentage });
        }
    }
    let entries = list.map_or(Vec::new(), |node| node.elements());
    mirrors.extend(entries.iter().filter_map(|node| read_entry(node, naming)));
    mirrors
}

fn read_entry(node: &Node<'_>, naming: &Naming) -> Option<Mirror> {
    let mut object = node.object()?;
    let destination = object.required("destination");
    let percentage = object.field("percentage");
    let percentage = percentage.map_or(Some(Percent::ALL), |node| read_mirror_percent(&node));
    Some(Mirror { destination: destination::read(&destination?, naming)?, percentage: percentage? })
}

fn read_percent(node: &Node<'_>) -> Option<Percent> {
    node.notice("is deprecated, use mirrorPercentage");
    let percent = node.integer().and_then(|percent| Percent::new(percent as f64));
    if percent.is_none() {
        node.invalid("is not in 0..=100");
    }
    percent
}
