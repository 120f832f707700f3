//! A connected log. It refuses a server that could lose what it acknowledged.

use std::sync::Arc;

use kernel::{AccountId, AggregateId, Envelope, Kind, Partition, Position, Route, Timestamp, Uuid};
use redis::ErrorKind;

use crate::{
    append::{APPEND_CONNECTIONS_MAX, Append, Appender, Outcome},
    connection::Connection,
    keys::{Keys, PARTITIONS_DEFAULT, PARTITIONS_MAX},
    load::{Get, Loader},
    read::EPOCH_STARTED,
    server,
    turns::Turns,
    waiting::Waiting,
};

const FUNCTIONS: &str = include_str!("headwater.lua");
const FIRST_EPOCH: u64 = 1;

#[derive(Clone, Debug)]
pub struct LogSettings {
    /// `redis://[user:password@]host:port[/database]`
    pub url: String,
    /// Before every key.
    pub prefix: String,
    /// Of a log that is made anew; one that was made with others is refused.
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
        let text = error.to_string();
        match error.kind() {
            // No command was sent yet, and none ever will be.
            ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => {
                return Self::Refused(text);
            }
            _ => {}
        }
        // That of a pipeline is inside, one a command.
        let server = error.into_server_errors();
        match server
            .as_ref()
            .and_then(|all| all.first())
            .map(|e| e.1.code())
        {
            Some("OOM") => Self::Full,
            // NOLOG is ours: the partition is gone.
            Some("NOLOG" | "LOADING" | "BUSY" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN")
            | None => Self::Unavailable(text),
            Some(_) => Self::Refused(text),
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
    pub connection: Connection,
    pub waiting: Waiting,
    pub appender: Appender,
    pub loader: Loader,
    pub turns: Turns,
}

impl Log {
    /// Connects, checks the server's settings, loads the functions, and makes
    /// the partitions where they are not there.
    pub async fn connect(settings: &LogSettings) -> Result<Self, LogError> {
        let log = Self::connect_to_what_is_there(settings).await?;
        match create(&log.inner.connection, &log.inner.keys, settings.partitions).await {
            // It is there, and whoever makes room must be able to begin.
            Err(_) if log.is_full().await? && log.has(Partition(0)).await? => Ok(log),
            created => created.map(|()| log),
        }
    }

    /// The same without making partitions: for whoever restores them.
    pub async fn connect_to_what_is_there(settings: &LogSettings) -> Result<Self, LogError> {
        if !(1..=PARTITIONS_MAX).contains(&settings.partitions) {
            return Err(LogError::Refused(format!(
                "a log has 1 to {PARTITIONS_MAX} partitions"
            )));
        }
        let connection = Connection::open(&settings.url).await?;
        let findings = server::inspect(&mut connection.manager()).await?;
        for finding in &findings {
            tracing::warn!(finding = %finding, "the log server could lose acknowledged writes");
        }
        if !findings.is_empty() && !settings.allow_unsafe {
            let all: Vec<_> = findings.iter().map(ToString::to_string).collect();
            return Err(LogError::Unsafe(all.join("; ")));
        }
        load_functions(&connection).await?;
        let keys = Keys::new(&settings.prefix);
        let shares = usize::from(settings.partitions).min(APPEND_CONNECTIONS_MAX);
        let mut appending = Vec::with_capacity(shares);
        for _ in 0..shares {
            appending.push(Connection::open(&settings.url).await?);
        }
        let inner = Inner {
            appender: Appender::start(appending, keys.clone()),
            loader: Loader::start(connection.clone()),
            keys,
            partitions: settings.partitions,
            connection,
            waiting: Waiting::new(&settings.url)?,
            turns: Turns::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// How many partitions the log has that is there; none where none was made.
    /// Unlike `connect`, it makes nothing.
    pub async fn find(settings: &LogSettings) -> Result<Option<u16>, LogError> {
        let connection = Connection::open(&settings.url).await?;
        let meta = Keys::new(&settings.prefix).meta(Partition(0));
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGET").arg(meta).arg("partitions");
        let (partitions,): (Option<u16>,) = connection.read(&pipeline).await?;
        Ok(partitions)
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

pub(crate) async fn load_functions(connection: &Connection) -> redis::RedisResult<()> {
    let mut command = redis::cmd("FUNCTION");
    command.arg("LOAD").arg("REPLACE").arg(FUNCTIONS);
    match connection.query::<()>(&command).await {
        // A full server takes none; those that are there can be called, and what
        // frees memory must be able to begin.
        Err(error) if error.code() == Some("OOM") => {
            let mut list = redis::cmd("FUNCTION");
            list.arg("LIST").arg("LIBRARYNAME").arg("headwater");
            let there: Vec<redis::Value> = connection.query(&list).await?;
            if there.is_empty() { Err(error) } else { Ok(()) }
        }
        loaded => loaded,
    }
}

async fn create(connection: &Connection, keys: &Keys, partitions: u16) -> Result<(), LogError> {
    let started = started(None)?;
    for partition in (0..partitions).map(Partition) {
        let mut command = redis::cmd("FCALL");
        command.arg("headwater_create").arg(2);
        command
            .arg(keys.events(partition))
            .arg(keys.meta(partition));
        command.arg(partitions).arg(&started).arg(FIRST_EPOCH);
        let found: u16 = connection.query(&command).await?;
        if found != partitions {
            let wanted = partitions;
            return Err(LogError::Partitions { found, wanted });
        }
    }
    Ok(())
}

/// The first entry of an epoch.
pub(crate) fn started(previous_end: Option<Position>) -> Result<Vec<u8>, LogError> {
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
        data: kernel::encode(&previous_end).map_err(damaged)?,
        trace: None,
    };
    started.to_bytes().map_err(damaged)
}

pub(crate) fn damaged(error: impl std::fmt::Display) -> LogError {
    LogError::Damaged(error.to_string())
}

/// The partition of an id by its routing bits.
pub(crate) fn partition_of(id: Uuid, partitions: u16) -> Partition {
    Route::of(id).partition(partitions)
}
