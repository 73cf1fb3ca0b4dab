//! ClientHellos of real clients: recorded ones, see `client_hellos/README.md`, and those of rustls.
#![cfg(not(target_arch = "wasm32"))]

use std::sync::Arc;

use rustls::client::ClientConnection;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use sluice_policy::request::client_hello::ClientHello;
use sluice_policy::value::server_name::ServerName;

const MAX: usize = 1 << 16;
const NAME: &str = "recorded.example.com";

/// Reads the hello whole, in two pieces split at each position, and byte by byte.
fn parse(bytes: &[u8]) -> ClientHello {
    let whole = ClientHello::parse(bytes, MAX);
    for end in 0..bytes.len() {
        let start = ClientHello::parse(&bytes[..end], MAX);
        let ClientHello::NeedMore { at_least } = start else {
            panic!("{start:?} after {end} of {} bytes", bytes.len());
        };
        assert!(at_least > end && at_least <= bytes.len(), "{at_least} after {end}");
    }
    whole
}

fn named(name: &str, has_ech: bool) -> ClientHello {
    ClientHello::Sni { name: ServerName::new(name.as_bytes()).unwrap(), has_ech }
}

#[test]
fn recorded_clients_send_their_server_name() {
    let hello = |bytes: &[u8]| parse(bytes);
    assert_eq!(hello(include_bytes!("../client_hellos/curl.bin")), named(NAME, false));
    assert_eq!(hello(include_bytes!("../client_hellos/openssl-tls12.bin")), named(NAME, false));
    assert_eq!(hello(include_bytes!("../client_hellos/openssl-tls13.bin")), named(NAME, false));
    let no_sni = ClientHello::NoSni { has_ech: false };
    assert_eq!(hello(include_bytes!("../client_hellos/openssl-no-sni.bin")), no_sni);
    assert_eq!(hello(include_bytes!("../client_hellos/go.bin")), named(NAME, false));
}

/// Chromium sends the extension in every ClientHello, also to unknown servers.
#[test]
fn chromium_sends_an_ech_extension() {
    let hello = parse(include_bytes!("../client_hellos/chromium.bin"));
    assert_eq!(hello, named(NAME, true));
}

/// Returns the first bytes of a rustls connection.
fn rustls_hello(versions: &[&'static SupportedProtocolVersion], name: &str, sni: bool) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_protocol_versions(versions).unwrap();
    let mut config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.enable_sni = sni;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = name.to_owned().try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

#[test]
fn rustls_clients_send_their_server_name() {
    for versions in [&[&version::TLS12][..], &[&version::TLS13], rustls::ALL_VERSIONS] {
        for name in ["a.com", "LONG-name.with.many_labels.example.org", "localhost"] {
            assert_eq!(parse(&rustls_hello(versions, name, true)), named(name, false), "{name}");
            let none = ClientHello::NoSni { has_ech: false };
            assert_eq!(parse(&rustls_hello(versions, name, false)), none, "{name}");
        }
        // rustls never sends an address.
        let none = ClientHello::NoSni { has_ech: false };
        assert_eq!(parse(&rustls_hello(versions, "127.0.0.1", true)), none);
    }
}
