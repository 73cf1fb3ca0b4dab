//! Mirrors of a route as they are written, with everything that Istio refuses about them.

use super::Mirror;
use crate::spec::destination::{self, Naming};
use crate::document::node::{Node, Object};
use crate::value::percent::{Percent, read_mirror_percent};

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
            mirrors.push(Mirror::new(0, &destination, percentage));
        }
    }
    let entries = list.map_or(Vec::new(), |node| node.elements());
    let read = |(index, node)| read_entry(index, node, naming);
    mirrors.extend(entries.iter().enumerate().filter_map(read));
    mirrors
}

fn read_entry(index: usize, node: &Node<'_>, naming: &Naming) -> Option<Mirror> {
    let mut object = node.object()?;
    let destination = object.required("destination");
    let percentage = object.field("percentage");
    let percentage = percentage.map_or(Some(Percent::ALL), |node| read_mirror_percent(&node));
    Some(Mirror::new(index, &destination::read(&destination?, naming)?, percentage?))
}

fn read_percent(node: &Node<'_>) -> Option<Percent> {
    node.notice("is deprecated, use mirrorPercentage");
    let percent = node.integer().and_then(|percent| Percent::new(percent as f64));
    if percent.is_none() {
        node.invalid("is not in 0..=100");
    }
    percent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::destination::ClusterTemplate;
    use crate::testing;

    fn mirrors(text: &str) -> Result<(Vec<(String, u32)>, String), String> {
        let naming =
            Naming { namespace: Some("ns".to_owned()), template: ClusterTemplate::default() };
        let (mirrors, notices) =
            testing::read_with_notices(text, |node| Some(read(&mut node.object()?, &naming)))?;
        let shown = |mirror: Mirror| (mirror.cluster.to_string(), mirror.percentage.per_million());
        Ok((mirrors.into_iter().map(shown).collect(), notices))
    }

    const V2: &str = r#"{"host": "a", "subset": "v2", "port": {"number": 80}}"#;
    const CLUSTER: &str = "outbound|80|v2|a.ns.svc.cluster.local";

    #[test]
    fn an_absent_percentage_is_all_and_the_newer_field_wins() {
        let shares = |fields: &str| {
            let (mirrors, notices) = mirrors(&format!(r#"{{"mirror": {V2}{fields}}}"#)).unwrap();
            assert_eq!(mirrors[0].0, CLUSTER);
            (mirrors[0].1, notices)
        };
        let deprecated = "mirrorPercent: is deprecated, use mirrorPercentage".to_owned();
        assert_eq!(shares(""), (1_000_000, String::new()));
        assert_eq!(shares(r#", "mirrorPercentage": {"value": 0}"#).0, 0);
        assert_eq!(shares(r#", "mirrorPercentage": {"value": 12.5}"#).0, 125_000);
        assert_eq!(shares(r#", "mirror_percent": 5"#).0, 50_000);
        assert_eq!(
            shares(r#", "mirrorPercentage": {"value": 1}, "mirrorPercent": 5"#),
            (10_000, deprecated)
        );
    }

    #[test]
    fn refusals() {
        let text = format!(
            r#"{{"mirror": {V2}, "mirrorPercent": 101, "mirrors": [{{}}, {{"destination": {V2},
                "percentage": {{"value": -1}}}}]}}"#
        );
        assert_eq!(
            mirrors(&text).unwrap_err(),
            "mirrorPercent: 101 is not in the range 0 to 100\n\
             mirrors: cannot be combined with mirror\n\
             mirrors[0].destination: is required\n\
             mirrors[1].percentage.value: -1 is not in the range 0 to 100"
        );
    }
}
