//! ClientHellos, and bytes that are not ClientHellos.

use proptest::collection::vec;
use proptest::prelude::*;
use sluice_conformance::Client;
use sluice_policy::request::client_hello::ClientHello;
use sluice_policy::value::server_name::ServerName;

const MAX: usize = 1 << 16;

/// ClientHellos of every kind that a row can describe.
fn clients() -> impl Strategy<Value = Client> {
    let name = proptest::option::of("[a-z0-9_]{1,10}(\\.[a-zA-Z0-9-]{1,10}){0,3}");
    let padding = proptest::option::of(0u16..2000);
    let record = proptest::option::of(1usize..600);
    (name, any::<bool>(), padding, record).prop_map(|(sni, ech, padding, record)| Client {
        text: None,
        sni,
        ech,
        padding,
        record,
        end_after: None,
    })
}

/// ClientHellos with some bytes changed, removed or added.
fn broken() -> impl Strategy<Value = Vec<u8>> {
    let edits = vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 0..4);
    (clients(), edits).prop_map(|(client, edits)| {
        let mut bytes = client.bytes();
        for (index, byte, kind) in edits {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

/// Asserts that more bytes never change a decision, and that the reader requests more bytes until
/// it decides.
fn assert_is_monotonic(bytes: &[u8], max: usize) {
    let whole = ClientHello::parse(bytes, max);
    let mut asked = 0;
    for end in 0..bytes.len() {
        match ClientHello::parse(&bytes[..end], max) {
            ClientHello::NeedMore { at_least } => {
                assert!(at_least > end && at_least >= asked, "{asked}, then {at_least} at {end}");
                asked = at_least;
                if let ClientHello::Sni { .. } | ClientHello::NoSni { .. } = whole {
                    assert!(at_least <= bytes.len());
                }
            }
            decided => {
                assert_eq!(decided, whole, "at {end}");
                // By induction, the same holds for all longer prefixes.
                return;
            }
        }
    }
}

proptest! {
    #[test]
    fn generated_hellos_are_read_correctly(client in clients()) {
        let bytes = client.bytes();
        let name = client.sni.as_ref().map(|name| ServerName::new(name.as_bytes()));
        let expected = match name {
            None => ClientHello::NoSni { has_ech: client.ech },
            Some(Some(name)) => ClientHello::Sni { name, has_ech: client.ech },
            Some(None) => ClientHello::Malformed,
        };
        prop_assert_eq!(ClientHello::parse(&bytes, MAX), expected.clone());
        assert_is_monotonic(&bytes, MAX);
        // Later bytes have no effect.
        let longer = [&bytes[..], &[0xff; 20]].concat();
        prop_assert_eq!(ClientHello::parse(&longer, MAX), expected);
    }

    #[test]
    fn two_pieces_give_the_same_result_as_one(
        client in clients(),
        at in any::<prop::sample::Index>(),
    ) {
        let bytes = client.bytes();
        let whole = ClientHello::parse(&bytes, MAX);
        let end = at.index(bytes.len());
        let first = ClientHello::parse(&bytes[..end], MAX);
        let is_more = matches!(first, ClientHello::NeedMore { at_least } if at_least > end);
        prop_assert!(is_more || first == whole, "{first:?} at {end}, then {whole:?}");
    }

    #[test]
    fn broken_hellos_are_decided_once(bytes in broken(), max in 64usize..2000) {
        assert_is_monotonic(&bytes, MAX);
        assert_is_monotonic(&bytes, max);
    }

    #[test]
    fn any_bytes_are_decided_once(
        bytes in vec(any::<u8>(), 0..100),
        start in prop_oneof![Just(&b""[..]), Just(&b"\x16\x03\x01"[..]), Just(&b"\x16\x03\x01\0\x40\x01\0\0\x3c\x03\x03"[..])],
    ) {
        assert_is_monotonic(&[start, &bytes].concat(), MAX);
    }

    /// Bytes after `max` have no effect.
    #[test]
    fn the_limit_is_kept(client in clients(), max in 64usize..3000) {
        let bytes = client.bytes();
        let within = &bytes[..bytes.len().min(max)];
        let other = [within, &[0; 100]].concat();
        prop_assert_eq!(ClientHello::parse(&bytes, max), ClientHello::parse(&other, max));
        let is_too_large = ClientHello::parse(&bytes, max) == ClientHello::TooLarge;
        let is_valid = ClientHello::parse(&bytes, MAX) != ClientHello::Malformed;
        if is_valid {
            prop_assert_eq!(is_too_large, bytes.len() > max);
        }
    }

    #[test]
    fn names_have_only_bytes_that_are_safe_in_logs(bytes in vec(any::<u8>(), 0..30)) {
        if let Some(name) = ServerName::new(&bytes) {
            let is_plain =
                |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
            prop_assert!(name.as_str().bytes().all(is_plain));
            prop_assert_eq!(ServerName::new(name.as_str().as_bytes()), Some(name));
        }
    }
}
