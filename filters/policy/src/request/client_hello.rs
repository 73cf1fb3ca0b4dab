//! The ClientHello with which a TLS connection begins, as far as it has arrived.
//!
//! Read is what tells where the client wants to go: the server name (RFC 6066 section 3), and whether
//! there is an encrypted hello inside with perhaps another name (RFC 9849). Everything else is stepped
//! over, unknown and GREASE extensions (RFC 8701) included. What cannot be a ClientHello is found at
//! the first byte that shows it.

use smallvec::SmallVec;

use crate::value::server_name::ServerName;

/// What the bytes from a client are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientHello {
    /// The start of a ClientHello that is not complete yet. More bytes can turn it into any other.
    NeedMore {
        /// It cannot be decided before there are so many bytes, which is more than there are; what
        /// breaks a rule in its middle is found then
        at_least: usize,
    },
    /// A ClientHello with a server name.
    Sni {
        /// The name; of an encrypted hello the outer one
        name: ServerName,
        /// Whether there is an encrypted hello, or what looks like one: browsers send it to servers
        /// without, too, so that nobody can tell (RFC 9849 section 6.2)
        has_ech: bool,
    },
    /// A ClientHello without a server name.
    NoSni {
        /// As above
        has_ech: bool,
    },
    /// Something else than TLS, or not its start.
    NotTls,
    /// A ClientHello that breaks a rule: lengths that contradict each other, an extension that is
    /// there twice, several names or one that is no host name.
    Malformed,
    /// A ClientHello that has more bytes than allowed.
    TooLarge,
}

/// The record type of handshake messages (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
/// The handshake message type of a ClientHello (RFC 8446 section 4).
const CLIENT_HELLO: u8 = 1;
/// The largest record (RFC 8446 section 5.1).
const MAX_RECORD: usize = 1 << 14;
const RECORD_HEADER: usize = 5;
/// Extension `server_name` (RFC 6066 section 3).
const SERVER_NAME: u16 = 0;
/// The only type of a name in it.
const HOST_NAME: u8 = 0;
/// Extension `encrypted_client_hello` (RFC 9849 section 5).
const ECH: u16 = 0xfe0d;

impl ClientHello {
    /// Reads the bytes that a client has sent from the start of its connection, in which the
    /// ClientHello, with the headers of its records, may take up `max` bytes. How they came in pieces
    /// does not matter, and what follows the ClientHello is not looked at.
    #[inline]
    pub fn parse(bytes: &[u8], max: usize) -> Self {
        let mut reader =
            Reader { rest: bytes, position: 0, record: 0, message: None, at_least: 0, max };
        match reader.client_hello() {
            Ok((Some(name), has_ech)) => Self::Sni { name, has_ech },
            Ok((None, has_ech)) => Self::NoSni { has_ech },
            // The headers are looked at byte by byte, the rest once all of it can be there.
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

/// Why reading ends before the message does.
enum Stop {
    /// The bytes have ended.
    End,
    Malformed,
    NotTls,
    TooLarge,
}

/// Types of extensions.
#[derive(Default)]
struct Kinds {
    /// A bit for each of those below 64, which most are
    low: u64,
    /// Others, as many as are looked through faster than all bits are set to 0
    few: SmallVec<[u16; 16]>,
    /// A bit for each type, once there are more
    all: Vec<u64>,
}

impl Kinds {
    /// Whether it is a new one.
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

/// Goes through the bytes of the message, from record to record.
struct Reader<'a> {
    rest: &'a [u8],
    /// How much of the input is read
    position: usize,
    /// How much of the record is left
    record: usize,
    /// How much of the message is left, once its header is read
    message: Option<usize>,
    /// The least that the input has to have for the message to be complete, as far as that is known
    at_least: usize,
    max: usize,
}

impl<'a> Reader<'a> {
    /// The parts of a ClientHello in their order (RFC 8446 section 4.1.2).
    #[inline]
    fn client_hello(&mut self) -> Result<(Option<ServerName>, bool), Stop> {
        if self.u8()? != CLIENT_HELLO {
            return Err(Stop::NotTls);
        }
        let length = usize::from(self.u8()?) << 16 | usize::from(self.u16()?);
        self.message = Some(length);
        self.check_size()?;
        // legacy_version: 3.1 to 3.3 in practice.
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
            // Before TLS 1.3 there may be no extensions at all (RFC 5246 section 7.4.1.2).
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
        let mut seen = Kinds::default();
        let mut name = None;
        let mut has_ech = false;
        while self.message != Some(0) {
            let (kind, length) = match self.whole() {
                Some([a, b, c, d]) => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
                None => (self.u16()?, self.u16()?),
            };
            // Not more than one of a type (RFC 8446 section 4.2).
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

    /// A list of exactly one name, a host name.
    #[inline]
    fn server_name(&mut self, extension: u16) -> Result<ServerName, Stop> {
        let list = self.u16()?;
        if extension.checked_sub(2) != Some(list) || self.u8()? != HOST_NAME {
            return Err(Stop::Malformed);
        }
        let length = self.u16()?;
        // No name is longer, so a longer one need not be kept.
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
        match self.whole() {
            Some([byte]) => Ok(byte),
            None => self.take(1)?.first().copied().ok_or(Stop::Malformed),
        }
    }

    #[inline]
    fn u16(&mut self) -> Result<u16, Stop> {
        match self.whole() {
            Some(bytes) => Ok(u16::from_be_bytes(bytes)),
            None => Ok(u16::from_be_bytes([self.u8()?, self.u8()?])),
        }
    }

    /// The next bytes where the record has all of them, as nearly always. Otherwise nothing is taken.
    #[inline]
    fn whole<const N: usize>(&mut self) -> Option<[u8; N]> {
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
        // At once, so that a length that cannot be is found before its bytes come.
        if self.message.is_some_and(|left| left < length) {
            return Err(Stop::Malformed);
        }
        while length > 0 {
            length -= self.take(length)?.len();
        }
        Ok(())
    }

    /// The next bytes of the message: at least one, at most `length`, as many as the record has.
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

    /// Goes to the next record. All of a message are of the same type and none is empty (RFC 8446
    /// section 5.1).
    fn record_header(&mut self) -> Result<(), Stop> {
        let wrong = || if self.message.is_none() { Stop::NotTls } else { Stop::Malformed };
        let header = self.rest.get(..RECORD_HEADER).unwrap_or(self.rest);
        // 3.1 to 3.3 in practice; the rest of the version must be ignored.
        let starts_wrong = match header {
            [] => false,
            [kind] => *kind != HANDSHAKE,
            [kind, major, ..] => *kind != HANDSHAKE || *major != 3,
        };
        if starts_wrong {
            return Err(wrong());
        }
        let &[_, _, _, high, low] = header else {
            return Err(Stop::End);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > MAX_RECORD {
            return Err(wrong());
        }
        self.advance(RECORD_HEADER)?;
        self.record = length;
        self.check_size()
    }

    /// Finds out how much there is to come at the least: what is left of the record, and the largest
    /// records for all that the message lacks then.
    fn check_size(&mut self) -> Result<(), Stop> {
        let Some(message) = self.message else { return Ok(()) };
        // No client sends anything along with its ClientHello in one record.
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
