//! Waits for an effect by looking at it until a deadline. It refuses to wait
//! for a time and hope.

use std::time::{Duration, Instant};

use anyhow::bail;

const LOOK_MILLISECONDS: u64 = 10;
pub const NOT_YET: Option<String> = None;

/// What `look` finds, or an error after `seconds`.
pub async fn until<T>(
    what: &str,
    seconds: u64,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {seconds} s");
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
    }
}
