//! How the servers are reached: each is looked at before it is used, so that what is
//! in the way is said with what mends it.

use anyhow::{Context, anyhow};
use eventlog::LogError;
use readmodel::{ProcessRole, Projections, Seen, Share};
use sea_orm::DatabaseConnection;
use servers::Trouble;

use crate::settings::Settings;

/// For each so many database connections, a process that serves has one more, for who
/// signs in.
const VAULTS_SHARE: u32 = 4;
const VAULTS_MIN: u32 = 2;
/// Of a command that reads a little.
const GLANCE_CONNECTIONS: u32 = 2;
/// One fold waits for another below this.
const CONNECTIONS_MIN: u32 = 4;

/// What a process does with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessKind {
    Up,
    Serve,
    Work,
    /// It folds, compares or imports.
    Command,
    /// It reads a little.
    Glance,
}

impl ProcessKind {
    fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Serve => "serve",
            Self::Work => "work",
            Self::Command | Self::Glance => "command",
        }
    }

    fn role(self) -> ProcessRole {
        match self {
            Self::Up => ProcessRole::All,
            Self::Serve | Self::Work => ProcessRole::Half,
            Self::Command | Self::Glance => ProcessRole::Command,
        }
    }

    /// Whether it goes on, so that what is only late may come back.
    pub fn goes_on(self) -> bool {
        self.role() != ProcessRole::Command
    }

    /// Connections that it wants, and the fewest that it can do with.
    fn connections(self, settings: &Settings) -> (u32, u32) {
        let pool = settings.database_connections;
        match self {
            Self::Up | Self::Serve => (pool + vaults(settings), CONNECTIONS_MIN + VAULTS_MIN),
            Self::Work | Self::Command => (pool, CONNECTIONS_MIN),
            Self::Glance => (GLANCE_CONNECTIONS, GLANCE_CONNECTIONS),
        }
    }
}

/// Of a process that serves, beside its pool.
pub fn vaults(settings: &Settings) -> u32 {
    let vaults = settings.database_connections.div_ceil(VAULTS_SHARE);
    vaults.max(VAULTS_MIN)
}

/// A database that was looked at, and what of it this process takes.
pub async fn database(
    settings: &Settings,
    kind: ProcessKind,
) -> anyhow::Result<(DatabaseConnection, Share)> {
    let seen = look_at_database(settings).await?;
    let (wanted, least) = kind.connections(settings);
    let share = seen.room.share(kind.role(), wanted, least).map_err(told)?;
    if share.given < wanted && kind.goes_on() {
        tracing::warn!(
            wanted,
            given = share.given,
            left = seen.room.left(),
            of = seen.room.most,
            limit = seen.room.limit,
            "PostgreSQL has not as many connections as DATABASE_CONNECTIONS asks for; takes fewer"
        );
    }
    let pool = match kind {
        ProcessKind::Up | ProcessKind::Serve => share.of(settings.database_connections),
        _ => share.given,
    };
    Ok((connect(settings, kind, share, pool).await?, share))
}

/// Another pool of a process that serves.
pub async fn vault_database(
    settings: &Settings,
    kind: ProcessKind,
    share: Share,
) -> anyhow::Result<DatabaseConnection> {
    connect(settings, kind, share, share.of(vaults(settings))).await
}

async fn connect(
    settings: &Settings,
    kind: ProcessKind,
    share: Share,
    connections: u32,
) -> anyhow::Result<DatabaseConnection> {
    let name = readmodel::claim(kind.name(), std::process::id(), share);
    readmodel::connect(settings.database.clone().named(name), connections)
        .await
        .context("PostgreSQL does not take our connection; check DATABASE_URL")
}

pub async fn database_to_migrate(settings: &Settings) -> anyhow::Result<DatabaseConnection> {
    let seen = look_at_database(settings).await?;
    let database = readmodel::connect_to_migrate(settings.database.clone()).await?;
    let missing = migrations::missing(&database, &Projections::default()).await?;
    match seen
        .lacking
        .into_iter()
        .next()
        .filter(|_| !missing.is_empty())
    {
        Some(trouble) => Err(told(trouble)),
        None => Ok(database),
    }
}

async fn look_at_database(settings: &Settings) -> anyhow::Result<Seen> {
    let seen = readmodel::look(&settings.database).await.map_err(told)?;
    match seen.unfit.into_iter().next() {
        Some(trouble) => Err(told(trouble)),
        None => Ok(Seen {
            unfit: Vec::new(),
            ..seen
        }),
    }
}

fn told(Trouble { seen, mend }: Trouble) -> anyhow::Error {
    anyhow!(seen).context(format!("the database cannot be used: {mend}"))
}

/// What was asked of the log, or why there is none: the server's encryption, where
/// that is in the way.
pub async fn usable<T>(settings: &Settings, asked: Result<T, LogError>) -> anyhow::Result<T> {
    let error = match asked {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    if let LogError::Unavailable(_) | LogError::Refused(_) = error
        && let Some(Trouble { seen, mend }) = settings.redis_log.trouble().await
    {
        let what = "the server of REDIS_LOG_URL cannot be used";
        return Err(anyhow!(seen).context(format!("{what}: {mend}")));
    }
    Err(error).context("the log cannot be used; check REDIS_LOG_URL")
}

/// What goes on without it says why.
pub async fn look_at_views(settings: &Settings) {
    if let Some(trouble) = settings.redis_views.trouble().await {
        tracing::warn!(
            trouble = trouble.seen,
            mend = trouble.mend,
            "the server of REDIS_VIEWS_URL cannot be used"
        );
    }
}
