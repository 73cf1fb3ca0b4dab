//! Parses the ClientHello at the start of a TLS connection, also when only a part of it has
//! arrived.
//!
//! The parser reads the server name (RFC 6066 section 3) and whether there is an encrypted
//! ClientHello, which may have another name (RFC 9849). It skips everything else, including unknown
//! and GREASE extensions (RFC 8701). It rejects other protocols at the first byte that differs from
//! a ClientHello.

use smallvec::SmallVec;

use crate::value::server_name::ServerName;

/// The result of parsing the first bytes from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientHello {
    /// The start of a ClientHello that is not complete. With more bytes, any other result is
    /// possible.
    NeedMore {
        /// Minimum number of bytes, from the start of the connection, that the next call requires.
        /// Always more than the present number. Errors in these bytes are reported then.
        at_least: usize,
    },
    /// A ClientHello with a server name.
    Sni {
        /// The name. If there is an encrypted ClientHello, this is the outer name
        name: ServerName,
        /// Whether the extension `encrypted_client_hello` is present. Browsers also send it with
        /// random content to servers that do not support it (GREASE, RFC 9849 section 6.2)
        has_ech: bool,
    },
    /// A ClientHello without a server name.
    NoSni {
        /// Whether the extension `encrypted_client_hello` is present, see [`ClientHello::Sni`]
        has_ech: bool,
    },
    /// Not TLS, or TLS that does not start with a ClientHello.
    NotTls,
    /// An invalid ClientHello: lengths that contradict each other, a repeated extension, several
    /// names, or a name that is not a host name.
    Malformed,
    /// A ClientHello that is larger than allowed.
    TooLarge,
}

/// The record type of handshake messages (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
/// The handshake message type of a ClientHello (RFC 8446 section 4).
const CLIENT_HELLO: u8 = 1;
/// Maximum length of a record, in bytes, without its header (RFC 8446 section 5.1).
const MAX_RECORD: usize = 1 << 14;
const RECORD_HEADER: usize = 5;
/// Extension `server_name` (RFC 6066 section 3).
const SERVER_NAME: u16 = 0;
/// The only defined type of a name in this extension.
const HOST_NAME: u8 = 0;
/// Extension `encrypted_client_hello` (RFC 9849 section 5).
const ECH: u16 = 0xfe0d;

impl ClientHello {
    /// Parses the bytes from the start of a connection. `max` is the maximum size of the
    /// ClientHello in bytes, including its record headers. The bytes after the ClientHello are not
    /// read.
    #[inline]
    pub fn parse(bytes: &[u8], max: usize) -> Self {
        let mut reader =
            Reader { rest: bytes, position: 0, record: 0, message: None, at_least: 0, max };
        match reader.client_hello() {
            Ok((Some(name), has_ech)) => Self::Sni { name, has_ech },
            Ok((None, has_ech)) => Self::NoSni { has_ech },
            // Until the message header is complete, each byte is checked when it arrives. After
            // that, the parser waits until the message can be complete.
            Err(Stop::End) if reader.message.is_none() => {
                Self::NeedMore { at_least: bytes.len().saturating_add(1) }
            }
            Err(Stop::End) => Self::NeedMore { at_least: reader.at_least },
            Err(Stop::NotTls) => Self::NotTls,
            Err(Stop::Malformed) => Self::Malformed,
            Err(Stop::TooLarge) => Self::TooLarge,
        }
    }
}

/// Why reading stops before the end of the message.
enum Stop {
    /// More bytes are required.
    End,
    Malformed,
    NotTls,
    TooLarge,
}

/// A set of extension types.
#[derive(Default)]
struct ExtensionTypes {
    /// A bit for each type below 64. Most types are in this range
    low: u64,
    /// The first 16 other types. Searching this list is faster than initializing `all`
    few: SmallVec<[u16; 16]>,
    /// A bit for each type that does not fit into `few`
    all: Vec<u64>,
}

impl ExtensionTypes {
    /// Adds a type. Returns whether it is new.
    #[inline]
    fn insert(&mut self, kind: u16) -> bool {
        let set = |word: &mut u64| {
            let bit = 1 << (kind % 64);
            let is_new = *word & bit == 0;
            *word |= bit;
            is_new
        };
        if kind < 64 {
            return set(&mut self.low);
        }
        if self.few.contains(&kind) {
            return false;
        }
        if self.few.len() < self.few.inline_size() {
            self.few.push(kind);
            return true;
        }
        self.all.resize(1024, 0);
        self.all.get_mut(usize::from(kind / 64)).is_some_and(set)
    }
}

/// Reads the bytes of a message that may be split into several records. All fields are in bytes.
struct Reader<'a> {
    rest: &'a [u8],
    /// Bytes of the input that were read
    position: usize,
    /// Bytes that remain in the current record
    record: usize,
    /// Bytes that remain in the message. `None` before its header was read
    message: Option<usize>,
    /// Minimum length of the input for a complete message, according to the lengths read so far
    at_least: usize,
    max: usize,
}

impl<'a> Reader<'a> {
    /// Reads the fields of a ClientHello in their order (RFC 8446 section 4.1.2).
    #[inline]
    fn client_hello(&mut self) -> Result<(Option<ServerName>, bool), Stop> {
        if self.u8()? != CLIENT_HELLO {
            return Err(Stop::NotTls);
        }
        let length = usize::from(self.u8()?) << 16 | usize::from(self.u16()?);
        self.message = Some(length);
        self.check_size()?;
        // legacy_version: from 3.1 to 3.3 in practice.
        if self.u8()? != 3 {
            return Err(Stop::Malformed);
        }
        self.skip(1 + 32)?;
        let session_id = self.u8()?;
        self.skip_checked(session_id.into(), session_id <= 32)?;
        let cipher_suites = self.u16()?;
        self.skip_checked(cipher_suites.into(), cipher_suites >= 2 && cipher_suites % 2 == 0)?;
        let compression_methods = self.u8()?;
        self.skip_checked(compression_methods.into(), compression_methods >= 1)?;
        if self.message == Some(0) {
            // Before TLS 1.3, the list of extensions is optional (RFC 5246 section 7.4.1.2).
            return Ok((None, false));
        }
        let extensions = usize::from(self.u16()?);
        if self.message != Some(extensions) {
            return Err(Stop::Malformed);
        }
        self.extensions()
    }

    #[inline]
    fn extensions(&mut self) -> Result<(Option<ServerName>, bool), Stop> {
        let mut seen = ExtensionTypes::default();
        let mut name = None;
        let mut has_ech = false;
        while self.message != Some(0) {
            let (kind, length) = match self.read_array() {
                Some([a, b, c, d]) => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
                None => (self.u16()?, self.u16()?),
            };
            // Each type may occur only once (RFC 8446 section 4.2).
            if !seen.insert(kind) {
                return Err(Stop::Malformed);
            }
            match kind {
                SERVER_NAME => name = Some(self.server_name(length)?),
                _ => {
                    has_ech |= kind == ECH;
                    self.skip(length.into())?;
                }
            }
        }
        Ok((name, has_ech))
    }

    /// Reads the list of names. It must contain exactly one name, of the type host name.
    #[inline]
    fn server_name(&mut self, extension: u16) -> Result<ServerName, Stop> {
        let list = self.u16()?;
        if extension.checked_sub(2) != Some(list) || self.u8()? != HOST_NAME {
            return Err(Stop::Malformed);
        }
        let length = self.u16()?;
        // Longer names are invalid, so they are rejected before they are stored.
        if list.checked_sub(3) != Some(length) || !(1..=255).contains(&length) {
            return Err(Stop::Malformed);
        }
        let mut name = Vec::with_capacity(length.into());
        while name.len() < length.into() {
            name.extend_from_slice(self.take(usize::from(length) - name.len())?);
        }
        ServerName::new(&name).ok_or(Stop::Malformed)
    }

    #[inline]
    fn u8(&mut self) -> Result<u8, Stop> {
        match self.read_array() {
            Some([byte]) => Ok(byte),
            None => self.take(1)?.first().copied().ok_or(Stop::Malformed),
        }
    }

    #[inline]
    fn u16(&mut self) -> Result<u16, Stop> {
        match self.read_array() {
            Some(bytes) => Ok(u16::from_be_bytes(bytes)),
            None => Ok(u16::from_be_bytes([self.u8()?, self.u8()?])),
        }
    }

    /// Reads the next `N` bytes if the current record contains all of them, the usual case.
    /// Otherwise reads nothing.
    #[inline]
    fn read_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.record < N || self.message.is_some_and(|left| left < N) {
            return None;
        }
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        self.position += N;
        self.record -= N;
        self.message = self.message.map(|left| left - N);
        Some(*bytes)
    }

    #[inline]
    fn skip_checked(&mut self, length: usize, is_valid: bool) -> Result<(), Stop> {
        if is_valid { self.skip(length) } else { Err(Stop::Malformed) }
    }

    #[inline]
    fn skip(&mut self, mut length: usize) -> Result<(), Stop> {
        // Checked first, so that an invalid length is rejected before its bytes arrive.
        if self.message.is_some_and(|left| left < length) {
            return Err(Stop::Malformed);
        }
        while length > 0 {
            length -= self.take(length)?.len();
        }
        Ok(())
    }

    /// Reads the next bytes of the message: at least one, at most `length`, and only from one
    /// record.
    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        if self.message == Some(0) {
            return Err(Stop::Malformed);
        }
        if self.record == 0 {
            self.record_header()?;
        }
        let length = length.min(self.record).min(self.message.unwrap_or(length));
        let taken = self.advance(length)?;
        self.record -= length;
        self.message = self.message.map(|left| left - length);
        Ok(taken)
    }

    /// Reads the header of the next record. All records of a message have the same type, and no
    /// record is empty (RFC 8446 section 5.1).
    fn record_header(&mut self) -> Result<(), Stop> {
        let invalid = || if self.message.is_none() { Stop::NotTls } else { Stop::Malformed };
        let header = self.rest.get(..RECORD_HEADER).unwrap_or(self.rest);
        // The version is from 3.1 to 3.3 in practice. The minor version must be ignored.
        let is_invalid = match header {
            [] => false,
            [kind] => *kind != HANDSHAKE,
            [kind, major, ..] => *kind != HANDSHAKE || *major != 3,
        };
        if is_invalid {
            return Err(invalid());
        }
        let &[_, _, _, high, low] = header else {
            return Err(Stop::End);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > MAX_RECORD {
            return Err(invalid());
        }
        self.advance(RECORD_HEADER)?;
        self.record = length;
        self.check_size()
    }

    /// Updates `at_least` and checks it against `max`. The minimum is the rest of the current
    /// record, then records of maximum length for the rest of the message.
    fn check_size(&mut self) -> Result<(), Stop> {
        let Some(message) = self.message else { return Ok(()) };
        // No client sends more data after its ClientHello in the same record.
        let Some(beyond) = message.checked_sub(self.record) else {
            return Err(Stop::Malformed);
        };
        let headers = RECORD_HEADER * beyond.div_ceil(MAX_RECORD);
        self.at_least = self.position + self.record + headers + beyond;
        if self.at_least > self.max { Err(Stop::TooLarge) } else { Ok(()) }
    }

    fn advance(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Stop::End)?;
        self.rest = rest;
        self.position += length;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
