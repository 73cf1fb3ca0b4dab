//! Shadow mode: detections are counted, and hosts stay.

use super::*;

const SHADOW: &str = r#""mode": "shadow","#;

#[test]
fn hosts_that_would_be_ejected_are_counted_and_stay() {
    let mut world = World::new(ONE_FAILURE, 0);
    world.workers.push(worker_with(SHADOW, ONE_FAILURE, &FakeHost::default()));
    for detections in 1..=3 {
        let failed = world.answer(0, "a", "503");
        let count = |name: &str| failed.host.count(&format!("sluice.outlier.{name}"));
        assert_eq!(count("shadow_ejections"), 1, "{detections}");
        assert_eq!(count("ejections_detected_consecutive_5xx"), 1);
        assert_eq!(count("ejections_enforced_total"), 0);
        assert_eq!(failed.host.gauge(EJECTIONS_ACTIVE), 0);
        assert_eq!(world.chosen(0), None, "requests may go to all hosts");
        world.pass(500);
        world.tick(0);
    }
}

/// A document that changes the mode does not keep the ejections of the one before.
#[test]
fn hosts_that_were_ejected_before_are_in_again() {
    let mut world = World::new(ONE_FAILURE, 1);
    world.answer(0, "a", "200");
    world.answer(0, "b", "503");
    assert_eq!(world.chosen(0).as_deref(), Some("a"));
    world.pass(1);
    let later = world.host();
    world.workers.push(worker_with(SHADOW, ONE_FAILURE, &later));
    world.answer(1, "a", "200");
    assert_eq!(world.chosen(1), None);
}
