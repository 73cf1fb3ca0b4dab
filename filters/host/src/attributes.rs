//! Envoy's attributes in the policy's terms.

use std::net::{IpAddr, SocketAddr};

use sluice_policy::request::Attributes;
use sluice_policy::request::connection::Connection;
use sluice_policy::spec::proxy::NodeMetadata;
use sluice_policy::value::host_name::without_port;

use crate::host::Host;

/// Where Envoy's JWT filter leaves the claims, with the `payload_in_metadata` that Istio gives it.
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
        pair_names(&value).unwrap_or_else(|| vec![value])
    }
}

impl<H: Host> StreamAttributes<'_, H> {
    /// The server name of the TLS connection to Envoy, as the client sent it. `None` without one, and
    /// where the listener has no `envoy.filters.listener.tls_inspector`, also if Envoy ends the TLS.
    pub fn server_name(&self) -> Option<Vec<u8>> {
        self.0.property(&["connection", "requested_server_name"])
    }

    /// Whether Envoy has ended the client's TLS; known once the handshake is over, so in
    /// `on_downstream_data` and for requests.
    pub fn is_tls_terminated(&self) -> bool {
        self.0.property(&["connection", "tls_version"]).is_some()
    }

    /// The address and port that the client connected to; the original ones behind
    /// `envoy.filters.listener.original_dst`. `None` where that is no IP address.
    pub fn destination(&self) -> Option<SocketAddr> {
        let address = self.0.property(&["destination", "address"])?;
        std::str::from_utf8(&address).ok()?.parse().ok()
    }
}

impl<H: Host> Connection for StreamAttributes<'_, H> {
    /// The original one behind `envoy.filters.listener.original_dst`.
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

/// The address in `ADDRESS:PORT`, where an IPv6 address is in brackets.
fn ip_of(address: &[u8]) -> &[u8] {
    let host = without_port(address);
    host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host)
}

/// The elements of a list, which Envoy encodes as pairs with empty values; `None` for anything else.
///
/// The encoding has no tag, so a string could be taken for a list if it had its exact form, with
/// every length right and every terminator in its place. A claim of a verified token has not.
fn pair_names(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (count, mut rest) = take_u32(bytes)?;
    let mut lengths = Vec::new();
    for _ in 0..count {
        let (name, tail) = take_u32(rest)?;
        let (value, tail) = take_u32(tail)?;
        if value != 0 {
            return None;
        }
        lengths.push(name);
        rest = tail;
    }
    let mut names = Vec::with_capacity(lengths.len());
    for length in lengths {
        let (name, tail) = rest.split_at_checked(length)?;
        // The name and its terminator, then the terminator of the empty value.
        rest = tail.strip_prefix(&[0, 0])?;
        names.push(name.to_vec());
    }
    rest.is_empty().then_some(names)
}

fn take_u32(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
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
        let odd = FakeHost::default().with_property(&["destination", "port"], "x");
        assert_eq!(Attributes::destination_port(&StreamAttributes(&odd)), None);
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
    fn a_claim_is_a_string_or_a_list_of_them() {
        let path = [&CLAIMS[..], &["groups"]].concat();
        let list = b"\x02\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0a\0\0bc\0\0";
        let claim = |value: &[u8]| {
            let host = FakeHost::default().with_property(&path, value);
            StreamAttributes(&host).claim(&["groups".to_owned()])
        };
        assert_eq!(claim(list), [b"a".to_vec(), b"bc".to_vec()]);
        assert_eq!(claim(b"admin"), [b"admin".to_vec()]);
        assert_eq!(claim(&list[..list.len() - 1]), [list[..list.len() - 1].to_vec()]);
        assert_eq!(claim(b"\xff\xff\xff\xff"), [b"\xff\xff\xff\xff".to_vec()]);
    }
}
