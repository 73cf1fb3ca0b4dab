//! The hosts of requests, as the plugins in the listener and in the cluster choose and refuse them.

use super::*;

/// Begins an attempt with the host `name` of `endpoints`, for a request with this list of hosts.
fn attempt(world: &World, name: &str, endpoints: u64, list: Option<&str>) -> Stream<FakeHost> {
    let mut stream = world.begin(0, name, endpoints, &[]);
    if let Some(list) = list {
        stream.host = stream.host.with_request_header(HOSTS, list);
    }
    stream.on_request_headers();
    stream
}

#[test]
fn requests_are_not_sent_to_an_ejected_host() {
    let world = World::new(ONE_FAILURE, 2);
    world.answer(0, "a:1", "200");
    world.answer(1, "b:1", "200");
    assert_eq!(world.chosen(0), None, "nothing is ejected");
    let stream = world.answer(0, "a:1", "500");
    assert_eq!(stream.host.gauge(EJECTIONS_ACTIVE), 1);
    for worker in [0, 1] {
        assert_eq!(world.chosen(worker).as_deref(), Some("b:1"));
    }
}

#[test]
fn if_all_hosts_are_out_envoy_chooses_and_attempts_with_ejected_hosts_are_refused() {
    let world = World::new(ONE_FAILURE, 1);
    world.pass(1);
    world.answer(0, "a:1", "500");
    world.answer(0, "b:1", "500");
    assert_eq!(world.chosen(0), None, "the cluster may have other hosts by now");
    let stream = attempt(&world, "a:1", 2, None);
    let replies = stream.host.replies();
    assert_eq!((replies[0].status, &*replies[0].body), (503, &b"no healthy upstream"[..]));
    assert_eq!(stream.host.count("sluice.outlier.no_healthy_upstream"), 1);
    assert!(attempt(&world, "a:1", 3, None).host.replies().is_empty(), "the cluster has grown");
    assert!(attempt(&world, "c:1", 2, None).host.replies().is_empty(), "a new host");
    world.answer(0, "c:1", "200");
    assert_eq!(world.chosen(0).as_deref(), Some("c:1"));
}

#[test]
fn a_try_finds_new_hosts_once_per_interval_and_once_per_20_requests() {
    let world = World::new(ONE_FAILURE, 1);
    world.answer(0, "b:1", "200");
    world.answer(0, "a:1", "500");
    let requests = |count: usize| (0..count).map(|_| world.chosen(0)).collect::<Vec<_>>();
    let listed = Some("b:1".to_owned());
    assert_eq!(requests(30), vec![listed.clone(); 30], "no interval has ended");
    world.pass(1000);
    world.tick(0);
    assert_eq!(requests(3), [None, None, None], "until one reaches an ejected host");
    attempt(&world, "a:1", 2, None);
    assert_eq!(requests(10), vec![listed.clone(); 10]);
    world.pass(1000);
    world.tick(0);
    assert_eq!(requests(11), [vec![listed; 10], vec![None]].concat(), "20 requests later");
}

#[test]
fn a_try_of_the_last_interval_is_none_of_this_one() {
    let world = World::new(ONE_FAILURE, 1);
    world.answer(0, "b:1", "200");
    world.answer(0, "a:1", "500");
    for _ in 0..5 {
        world.pass(1000);
        world.answer(0, "b:1", "200");
        world.tick(0);
        (0..20).for_each(|_| drop(world.chosen(0)));
        assert_eq!(world.chosen(0), None, "it is time for a try");
        world.answer(0, "a:1", "500");
        assert_eq!(world.chosen(0).as_deref(), Some("b:1"), "there was one");
    }
}

#[test]
fn if_all_hosts_are_out_each_is_tried_once_per_interval() {
    let world = World::new(ONE_FAILURE, 1);
    world.pass(1);
    world.answer(0, "a:1", "500");
    world.answer(0, "b:1", "500");
    let is_refused = |name: &str| !attempt(&world, name, 2, None).host.replies().is_empty();
    assert!(is_refused("a:1") && is_refused("b:1"));
    world.pass(1000);
    world.tick(0);
    world.pass(1);
    let refused = ["a:1", "a:1", "b:1", "b:1", "a:1"].map(is_refused);
    assert_eq!(refused, [false, false, false, true, true], "b may have left at first");
}

#[test]
fn hosts_that_a_client_names_are_removed() {
    let world = World::new(ONE_FAILURE, 1);
    for cluster in ["pool", "other"] {
        let (_, stream) = world.request(0, &[(HOSTS, "a:1"), (CLUSTER, cluster)]);
        assert_eq!(stream.host.request_header(HOSTS), None);
    }
    let stream = attempt(&world, "a:1", 2, Some("a:1,b:1"));
    assert_eq!(stream.host.request_header(HOSTS), None, "the load balancer has read it");
}

#[test]
fn the_cluster_is_that_of_the_router_filter_or_of_the_route() {
    let world = World::new(ONE_FAILURE, 1);
    world.answer(0, "b:1", "200");
    world.answer(0, "a:1", "500");
    assert!(world.chosen(0).is_some(), "the route's");
    let host = || world.host().with_property(&["xds", "cluster_name"], "pool");
    let routed = host().with_property(&[ROUTE_NOTE], "rule");
    let (_, stream) = world.request_of(0, routed, &[(CLUSTER, "other")]);
    assert_eq!(stream.host.request_header(HOSTS), None, "the router filter's");
    assert!(stream.host.request_header(CLUSTER).is_some());
    let (_, stream) = world.request_of(0, host(), &[(CLUSTER, "other")]);
    assert!(stream.host.request_header(HOSTS).is_some(), "not the client's");
    assert_eq!(stream.host.request_header(CLUSTER), None);
}

#[test]
fn a_load_balancer_that_ignores_the_list_is_noticed() {
    let world = World::new(ONE_FAILURE, 1);
    world.answer(0, "b:1", "200");
    world.answer(0, "a:1", "500");
    let key = b"sluice.outlier warned lists pool";
    let is_noticed = |stream: &Stream<FakeHost>| stream.host.stored(key).is_some();
    for _ in 0..9 {
        assert!(!is_noticed(&attempt(&world, "a:1", 2, Some("b:1"))), "b may have left");
    }
    attempt(&world, "b:1", 2, Some("b:1"));
    let noticed: Vec<_> =
        (0..7).map(|_| is_noticed(&attempt(&world, "a:1", 2, Some("b:1")))).collect();
    assert_eq!(noticed, [false, false, false, false, false, true, true]);
}
