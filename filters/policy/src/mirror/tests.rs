use super::*;
use crate::spec::proxy::NoMetadata;
use crate::testing::{FixedAttributes, FixedDraw, pairs};
use crate::value::header::FixedEdit;

const HALF_AND_ALL: &str = r#""mirrors": [
    {"destination": {"host": "b"}, "percentage": {"value": 10}},
    {"destination": {"host": "c", "subset": "v2"}, "percentage": {"value": 20}},
    {"destination": {"host": "d"}}]"#;

fn mirrors(more: &str, route: &str) -> Mirrors {
    let document = format!(
        r#"{{"clusterName": "{{host}}[-{{subset}}]", {more} "virtualServices": [{{"hosts": ["a"],
            "http": [{{"name": "all", {route}, "route": [{{"destination": {{"host": "a"}}}}]}}]}}]}}"#
    );
    let (mirrors, notices) = Mirrors::compile(document.as_bytes(), &NoMetadata).unwrap();
    assert_eq!(notices, []);
    mirrors
}

/// The clusters that get copies, the number of mirrors that were not sampled, and that of mirrors
/// for which the request is not eligible.
fn planned(mirrors: &Mirrors, headers: &[(&str, &str)], draw: u64) -> (String, usize, usize) {
    let mut all = pairs(&[(":authority", "a"), (":path", "/"), (":method", "GET")]);
    all.extend(pairs(headers));
    let attributes = FixedAttributes::default();
    let plan = mirrors.plan(&Request::new(&all, &attributes), &mut FixedDraw(draw));
    let clusters: Vec<&str> = plan.copies.iter().map(|copy| &**copy.cluster()).collect();
    (clusters.join(","), plan.not_sampled, plan.not_eligible)
}

#[test]
fn all_mirrors_use_one_draw() {
    let mirrors = mirrors("", HALF_AND_ALL);
    let planned = |draw| planned(&mirrors, &[], draw);
    assert_eq!(planned(99_999), ("b,c-v2,d".to_owned(), 0, 0));
    assert_eq!(planned(100_000), ("c-v2,d".to_owned(), 1, 0));
    assert_eq!(planned(200_000), ("d".to_owned(), 2, 0));
}

#[test]
fn header_names_have_the_index_of_the_mirror() {
    let mirrors = mirrors("", HALF_AND_ALL);
    let all = pairs(&[(":authority", "a"), (":path", "/")]);
    let attributes = FixedAttributes::default();
    let plan = mirrors.plan(&Request::new(&all, &attributes), &mut FixedDraw(150_000));
    let edits: Vec<_> = plan.copies.iter().map(|mirror| mirror.request_edit()).collect();
    assert_eq!(plan.route, "all");
    assert_eq!(
        edits,
        [
            FixedEdit::steering("x-sluice-mirror-1", &b"c-v2"[..]).as_edit(),
            FixedEdit::steering("x-sluice-mirror-2", &b"d"[..]).as_edit()
        ]
    );
}

#[test]
fn clusters_of_copies_may_have_the_port_of_the_request() {
    let document = r#"{"virtualServices": [{"hosts": ["a"], "http": [
        {"mirrors": [{"destination": {"host": "b"}}]}]}]}"#;
    let (mirrors, _) = Mirrors::compile(document.as_bytes(), &NoMetadata).unwrap();
    let all = pairs(&[(":authority", "a"), (":path", "/")]);
    let copy = |port| {
        let attributes = FixedAttributes { port, ..FixedAttributes::default() };
        let request = Request::new(&all, &attributes);
        let plan = mirrors.plan(&request, &mut FixedDraw(0));
        let [copy] = &plan.copies[..] else { panic!("{plan:?}") };
        assert_eq!(*copy.request_edit().value, *copy.cluster().as_bytes());
        copy.cluster().to_string()
    };
    assert_eq!(copy(Some(9080)), "outbound|9080||b");
    assert_eq!(copy(None), "outbound|{port}||b", "no such cluster");
}

#[test]
fn a_larger_share_includes_the_users_of_a_smaller_one() {
    let mirrors =
        mirrors(r#""sampling": {"key": [{"header": "user"}], "salt": "1"},"#, HALF_AND_ALL);
    let mut counts = [0u32; 3];
    for user in 0..10_000 {
        let user = user.to_string();
        let headers = [("user", user.as_str())];
        let found = planned(&mirrors, &headers, 0);
        assert_eq!(found, planned(&mirrors, &headers, u64::MAX), "a user needs no draw");
        counts[match found.0.as_str() {
            "b,c-v2,d" => 0,
            "c-v2,d" => 1,
            "d" => 2,
            other => panic!("{other}"),
        }] += 1;
    }
    // Each count is within four standard deviations of the expected 1,000, 1,000 and 8,000.
    for (count, share) in counts.iter().zip([0.1, 0.1, 0.8]) {
        let deviation = (10_000.0_f64 * share * (1.0 - share)).sqrt();
        assert!((f64::from(*count) - 10_000.0 * share).abs() < 4.0 * deviation, "{counts:?}");
    }
}

#[test]
fn requests_that_are_not_forwarded_are_not_copied() {
    let preflights = mirrors(
        "",
        r#""corsPolicy": {"allowOrigins": [{"exact": "http://o"}]}, "mirror": {"host": "b"}"#,
    );
    let preflight =
        [(":method", "OPTIONS"), ("origin", "http://o"), ("access-control-request-method", "GET")];
    // Not `planned`, because it adds the method GET.
    let mut all = pairs(&preflight);
    all.extend(pairs(&[(":authority", "a"), (":path", "/")]));
    let attributes = FixedAttributes::default();
    let plan = preflights.plan(&Request::new(&all, &attributes), &mut FixedDraw(0));
    assert_eq!(plan, Plan::default());
    assert_eq!(planned(&preflights, &[("origin", "http://o")], 0).0, "b");

    let document = r#"{"clusterName": "{host}", "virtualServices": [{"hosts": ["a"], "http": [
        {"mirror": {"host": "b"}, "directResponse": {"status": 200}}]}]}"#;
    let (none, notices) = Mirrors::compile(document.as_bytes(), &NoMetadata).unwrap();
    assert_eq!(planned(&none, &[], 0), (String::new(), 0, 0));
    assert_eq!(
        notices[0].to_string(),
        "virtualServices[0].http[0]: has mirrors that have no effect, because the route forwards nothing"
    );
}

#[test]
fn conditions_exclude_requests() {
    let posts = mirrors(r#""mirroring": {"methods": ["POST"]},"#, HALF_AND_ALL);
    assert_eq!(planned(&posts, &[], 0), (String::new(), 0, 3));
}

#[test]
fn mirror_headers_from_the_client_are_found_for_any_index() {
    let all = pairs(&[
        ("x-sluice-mirror-0", "a"),
        ("x-sluice-mirror-0", "b"),
        ("x-sluice-mirror-99", ""),
        ("x-sluice-mirrors", "no"),
        ("x-sluice-mirror-", "c"),
    ]);
    let attributes = FixedAttributes::default();
    let sent = client_sent(&Request::new(&all, &attributes));
    assert_eq!(sent, ["x-sluice-mirror-0", "x-sluice-mirror-99", "x-sluice-mirror-"]);
}
