//! A connected log. It refuses a server that could lose what it acknowledged.

use std::{sync::Arc, time::Duration};

use bb8_redis::{RedisConnectionManager, bb8};
use kernel::{AccountId, AggregateId, Envelope, Kind, Partition, Route, Timestamp, Uuid};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::sync::Mutex;

use crate::{
    append::{Append, Appender, Outcome},
    keys::{Keys, PARTITIONS_DEFAULT, PARTITIONS_MAX},
    load::{Get, Loader},
    read::EPOCH_STARTED,
    server,
};

const FUNCTIONS: &str = include_str!("headwater.lua");
/// How long one answer of the server may take, its fsync included.
const RESPONSE_SECONDS_MAX: u64 = 5;
const CONNECT_SECONDS_MAX: u64 = 1;
/// Connections for reads that wait: one a partition, some for tails.
const WAITING_CONNECTIONS_MAX: u32 = 64;
/// In-process turns for aggregates that commands race for.
const TURNS: usize = 256;

#[derive(Clone, Debug)]
pub struct LogSettings {
    /// `redis://[user:password@]host:port[/database]`
    pub url: String,
    /// Before every key.
    pub prefix: String,
    /// Of a log that is made anew; an existing one keeps its own.
    pub partitions: u16,
    /// Take a server whose settings could lose acknowledged writes, or whose
    /// settings cannot be seen.
    pub allow_unsafe: bool,
}

impl LogSettings {
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "hw".into(),
            partitions: PARTITIONS_DEFAULT,
            allow_unsafe: false,
        }
    }
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// Nothing is known about what was under way: it may have been done.
    #[error("the log server does not answer: {0}")]
    Unavailable(String),
    #[error("the log server has no memory left: archive and trim the log, or raise its maxmemory")]
    Full,
    #[error("the log server refused: {0}")]
    Refused(String),
    #[error("the log is damaged: {0}")]
    Damaged(String),
    #[error(
        "the log server is not safe: {0}; mend its settings, or set LOG_ALLOW_UNSAFE=true to run without the promise that what is acknowledged is durable"
    )]
    Unsafe(String),
    #[error(
        "the log has {found} partitions, {wanted} were asked for: P is fixed when a log is made"
    )]
    Partitions { found: u16, wanted: u16 },
}

impl From<redis::RedisError> for LogError {
    fn from(error: redis::RedisError) -> Self {
        match error.code() {
            Some("OOM") => Self::Full,
            Some("LOADING" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN") | None => {
                Self::Unavailable(error.to_string())
            }
            Some(_) => Self::Refused(error.to_string()),
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Log {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub keys: Keys,
    pub partitions: u16,
    pub connection: ConnectionManager,
    pub waiting: bb8::Pool<RedisConnectionManager>,
    pub appender: Appender,
    pub loader: Loader,
    pub turns: Vec<Mutex<()>>,
}

impl Log {
    /// Connects, checks the server's settings, loads the functions, and makes
    /// the partitions where they are not there.
    pub async fn connect(settings: &LogSettings) -> Result<Self, LogError> {
        if !(1..=PARTITIONS_MAX).contains(&settings.partitions) {
            return Err(LogError::Refused(format!(
                "a log has 1 to {PARTITIONS_MAX} partitions"
            )));
        }
        let client = redis::Client::open(settings.url.as_str())?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50))
            .set_connection_timeout(Some(Duration::from_secs(CONNECT_SECONDS_MAX)))
            .set_response_timeout(Some(Duration::from_secs(RESPONSE_SECONDS_MAX)));
        let mut connection = ConnectionManager::new_with_config(client, config).await?;

        let findings = server::inspect(&mut connection).await?;
        for finding in &findings {
            tracing::warn!(finding = %finding, "the log server could lose acknowledged writes");
        }
        if !findings.is_empty() && !settings.allow_unsafe {
            let all: Vec<_> = findings.iter().map(ToString::to_string).collect();
            return Err(LogError::Unsafe(all.join("; ")));
        }
        load_functions(&mut connection).await?;
        let keys = Keys::new(&settings.prefix);
        create(&mut connection, &keys, settings.partitions).await?;

        let manager = RedisConnectionManager::new(settings.url.as_str())?;
        let waiting = bb8::Pool::builder()
            .max_size(WAITING_CONNECTIONS_MAX)
            .connection_timeout(Duration::from_secs(RESPONSE_SECONDS_MAX))
            .build_unchecked(manager);
        let inner = Inner {
            appender: Appender::start(connection.clone(), keys.clone()),
            loader: Loader::start(connection.clone()),
            keys,
            partitions: settings.partitions,
            connection,
            waiting,
            turns: (0..TURNS).map(|_| Mutex::new(())).collect(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    pub fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.inner.partitions).map(Partition)
    }

    pub fn partition_of(&self, aggregate: &AggregateId) -> Partition {
        aggregate.route().partition(self.inner.partitions)
    }

    pub fn partition_of_account(&self, account: AccountId) -> Partition {
        account.route().partition(self.inner.partitions)
    }

    pub(crate) async fn append(&self, append: Append) -> Result<Outcome, LogError> {
        self.inner.appender.append(append).await
    }

    pub(crate) async fn load(&self, gets: Vec<Get>) -> Result<Vec<Option<Vec<u8>>>, LogError> {
        self.inner.loader.load(gets).await
    }
}

pub(crate) async fn load_functions(connection: &mut ConnectionManager) -> Result<(), LogError> {
    redis::cmd("FUNCTION")
        .arg("LOAD")
        .arg("REPLACE")
        .arg(FUNCTIONS)
        .query_async::<()>(connection)
        .await?;
    Ok(())
}

async fn create(
    connection: &mut ConnectionManager,
    keys: &Keys,
    partitions: u16,
) -> Result<(), LogError> {
    let nobody = AccountId(Uuid::nil());
    let started = Envelope {
        event_type: EPOCH_STARTED.into(),
        event_version: 1,
        aggregate: AggregateId::single(Kind(0), nobody.0),
        version: 1,
        recorded_at: Timestamp(0),
        actor: nobody,
        correlation: nobody.0,
        causation: None,
        receipt: None,
        data: kernel::encode(&None::<kernel::Position>).map_err(damaged)?,
    };
    let started = started.to_bytes().map_err(damaged)?;
    for partition in (0..partitions).map(Partition) {
        let found: u16 = redis::cmd("FCALL")
            .arg("headwater_create")
            .arg(2)
            .arg(keys.events(partition))
            .arg(keys.meta(partition))
            .arg(partitions)
            .arg(&started)
            .query_async(connection)
            .await?;
        if found != partitions {
            let wanted = partitions;
            return Err(LogError::Partitions { found, wanted });
        }
    }
    Ok(())
}

pub(crate) fn damaged(error: impl std::fmt::Display) -> LogError {
    LogError::Damaged(error.to_string())
}

/// The partition of an id by its routing bits.
pub(crate) fn partition_of(id: Uuid, partitions: u16) -> Partition {
    Route::of(id).partition(partitions)
}
