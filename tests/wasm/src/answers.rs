//! The answers of a hostile host to the calls of a module.

use fastrand::Rng;
use sluice_conformance::Client;

use crate::headers::{Headers, encode};

/// All statuses of the ABI, and two that it does not have.
pub const STATUSES: [i32; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 99, -1];

/// Texts that values are made of.
const TEXTS: [&str; 22] = [
    "",
    "0",
    "200",
    "503",
    "504",
    "HTTP/2",
    "via_upstream",
    "10.0.0.5:8080",
    "10.0.0.6:8080",
    "[::1]:65536",
    "upstream",
    "reviews",
    "shop.example.com",
    "shop.example.com:99999999999",
    "host-1.example.com",
    "user-7",
    "100",
    "-1",
    "/?a=%",
    "trailers",
    "\u{0}",
    "a\r\nb: c",
];

/// Names of headers that the modules read.
const NAMES: [&str; 14] = [
    ":authority",
    ":method",
    ":path",
    ":status",
    "",
    "content-type",
    "cookie",
    "end-user",
    "grpc-status",
    "x-envoy-fault-delay-request",
    "x-envoy-upstream-service-time",
    "x-sluice-cluster",
    "x-sluice-host",
    "X-Sluice-Mirror-0",
];

/// How a host answers.
#[derive(Clone, Debug, Default)]
pub enum Hostility {
    /// As Envoy does
    #[default]
    None,
    /// Each call of a function has this status, and no effect.
    Always {
        /// The function
        call: String,
        /// The status
        status: i32,
    },
    /// Wrong answers at random.
    Random {
        /// The share of wrong answers, in percent
        percent: u8,
        /// The random numbers
        rng: Rng,
    },
}

/// The answer to a call.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// As Envoy answers
    Honest,
    /// A status, without any effect
    Status(i32),
    /// Success, with a null pointer for bytes of this length
    Null(u32),
    /// Success with these bytes
    Bytes(Vec<u8>),
    /// Success with this number
    Number(u64),
    /// As Envoy answers, after another stream has run inside of the call
    Nested,
}

impl Hostility {
    /// Returns the answer to a call of a function.
    pub(crate) fn answer(&mut self, call: &str) -> Answer {
        match self {
            Self::None => Answer::Honest,
            Self::Always { call: failing, status } if failing == call => Answer::Status(*status),
            Self::Always { .. } => Answer::Honest,
            Self::Random { percent, rng } => {
                if rng.u8(..100) >= *percent {
                    Answer::Honest
                } else {
                    random(call, rng)
                }
            }
        }
    }
}

/// Returns a wrong answer, which need not fit the function.
fn random(call: &str, rng: &mut Rng) -> Answer {
    if call == "proxy_http_call" && rng.bool() {
        return Answer::Nested;
    }
    if call == "proxy_define_metric" {
        // Another number may be that of another metric, whose value would make no sense then.
        return Answer::Status(*choose(&STATUSES, rng));
    }
    match rng.u8(..10) {
        0..4 => Answer::Status(*choose(&STATUSES, rng)),
        4 => Answer::Null(*choose(&[0, 1, 100, u32::MAX], rng)),
        5 => Answer::Number(rng.u64(..) >> rng.u32(..64)),
        _ => Answer::Bytes(match call {
            "proxy_get_header_map_pairs" => pairs(rng),
            "proxy_get_buffer_bytes" => buffer(rng),
            _ => value(rng),
        }),
    }
}

fn choose<'a, T>(all: &'a [T], rng: &mut Rng) -> &'a T {
    &all[rng.usize(..all.len())]
}

/// A value of an attribute, a header or the shared data.
pub(crate) fn value(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(..64) {
        0..40 => choose(&TEXTS, rng).as_bytes().to_vec(),
        40..50 => (rng.u64(..) >> rng.u32(..64)).to_le_bytes().to_vec(),
        50..55 => bytes(rng, 64),
        55..60 => bytes(rng, 1_000),
        60..63 => pairs(rng),
        _ => vec![*choose(b"a/.0\xff\0", rng); rng.usize(..100_000)],
    }
}

fn bytes(rng: &mut Rng, max: usize) -> Vec<u8> {
    let length = rng.usize(..max);
    (0..length).map(|_| rng.u8(..)).collect()
}

/// A buffer: a ClientHello that may be damaged, or any bytes.
fn buffer(rng: &mut Rng) -> Vec<u8> {
    if rng.bool() {
        return value(rng);
    }
    let name = choose(&TEXTS, rng).to_string();
    let padding = rng.bool().then(|| rng.u16(..2_000));
    let mut hello = Client { sni: Some(name), padding, ..Client::default() }.bytes();
    damage(&mut hello, rng);
    hello
}

/// Changes some bytes, or cuts some off, in two of three cases.
fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    match rng.u8(..3) {
        0 => bytes.truncate(rng.usize(..=bytes.len())),
        1 if !bytes.is_empty() => {
            for _ in 0..rng.u8(1..8) {
                // The lengths are at the beginning.
                let place = rng.usize(..bytes.len()) >> rng.u32(..8);
                bytes[place] = rng.u8(..);
            }
        }
        _ => {}
    }
}

/// Some headers with values of any kind.
pub(crate) fn headers(rng: &mut Rng) -> Headers {
    let count = rng.usize(..20);
    (0..count).map(|_| (choose(&NAMES, rng).to_string(), value_of_header(rng))).collect()
}

fn value_of_header(rng: &mut Rng) -> Vec<u8> {
    if rng.u8(..10) == 0 { bytes(rng, 200) } else { choose(&TEXTS, rng).as_bytes().to_vec() }
}

/// Encoded headers, whose encoding may be damaged.
fn pairs(rng: &mut Rng) -> Vec<u8> {
    let mut encoded = encode(&headers(rng));
    damage(&mut encoded, rng);
    encoded
}
