//! Waiting for a condition, with a timeout.

use std::time::{Duration, Instant};

/// Evaluates `condition` repeatedly until it holds, and returns its value.
///
/// # Panics
/// If it does not hold within a minute, which is enough even on a busy machine. The message
/// contains `what`.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "timeout after 60 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
