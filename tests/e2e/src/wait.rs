//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

/// Asks `condition` again and again until it holds, and returns its value.
///
/// # Panics
/// When it does not hold within 20 seconds, which is a lot even on a busy machine. The message
/// names `what`.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited 20 s in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
