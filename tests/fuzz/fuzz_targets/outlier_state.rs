//! The state of outlier detection in shared data: any bytes are read or refused, and what is read
//! survives all operations.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sluice_policy::outlier::count::Counts;
use sluice_policy::outlier::effect::Reason;
use sluice_policy::outlier::{Cluster, Outliers, View};
use sluice_policy::request::Draws;
use sluice_policy::spec::outlier_detection::Settings;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;

/// Rates, and recovery by probes: everything that the state has a field for.
const DOCUMENT: &[u8] = br#"{
  "clusterName": "{host}",
  "outlier": { "enforcement": "filter" },
  "destinationRules": [{ "host": "a", "trafficPolicy": { "outlierDetection": {
    "consecutive5xxErrors": 3, "interval": "1s", "baseEjectionTime": "10s", "halfOpen": {},
    "failurePercentage": { "threshold": 50 }, "successRate": {} } } }]
}"#;

fn settings() -> Arc<Settings> {
    let (outliers, _) = Outliers::compile(DOCUMENT, &NoMetadata).unwrap();
    outliers.target("a").unwrap().settings
}

/// The same number for each draw.
struct Same(u64);

impl Draws for Same {
    fn draw(&mut self) -> u64 {
        self.0
    }
}

/// The state, counts, the number of endpoints, the time, and a random number.
type Input<'a> = (&'a [u8], &'a [u8], u32, u64, u64);

fuzz_target!(|input: Input<'_>| {
    thread_local!(static SETTINGS: Arc<Settings> = settings());
    let (bytes, counts, endpoints, now, random) = input;
    if let Some(counts) = Counts::decode(counts) {
        assert_eq!(Counts::decode(&counts.encode()), Some(counts));
    }
    let Some(mut cluster) = Cluster::decode(bytes) else { return };
    assert_eq!(Cluster::decode(&cluster.encode()).as_ref(), Some(&cluster));
    let settings = SETTINGS.with(Arc::clone);
    let (endpoints, now) = (u64::from(endpoints), Duration::from_nanos(now));
    let view = View::new(&cluster, &settings, false);
    view.choose(endpoints, random as usize, false);
    let before = cluster.ejected();
    let address = cluster.hosts().first().map(|host| host.address.clone()).unwrap_or_default();
    cluster.record_try(&address, now);
    let reason = Reason::Consecutive5xx;
    let mut draws = Same(random);
    cluster.detect(&settings, &address, reason, endpoints, now, &mut draws);
    assert!(cluster.ejected() <= before + 1);
    cluster.on_interval(&settings, endpoints, now, &mut draws);
    let probed = cluster.take_probe(&settings, now).map(<[u8]>::to_vec);
    if let Some(address) = probed {
        cluster.end_probe(&settings, &address, now, Some(random % 2 == 0), now, &mut draws);
    }
    assert!(Cluster::decode(&cluster.encode()).is_some());
});
