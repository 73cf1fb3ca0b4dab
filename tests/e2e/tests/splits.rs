//! The share of requests of each version: tasks R1, R2 and R4 of Istio's documentation.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_e2e::{Bootstrap, Envoy, Listener, Upstream, any_host};

/// R1
#[tokio::test]
async fn without_a_rule_for_subsets_both_versions_answer_in_turn() {
    // One worker, because each worker has its own round-robin.
    let versions = [Upstream::echo("v1"), Upstream::echo("v2")];
    let envoy = Envoy::start(
        &Bootstrap::new()
            .listener(Listener::new("edge").plugin(&any_host(json!([
                { "route": [{ "destination": { "host": "kim-payment-service" } }] },
            ]))))
            .cluster("kim-payment-service", &versions.each_ref().map(Upstream::address)),
    )
    .await;

    let edge = envoy.listener("edge");
    let mut connection = edge.connect().await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(connection.send(edge.get("/payment/balance/query")).await.upstream());
    }
    let alternate = answers.windows(2).all(|pair| pair[0] != pair[1]);
    assert!(alternate, "the versions do not alternate: {answers:?}");
}

/// R2
#[tokio::test]
async fn everything_goes_to_the_subset_that_the_rule_names() {
    let mesh = Payment::start(json!([{ "route": [v1(None)] }])).await;
    let answers = mesh.answers(100, |_| None).await;
    assert_eq!(answers, BTreeMap::from([("v1".to_owned(), 100)]));
}

/// R4
#[tokio::test]
async fn half_of_the_requests_go_to_each_version() {
    let mesh = Payment::start(halves()).await;
    // A fair split differs by more than 3 sigma once in 370 samples, and twice in sequence once in
    // 137,000.
    let three_sigma = 3.0 * (1000.0_f64 * 0.5 * 0.5).sqrt();
    let mut samples = Vec::new();
    for _ in 0..2 {
        let answers = mesh.answers(1000, |_| None).await;
        assert_eq!(answers.values().sum::<usize>(), 1000, "{answers:?}");
        if answers["v1"].abs_diff(500) as f64 <= three_sigma {
            return;
        }
        samples.push(answers);
    }
    panic!("two samples differ by more than {three_sigma}: {samples:?}");
}

/// R4, the sticky variant
#[tokio::test]
async fn with_a_key_a_user_stays_with_one_version_across_restarts() {
    let mut plugin = any_host(halves());
    plugin["sampling"] = json!({ "key": [{ "header": "end-user" }] });
    let users: Vec<_> = (0..40).map(|user| format!("user-{user}")).collect();

    let mut runs = Vec::new();
    for _ in 0..2 {
        let mesh = Payment::start_with(plugin.clone()).await;
        let mut versions = BTreeMap::new();
        for user in &users {
            let answers = mesh.answers(10, |_| Some(user)).await;
            assert_eq!(answers.len(), 1, "{user} saw {answers:?}");
            versions.insert(user.clone(), answers.into_keys().next().unwrap());
        }
        runs.push(versions);
    }
    assert_eq!(runs[0], runs[1], "a restart moved users");
    let v1 = runs[0].values().filter(|version| *version == "v1").count();
    assert!((8..=32).contains(&v1), "{v1} of 40 users have v1");
}

/// Two versions of the payment service behind one listener.
struct Payment {
    envoy: Envoy,
    _versions: [Upstream; 2],
}

impl Payment {
    async fn start(http: Value) -> Self {
        Self::start_with(any_host(http)).await
    }

    async fn start_with(plugin: Value) -> Self {
        let versions = [Upstream::echo("v1"), Upstream::echo("v2")];
        let envoy = Envoy::start(
            &Bootstrap::new()
                .listener(Listener::new("edge").plugin(&plugin))
                .cluster("kim-payment-service-v1", &[versions[0].address()])
                .cluster("kim-payment-service-v2", &[versions[1].address()]),
        )
        .await;
        Self { envoy, _versions: versions }
    }

    /// Sends requests and returns the number of responses by version. `user` returns the user of
    /// each request.
    async fn answers<'a>(
        &self,
        requests: usize,
        user: impl Fn(usize) -> Option<&'a String>,
    ) -> BTreeMap<String, usize> {
        let edge = self.envoy.listener("edge");
        let mut connection = edge.connect().await;
        let mut answers = BTreeMap::new();
        for number in 0..requests {
            let mut request = edge.get("/payment/balance/query");
            if let Some(user) = user(number) {
                request = request.header("end-user", user);
            }
            let version = connection.send(request).await.upstream();
            *answers.entry(version).or_default() += 1;
        }
        answers
    }
}

fn halves() -> Value {
    json!([{ "route": [v1(Some(50)), v2(Some(50))] }])
}

fn v1(weight: Option<u32>) -> Value {
    destination("v1", weight)
}

fn v2(weight: Option<u32>) -> Value {
    destination("v2", weight)
}

fn destination(subset: &str, weight: Option<u32>) -> Value {
    let mut destination =
        json!({ "destination": { "host": "kim-payment-service", "subset": subset } });
    if let Some(weight) = weight {
        destination["weight"] = weight.into();
    }
    destination
}
