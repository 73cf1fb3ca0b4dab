//! HTTP/2 connections from a seed: streams that are reset at once, and frames that are wrong.

use std::net::SocketAddr;

use fastrand::Rng;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::edge::STEERING;
use crate::http1::spelled;
use crate::read;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The bytes of one connection.
pub struct Connection {
    bytes: Vec<u8>,
    next_stream: u32,
    /// The number of streams that were reset
    pub resets: usize,
    /// The number of frames
    pub frames: usize,
}

impl Connection {
    fn new() -> Self {
        let mut new = Self { bytes: PREFACE.to_vec(), next_stream: 1, resets: 0, frames: 0 };
        new.frame(SETTINGS, 0, 0, &[]);
        new
    }

    /// Streams with requests that wait, or not, each reset at once.
    pub fn of_resets(random: &mut Rng) -> Self {
        let mut new = Self::new();
        for _ in 0..random.usize(1..80) {
            let path = if random.bool() { "/delay" } else { "/" };
            let id = new.request(random, path, END_STREAM);
            if random.u8(..) < 220 {
                let code = random.u32(..14);
                new.frame(RST_STREAM, 0, id, &code.to_be_bytes());
                new.resets += 1;
            }
        }
        new
    }

    /// Requests, and frames of any type, flags, stream and payload.
    pub fn of_frames(random: &mut Rng) -> Self {
        let mut new = Self::new();
        for _ in 0..random.usize(1..30) {
            match random.u8(..) {
                0..90 => {
                    new.request(random, "/", END_STREAM);
                }
                90..120 => {
                    let id = new.request(random, "/odd", 0);
                    new.frame(DATA, 0, id, &vec![b'a'; random.usize(..2000)]);
                    // Trailers with headers that only a filter may set.
                    let trailers = block(&[("x-sluice-cluster", b"secret"), ("x-routed", b"1")]);
                    new.frame(HEADERS, END_HEADERS | END_STREAM, id, &trailers);
                }
                120..150 => {
                    let id = new.request(random, "/", END_STREAM);
                    new.frame(DATA, END_STREAM, id, b"after the end");
                }
                150..170 => {
                    let id = new.next();
                    let fields = block(&fields("/"));
                    new.frame(HEADERS, END_STREAM, id, &fields);
                    for _ in 0..random.usize(1..20) {
                        new.frame(CONTINUATION, 0, id, &block(&[("x-more", b"1")]));
                    }
                    new.frame(CONTINUATION, END_HEADERS, id, &[]);
                }
                _ => {
                    let payload: Vec<_> = (0..random.usize(..200)).map(|_| random.u8(..)).collect();
                    let stream = if random.bool() { 0 } else { random.u32(..20) };
                    new.frame(random.u8(..14), random.u8(..), stream, &payload);
                }
            }
        }
        new
    }

    fn next(&mut self) -> u32 {
        self.next_stream += 2;
        self.next_stream - 2
    }

    fn request(&mut self, random: &mut Rng, path: &'static str, flags: u8) -> u32 {
        let id = self.next();
        let mut block = block(&fields(path));
        let has_quirk = random.u8(..) < 32;
        for _ in 0..random.usize(..4) {
            let (name, value) = STEERING[random.usize(..STEERING.len())];
            // Upper case is an error in HTTP/2.
            let name = if has_quirk { spelled(random, name, true) } else { name.to_owned() };
            literal(&mut block, name.as_bytes(), value.as_bytes());
        }
        match random.u8(..80) {
            _ if !has_quirk => {}
            0..10 => literal(&mut block, b":path", b"/second"),
            10..20 => literal(&mut block, b":protocol", b"websocket"),
            20..30 => literal(&mut block, b"connection", b"x-routed"),
            30..40 => literal(&mut block, b"transfer-encoding", b"chunked"),
            40..50 => literal(&mut block, b"content-length", b"7"),
            50..60 => literal(&mut block, b"host", b"secret"),
            60..70 => literal(&mut block, b"x-bytes", &[0xff, 0, b'\r', b'\n']),
            70..80 => literal(&mut block, b"", b"1"),
            _ => {}
        }
        self.frame(HEADERS, END_HEADERS | flags, id, &block);
        id
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.bytes.extend_from_slice(&length[1..]);
        self.bytes.extend_from_slice(&[kind, flags]);
        self.bytes.extend_from_slice(&stream.to_be_bytes());
        self.bytes.extend_from_slice(payload);
        self.frames += 1;
    }

    /// Sends it, and reads until Envoy closes or is silent. Returns whether Envoy has answered.
    pub async fn send(&self, address: SocketAddr) -> bool {
        let Ok(mut stream) = TcpStream::connect(address).await else { return false };
        if stream.write_all(&self.bytes).await.is_err() {
            return false;
        }
        !read(&mut stream).await.is_empty()
    }
}

fn fields(path: &'static str) -> [(&'static str, &'static [u8]); 4] {
    [
        (":method", b"GET"),
        (":scheme", b"http"),
        (":authority", b"example.com"),
        (":path", path.as_bytes()),
    ]
}

/// A header block without compression (RFC 7541, section 6.2.2).
fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    fields.iter().for_each(|(name, value)| literal(&mut block, name.as_bytes(), value));
    block
}

fn literal(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.push(0);
    for text in [name, value] {
        // All texts here are shorter than the prefix of seven bits.
        block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("short"));
        block.extend_from_slice(text);
    }
}
