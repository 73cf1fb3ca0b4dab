//! Requests as bytes, for requests that an HTTP library cannot send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends `bytes` and returns all bytes that the server sends until it closes the connection. A
/// valid request must have `connection: close`.
///
/// # Panics
/// If the server does not close within ten seconds.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the response is not an error.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(Duration::from_secs(10), talk).await.unwrap_or_else(|_| {
        panic!("the response to {:?} does not end", String::from_utf8_lossy(bytes))
    })
}
