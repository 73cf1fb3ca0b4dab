//! The arguments of Envoy's foreign functions, which are protobuf messages.
//!
//! The messages are in Envoy's `source/extensions/common/wasm/ext`.

/// The foreign function that declares a property before it is set.
pub const DECLARE_PROPERTY: &str = "declare_property";

/// The foreign function that sets a filter state which Envoy itself reads.
pub const SET_FILTER_STATE: &str = "set_envoy_filter_state";

/// The arguments by which [`DECLARE_PROPERTY`] declares a text with the life span of a request:
/// `DeclarePropertyArguments`.
pub fn declare_text(name: &str) -> Vec<u8> {
    const TYPE_STRING: u8 = 1;
    const SPAN_DOWNSTREAM_REQUEST: u8 = 1;
    let mut message = Message::with_capacity(name.len());
    message.bytes(1, name.as_bytes());
    message.number(3, TYPE_STRING);
    message.number(5, SPAN_DOWNSTREAM_REQUEST);
    message.0
}

/// The arguments by which [`SET_FILTER_STATE`] sets a value with the life span of a connection:
/// `SetEnvoyFilterStateArguments`.
pub fn set_filter_state(path: &str, value: &[u8]) -> Vec<u8> {
    const SPAN_DOWNSTREAM_CONNECTION: u8 = 2;
    let mut message = Message::with_capacity(path.len() + value.len());
    message.bytes(1, path.as_bytes());
    message.bytes(2, value);
    message.number(3, SPAN_DOWNSTREAM_CONNECTION);
    message.0
}

/// A message in protobuf's encoding, with fields up to number 15.
struct Message(Vec<u8>);

impl Message {
    const WIRE_TYPE_VARINT: u8 = 0;
    const WIRE_TYPE_LENGTH: u8 = 2;

    /// An empty message with memory for this many bytes of text and all around it.
    fn with_capacity(text: usize) -> Self {
        Self(Vec::with_capacity(text + 16))
    }

    /// Adds a field with a string, bytes or a message.
    fn bytes(&mut self, field: u8, bytes: &[u8]) {
        self.0.push(field << 3 | Self::WIRE_TYPE_LENGTH);
        let mut length = bytes.len();
        while length >= 0x80 {
            // The lower seven bits, and the bit that says that others follow.
            self.0.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        self.0.push(length as u8);
        self.0.extend_from_slice(bytes);
    }

    /// Adds a field with a number below 128.
    fn number(&mut self, field: u8, number: u8) {
        self.0.extend_from_slice(&[field << 3 | Self::WIRE_TYPE_VARINT, number]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_the_messages_of_envoy() {
        assert_eq!(declare_text("note"), b"\x0a\x04note\x18\x01\x28\x01");
        assert_eq!(set_filter_state("k", b"v"), b"\x0a\x01k\x12\x01v\x18\x02");
    }

    #[test]
    fn lengths_from_128_on_have_more_than_one_byte() {
        for (length, encoded) in
            [(127, &b"\x7f"[..]), (128, b"\x80\x01"), (300, b"\xac\x02"), (20_000, b"\xa0\x9c\x01")]
        {
            let name = "n".repeat(length);
            let field = [encoded, name.as_bytes()].concat();
            let declared = declare_text(&name);
            assert_eq!(declared, [b"\x0a", &field[..], b"\x18\x01\x28\x01"].concat(), "{length}");
            let set = set_filter_state("k", name.as_bytes());
            assert_eq!(set, [b"\x0a\x01k\x12", &field[..], b"\x18\x02"].concat(), "{length}");
        }
    }
}
