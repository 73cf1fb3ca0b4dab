//! ClientHellos as bytes: the first message of a TLS connection, with the server name.

/// A ClientHello of TLS 1.2 for `name` with `size` bytes, in one record (RFC 5246, section
/// 7.4.1.2).
///
/// # Panics
/// If `size` is too small for the name or too large for a record.
pub fn client_hello(name: &str, size: usize) -> Vec<u8> {
    let name = name.as_bytes();
    // RFC 6066, section 3: a list of one host name.
    let list = [&[0][..], &prefixed(name)].concat();
    let server_name = [&[0, 0][..], &prefixed(&prefixed(&list))].concat();
    let with_padding = |padding: usize| {
        // RFC 7685
        let padding = [&[0, 21][..], &prefixed(&vec![0; padding])].concat();
        let body = [
            &[3, 3][..],
            &[7; 32],
            // No session, one cipher suite, no compression.
            &[0, 0, 2, 0xc0, 0x2f, 1, 0],
            &prefixed(&[server_name.as_slice(), &padding].concat()),
        ]
        .concat();
        let handshake = [&[1, 0][..], &prefixed(&body)].concat();
        [&[22, 3, 1][..], &prefixed(&handshake)].concat()
    };
    let padding = size.checked_sub(with_padding(0).len()).expect("room for the name");
    with_padding(padding)
}

/// Prefixes the bytes with their length.
fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a length of two bytes");
    [&length.to_be_bytes()[..], bytes].concat()
}
