//! Every row about failing hosts through the policy crate, natively and as WebAssembly.

fn check(topic: &str, id: &str) {
    sluice_conformance::check_outlier_by_policy(&sluice_conformance::outlier(topic, id));
}

include!(concat!(env!("OUT_DIR"), "/outliers.rs"));
