//! HTTP/1 requests from a seed: malformed, huge, slow, pipelined, with lengths that contradict each
//! other, and with headers that steer Envoy.

use std::time::Duration;

use fastrand::Rng;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::edge::STEERING;
use crate::read;

/// A part of a request that is not as it should be. Most requests have one or two, because Envoy
/// refuses those with many before the filters see them.
#[derive(Clone, Copy)]
enum Quirk {
    Method,
    Target,
    Version,
    Host,
    Name,
    Line,
    Connection,
    Body,
    Bytes,
}

/// The quirks of a request, by their numbers.
struct Quirks([bool; 9]);

impl Quirks {
    fn generate(random: &mut Rng) -> Self {
        let mut quirks = [false; 9];
        for _ in 0..random.usize(..3) {
            quirks[random.usize(..9)] = true;
        }
        Self(quirks)
    }

    fn have(&self, quirk: Quirk) -> bool {
        self.0[quirk as usize]
    }
}

/// What a client sends on one connection.
pub struct Shape {
    /// The bytes, with a pause after each part
    parts: Vec<Vec<u8>>,
    /// Whether the client closes at once, without an answer
    leaves: bool,
}

impl Shape {
    /// The shape of a seed.
    pub fn generate(random: &mut Rng) -> Self {
        let mut bytes = Vec::new();
        for _ in 0..(if random.u8(..) < 64 { random.usize(2..6) } else { 1 }) {
            let quirks = Quirks::generate(random);
            let mut request = request(random, &quirks);
            if quirks.have(Quirk::Bytes) {
                mutate(random, &mut request);
            }
            bytes.extend(request);
        }
        let parts = match random.u8(..) {
            0..25 if bytes.len() > 1 => {
                let length = bytes.len().div_ceil(random.usize(2..12));
                bytes.chunks(length).map(<[u8]>::to_vec).collect()
            }
            _ => vec![bytes],
        };
        Self { parts, leaves: random.u8(..) < 20 }
    }

    /// Sends it on a connection of its own, and returns the status of the first answer: 0 if there
    /// is none.
    pub async fn send(&self, address: std::net::SocketAddr) -> u16 {
        let Ok(mut stream) = TcpStream::connect(address).await else { return 0 };
        for (number, part) in self.parts.iter().enumerate() {
            if number > 0 {
                sleep(Duration::from_millis(1)).await;
            }
            // Envoy may have closed the connection.
            if stream.write_all(part).await.is_err() {
                break;
            }
        }
        if self.leaves {
            return 0;
        }
        let answer = read(&mut stream).await;
        let status = answer.get(9..12).and_then(|status| std::str::from_utf8(status).ok());
        status.and_then(|status| status.parse().ok()).unwrap_or(0)
    }
}

/// Changes, removes or repeats some bytes.
pub fn mutate(random: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.usize(1..6) {
        if bytes.is_empty() {
            return;
        }
        let place = random.usize(..bytes.len());
        match random.u8(..5) {
            0 => bytes[place] = random.u8(..),
            1 => bytes[place] ^= 1 << random.u8(..8),
            2 => drop(bytes.remove(place)),
            3 => bytes.truncate(place),
            _ => {
                let end = (place + random.usize(1..64)).min(bytes.len());
                let copy = bytes[place..end].to_vec();
                bytes.splice(place..place, copy);
            }
        }
    }
}

fn pick<'a>(random: &mut Rng, choices: &[&'a str]) -> &'a str {
    choices[random.usize(..choices.len())]
}

fn request(random: &mut Rng, quirks: &Quirks) -> Vec<u8> {
    const METHODS: [&str; 8] =
        ["HEAD", "OPTIONS", "CONNECT", "get", "BREW", "M-SEARCH", "TRACE", "PRI"];
    const TARGETS: [&str; 10] = [
        "*",
        "example.com:443",
        "http://example.com/absolute",
        "//",
        "/..%2f..%2fadmin",
        "/a;b=c?d#e",
        "/%00",
        "/delay",
        "http://[::1",
        "",
    ];
    const VERSIONS: [&str; 4] = ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "http/1.1"];
    const CONNECTIONS: [&str; 5] = [
        "connection: keep-alive, x-sluice-cluster, x-routed\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\n",
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
        "expect: 100-continue\r\n",
        "proxy-connection: close\r\n",
    ];
    let method = if quirks.have(Quirk::Method) { pick(random, &METHODS) } else { "POST" };
    let target = match random.u8(..) {
        _ if !quirks.have(Quirk::Target) => pick(random, &["/", "/item?id=1", "/odd"]).to_owned(),
        0..40 => "/".to_owned() + &"x/".repeat(random.usize(1000..40_000)),
        40..80 => "/?".to_owned() + &"p=1&".repeat(random.usize(500..15_000)),
        _ => pick(random, &TARGETS).to_owned(),
    };
    let version = if quirks.have(Quirk::Version) { pick(random, &VERSIONS) } else { "HTTP/1.1" };
    let mut bytes = format!("{method} {target} {version}\r\n").into_bytes();
    host(random, quirks, &mut bytes);
    for _ in 0..random.usize(0..8) {
        header(random, quirks, &mut bytes);
    }
    let connection = match quirks.have(Quirk::Connection) {
        true => pick(random, &CONNECTIONS),
        false => "connection: close\r\n",
    };
    bytes.extend(connection.as_bytes());
    body(random, quirks, &mut bytes);
    bytes
}

fn host(random: &mut Rng, quirks: &Quirks, bytes: &mut Vec<u8>) {
    match random.u8(..3) {
        _ if !quirks.have(Quirk::Host) => bytes.extend(b"host: example.com\r\n"),
        0 => {}
        1 => bytes.extend(b"host: example.com\r\nhost: secret\r\n"),
        _ => {
            let host = pick(random, &["", ":", "[::1", "a..b", "example.com:99999", "\u{ff}", "*"]);
            bytes.extend(format!("host: {host}\r\n").into_bytes());
        }
    }
}

/// A header: one that steers Envoy, in some spelling, or another one.
fn header(random: &mut Rng, quirks: &Quirks, bytes: &mut Vec<u8>) {
    let has_quirk = quirks.have(Quirk::Name);
    let (name, value) = match random.u8(..) {
        0..150 => {
            let (name, value) = STEERING[random.usize(..STEERING.len())];
            (spelled(random, name, has_quirk), value.as_bytes().to_vec())
        }
        150..170 => {
            let name = pick(random, &["x-delay", "x-abort", "x-copy", "x-regex"]).to_owned();
            (name, b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!".to_vec())
        }
        _ if !has_quirk => ("x-other".to_owned(), b"1".to_vec()),
        170..190 => {
            ("x-other".to_owned(), (0..random.usize(..64)).map(|_| random.u8(..)).collect())
        }
        190..200 => ("x-long".to_owned(), vec![b'a'; random.usize(1..50_000)]),
        200..210 => ("n".repeat(random.usize(1..5_000)), b"1".to_vec()),
        210..220 => (String::new(), b"1".to_vec()),
        220..230 => ("bad name".to_owned(), b"1".to_vec()),
        230..240 => (" folded".to_owned(), b"1".to_vec()),
        _ => ("cookie".to_owned(), b"uid=1; uid=2; ; =; x-sluice-cluster=secret".to_vec()),
    };
    let (separator, end) = match quirks.have(Quirk::Line) {
        true => (
            pick(random, &[": ", ":", " : ", ":\t", ":  \t "]),
            pick(random, &["\r\n", "\n", "\r", " \r\n", "\r\n\t, secret\r\n"]),
        ),
        false => (": ", "\r\n"),
    };
    bytes.extend([name.as_bytes(), separator.as_bytes(), &value, end.as_bytes()].concat());
}

/// Writes a name in other cases or with underscores, or with a byte that is not part of names.
pub fn spelled(random: &mut Rng, name: &str, has_quirk: bool) -> String {
    let case = |random: &mut Rng| {
        name.chars().map(|c| if random.bool() { c.to_ascii_uppercase() } else { c }).collect()
    };
    match random.u8(..if has_quirk { 10 } else { 8 }) {
        0..3 => name.to_owned(),
        3..6 => case(random),
        6..8 => name.replace('-', "_"),
        8 => format!("{name} "),
        _ => format!("{name}\u{0}"),
    }
}

fn body(random: &mut Rng, quirks: &Quirks, bytes: &mut Vec<u8>) {
    const SMUGGLED: &str =
        "GET /smuggled HTTP/1.1\r\nhost: example.com\r\nx-sluice-cluster: secret\r\n\r\n";
    if !quirks.have(Quirk::Body) {
        bytes.extend(b"content-length: 4\r\n\r\nbody");
        return;
    }
    let lengths = match random.u8(130..) {
        130..145 => "content-length: 4\r\n",
        145..155 => "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        155..165 => "transfer-encoding: chunked\r\ncontent-length: 0\r\n",
        165..172 => "content-length: 4\r\ncontent-length: 90\r\n",
        172..179 => "content-length: +4\r\n",
        179..186 => "content-length: 18446744073709551617\r\n",
        186..193 => "transfer-encoding: xchunked\r\n",
        193..200 => "transfer-encoding: chunked, identity\r\n",
        200..207 => "Transfer-Encoding\t: chunked\r\n",
        207..214 => "transfer-encoding: \u{b}chunked\r\n",
        _ => "transfer-encoding: chunked\r\n",
    };
    bytes.extend(lengths.as_bytes());
    bytes.extend(b"\r\n");
    let body = match random.u8(..9) {
        0 => "body".to_owned(),
        1 => format!("0\r\n\r\n{SMUGGLED}"),
        2 => format!("4\r\nbody\r\n0\r\nx-sluice-cluster: secret\r\nX-Routed: 1\r\n\r\n{SMUGGLED}"),
        3 => format!("4;ext=\"\r\nbody\r\n0\r\n\r\n{SMUGGLED}"),
        4 => format!("{SMUGGLED}{SMUGGLED}"),
        5 => "FFFFFFFFFFFFFFFFF\r\nbody".to_owned(),
        6 => format!("-4\r\nbody\r\n0\r\n\r\n{SMUGGLED}"),
        7 => format!("10000\r\n{}\r\n0\r\n\r\n", "b".repeat(0x10000)),
        _ => "4\r\nbody\r\n0\r\nTrailer: \u{ff}\r\n\r\n".to_owned(),
    };
    bytes.extend(body.into_bytes());
}
