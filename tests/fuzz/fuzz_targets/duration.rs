//! Durations: what is accepted can be written and read without a change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_policy::value::duration::GoDuration;

fuzz_target!(|text: &str| {
    let Ok(duration) = text.parse::<GoDuration>() else { return };
    assert!(duration.0.as_nanos() <= u128::from(u64::MAX / 2));
    assert_eq!(duration.to_string().parse(), Ok(duration), "{text:?}");
    let positive = format!("+{}", text.trim_start_matches(['+', '-']));
    assert_eq!(positive.parse(), Ok(duration), "{text:?}");
});
