//! Mirrors of a route. Rejects what Istio rejects.

pub mod compare;
pub mod settings;

use std::sync::Arc;

use crate::document::fields::fields;
use crate::document::node::{Node, Object, all};
use crate::document::report::{self, Reported};
use crate::spec::destination::{self, ClusterName, Destination, Naming};
use crate::value::header::{FixedEdit, HeaderEdit};
use crate::value::percent::{Percent, read_mirror_percent, read_plain_percent};

/// Prefix of the request headers that contain the clusters of copies; the index of the mirror
/// follows.
pub const HEADER_PREFIX: &str = "x-sluice-mirror-";

/// One destination of copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Name of the Envoy cluster
    pub cluster: ClusterName,
    /// The same as text, for copies that this filter sends
    text: Arc<str>,
    /// Share of the requests that are copied; all if absent, as in Istio
    pub percentage: Percent,
    /// Header that causes Envoy to send a copy
    header: FixedEdit,
}

impl Mirror {
    /// Creates the mirror with the position `index` in the route.
    pub(crate) fn new(index: usize, destination: &Destination, percentage: Percent) -> Self {
        let (name, cluster) = (format!("{HEADER_PREFIX}{index}"), destination.cluster.clone());
        let header = FixedEdit::steering(name, cluster.text().as_bytes());
        Self { text: cluster.text().into(), cluster, percentage, header }
    }
}

/// A copy of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Copy<'a> {
    mirror: &'a Mirror,
    /// Name of the cluster if it depends on the request
    by_port: Option<Arc<str>>,
}

impl<'a> Copy<'a> {
    /// Creates the copy of a request. `port` is called only if the cluster depends on the port that
    /// the client called.
    #[inline]
    pub fn new(mirror: &'a Mirror, port: impl FnOnce() -> Option<u16>) -> Self {
        let cluster = &mirror.cluster;
        let by_port = cluster.is_by_port().then(|| cluster.at(port).into());
        Self { mirror, by_port }
    }

    /// Returns the name of the Envoy cluster.
    #[inline]
    pub fn cluster(&self) -> &Arc<str> {
        self.by_port.as_ref().unwrap_or(&self.mirror.text)
    }

    /// Returns the edit of the request that causes Envoy to send the copy.
    #[inline]
    pub fn request_edit(&self) -> HeaderEdit<'_> {
        let edit = self.mirror.header.as_edit();
        match &self.by_port {
            Some(cluster) => HeaderEdit { value: cluster.as_bytes().into(), ..edit },
            None => edit,
        }
    }
}

fields!(Mirror, "A destination of copies.", {
    "destination" required: Kind::Object(Destination::schema) => "Destination of the copies.";
    "percentage": Kind::Object(Percent::schema) =>
        "Share of the requests that are copied, in percent; all if absent.";
});

/// Reads the mirror fields of a route: `mirror` with `mirrorPercentage` or the deprecated
/// `mirrorPercent`, or `mirrors`. A merged route can have both, because each is taken over from the
/// route with `delegate` by itself.
pub fn read(route: &Object<'_>, naming: &Naming, is_merged: bool) -> Result<Vec<Mirror>, Reported> {
    let single = route.optional("mirror", |node| destination::read(node, naming));
    let percentage = route.optional("mirrorPercentage", read_mirror_percent);
    let percent = route.optional("mirrorPercent", |node| {
        node.notice(report::Kind::Deprecated, "is deprecated, use mirrorPercentage");
        node.integer()?;
        read_plain_percent(node)
    });
    let entries = route.elements("mirrors").and_then(|entries| {
        let indexed = entries.iter().enumerate();
        all(indexed.map(|(index, node)| read_entry(index, node, naming)))
    });
    if let (Some(_), Some(node), false) = (route.field("mirror"), route.field("mirrors"), is_merged)
    {
        return Err(node.error("cannot be combined with mirror"));
    }
    let (single, percentage, percent) = (single?, percentage?, percent?);
    let percentage = percentage.or(percent).unwrap_or(Percent::ALL);
    let mut mirrors = entries?;
    let index = mirrors.len();
    let single = single.map(|destination| Mirror::new(index, &destination, percentage));
    mirrors.extend(single);
    Ok(mirrors)
}

fn read_entry(index: usize, node: &Node<'_>, naming: &Naming) -> Result<Mirror, Reported> {
    let object = node.object::<Mirror>()?;
    let destination = object.required("destination");
    let destination = destination.and_then(|node| destination::read(&node, naming));
    let percentage = object.optional("percentage", read_mirror_percent);
    Ok(Mirror::new(index, &destination?, percentage?.unwrap_or(Percent::ALL)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::http_route::HttpRoute;
    use crate::testing;

    fn mirrors(text: &str) -> Result<(Vec<(String, u32)>, String), String> {
        let naming = Naming { namespace: Some("ns".to_owned()), ..Naming::default() };
        let (mirrors, notices) = testing::read_with_notices(text, |node| {
            read(&node.object::<HttpRoute>()?, &naming, false)
        })?;
        let shown = |mirror: Mirror| (mirror.cluster.to_string(), mirror.percentage.per_million());
        Ok((mirrors.into_iter().map(shown).collect(), notices))
    }

    const V2: &str = r#"{"host": "a", "subset": "v2", "port": {"number": 80}}"#;
    const CLUSTER: &str = "outbound|80|v2|a.ns.svc.cluster.local";

    #[test]
    fn an_absent_percentage_is_all_and_mirror_percentage_wins() {
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
    fn rejects_invalid_fields() {
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
