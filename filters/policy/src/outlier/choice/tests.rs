use super::*;
use crate::outlier::Reason;
use crate::testing::{FixedDraw, outlier_settings as settings};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A cluster of hosts. Hosts with a name in upper case are ejected.
fn cluster(hosts: &[&str]) -> Cluster {
    let all = settings(r#"{"maxEjectionPercent": 100}"#);
    let mut cluster = Cluster::new(at(0));
    for host in hosts {
        cluster.observe(host.as_bytes(), at(0));
        if host.starts_with(|c: char| c.is_ascii_uppercase()) {
            let (reason, draws) = (Reason::Consecutive5xx, &mut FixedDraw(0));
            let effects = cluster.detect(&all, host.as_bytes(), reason, 0, at(0), draws);
            assert_eq!(effects.len(), 2);
        }
    }
    cluster
}

fn choose(hosts: &[&str], text: &str, fallback: bool, endpoints: u64) -> Choice {
    View::new(&cluster(hosts), &settings(text), fallback).choose(endpoints, 0, false)
}

fn hosts(text: &str) -> Choice {
    Choice::Hosts(text.as_bytes().to_vec())
}

#[test]
fn without_ejections_envoy_selects_the_host() {
    assert_eq!(choose(&["a", "b"], "{}", false, 2), Choice::Any);
    assert_eq!(choose(&[], "{}", false, 0), Choice::Any);
    assert_eq!(choose(&["a"], r#"{"minHealthPercent": 100}"#, true, 1), Choice::Any);
}

#[test]
fn healthy_hosts_are_rotated() {
    let view = View::new(&cluster(&["A", "b", "c", "d"]), &settings("{}"), false);
    let turns = [0, 1, 2, 3].map(|rotation| view.choose(4, rotation, false));
    assert_eq!(turns, [hosts("b,c,d"), hosts("c,d,b"), hosts("d,b,c"), hosts("b,c,d")]);
    assert_eq!(view.probe_header(b"A", 1), b"A,c,d,b");
}

#[test]
fn the_list_of_hosts_has_a_maximum_length() {
    let names: Vec<String> = (0..40).map(|n| format!("h{n:02}")).collect();
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.push("A");
    let view = View::new(&cluster(&all), &settings("{}"), false);
    let Choice::Hosts(list) = view.choose(41, 39, false) else { panic!("no hosts") };
    assert!(list.starts_with(b"h39,h00,"));
    assert_eq!(list.split(|byte| *byte == b',').count(), MAX_LISTED);
}

#[test]
fn a_try_is_left_to_envoy() {
    let view = View::new(&cluster(&["A", "b"]), &settings("{}"), true);
    assert_eq!(view.choose(2, 0, true), Choice::Any);
    assert_eq!(view.choose(2, 0, false), hosts("b"));
    assert!(view.is_settled() && view.tried == Some(at(0)), "all hosts are known");
}

#[test]
fn hosts_that_envoy_has_not_chosen_lately_are_not_listed() {
    let settings = settings(r#"{"baseEjectionTime": "10m"}"#);
    let mut cluster = cluster(&["A", "b", "c"]);
    for (now, listed) in [(10, "b,c"), (20, "b,c"), (30, "b")] {
        cluster.observe(b"b", at(now));
        cluster.on_interval(&settings, 3, at(now), &mut FixedDraw(0));
        let view = View::new(&cluster, &settings, false);
        assert!(!view.is_settled(), "each tick allows a try");
        assert_eq!(view.choose(3, 0, false), hosts(listed), "{now}");
    }
}

#[test]
fn without_healthy_hosts_the_fallback_gets_the_request_or_it_is_refused() {
    assert_eq!(choose(&["A", "B"], "{}", true, 2), Choice::Fallback);
    assert_eq!(choose(&["A", "B"], "{}", true, 3), Choice::Any, "one host is unknown");
    assert_eq!(choose(&["A", "B"], "{}", false, 2), Choice::Any);
    let refuses = |hosts: &[&str], text: &str, fallback: bool, endpoints: u64| {
        View::new(&cluster(hosts), &settings(text), fallback).refuses(endpoints)
    };
    assert!(refuses(&["A", "B"], "{}", false, 2));
    assert!(refuses(&["A", "B"], "{}", false, 0));
    assert!(!refuses(&["A", "B"], "{}", false, 3), "one host is unknown");
    assert!(!refuses(&["A", "b"], "{}", false, 2));
    assert!(!refuses(&["A", "B"], "{}", true, 2), "the fallback gets the request");
    assert!(!refuses(&["A", "B"], r#"{"minHealthPercent": 10}"#, false, 2), "all get traffic");
}

#[test]
fn below_the_minimum_of_healthy_hosts_all_hosts_get_traffic() {
    let half = r#"{"minHealthPercent": 50}"#;
    assert_eq!(choose(&["A", "b"], half, false, 2), hosts("b"), "50 % are enough");
    assert_eq!(choose(&["A", "B", "c"], half, false, 3), Choice::Any);
    assert_eq!(choose(&["A", "B"], half, false, 2), Choice::Any);
    assert_eq!(choose(&["A", "B", "c"], half, true, 3), Choice::Fallback, "to the fallback");
}

#[test]
fn the_view_has_the_time_of_the_next_probe() {
    let all = cluster(&["A", "b"]);
    assert_eq!(View::new(&all, &settings("{}"), false).next_probe, None);
    let half_open = settings(r#"{"halfOpen": {}}"#);
    assert_eq!(View::new(&all, &half_open, false).next_probe, Some(at(30)));
}

#[test]
fn the_view_has_the_ejection_state_of_hosts() {
    let all = cluster(&["A", "b", "C"]);
    let view = View::new(&all, &settings("{}"), false);
    for host in [&b"A"[..], b"b", b"C", b"d"] {
        assert_eq!(view.standing(host), all.standing(host));
    }
    assert!(view.standing(b"A").is_ejected && !view.is_whole());
    assert!(View::new(&cluster(&["a"]), &settings("{}"), false).is_whole());
}
