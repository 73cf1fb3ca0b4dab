//! Envoy's attributes by their paths, as filters read them.

use smallvec::SmallVec;

use crate::native::abi::Attribute;
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

/// Returns the value of an attribute. Filters read a note of another filter as an attribute too.
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
