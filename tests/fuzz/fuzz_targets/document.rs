//! Configurations: every filter accepts any document or refuses it with at least one error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_policy::spec::policy::Policy;
use sluice_policy::spec::proxy::NoMetadata;
use sluice_policy::{Chain, Egress, Faults, Mirrors, Outliers, Router, SniPolicy};

fuzz_target!(|bytes: &[u8]| {
    let rejections = [
        Router::compile(bytes, &NoMetadata).err(),
        Faults::compile(bytes, &NoMetadata).err(),
        Mirrors::compile(bytes, &NoMetadata).err(),
        SniPolicy::compile(bytes, &NoMetadata).err(),
        Egress::compile(bytes, &NoMetadata).err(),
        Outliers::compile(bytes, &NoMetadata).err(),
        Chain::compile(bytes, &NoMetadata).err(),
    ];
    for rejection in rejections.iter().flatten() {
        assert!(!rejection.errors.is_empty());
    }
});
