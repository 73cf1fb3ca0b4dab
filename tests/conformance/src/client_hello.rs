//! ClientHellos as rows describe them.

use serde::Deserialize;

/// First bytes of a client.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Client {
    /// Text to send instead of a ClientHello
    pub text: Option<String>,
    /// The server name; if absent, the ClientHello has no such extension
    pub sni: Option<String>,
    /// Whether it has the extension `encrypted_client_hello`
    #[serde(default)]
    pub ech: bool,
    /// The size of its padding extension; none if absent
    pub padding: Option<u16>,
    /// The maximum size of a record; 16,384 if absent
    pub record: Option<usize>,
    /// Number of bytes after which the client closes the connection
    pub end_after: Option<usize>,
}

impl Client {
    /// Returns the bytes to send.
    pub fn bytes(&self) -> Vec<u8> {
        let bytes = match &self.text {
            Some(text) => text.as_bytes().to_vec(),
            None => self.records(),
        };
        bytes[..self.end_after.unwrap_or(bytes.len())].to_vec()
    }

    fn records(&self) -> Vec<u8> {
        let message = self.message();
        let record = |part: &[u8]| [&[22, 3, 1][..], &vector(part)].concat();
        message.chunks(self.record.unwrap_or(1 << 14)).flat_map(record).collect()
    }

    /// RFC 8446 section 4.1.2, with the extensions of a current client and GREASE (RFC 8701).
    fn message(&self) -> Vec<u8> {
        let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &vector(body)].concat();
        let mut extensions = extension(0x0a0a, &[]);
        if let Some(name) = &self.sni {
            let name = [&[0][..], &vector(name.as_bytes())].concat();
            extensions.extend(extension(0, &vector(&name)));
        }
        // ALPN, supported versions, ECH, padding.
        extensions.extend(extension(16, b"\0\x0c\x02h2\x08http/1.1"));
        extensions.extend(extension(43, b"\x04\x03\x04\x03\x03"));
        if self.ech {
            extensions.extend(extension(0xfe0d, &[0; 200]));
        }
        if let Some(padding) = self.padding {
            extensions.extend(extension(21, &vec![0; padding.into()]));
        }
        let mut body = b"\x03\x03".to_vec();
        body.extend(0..32);
        body.extend(b"\0\0\x06\x3a\x3a\x13\x01\x13\x02\x01\0");
        body.extend(vector(&extensions));
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1][..], &length[1..], &body].concat()
    }
}

/// Prefixes bytes with their length in two bytes.
fn vector(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a vector of at most 65,535 bytes");
    [&length.to_be_bytes()[..], body].concat()
}
