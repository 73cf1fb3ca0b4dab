//! First bytes of a client: for any bytes, in any pieces, the decision is made once and does not
//! change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_policy::request::client_hello::ClientHello;

fuzz_target!(|input: (u16, Vec<u8>)| {
    let (max, bytes) = (usize::from(input.0) + 64, input.1);
    let whole = ClientHello::parse(&bytes, max);
    let mut decided = None;
    for length in 0..=bytes.len() {
        let parsed = ClientHello::parse(&bytes[..length], max);
        match (&decided, &parsed) {
            (None, ClientHello::NeedMore { at_least }) => assert!(*at_least > length),
            (None, _) => decided = Some(parsed),
            (Some(decided), _) => assert_eq!(*decided, parsed, "after {length} bytes"),
        }
    }
    assert_eq!(decided.is_some(), !matches!(whole, ClientHello::NeedMore { .. }));
    if let ClientHello::Sni { name, .. } = whole {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        assert!(name.as_str().bytes().all(is_plain) && name.as_str().len() <= 253);
    }
});
