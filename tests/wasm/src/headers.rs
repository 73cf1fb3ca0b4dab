//! Header maps.

/// Header names in lower case with their values, in order.
pub type Headers = Vec<(String, Vec<u8>)>;

/// Serializes pairs in proxy-wasm's format: the count, the lengths, then the strings, each with a
/// zero byte at its end. Empty if there are no pairs.
pub(crate) fn encode(map: &Headers) -> Vec<u8> {
    if map.is_empty() {
        return Vec::new();
    }
    let mut bytes = (map.len() as u32).to_le_bytes().to_vec();
    for (name, value) in map {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in map {
        bytes.extend([name.as_bytes(), b"\0", value, b"\0"].concat());
    }
    bytes
}
