//! Whether writes may be taken, as far as the database says: it must take the folds of
//! what is written, or nobody would see it, and belong to this log. Writes are held back
//! until it does; the log's own server is judged by the log.

use std::time::Duration;

use eventlog::Log;
use readmodel::{DatabaseConnection, PgPool, ReadError, database, origin};
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

/// How long a database that takes no writes can go unnoticed.
const LOOK_MILLISECONDS: u64 = 1_000;
const ANSWER_MILLISECONDS_MAX: u64 = 1_000;

pub(crate) struct Standing(AbortHandle);

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Standing {
    /// Looks again and again, and holds the writes of `log` back.
    pub fn start(log: Log, database: DatabaseConnection) -> Self {
        Self(tokio::spawn(follow(log, database)).abort_handle())
    }
}

async fn follow(log: Log, database: DatabaseConnection) {
    let patience = Duration::from_millis(ANSWER_MILLISECONDS_MAX);
    let mut known = None;
    loop {
        let look = trouble(&log, database.get_postgres_connection_pool());
        // One that is away loses nothing: what is written is folded when it is back.
        if let Ok(Ok(seen)) = timeout(patience, look).await {
            if seen != known {
                match &seen {
                    Some(why) => tracing::error!(why, "writes are held back"),
                    None => tracing::info!("writes are taken again"),
                }
                log.hold(seen.clone());
            }
            known = seen;
        }
        sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
    }
}

/// Why nothing that is written would be folded; none where it would.
pub(crate) async fn trouble(log: &Log, pool: &PgPool) -> Result<Option<String>, ReadError> {
    if let Some(why) = database::read_only(pool).await? {
        return Ok(Some(format!("the database takes no writes, {why}")));
    }
    let origin = origin::of(pool).await?;
    let other = origin.is_some_and(|origin| origin.id != log.id());
    Ok(other.then(|| "the database belongs to another log".to_owned()))
}
