//! Requests as bytes, for what an HTTP library refuses to send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends `bytes` and returns everything that comes back until the server closes the connection. A
/// request that Envoy accepts has to carry `connection: close`.
///
/// # Panics
/// When the server does not close within ten seconds.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is no concern of ours.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(Duration::from_secs(10), talk)
        .await
        .unwrap_or_else(|_| panic!("no end of the answer to {:?}", String::from_utf8_lossy(bytes)))
}
