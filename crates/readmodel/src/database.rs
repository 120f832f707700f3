//! The connection pool that queries and folds share.

mod address;
mod look;
mod room;
mod session;
mod sessions;

use std::time::Duration;

use kernel::Partition;
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DbErr, RuntimeErr,
    sqlx::{self, PgPool, PgTransaction, Row},
};

pub use address::DatabaseAddress;
pub use look::{Seen, look};
pub use room::{ProcessRole, Room, Share, claim};
use session::Purpose;
pub(crate) use session::alone;
use sessions::Sessions;

use crate::dead_letters::PARKED_MAX;

pub const DATABASE_CONNECTIONS_DEFAULT: u32 = 32;
const ACQUIRE_SECONDS_MAX: u64 = 5;
const IDLE_SECONDS_BEFORE_PING: u64 = 30;
/// One holds the turn, the others do the work.
const CONNECTIONS_TO_MIGRATE: u32 = 2;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the database does not answer as it should: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the database does not answer as it should: {0}")]
    Connection(#[from] DbErr),
    #[error("the views server does not answer as it should: {0}")]
    Views(#[from] redis::RedisError),
    /// Another worker went on from here; what this one did is rolled back.
    #[error("the checkpoint moved: another worker has taken over")]
    CheckpointMoved,
    /// An operator has dropped or swapped what was worked on.
    #[error(
        "this generation is not there any more, or not what it was: look again with `headwater projections`"
    )]
    GenerationGone,
    #[error("no projection {0} with tables is registered here")]
    NoTables(&'static str),
    #[error("the other generation is behind in partition {0}: answers would go back in time")]
    Behind(Partition),
    #[error("{PARKED_MAX} events wait as dead letters: mend their cause, then retry them")]
    TooManyParked,
    /// The database has crashed and lost its last moments, or an operator set
    /// the checkpoint back.
    #[error("the rows of these events are gone: they are being folded again")]
    RowsMissing,
    /// What it has folded would be mixed with what it has not.
    #[error("the database belongs to another log: see `headwater doctor`")]
    AnotherLog,
}

/// Classes of SQLSTATE that blame the values.
const VALUE_CLASSES: [&str; 2] = ["22", "23"];
/// Those that blame the values or the tables, not the moment.
const LASTING_CLASSES: [&str; 3] = ["22", "23", "42"];

impl ReadError {
    /// Whether the same rows will be refused the next time too, so that a
    /// person must look.
    pub fn lasts(&self) -> bool {
        matches!(self, Self::TooManyParked) || self.has_class(&LASTING_CLASSES)
    }

    /// Whether it is refused because the database is read-only.
    pub fn is_read_only(&self) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else {
            return false;
        };
        error.code().is_some_and(|code| code == READ_ONLY)
    }

    /// Whether what it refuses are the values, not the tables or the moment.
    pub fn blames_values(&self) -> bool {
        self.has_class(&VALUE_CLASSES)
    }

    fn has_class(&self, classes: &[&str]) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else {
            return false;
        };
        let code = error.code();
        let class = code.as_ref().and_then(|code| code.get(..2));
        class.is_some_and(|class| classes.contains(&class))
    }
}

/// Why the database takes no writes; none where it does.
pub async fn read_only(pool: &PgPool) -> Result<Option<&'static str>, ReadError> {
    let row = sqlx::query(
        "SELECT pg_is_in_recovery() AS standby,
             current_setting('transaction_read_only') = 'on' AS read_only",
    )
    .fetch_one(pool)
    .await?;
    Ok(if row.try_get("standby")? {
        Some("since it is a standby (in recovery)")
    } else if row.try_get("read_only")? {
        Some("since it is read-only (default_transaction_read_only is on)")
    } else {
        None
    })
}

/// SQLSTATE of what a read-only database refuses.
const READ_ONLY: &str = "25006";

/// Begins a transaction, even if whoever asks gives up meanwhile: sqlx 0.9 does
/// not roll back a `BEGIN` whose answer was not waited for, and what others do
/// on that connection later would be in a transaction that nobody commits.
pub async fn begin(pool: &PgPool) -> Result<PgTransaction<'static>, ReadError> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin().await }).await;
    // It is not aborted, and does not panic.
    Ok(begun.map_err(|_| sqlx::Error::WorkerCrashed)??)
}

/// Queries of this pool read the live generation.
pub async fn connect(
    server: impl Into<DatabaseAddress>,
    connections_max: u32,
) -> Result<DatabaseConnection, DbErr> {
    pool(&server.into(), connections_max, Purpose::Queries).await
}

/// For migrations: they take their time, and look into no generation first.
pub async fn connect_to_migrate(
    server: impl Into<DatabaseAddress>,
) -> Result<DatabaseConnection, DbErr> {
    pool(&server.into(), CONNECTIONS_TO_MIGRATE, Purpose::Migrations).await
}

async fn pool(
    server: &DatabaseAddress,
    connections_max: u32,
    purpose: Purpose,
) -> Result<DatabaseConnection, DbErr> {
    let wrong = |why: String| DbErr::Conn(RuntimeErr::Internal(why));
    let server = server.options().map_err(wrong)?;
    let sessions = Sessions::default();
    let begun = sessions.clone();
    // Only its scheme counts: the options are the address's.
    let mut options = ConnectOptions::new("postgres://");
    options
        .max_connections(connections_max)
        // It shows that the process is there, and what it may take.
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(ACQUIRE_SECONDS_MAX))
        .connect_timeout(Duration::from_secs(ACQUIRE_SECONDS_MAX))
        .test_before_acquire_if_idle_for(Duration::from_secs(IDLE_SECONDS_BEFORE_PING))
        .map_sqlx_postgres_opts(move |_| server.clone())
        .map_sqlx_postgres_pool_opts(move |pool| {
            // Whoever waits longer is told by an error.
            let begun = begun.clone();
            pool.acquire_slow_threshold(Duration::from_secs(ACQUIRE_SECONDS_MAX))
                .after_connect(move |connection, _| {
                    let begun = begun.clone();
                    Box::pin(async move {
                        session::prepare(connection, purpose).await?;
                        begun.note(connection).await
                    })
                })
        })
        .map_sqlx_postgres_before_acquire(move |connection, about| {
            let sessions = sessions.clone();
            Box::pin(async move { sessions.keeps(connection, about.age).await })
        })
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    Database::connect(options).await
}
