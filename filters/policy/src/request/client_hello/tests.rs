use super::*;

const MAX: usize = 1 << 16;

/// Encodes an extension.
fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    [&kind.to_be_bytes()[..], &length.to_be_bytes(), body].concat()
}

/// Encodes a vector: a length of two bytes, then `body`.
fn vector(body: &[u8]) -> Vec<u8> {
    [&u16::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    extension(SERVER_NAME, &vector(&[&[HOST_NAME][..], &vector(name)].concat()))
}

/// Encodes a ClientHello message without a record header.
fn message(extensions: Option<&[Vec<u8>]>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([32; 33]);
    body.extend([0, 4, 0x13, 1, 0x5a, 0x5a, 1, 0]);
    body.extend(extensions.map_or(Vec::new(), |extensions| vector(&extensions.concat())));
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO][..], &length[1..], &body].concat()
}

/// Splits the message into records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[HANDSHAKE, 3, 1][..], &vector(part)].concat();
    message.chunks(size).flat_map(record).collect()
}

fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&message(Some(extensions)), MAX_RECORD)
}

/// Parses the bytes and all their prefixes. Checks that the result never changes after it is
/// decided.
fn parse(bytes: &[u8]) -> ClientHello {
    let whole = ClientHello::parse(bytes, MAX);
    let mut is_decided = false;
    for end in 0..bytes.len() {
        match ClientHello::parse(&bytes[..end], MAX) {
            ClientHello::NeedMore { at_least } => {
                assert!(!is_decided, "undecided again at {end}");
                assert!(at_least > end, "{at_least} at {end}");
                if let ClientHello::Sni { .. } | ClientHello::NoSni { .. } = whole {
                    assert!(at_least <= bytes.len(), "{at_least} at {end} of {}", bytes.len());
                }
            }
            decided => {
                is_decided = true;
                assert_eq!(decided, whole, "at {end}");
            }
        }
    }
    whole
}

fn sni(name: &str) -> ClientHello {
    ClientHello::Sni { name: ServerName::new(name.as_bytes()).unwrap(), has_ech: false }
}

#[test]
fn unknown_extensions_are_skipped() {
    let all = [
        extension(0x0a0a, &[]),
        extension(16, b"\0\x03\x02h2"),
        server_name(b"WWW.Example.com"),
        extension(0xfafa, &[0]),
        extension(21, &[0; 200]),
    ];
    assert_eq!(parse(&hello(&all)), sni("www.example.com"));
}

#[test]
fn client_hellos_without_a_name() {
    let none = ClientHello::NoSni { has_ech: false };
    assert_eq!(parse(&records(&message(None), MAX_RECORD)), none);
    assert_eq!(parse(&hello(&[])), none);
    assert_eq!(parse(&hello(&[extension(0x0a0a, &[])])), none);
}

#[test]
fn encrypted_client_hellos_are_reported() {
    let ech = extension(ECH, &[0; 180]);
    let name = ServerName::new(b"outer.com").unwrap();
    let both = ClientHello::Sni { name, has_ech: true };
    assert_eq!(parse(&hello(&[server_name(b"outer.com"), ech.clone()])), both);
    assert_eq!(parse(&hello(&[ech.clone(), server_name(b"outer.com")])), both);
    assert_eq!(parse(&hello(&[ech])), ClientHello::NoSni { has_ech: true });
}

#[test]
fn a_message_can_have_several_records() {
    let message = message(Some(&[extension(21, &[0; 300]), server_name(b"a.com")]));
    for size in [1, 2, 3, 4, 5, 10, 50, 100, message.len() - 1] {
        assert_eq!(parse(&records(&message, size)), sni("a.com"), "{size}");
    }
}

#[test]
fn bytes_after_the_client_hello_are_ignored() {
    let mut bytes = hello(&[server_name(b"a.com")]);
    bytes.extend(b"anything");
    assert_eq!(parse(&bytes), sni("a.com"));
}

#[test]
fn other_protocols_are_rejected_at_the_first_different_byte() {
    let decided_at = |bytes: &[u8]| {
        let is_more = |end: &usize| {
            matches!(ClientHello::parse(&bytes[..*end], MAX), ClientHello::NeedMore { .. })
        };
        assert_eq!(parse(bytes), ClientHello::NotTls, "{bytes:?}");
        (0..=bytes.len()).take_while(is_more).count()
    };
    assert_eq!(decided_at(b"GET / HTTP/1.1\r\n"), 1);
    assert_eq!(decided_at(b"SSH-2.0-x\r\n"), 1);
    // A ClientHello of SSL 2, and an alert.
    assert_eq!(decided_at(b"\x80\x2e\x01\0\x02"), 1);
    assert_eq!(decided_at(b"\x15\x03\x01\0\x02\x02\x28"), 1);
    assert_eq!(decided_at(b"\x16\x02\x01\0\x05\x01"), 2);
    assert_eq!(decided_at(b"\x16\x03\x01\0\0\x16\x03"), 5);
    assert_eq!(decided_at(b"\x16\x03\x01\x40\x01\x01"), 5);
    // A ServerHello.
    assert_eq!(decided_at(b"\x16\x03\x01\0\x05\x02\0\0"), 6);
}

#[test]
fn invalid_client_hellos_are_malformed() {
    let name = || server_name(b"a.com");
    let list = |names: &[u8]| hello(&[extension(SERVER_NAME, &vector(names))]);
    for (what, bytes) in [
        ("two extensions of a type", hello(&[extension(5, &[]), name(), extension(5, &[])])),
        ("server_name twice", hello(&[name(), name()])),
        ("two names", list(b"\0\0\x01a\0\0\x01b")),
        ("a name of another type", list(b"\x01\0\x01a")),
        ("no name", list(b"")),
        ("an empty name", list(b"\0\0\0")),
        ("an empty extension", hello(&[extension(SERVER_NAME, &[])])),
        ("a list shorter than its extension", hello(&[extension(SERVER_NAME, b"\0\x03\0\0\x01a")])),
        ("a name longer than its list", hello(&[extension(SERVER_NAME, b"\0\x04\0\0\x02a")])),
        ("an address", hello(&[server_name(b"10.0.0.1")])),
        ("a dot at the end", hello(&[server_name(b"a.com.")])),
        ("a zero in the name", hello(&[server_name(b"a.com\0.b.com")])),
        ("a long name", hello(&[server_name(&[b'a'; 300])])),
        ("more in the record", {
            let mut message = message(Some(&[name()]));
            message.push(0);
            records(&message, MAX_RECORD)
        }),
        ("another record in between", {
            let mut bytes = records(&message(Some(&[name()])), 50);
            bytes[55] = 23;
            bytes
        }),
        ("an empty record in between", {
            let mut bytes = records(&message(Some(&[name()])), 50);
            bytes.splice(55..55, [HANDSHAKE, 3, 1, 0, 0]);
            bytes
        }),
    ] {
        assert_eq!(parse(&bytes), ClientHello::Malformed, "{what}");
    }
}

#[test]
fn invalid_lengths_are_malformed() {
    // Offsets in the message: session id 38, cipher suites 71, compression 77, extensions 79.
    for (at, length) in [(38, 33), (71, 1), (72, 3), (72, 0), (77, 0), (77, 250), (80, 1)] {
        let mut message = message(Some(&[server_name(b"a.com")]));
        message[at] = length;
        let found = parse(&records(&message, MAX_RECORD));
        assert_eq!(found, ClientHello::Malformed, "{length} at {at}");
    }
}

#[test]
fn too_large_client_hellos_are_rejected_by_their_lengths() {
    let large = message(Some(&[server_name(b"a.com"), extension(21, &[0; 40_000])]));
    let bytes = records(&large, MAX_RECORD);
    assert_eq!(ClientHello::parse(&bytes, bytes.len()), sni("a.com"));
    for end in 9..=bytes.len() {
        let found = ClientHello::parse(&bytes[..end], bytes.len() - 1);
        assert_eq!(found, ClientHello::TooLarge, "{end}");
    }
    // The headers of the records are included in the size.
    assert_eq!(ClientHello::parse(&records(&large, 5), MAX), ClientHello::TooLarge);
    assert_eq!(ClientHello::parse(&records(&large, 500), MAX), sni("a.com"));
    let too_large = message(Some(&[extension(21, &[0; 65_440])]));
    let too_large = records(&too_large, MAX_RECORD);
    assert_eq!(ClientHello::parse(&too_large[..9], MAX), ClientHello::TooLarge);
}
