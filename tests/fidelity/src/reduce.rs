//! Making a mismatch small: parts of the VirtualService and of the request are left out as long as
//! the mismatch stays.

use std::sync::Arc;

use serde_json::Value;

use crate::case::{Case, Sent};
use crate::compare::compare;
use crate::observe::Seen;
use crate::world::{Shot, Side, World};

/// A mismatch.
#[derive(Clone)]
pub struct Mismatch {
    /// The VirtualService
    pub case: Case,
    /// The request
    pub sent: Sent,
    /// The side that differs
    pub side: Side,
    /// A kind of the difference
    pub kind: String,
    /// Both results
    pub seen: [Seen; 2],
}

/// Fields without which Istio does not accept the object that has them, or that are the subject of
/// this test only together with it.
const KEPT: [&str; 16] = [
    "attempts",
    "bytes",
    "destination",
    "directResponse",
    "exact",
    "fixedDelay",
    "grpcStatus",
    "host",
    "hosts",
    "httpStatus",
    "match",
    "prefix",
    "redirect",
    "regex",
    "route",
    "status",
];

/// The steps after which a mismatch is small enough in any case.
const STEPS: usize = 40;

/// Returns the smallest VirtualService and request that were found with the same mismatch.
pub async fn reduce(mut mismatch: Mismatch) -> Mismatch {
    for _ in 0..STEPS {
        let mut candidates = smaller(&mismatch);
        // One Envoy has them all, each with hosts of its own.
        for (number, (case, sent)) in candidates.iter_mut().enumerate() {
            *sent = sent.renumbered(case.number, number);
            *case = case.renumbered(number);
        }
        match first_mismatch(&candidates, &mismatch).await {
            Some(smaller) => mismatch = smaller,
            None => break,
        }
    }
    mismatch
}

/// The first candidate with the mismatch. One that Envoy refuses is none.
async fn first_mismatch(candidates: &[(Case, Sent)], of: &Mismatch) -> Option<Mismatch> {
    let mut parts = vec![candidates];
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let cases: Vec<_> = part.iter().map(|(case, _)| case.clone()).collect();
        let Ok(world) = World::start(&cases, &[Side::Native, of.side]).await else {
            let (one, other) = part.split_at(part.len() / 2);
            if !one.is_empty() {
                parts.extend([other, one]);
            }
            continue;
        };
        let shots = part.iter().enumerate();
        let shots = shots.map(|(case, (_, sent))| Shot { case, sent: sent.clone() }).collect();
        let results = world.fire(&Arc::new(shots), 0).await;
        for ((case, sent), results) in part.iter().zip(results) {
            let seen = [Side::Native, of.side].map(|side| results[&side].clone());
            if compare(&seen[0], &seen[1]).contains(&of.kind) {
                let (case, sent) = (case.clone(), sent.clone());
                return Some(Mismatch { case, sent, seen, ..of.clone() });
            }
        }
    }
    None
}

/// The VirtualService or the request without one of its parts.
fn smaller(mismatch: &Mismatch) -> Vec<(Case, Sent)> {
    let Mismatch { case, sent, .. } = mismatch;
    let mut all = Vec::new();
    let mut paths = Vec::new();
    removable(&case.spec["http"], "/http".to_owned(), &mut paths);
    // Larger parts first.
    paths.sort_by_key(|path| path.matches('/').count());
    for path in paths {
        let mut spec = case.spec.clone();
        remove(&mut spec, &path);
        if spec["http"].as_array().into_iter().flatten().all(is_valid) {
            all.push((Case { spec, ..case.clone() }, sent.clone()));
        }
    }
    let mut change = |change: &dyn Fn(&mut Sent)| {
        let other = sent.with(&sent.purpose, change);
        if other != *sent {
            all.push((case.clone(), other));
        }
    };
    for (name, _) in &sent.headers {
        change(&|own| own.remove_header(name));
    }
    change(&|own| own.query = None);
    change(&|own| own.body.clear());
    change(&|own| "GET".clone_into(&mut own.method));
    change(&|own| "/".clone_into(&mut own.path));
    change(&|own| own.host = crate::case::name(case.number));
    all
}

/// Whether Istio accepts a rule after something was left out.
fn is_valid(rule: &Value) -> bool {
    let targets = rule["route"].as_array().map_or(&[][..], Vec::as_slice);
    let has_weight = |target: &Value| target["weight"].as_u64().is_some_and(|own| own > 0);
    let actions = ["uri", "prefixRewrite", "authority", "scheme", "port", "derivePort"];
    let redirect = &rule["redirect"];
    let expression = &rule["rewrite"]["uriRegexRewrite"];
    (targets.len() < 2 || targets.iter().any(has_weight))
        && (redirect.is_null() || actions.iter().any(|name| !redirect[*name].is_null()))
        && expression["match"].is_null() == expression["rewrite"].is_null()
}

/// The places of all parts below a value that may be left out.
fn removable(value: &Value, path: String, paths: &mut Vec<String>) {
    let mut visit = |name: &str, child: &Value, is_removable: bool| {
        let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
        if is_removable {
            paths.push(path.clone());
        }
        removable(child, path, paths);
    };
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(&index.to_string(), item, items.len() > 1);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                // `match` of a rule is a list; that of a rewrite is a text.
                let is_kept = KEPT.contains(&name.as_str()) && !field.is_array();
                let is_kept = is_kept || ["hosts", "route"].contains(&name.as_str());
                visit(name, field, !is_kept && fields.len() > 1);
            }
        }
        _ => {}
    }
}

fn remove(spec: &mut Value, path: &str) {
    let Some((parent, name)) = path.rsplit_once('/') else { return };
    let name = name.replace("~1", "/").replace("~0", "~");
    match spec.pointer_mut(parent) {
        Some(Value::Array(items)) => {
            items.remove(name.parse().expect("an index"));
        }
        Some(Value::Object(fields)) => {
            fields.remove(&name);
        }
        _ => {}
    }
}

impl Mismatch {
    /// It as text: the VirtualService, the request and both answers.
    pub fn show(&self) -> String {
        let indent =
            |text: &str| text.lines().map(|line| format!("  {line}\n")).collect::<String>();
        let side = self.side.name();
        format!(
            "{side}: {}\n{}request ({}):\n{}natively:\n{}{side}:\n{}",
            self.kind,
            indent(&self.case.to_yaml()),
            self.sent.purpose,
            indent(&self.sent.show()),
            indent(&self.seen[0].show()),
            indent(&self.seen[1].show()),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_that_istio_requires_stay() {
        let target = json!({ "destination": { "host": "a" }, "weight": 1 });
        let rules = json!([{ "match": [{ "uri": { "exact": "/" } }], "route": [target] }]);
        let mut paths = Vec::new();
        removable(&rules, "/http".to_owned(), &mut paths);
        assert_eq!(paths, ["/http/0/match", "/http/0/route/0/weight"]);
        let mut spec = json!({ "http": rules });
        remove(&mut spec, &paths[0]);
        assert_eq!(spec["http"][0]["match"], Value::Null);
    }
}
