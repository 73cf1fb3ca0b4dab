//! Envoy's attributes by their paths, as filters read them.

use smallvec::SmallVec;

use crate::native::abi::Attribute;
use crate::native::calls::network::{self, ConnectionHandle};
use crate::native::calls::{self, Handle};

/// The form in which a filter reads an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    /// 64 bits, little-endian, as in proxy-wasm
    Number,
}

/// The key of a note in the filter state: the same as that of a proxy-wasm module, so that access
/// logs have one format.
pub fn note_key(name: &str) -> SmallVec<[u8; 32]> {
    let mut key = SmallVec::from_slice(b"wasm.");
    key.extend_from_slice(name.as_bytes());
    key
}

/// Returns the value of an attribute of a request. Filters read a note of another filter as an
/// attribute too.
pub fn read(stream: Handle, path: &[&str]) -> Option<Vec<u8>> {
    if let [note] = path {
        return calls::filter_state(stream, &note_key(note));
    }
    if let ["xds", "cluster_name"] = path {
        // Envoy 1.38 has the attribute only for other kinds of modules.
        return calls::cluster_name(stream);
    }
    let (attribute, form) = known(path)?;
    match form {
        Form::Text => calls::text_attribute(stream, attribute).filter(|value| !value.is_empty()),
        Form::Number => calls::number_attribute(stream, attribute).map(|n| n.to_le_bytes().into()),
    }
}

/// Returns the value of an attribute of a connection. Envoy 1.38 has a function for each of them,
/// and none for the version of TLS.
pub fn read_of_connection(connection: ConnectionHandle, path: &[&str]) -> Option<Vec<u8>> {
    match path {
        [note] => network::note(connection, &note_key(note)),
        ["connection", "requested_server_name"] => {
            network::server_name(connection).filter(|name| !name.is_empty())
        }
        ["destination", "address"] => network::destination(connection).map(address),
        ["destination", "port"] => {
            let (_, port) = network::destination(connection)?;
            Some(u64::from(port).to_le_bytes().into())
        }
        ["source", "address"] => network::source(connection).map(address),
        _ => None,
    }
}

/// An IP address with a port, as in Envoy's attributes: an IPv6 address is in brackets.
fn address((ip, port): (Vec<u8>, u32)) -> Vec<u8> {
    let mut address = ip;
    if address.contains(&b':') {
        address.insert(0, b'[');
        address.push(b']');
    }
    address.push(b':');
    address.extend_from_slice(port.to_string().as_bytes());
    address
}

/// The attributes that the filters of the module read.
fn known(path: &[&str]) -> Option<(Attribute, Form)> {
    Some(match path {
        ["connection", "requested_server_name"] => (Attribute::RequestedServerName, Form::Text),
        ["connection", "tls_version"] => (Attribute::TlsVersion, Form::Text),
        ["destination", "address"] => (Attribute::DestinationAddress, Form::Text),
        ["destination", "port"] => (Attribute::DestinationPort, Form::Number),
        ["request", "host"] => (Attribute::RequestHost, Form::Text),
        ["source", "address"] => (Attribute::SourceAddress, Form::Text),
        ["upstream", "address"] => (Attribute::UpstreamAddress, Form::Text),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_form_of_attributes() {
        for (ip, shown) in [("10.0.0.1", "10.0.0.1:443"), ("2001:db8::1", "[2001:db8::1]:443")] {
            assert_eq!(address((ip.into(), 443)), shown.as_bytes());
        }
    }
}
