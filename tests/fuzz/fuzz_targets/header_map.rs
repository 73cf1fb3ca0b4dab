//! Header maps as Envoy encodes them: any bytes decode to headers, which are encoded and decoded
//! without a change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_policy::request::header_map::{NameFilter, decode, encode};

fuzz_target!(|bytes: &[u8]| {
    let headers: Vec<_> = decode(bytes).collect();
    // Each header has eight bytes of lengths and two terminators.
    assert!(headers.len() * 10 <= bytes.len());
    let encoded = encode(headers.iter().copied());
    assert!(decode(&encoded).eq(headers.iter().copied()));
    for length in [encoded.len() / 2, encoded.len() - 1] {
        let cut: Vec<_> = decode(&encoded[..length]).collect();
        assert_eq!(cut, headers[..cut.len()]);
    }
    let names = headers.iter().fold(NameFilter::NONE, |names, (name, _)| names.with(name));
    assert!(headers.iter().all(|(name, _)| names.may_have(name)));
});
