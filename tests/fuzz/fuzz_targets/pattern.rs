//! Regular expressions: an accepted one matches what the crate `regex` matches, and has no prefix
//! that a match lacks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regex::bytes::RegexBuilder;
use sluice_policy::value::pattern::Pattern;

fuzz_target!(|input: (&str, &[u8])| {
    let (text, value) = input;
    // A longer one takes so long that few would be tried.
    if text.len() > 100 {
        return;
    }
    let Ok(pattern) = Pattern::new(text) else { return };
    let is_match = pattern.is_match(value);
    assert!(!is_match || value.starts_with(pattern.start()));
    let reference = RegexBuilder::new(&format!("^(?:{text})$")).unicode(false).build();
    if let Ok(reference) = reference {
        assert_eq!(is_match, reference.is_match(value), "{text:?} {value:?}");
    }
});
