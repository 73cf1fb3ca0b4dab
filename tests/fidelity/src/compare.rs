//! Comparison of what became of a request natively and through the filters.
//!
//! What is not compared is listed here, each with its reason. Everything else must be equal.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::native::{FLAGS, ROUTE};
use crate::observe::{Arrival, Headers, Seen};

/// Response headers that differ between two runs of the same side, or that only one side has as a
/// means of this test.
const OWN_OF_RESPONSES: [&str; 6] =
    ["date", "x-request-id", "x-envoy-upstream-service-time", "x-test-cluster", ROUTE, FLAGS];

/// The same for requests at upstreams.
const OWN_OF_REQUESTS: [&str; 2] = ["x-request-id", "x-test-id"];

/// The shortest delay of a fault, less the time by which Envoy's clock may lag.
const DELAY: Duration = Duration::from_millis(10);

/// The kinds of differences; empty if there is none.
pub fn compare(native: &Seen, filtered: &Seen) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    if native.status != filtered.status {
        kinds.insert(format!("status {} {}", native.status, filtered.status));
        return kinds;
    }
    let mark = filtered.header("x-sluice-fault");
    let flags = native.header(FLAGS);
    let (is_delayed, is_aborted) = (flags.contains("DI"), flags.contains("FI"));
    if is_aborted != (mark == "abort") {
        kinds.insert(format!("abort: natively {is_aborted}"));
    }
    // The answers of Envoy's CORS filter have no flags, so only the time tells.
    let may_be_delayed = is_delayed || (flags.is_empty() && native.elapsed >= DELAY);
    if is_delayed && filtered.elapsed < DELAY || !may_be_delayed && mark == "delay" {
        kinds.insert(format!("delay: natively {is_delayed}"));
    }
    let [one, other] = [native, filtered].map(|seen| response_headers(seen, native, is_aborted));
    different(&mut kinds, "response header", &one, &other);
    if native.body != filtered.body {
        kinds.insert("body".to_owned());
    }
    let at = |seen: &Seen| seen.arrivals.iter().map(|own| own.upstream.clone()).collect::<Vec<_>>();
    if at(native) != at(filtered) {
        kinds.insert("upstreams".to_owned());
        return kinds;
    }
    let is_retried = native.arrivals.len() > 1;
    for (native, filtered) in native.arrivals.iter().zip(&filtered.arrivals) {
        compare_arrivals(native, filtered, is_retried, &mut kinds);
    }
    kinds
}

fn response_headers(seen: &Seen, native: &Seen, is_aborted: bool) -> Headers {
    let mut headers = seen.headers.clone();
    headers.retain(|name, _| !OWN_OF_RESPONSES.contains(&name.as_str()));
    // The mark of faults.markResponses, which is on by default.
    headers.remove("x-sluice-fault");
    // A path that Envoy cannot normalize. It refuses the request before all filters, natively with
    // the edits of the route.
    let is_refused = native.status == 400 && native.arrivals.is_empty();
    if is_aborted || is_refused {
        // Envoy's fault filter answers when the route is known, so the route edits the response;
        // Sluice's answers before: the README of tests/istio.
        headers.retain(|name, _| !name.starts_with("x-"));
    }
    if let Some(allowed) = headers.get("access-control-allow-headers")
        && *allowed == [""]
    {
        // If all headers are allowed and the client asks for none, Envoy sends an empty list and
        // the filters send none, which is the same: the README of the router filter.
        headers.remove("access-control-allow-headers");
    }
    headers
}

fn compare_arrivals(
    native: &Arrival,
    filtered: &Arrival,
    is_retried: bool,
    kinds: &mut BTreeSet<String>,
) {
    let pairs = [
        ("method at the upstream", &native.method, &filtered.method),
        ("host at the upstream", &native.host, &filtered.host),
        ("path at the upstream", &native.target, &filtered.target),
        ("body at the upstream", &native.body, &filtered.body),
    ];
    for (name, one, other) in pairs {
        if one != other {
            kinds.insert(name.to_owned());
        }
    }
    let [one, other] = [native, filtered].map(|own| request_headers(own, is_retried));
    different(kinds, "request header", &one, &other);
}

fn request_headers(arrival: &Arrival, is_retried: bool) -> Headers {
    let mut headers = arrival.headers.clone();
    headers.retain(|name, _| !OWN_OF_REQUESTS.contains(&name.as_str()));
    // This test's route reads the clusters of copies from these headers. The README of the mirror
    // filter says that the upstream of the original gets them then.
    headers.retain(|name, _| !name.starts_with("x-sluice-mirror-"));
    // Envoy adds it if its route rewrites the authority; the filter rewrites it earlier: the README
    // of tests/istio.
    headers.remove("x-envoy-original-host");
    // What is left of a timeout depends on when a retry starts.
    if is_retried && let Some(left) = headers.get_mut("x-envoy-expected-rq-timeout-ms") {
        *left = vec!["any".to_owned()];
    }
    headers
}

fn different(kinds: &mut BTreeSet<String>, what: &str, native: &Headers, filtered: &Headers) {
    let names: BTreeSet<_> = native.keys().chain(filtered.keys()).collect();
    for name in names.into_iter().filter(|name| native.get(*name) != filtered.get(*name)) {
        let side = match (native.get(name), filtered.get(name)) {
            (Some(_), None) => "natively only",
            (None, _) => "through the filters only",
            _ => "another value",
        };
        kinds.insert(format!("{what} {name}: {side}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        let headers = |name: &str| Headers::from([(name.to_owned(), vec!["1".to_owned()])]);
        let arrival = Arrival {
            upstream: "a".to_owned(),
            method: "GET".to_owned(),
            host: "a".to_owned(),
            target: "/".to_owned(),
            headers: headers("x-a"),
            body: String::new(),
        };
        let elapsed = Duration::from_millis(20);
        Seen {
            status: 200,
            headers: headers("x-b"),
            body: String::new(),
            elapsed,
            arrivals: vec![arrival],
        }
    }

    #[test]
    fn every_part_is_compared() {
        assert!(compare(&seen(), &seen()).is_empty());
        let difference = |change: &dyn Fn(&mut Seen)| {
            let mut other = seen();
            change(&mut other);
            compare(&seen(), &other).into_iter().collect::<Vec<_>>().join("; ")
        };
        let mark = |own: &mut Seen, text: &str| {
            own.headers.insert("x-sluice-fault".to_owned(), vec![text.to_owned()]);
        };
        assert_eq!(difference(&|own| own.status = 404), "status 200 404");
        assert_eq!(difference(&|own| own.body.push('x')), "body");
        assert_eq!(difference(&|own| mark(own, "abort")), "abort: natively false");
        assert_eq!(difference(&|own| own.headers.clear()), "response header x-b: natively only");
        assert_eq!(difference(&|own| own.arrivals.clear()), "upstreams");
        let arrival =
            |change: &dyn Fn(&mut Arrival)| difference(&|own| change(&mut own.arrivals[0]));
        assert_eq!(arrival(&|own| own.upstream.push('b')), "upstreams");
        assert_eq!(arrival(&|own| own.method.push('b')), "method at the upstream");
        assert_eq!(arrival(&|own| own.host.push('b')), "host at the upstream");
        assert_eq!(arrival(&|own| own.target.push('b')), "path at the upstream");
        assert_eq!(arrival(&|own| own.body.push('b')), "body at the upstream");
        let value = vec!["1".to_owned(), "2".to_owned()];
        let repeat = |own: &mut Arrival| _ = own.headers.insert("x-a".to_owned(), value.clone());
        assert_eq!(arrival(&repeat), "request header x-a: another value");
    }

    #[test]
    fn a_native_delay_must_be_one_through_the_filters() {
        let mut native = seen();
        native.headers.insert(FLAGS.to_owned(), vec!["DI".to_owned()]);
        assert!(compare(&native, &seen()).is_empty());
        let early = Seen { elapsed: Duration::ZERO, ..seen() };
        assert_eq!(compare(&native, &early), ["delay: natively true".to_owned()].into());
        let mut marked = seen();
        marked.headers.insert("x-sluice-fault".to_owned(), vec!["delay".to_owned()]);
        assert!(compare(&native, &marked).is_empty());
        native.headers.insert(FLAGS.to_owned(), vec!["-".to_owned()]);
        assert_eq!(compare(&native, &marked), ["delay: natively false".to_owned()].into());
        native.headers.clear();
        assert!(!compare(&native, &marked).contains("delay: natively false"));
        native.elapsed = Duration::ZERO;
        assert!(compare(&native, &marked).contains("delay: natively false"));
    }
}
