//! Envoy's attributes, as the policy reads them.

use std::net::{IpAddr, SocketAddr};

use sluice_policy::request::connection::Connection;
use sluice_policy::request::{Attributes, header_map};
use sluice_policy::spec::proxy::NodeMetadata;
use sluice_policy::value::host_name::without_port;

use crate::host::Host;

/// The metadata in which Envoy's JWT filter leaves the claims, with the `payload_in_metadata` that
/// Istio configures.
const CLAIMS: [&str; 4] =
    ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", "payload"];

/// The attributes of the current stream.
pub struct StreamAttributes<'h, H>(pub &'h H);

impl<H: Host> Attributes for StreamAttributes<'_, H> {
    fn destination_port(&self) -> Option<u16> {
        let bytes = self.0.property(&["destination", "port"])?;
        u16::try_from(i64::from_le_bytes(bytes.try_into().ok()?)).ok()
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        let address = self.0.property(&["source", "address"])?;
        Some(ip_of(&address).to_vec())
    }

    fn claim(&self, path: &[String]) -> Vec<Vec<u8>> {
        let path: Vec<&str> = CLAIMS.into_iter().chain(path.iter().map(String::as_str)).collect();
        let Some(value) = self.0.property(&path) else {
            return Vec::new();
        };
        list_elements(&value).unwrap_or_else(|| vec![value])
    }
}

impl<H: Host> StreamAttributes<'_, H> {
    /// The SNI of the client's TLS connection, as the client sent it. `None` without one, and if
    /// the listener has no `envoy.filters.listener.tls_inspector`, even if Envoy terminates the
    /// TLS.
    pub fn server_name(&self) -> Option<Vec<u8>> {
        self.0.property(&["connection", "requested_server_name"])
    }

    /// Whether Envoy terminates the client's TLS. This is known after the handshake, so in
    /// `on_downstream_data` and for requests.
    pub fn is_tls_terminated(&self) -> bool {
        self.0.is_tls_terminated()
    }

    /// The address and port that the client connected to; the original ones behind
    /// `envoy.filters.listener.original_dst`. `None` if the address is no IP address.
    pub fn destination(&self) -> Option<SocketAddr> {
        let address = self.0.property(&["destination", "address"])?;
        std::str::from_utf8(&address).ok()?.parse().ok()
    }
}

impl<H: Host> Connection for StreamAttributes<'_, H> {
    /// The original address behind `envoy.filters.listener.original_dst`.
    fn destination_ip(&self) -> Option<IpAddr> {
        self.destination().map(|destination| destination.ip())
    }

    fn destination_port(&self) -> Option<u16> {
        Attributes::destination_port(self)
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        Attributes::source_address(self)
    }
}

/// The address in `ADDRESS:PORT`. An IPv6 address there is in brackets, which are removed.
fn ip_of(address: &[u8]) -> &[u8] {
    let host = without_port(address);
    host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host)
}

/// The elements of a list, which Envoy encodes as a header map with empty values. `None` for
/// anything else.
///
/// The encoding has no tag. A string is taken for a list if it has exactly the form of one, with
/// the right lengths and terminators. The claims of a verified token do not have it.
fn list_elements(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let pairs: Vec<_> = header_map::decode(bytes).collect();
    let is_list = pairs.iter().all(|(_, value)| value.is_empty());
    // The decoder does not check the terminators, and leaves out what is cut off or follows.
    if !is_list || header_map::encode(pairs.iter().copied()) != bytes {
        return None;
    }
    Some(pairs.into_iter().map(|(element, _)| element.to_vec()).collect())
}

/// The node metadata of Envoy's bootstrap, as Istio fills it.
pub struct EnvoyNode<'h, H>(pub &'h H);

impl<H: Host> NodeMetadata for EnvoyNode<'_, H> {
    fn namespace(&self) -> Option<String> {
        self.text(&["xds", "node", "metadata", "NAMESPACE"])
    }

    fn label(&self, name: &str) -> Option<String> {
        self.text(&["xds", "node", "metadata", "LABELS", name])
    }

    fn is_native(&self) -> bool {
        H::IS_NATIVE
    }

    fn can_call(&self) -> bool {
        self.0.can_call()
    }
}

impl<H: Host> EnvoyNode<'_, H> {
    fn text(&self, path: &[&str]) -> Option<String> {
        String::from_utf8(self.0.property(path)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHost;

    #[test]
    fn numbers_and_addresses_are_decoded() {
        let host = FakeHost::default()
            .with_property(&["destination", "port"], 8080i64.to_le_bytes())
            .with_property(&["source", "address"], "[::1]:5555");
        let attributes = StreamAttributes(&host);
        assert_eq!(Attributes::destination_port(&attributes), Some(8080));
        assert_eq!(Attributes::source_address(&attributes).as_deref(), Some(&b"::1"[..]));
        let nothing = FakeHost::default();
        assert_eq!(Attributes::destination_port(&StreamAttributes(&nothing)), None);
        assert_eq!(StreamAttributes(&nothing).destination(), None);
        for (address, is_ip) in [("10.0.0.1:80", true), ("[::1]:80", true), ("/run/x", false)] {
            let host = FakeHost::default().with_property(&["destination", "address"], address);
            let shown = StreamAttributes(&host).destination().map(|found| found.to_string());
            assert_eq!(shown.as_deref(), is_ip.then_some(address));
        }
        let short = FakeHost::default().with_property(&["destination", "port"], "x");
        assert_eq!(Attributes::destination_port(&StreamAttributes(&short)), None);
    }

    #[test]
    fn connections_have_a_server_name_and_a_destination() {
        let host = FakeHost::default()
            .with_property(&["connection", "requested_server_name"], "a.com")
            .with_property(&["destination", "address"], "[2001:db8::1]:443");
        let attributes = StreamAttributes(&host);
        assert_eq!(attributes.server_name().as_deref(), Some(&b"a.com"[..]));
        assert_eq!(attributes.destination_ip(), "2001:db8::1".parse().ok());
        let unix = FakeHost::default().with_property(&["destination", "address"], "/run/socket");
        assert_eq!(StreamAttributes(&unix).destination_ip(), None);
    }

    #[test]
    fn a_claim_is_a_string_or_a_list_of_strings() {
        let path = [&CLAIMS[..], &["groups"]].concat();
        let list = b"\x02\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0a\0\0bc\0\0";
        let claim = |value: &[u8]| {
            let host = FakeHost::default().with_property(&path, value);
            StreamAttributes(&host).claim(&["groups".to_owned()])
        };
        assert_eq!(claim(list), [b"a".to_vec(), b"bc".to_vec()]);
        assert_eq!(claim(b"\0\0\0\0"), Vec::<Vec<u8>>::new(), "an empty list");
        assert_eq!(claim(b"admin"), [b"admin".to_vec()]);
        assert_eq!(claim(b"\xff\xff\xff\xff"), [b"\xff\xff\xff\xff".to_vec()]);
        // What is not exactly a list is a string.
        let last = list.len() - 1;
        let changed = |place: usize, byte| {
            let mut bytes = list.to_vec();
            bytes[place] = byte;
            bytes
        };
        for other in [
            list[..last].to_vec(),
            [&list[..], b"\0"].concat(),
            changed(0, 1),
            changed(0, 3),
            changed(4, 2),
            changed(8, 1),
            changed(last, b'x'),
            changed(last - 1, b'x'),
        ] {
            assert_eq!(claim(&other), [other]);
        }
    }
}
