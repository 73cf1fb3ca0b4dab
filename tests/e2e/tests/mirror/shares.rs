//! Shares of copied requests.

use std::time::Duration;

use hyper::Method;
use serde_json::json;
use sluice_e2e::{any_host, until};

use crate::{Edge, mirror_all, rule};

fn share(percentage: f64, more: serde_json::Value) -> serde_json::Value {
    let mirror =
        json!({ "mirror": { "host": "copy" }, "mirrorPercentage": { "value": percentage } });
    let mut document = any_host(json!([rule(mirror)]));
    for (name, value) in more.as_object().expect("fields") {
        document[name] = value.clone();
    }
    document
}

/// Sends one request of each user and returns the numbers of the users whose requests were copied.
async fn copied_users(document: &serde_json::Value, users: usize) -> Vec<usize> {
    let edge = Edge::start(document).await;
    let mut connection = edge.client().connect().await;
    for user in 0..users {
        let request = edge.client().get(&format!("/{user}")).header("user", user.to_string());
        assert_eq!(connection.send(request).await.upstream(), "primary");
    }
    let mirrored = edge.count("mirrored").await as usize;
    assert_eq!(mirrored + edge.count("not_sampled").await as usize, users);
    until("all copies arrive", async || (edge.copy.received("/").len() == mirrored).then_some(()))
        .await;
    assert_eq!(edge.primary.received("/").len(), users);
    let number = |path: &str| path.trim_start_matches('/').parse::<usize>().unwrap();
    let mut copied: Vec<_> =
        edge.copy.received("/").iter().map(|copy| number(&copy.path)).collect();
    copied.sort_unstable();
    copied
}

/// 500 requests at 20 %: as the conformance test of the Gateway API, within three standard
/// deviations. The draws are hashes of the users, so they are the same ones in each run.
#[tokio::test]
async fn a_larger_share_includes_the_users_of_a_smaller_one() {
    let sampling = json!({ "sampling": { "key": [{ "header": "user" }], "salt": "2026" } });
    let (tenth, fifth) = (share(10.0, sampling.clone()), share(20.0, sampling));
    let (tenth, fifth) = tokio::join!(copied_users(&tenth, 500), copied_users(&fifth, 500));
    assert!(tenth.iter().all(|user| fifth.contains(user)), "{tenth:?} {fifth:?}");
    for (copied, share) in [(tenth.len() as f64, 0.1), (fifth.len() as f64, 0.2)] {
        let deviation = (500.0_f64 * share * (1.0 - share)).sqrt();
        assert!((copied - 500.0 * share).abs() <= 3.0 * deviation, "{copied} of 500 for {share}");
    }
}

/// Without users the draws are random, so the bounds are five standard deviations.
#[tokio::test]
async fn a_share_of_requests_is_copied() {
    let copied = copied_users(&share(50.0, json!({})), 400).await.len() as f64;
    assert!((copied - 200.0).abs() <= 50.0, "{copied} of 400");
}

#[tokio::test]
async fn none_are_copied_for_zero() {
    assert_eq!(copied_users(&share(0.0, json!({})), 50).await, [0; 0]);
}

#[tokio::test]
async fn settings_choose_what_may_be_copied() {
    let edge = Edge::start(&mirror_all(json!({
        "methods": ["GET"],
        "headers": { "x-tier": { "exact": "gold" } },
    })))
    .await;
    let gold = |method, path| edge.client().request(method, path).header("x-tier", "gold");
    gold(Method::POST, "/post").send().await;
    edge.client().get("/tin").send().await;
    gold(Method::GET, "/gold").send().await;
    edge.pair("/gold").await;
    assert_eq!(edge.copy.received("/").len(), 1);
    assert_eq!((edge.count("mirrored").await, edge.count("not_eligible").await), (1, 2));
}

#[tokio::test]
async fn a_budget_bounds_the_copies_over_time() {
    let budget = json!({ "budget": { "requests": 3, "window": "1h" } });
    let edge = Edge::start(&mirror_all(budget)).await;
    let mut connection = edge.client().connect().await;
    for number in 0..10 {
        let request = edge.client().get(&format!("/{number}"));
        assert_eq!(connection.send(request).await.upstream(), "primary");
    }
    until("the copies arrive", async || (edge.copy.received("/").len() == 3).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((edge.primary.received("/").len(), edge.copy.received("/").len()), (10, 3));
    assert_eq!((edge.count("mirrored").await, edge.count("budget_exhausted").await), (3, 7));
}
