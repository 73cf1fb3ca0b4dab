//! ClientHellos of real clients with changes from a seed.

use std::net::SocketAddr;

use fastrand::Rng;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::http1::mutate;
use crate::read;

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../../../conformance/client_hellos/", $name, ".bin"))
    };
}

/// ClientHellos with the name `recorded.example.com`, and one without a name.
const RECORDED: [&[u8]; 6] = [
    recorded!("chromium"),
    recorded!("curl"),
    recorded!("go"),
    recorded!("openssl-no-sni"),
    recorded!("openssl-tls12"),
    recorded!("openssl-tls13"),
];

/// A ClientHello with some bytes changed, removed or repeated.
pub fn generate(random: &mut Rng) -> Vec<u8> {
    let mut hello = RECORDED[random.usize(..RECORDED.len())].to_vec();
    match random.u8(..8) {
        0 => {}
        1 => {
            // Two records, or twice the same.
            let copy = hello.clone();
            hello.extend(copy);
        }
        2 => {
            // Another length of the record or of the handshake.
            let place = [3, 4, 6, 7, 8][random.usize(..5)];
            hello[place] = random.u8(..);
        }
        _ => mutate(random, &mut hello),
    }
    hello
}

/// Sends it, and returns the answer; empty if there is none.
pub async fn send(hello: &[u8], address: SocketAddr) -> String {
    let Ok(mut stream) = TcpStream::connect(address).await else { return String::new() };
    if stream.write_all(hello).await.is_err() {
        return String::new();
    }
    String::from_utf8_lossy(&read(&mut stream).await).into_owned()
}
