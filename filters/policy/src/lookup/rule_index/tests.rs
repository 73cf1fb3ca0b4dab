use super::lists::sorted;
use super::*;
use crate::testing::{FixedAttributes, pairs};

/// The rules that are checked for a request. Rules with an index of at least `from` match.
fn checked(rules: &[&[Key<'_>]], headers: &[(&str, &str)], from: usize) -> Vec<usize> {
    let index = RuleIndex::new(rules.len(), &|rule, keys| rules[rule].clone_into(keys));
    let headers = pairs(headers);
    let attributes = FixedAttributes::default();
    let mut checked = Vec::new();
    let found = index.first(&Request::new(&headers, &attributes), |rule| {
        checked.push(rule);
        (rule >= from).then_some(rule)
    });
    assert_eq!(found, checked.iter().copied().filter(|rule| *rule >= from).min());
    checked
}

fn header<'a>(name: &'a str, value: &'a str) -> Key<'a> {
    (Subject::Header(name.as_bytes()), Need::Exact(value.as_bytes()))
}

fn path(prefix: &str) -> Key<'_> {
    (Subject::Path, Need::Prefix(prefix.as_bytes()))
}

#[test]
fn only_candidates_are_checked_and_in_order() {
    let rules: [&[Key<'_>]; 8] = [
        &[header("x", "1"), path("/")],
        &[path("/b")],
        &[header("x", "2"), path("/")],
        &[],
        &[header("x", "1"), header("y", "1")],
        &[(Subject::PathInAnyCase, Need::Exact(b"/API"))],
        &[(Subject::Header(b"z"), Need::Present)],
        &[(Subject::Query(b"q"), Need::Prefix(b"ab"))],
    ];
    let all = |headers: &[(&str, &str)]| checked(&rules, headers, usize::MAX);
    assert_eq!(all(&[(":path", "/a"), ("x", "1")]), [0, 3]);
    assert_eq!(all(&[(":path", "/bc"), ("x", "2")]), [1, 2, 3]);
    assert_eq!(all(&[(":path", "/api"), ("z", "")]), [3, 5, 6]);
    assert_eq!(all(&[(":path", "/?q=abc"), ("y", "1")]), [3, 4, 7]);
    assert_eq!(all(&[(":path", "/?q=a&r=ab"), ("x", "1,1")]), [3]);
    // The values of one header are one value.
    assert_eq!(all(&[(":path", "/a"), ("x", "1"), ("x", "2")]), [3]);
    assert_eq!(checked(&rules, &[(":path", "/bc"), ("x", "2")], 2), [1, 2]);
}

#[test]
fn a_rule_is_listed_under_its_rarest_condition() {
    let values = ["0", "1", "2", "3", "4", "5"];
    let keys = values.map(|value| [header("all", "same"), header("own", value)]);
    let rules = keys.each_ref().map(|keys| &keys[..]);
    let request = [(":path", "/"), ("all", "same"), ("own", "4")];
    assert_eq!(checked(&rules, &request, usize::MAX), [4]);
}

#[test]
fn the_first_rule_is_found_with_more_lists_than_are_merged() {
    let names: Vec<String> = (0..20).map(|number| format!("h{number}")).collect();
    let keys: Vec<[Key<'_>; 1]> = names.iter().map(|name| [header(name, "v")]).collect();
    let rules: Vec<&[Key<'_>]> = keys.iter().map(|keys| &keys[..]).collect();
    // The lists of the first rules are added last, after the maximum number of lists.
    let backwards: Vec<_> = names.iter().rev().map(|name| (name.as_str(), "v")).collect();
    for from in 0..rules.len() {
        let found = checked(&rules, &backwards, from);
        assert_eq!(found.iter().copied().filter(|rule| *rule >= from).min(), Some(from));
    }
}

#[test]
fn few_rules_are_checked_without_an_index() {
    let (one, two) = ([header("x", "1")], [header("x", "2")]);
    assert_eq!(checked(&[&one, &two], &[("x", "2")], usize::MAX), [0, 1]);
}

#[test]
fn sorting_keeps_the_order_of_rules() {
    let mut rng = fastrand::Rng::with_seed(9);
    let hashes: Vec<u32> = (0..300).map(|_| rng.u32(..) & rng.u32(..) & 0xff01_0301).collect();
    let entries = |hashes: &[u32]| -> Vec<Entry> {
        hashes.iter().zip(0..).map(|(hash, rule)| Entry { hash: *hash, rule }).collect()
    };
    let mut expected = entries(&hashes);
    expected.sort_by_key(|entry| (entry.hash, entry.rule));
    assert_eq!(sorted(entries(&hashes)), expected);
    let lists = Lists::new(entries(&hashes));
    for hash in &hashes {
        let of_hash: Vec<_> = expected.iter().copied().filter(|e| e.hash == *hash).collect();
        assert_eq!(lists.get(*hash), of_hash);
    }
    assert!(lists.get(2).is_empty());
}
