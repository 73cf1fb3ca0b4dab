//! What attempts read from Envoy and from other workers, and what they know without it.

use super::*;

/// Begins an attempt with a host of the cluster, which has two. Returns whether it is refused.
fn is_refused(world: &World, worker: usize) -> bool {
    let stream = world.begin(worker, "a:1", 2, &[]);
    stream.on_request_headers();
    !stream.host.replies().is_empty()
}

#[test]
fn attempts_know_ejections_of_other_workers_after_a_millisecond() {
    let world = World::new(ONE_FAILURE, 2);
    world.pass(1);
    world.answer(0, "a:1", "200");
    // The first answer has added the host.
    world.answer(0, "a:1", "200");
    world.answer(1, "a:1", "500");
    world.answer(1, "b:1", "500");
    assert!(is_refused(&world, 1), "its own ejections");
    assert!(!is_refused(&world, 0), "as if it had begun before");
    world.pass(1);
    assert!(is_refused(&world, 0));
}

#[test]
fn after_a_failure_attempts_read_what_other_workers_did() {
    let detection = r#"{"consecutive5xxErrors": 2, "maxEjectionPercent": 100}"#;
    let world = World::new(detection, 2);
    world.pass(1);
    for host in ["a:1", "b:1"] {
        world.answer(0, host, "500");
        world.answer(1, host, "500");
    }
    assert!(is_refused(&world, 0) && is_refused(&world, 1));
}

/// The outcome of an attempt with the host `a:1` in a cluster, for a plugin with a `root_id`:
/// whether it changed the number of ejected hosts.
fn ejects(world: &World, root: &str, cluster: &str) -> bool {
    let mut stream = world.begin(0, "a:1", 1, &[]);
    stream.worker.is_in_cluster.set(None);
    stream.host = stream
        .host
        .with_property(&["plugin_root_id"], root)
        .with_property(&["xds", "cluster_name"], cluster)
        .with_response_header(":status", "500");
    stream.on_request_headers();
    stream.on_response_headers(true);
    stream.host.gauge(EJECTIONS_ACTIVE) == 1
}

#[test]
fn the_name_in_the_root_id_stands_for_the_cluster() {
    for root in ["upstream", "upstream/pool", "upstream/other", "upstream/"] {
        let world = World::new(ONE_FAILURE, 1);
        world.pass(1);
        assert!(!ejects(&world, root, "other"), "{root}: this cluster has no detection");
        world.pass(1);
        assert!(ejects(&world, root, "pool"), "{root}");
    }
}

#[test]
fn a_name_in_the_root_id_that_proves_wrong_is_ignored() {
    let world = World::new(r#"{"consecutive5xxErrors": 100, "maxEjectionPercent": 100}"#, 1);
    let count = || {
        let counts = world.store.get(b"sluice.outlier counts pool a:1");
        counts.map_or(0, |counts| counts[12])
    };
    let attempt = |cluster: &str| {
        let mut stream = world.begin(0, "a:1", 1, &[]);
        stream.host = stream
            .host
            .with_property(&["xds", "cluster_name"], cluster)
            .with_response_header(":status", "500");
        stream.on_request_headers();
        stream.on_response_headers(true);
        count()
    };
    world.pass(1);
    assert!(!ejects(&world, "upstream/pool", "pool"));
    assert_eq!(count(), 1);
    assert_eq!(attempt("other"), 2, "in the same millisecond the name is believed");
    world.pass(1);
    assert_eq!([attempt("other"), attempt("pool"), attempt("other")], [2, 3, 3]);
}
