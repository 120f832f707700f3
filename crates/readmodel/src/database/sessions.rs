//! Sessions that began while the database was read-only. A session keeps the default
//! that it began with, though `ALTER DATABASE` or `ALTER ROLE` has lifted it since: it
//! is closed then, and a new one begun.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::sqlx::{self, PgConnection};

/// So often at most a session is begun anew while the database stays read-only.
const KEPT_SECONDS: u64 = 1;
const READ_ONLY: &str = "SELECT current_setting('transaction_read_only') = 'on'";

/// Of one pool: when its last read-only session began.
#[derive(Clone, Default)]
pub(super) struct Sessions(Arc<Mutex<Option<Instant>>>);

impl Sessions {
    pub async fn note(&self, begun: &mut PgConnection) -> Result<(), sqlx::Error> {
        if is_read_only(begun).await? {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(())
    }

    /// Whether a session of this age is kept. Only those are looked at that may have
    /// begun read-only.
    pub async fn keeps(
        &self,
        session: &mut PgConnection,
        age: Duration,
    ) -> Result<bool, sqlx::Error> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A session's age counts from after it was noted.
        let kept = Duration::from_secs(KEPT_SECONDS);
        let doubtful = last.is_some_and(|last| last.elapsed() <= age + kept);
        let old = age >= kept;
        Ok(!(doubtful && old && is_read_only(session).await?))
    }
}

async fn is_read_only(session: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(READ_ONLY).fetch_one(session).await
}
