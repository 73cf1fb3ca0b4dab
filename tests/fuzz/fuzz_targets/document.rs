//! Configurations: every filter accepts any document or refuses it with at least one error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_policy::spec::policy::Policy;
use sluice_policy::egress::Egress;
use sluice_policy::fault::Faults;
use sluice_policy::mirror::Mirrors;
use sluice_policy::outlier::Outliers;
use sluice_policy::spec::proxy::NoMetadata;
use sluice_policy::router::Router;
use sluice_policy::sni::SniPolicy;

fuzz_target!(|bytes: &[u8]| {
    let rejections = [
        Router::compile(bytes, &NoMetadata).err(),
        Faults::compile(bytes, &NoMetadata).err(),
        Mirrors::compile(bytes, &NoMetadata).err(),
        SniPolicy::compile(bytes, &NoMetadata).err(),
        Egress::compile(bytes, &NoMetadata).err(),
        Outliers::compile(bytes, &NoMetadata).err(),
    ];
    for rejection in rejections.iter().flatten() {
        assert!(!rejection.errors.is_empty());
    }
});
