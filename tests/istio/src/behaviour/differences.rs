//! How two results of a request differ, and the file of the differences that have a reason.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sluice_e2e::workspace;

use super::objects::Context;
use super::observe::{Arrival, Seen};
use crate::headers;

/// A difference that has a reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Argued {
    /// The kind of the difference; a * at its end stands for any rest
    difference: String,
    /// The context; both if absent
    #[serde(default)]
    context: String,
    /// A part of the name of the case; any if absent
    #[serde(default)]
    case: String,
    /// Whether only objects of SLUICE_CORPUS have the difference
    #[serde(default)]
    corpus: bool,
    #[serde(rename = "reason")]
    _reason: String,
}

/// The differences of all requests.
pub struct Differences {
    argued: Vec<(Argued, usize)>,
    open: BTreeMap<(Context, String), Vec<String>>,
}

impl Differences {
    /// Reads the file of argued differences.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn load() -> Self {
        let file = workspace().join("tests/istio/behaviour.yaml");
        let text = std::fs::read_to_string(file).expect("behaviour.yaml");
        let argued: Vec<Argued> = serde_yaml_ng::from_str(&text).expect("behaviour.yaml");
        let argued = argued.into_iter().map(|argued| (argued, 0)).collect();
        Self { argued, open: BTreeMap::new() }
    }

    /// Adds a difference, which has a reason if one of its names has; `example` shows it.
    pub fn add(
        &mut self,
        context: Context,
        case: &str,
        names: &[String],
        example: impl FnOnce() -> String,
    ) {
        let is_argued = |(own, _): &&mut (Argued, usize)| {
            let is_difference = match own.difference.strip_suffix('*') {
                Some(start) => names.iter().any(|name| name.starts_with(start)),
                None => names.contains(&own.difference),
            };
            let is_context =
                own.context.is_empty() || own.context == format!("{context:?}").to_lowercase();
            is_difference && is_context && case.contains(&own.case)
        };
        match self.argued.iter_mut().find(is_argued) {
            Some((_, count)) => *count += 1,
            None => {
                let difference = names.first().cloned().unwrap_or_default();
                let known = self.open.entry((context, difference.clone())).or_default();
                known.push(example());
                // The first of a kind is shown at once, because the rest takes long.
                if let [first] = &**known {
                    println!("\n{context:?}: {difference}\n{first}");
                }
            }
        }
    }

    /// Prints all and returns the number of those without a reason, and of reasons without a
    /// difference, if all cases were compared (`is_complete`).
    pub fn finish(self, is_complete: bool) -> usize {
        println!("\nargued in behaviour.yaml:");
        for (argued, count) in &self.argued {
            println!("{count:6}  {} {}", argued.context, argued.difference);
        }
        let unused = self.argued.iter().filter(|(argued, count)| *count == 0 && !argued.corpus);
        let unused = unused.filter(|_| is_complete).map(|(argued, _)| argued.difference.as_str());
        let unused: Vec<_> = unused.collect();
        for difference in &unused {
            println!("no longer a difference, remove it from behaviour.yaml: {difference}");
        }
        println!("\nwithout a reason:");
        let shown = match std::env::var_os("SLUICE_SHOW") {
            Some(count) => count.to_string_lossy().parse().unwrap_or(1),
            None => 1,
        };
        for ((context, difference), examples) in &self.open {
            println!("{:6}  {context:?}: {difference}", examples.len());
            examples.iter().take(shown).for_each(|example| println!("{example}"));
        }
        self.open.values().map(Vec::len).sum::<usize>() + unused.len()
    }
}

/// Returns the kinds of differences between the results of istiod's configuration and of a rendered
/// Envoy, which has other defaults.
pub fn compare_rendered(native: &Seen, rendered: &Seen) -> BTreeSet<String> {
    let subset = native.cluster.split('|').nth(2).unwrap_or_default().to_owned();
    let strip = |seen: &Seen| {
        let mut seen = seen.clone();
        seen.cluster = "-".to_owned();
        let is_own = |name: &str| {
            name.starts_with("x-envoy-") || name.starts_with("x-forwarded-") || name == "server"
        };
        seen.headers.retain(|name, _| !is_own(name));
        for arrival in &mut seen.received {
            arrival.headers.retain(|name, _| !is_own(name));
            // Endpoints of a Service have no port of their own, and those of a host any labels.
            let (rest, _) = arrival.upstream.rsplit_once(' ').unwrap_or_default();
            let host = rest.split(' ').next().unwrap_or_default();
            arrival.upstream = if subset.is_empty() { host } else { rest }.replace(' ', "_");
        }
        seen.received.sort();
        seen
    };
    compare(&strip(native), &strip(rendered))
}

/// Returns the kinds of differences between two results.
pub fn compare(native: &Seen, filtered: &Seen) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    if native.status != filtered.status {
        kinds.insert(format!("status {} {}", native.status, filtered.status));
        return kinds;
    }
    let is_abort = filtered.headers.get("x-sluice-fault").is_some_and(|own| own == "abort");
    // A VirtualService of istiod may apply then.
    if filtered.is_passed && native.status != 404 {
        kinds.insert("left to istiod's routes".to_owned());
    }
    // istiod's fault filter answers when Envoy has chosen a cluster.
    if native.cluster != filtered.cluster && !is_abort {
        let is_local = |own: &Seen| own.cluster == "-";
        kinds.insert(match (is_local(native), is_local(filtered)) {
            (true, _) => "a cluster through the filters only".to_owned(),
            (_, true) => "a cluster natively only".to_owned(),
            _ => "cluster".to_owned(),
        });
    }
    if native.is_delayed != filtered.is_delayed {
        kinds.insert("delay".to_owned());
    }
    let is_preflight = native.headers.contains_key("access-control-allow-methods");
    let suffix = match (is_abort, is_preflight) {
        (true, _) => " of an abort",
        (_, true) => " of a preflight",
        _ => "",
    };
    kinds.extend(headers::differences(
        &format!("response{suffix}"),
        &native.headers,
        &filtered.headers,
    ));
    if native.body != filtered.body {
        kinds.insert("body".to_owned());
    }
    if native.received.len() != filtered.received.len() {
        let (one, other) = (native.received.len(), filtered.received.len());
        kinds.insert(format!("received {one} and {other} times"));
        return kinds;
    }
    for (native, filtered) in native.received.iter().zip(&filtered.received) {
        compare_arrivals(native, filtered, &mut kinds);
    }
    kinds
}

fn compare_arrivals(native: &Arrival, filtered: &Arrival, kinds: &mut BTreeSet<String>) {
    if service(&native.upstream) != service(&filtered.upstream) {
        kinds.insert("upstream".to_owned());
    }
    for (index, name) in ["method", "host", "path"].into_iter().enumerate() {
        if native.line[index] != filtered.line[index] {
            kinds.insert(format!("{name} at the upstream"));
        }
    }
    kinds.extend(headers::differences("request", &native.headers, &filtered.headers));
}

/// The host and the port of an upstream. Its subset is that of the cluster, or any.
fn service(upstream: &str) -> (&str, &str) {
    let host = upstream.split(' ').next().unwrap_or_default();
    (host, upstream.rsplit(' ').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        let arrival = Arrival {
            upstream: "a {} 80".to_owned(),
            line: ["GET", "a", "/"].map(str::to_owned),
            headers: BTreeMap::from([("x-a".to_owned(), "1".to_owned())]),
        };
        Seen {
            status: 200,
            headers: BTreeMap::new(),
            body: String::new(),
            cluster: "outbound|80||a".to_owned(),
            is_delayed: false,
            is_passed: false,
            received: vec![arrival],
        }
    }

    #[test]
    fn every_part_is_compared() {
        assert!(compare(&seen(), &seen()).is_empty());
        let difference = |change: &dyn Fn(&mut Seen)| {
            let mut other = seen();
            change(&mut other);
            compare(&seen(), &other).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(difference(&|own| own.status = 404), ["status 200 404"]);
        assert_eq!(difference(&|own| own.cluster = "b".to_owned()), ["cluster"]);
        assert_eq!(difference(&|own| own.is_delayed = true), ["delay"]);
        let passed = difference(&|own| own.is_passed = true);
        assert_eq!(passed, ["left to istiod's routes"]);
        assert_eq!(difference(&|own| own.body = "x".to_owned()), ["body"]);
        assert_eq!(difference(&|own| own.received.clear()), ["received 1 and 0 times"]);
        let path = difference(&|own| own.received[0].line[2] = "/x".to_owned());
        assert_eq!(path, ["path at the upstream"]);
        let upstream = difference(&|own| own.received[0].upstream = "b {} 80".to_owned());
        assert_eq!(upstream, ["upstream"]);
        let header = difference(&|own| own.received[0].headers.clear());
        assert_eq!(header, ["request x-a: natively only"]);
    }

    #[test]
    fn reasons_without_a_difference_are_counted() {
        let differences = || {
            let text = "[{difference: 'a: *', reason: x}, {difference: b, reason: x},
                {difference: d, corpus: true, reason: x}]";
            let argued: Vec<Argued> = serde_yaml_ng::from_str(text).unwrap();
            let argued = argued.into_iter().map(|argued| (argued, 0)).collect();
            let mut differences = Differences { argued, open: BTreeMap::new() };
            differences.add(Context::Gateway, "case", &["a: status".to_owned()], String::new);
            differences
        };
        assert_eq!(differences().finish(true), 1);
        assert_eq!(differences().finish(false), 0);
        let mut with_open = differences();
        with_open.add(Context::Gateway, "case", &["c".to_owned()], String::new);
        with_open.add(Context::Gateway, "case", &["b".to_owned()], String::new);
        assert_eq!(with_open.finish(true), 1);
    }

    #[test]
    fn subsets_of_rendered_envoys_are_compared_by_upstream() {
        let mut native = seen();
        native.cluster = "outbound|80|v1|a".to_owned();
        native.received[0].upstream = "a {\"version\":\"v1\"} 80".to_owned();
        let mut rendered = native.clone();
        rendered.cluster = "-".to_owned();
        assert!(compare_rendered(&native, &rendered).is_empty());
        rendered.received[0].upstream = "a {\"version\":\"v2\"} 80".to_owned();
        assert_eq!(compare_rendered(&native, &rendered), ["upstream".to_owned()].into());
    }
}
