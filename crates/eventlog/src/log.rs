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
    /// Which log it must be; none takes the one that is there.
    pub id: Option<Uuid>,
}

impl LogSettings {
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "hw".into(),
            partitions: PARTITIONS_DEFAULT,
            allow_unsafe: false,
            id: None,
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
    /// It was never made, or it was lost.
    #[error(
        "the log server has no log: `headwater up`, `serve` and `work` make the first one; where there was one, `headwater doctor` says what to do"
    )]
    Missing,
    #[error(
        "partitions {0} of the log are gone: they must be restored, with `headwater log restore`"
    )]
    Incomplete(String),
    /// Positions mean something else there.
    #[error("the log server has another log, {found}, not {wanted}")]
    Another { found: Uuid, wanted: Uuid },
}

/// A log that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Drawn when it was made, and kept when it is restored.
    pub id: Uuid,
    pub partitions: u16,
    /// Those of its partitions that are not there.
    pub missing: Vec<Partition>,
}

impl Found {
    /// Whether it is all there, and the one that is wanted.
    fn check(&self, settings: &LogSettings) -> Result<(), LogError> {
        let found = self.partitions;
        let wanted = settings.partitions;
        if found != wanted {
            return Err(LogError::Partitions { found, wanted });
        }
        if !self.missing.is_empty() {
            let all: Vec<_> = self.missing.iter().map(ToString::to_string).collect();
            return Err(LogError::Incomplete(all.join(", ")));
        }
        match settings.id {
            Some(wanted) if wanted != self.id => {
                let found = self.id;
                Err(LogError::Another { found, wanted })
            }
            Some(_) | None => Ok(()),
        }
    }
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
            // It is ours: the partition is gone.
            Some("NOLOG") => Self::Missing,
            Some("LOADING" | "BUSY" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN") | None => {
                Self::Unavailable(text)
            }
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
    pub id: Uuid,
    pub partitions: u16,
    pub connection: Connection,
    pub waiting: Waiting,
    pub appender: Appender,
    pub loader: Loader,
    pub turns: Turns,
}

impl Log {
    /// Connects to the log that is there, on a server that is safe. It makes nothing.
    pub async fn open(settings: &LogSettings) -> Result<Self, LogError> {
        let connection = Connection::open(&settings.url).await?;
        let found = find(&connection, &settings.prefix).await?;
        let found = found.ok_or(LogError::Missing)?;
        found.check(settings)?;
        Self::connect(settings, connection, found.id).await
    }

    /// The same, once what is missing of the log was made. Whether it may be made is
    /// for the caller to say: a log that was lost must be restored instead.
    pub async fn create(settings: &LogSettings) -> Result<Self, LogError> {
        let connection = Connection::open(&settings.url).await?;
        let found = find(&connection, &settings.prefix).await?;
        let there = found.as_ref().map(|found| found.id);
        let id = settings.id.or(there).unwrap_or_else(Uuid::now_v7);
        let settings = &LogSettings {
            id: Some(id),
            ..settings.clone()
        };
        let log = Self::connect(settings, connection, id).await?;
        if found.is_none_or(|found| !found.missing.is_empty()) {
            create(
                &log.inner.connection,
                &log.inner.keys,
                settings.partitions,
                id,
            )
            .await?;
        }
        let found = find(&log.inner.connection, &settings.prefix).await?;
        found.ok_or(LogError::Missing)?.check(settings)?;
        Ok(log)
    }

    /// For those who restore what is missing: the log may lack partitions, or all.
    pub async fn restore(settings: &LogSettings) -> Result<Self, LogError> {
        let connection = Connection::open(&settings.url).await?;
        let found = find(&connection, &settings.prefix).await?;
        let there = found.map(|found| found.id);
        let id = there.or(settings.id).unwrap_or_else(Uuid::now_v7);
        Self::connect(settings, connection, id).await
    }

    async fn connect(
        settings: &LogSettings,
        connection: Connection,
        id: Uuid,
    ) -> Result<Self, LogError> {
        if !(1..=PARTITIONS_MAX).contains(&settings.partitions) {
            return Err(LogError::Refused(format!(
                "a log has 1 to {PARTITIONS_MAX} partitions"
            )));
        }
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
            id,
            partitions: settings.partitions,
            connection,
            waiting: Waiting::new(&settings.url)?,
            turns: Turns::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The log that is there; none where there is no partition of one. It makes
    /// nothing.
    pub async fn find(settings: &LogSettings) -> Result<Option<Found>, LogError> {
        let connection = Connection::open(&settings.url).await?;
        find(&connection, &settings.prefix).await
    }

    /// Which log it is: its positions mean nothing in another one.
    pub fn id(&self) -> Uuid {
        self.inner.id
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

/// Looks for every partition that a log could have: a log without its first one is
/// not taken for none.
async fn find(connection: &Connection, prefix: &str) -> Result<Option<Found>, LogError> {
    let keys = Keys::new(prefix);
    let mut pipeline = redis::pipe();
    for partition in (0..PARTITIONS_MAX).map(Partition) {
        let meta = keys.meta(partition);
        pipeline.cmd("HMGET").arg(meta).arg("partitions").arg("id");
        pipeline.cmd("EXISTS").arg(keys.events(partition));
    }
    let mut replies = Vec::<redis::Value>::into_iter(connection.read(&pipeline).await?);
    let mut there = Vec::new();
    for partition in 0..PARTITIONS_MAX {
        let mut reply = || replies.next().unwrap_or(redis::Value::Nil);
        let meta: (Option<u16>, Option<String>) =
            redis::from_redis_value(reply()).map_err(damaged)?;
        let events: bool = redis::from_redis_value(reply()).map_err(damaged)?;
        let ((Some(partitions), id), true) = (meta, events) else {
            continue;
        };
        let id = id.and_then(|id| Uuid::parse_str(&id).ok());
        let id = id.ok_or_else(|| damaged("a partition does not say of which log it is"))?;
        there.push((Partition(partition), partitions, id));
    }
    let Some((_, partitions, id)) = there.first().copied() else {
        return Ok(None);
    };
    if there
        .iter()
        .any(|(_, count, of)| (*count, *of) != (partitions, id))
    {
        return Err(damaged("its partitions are those of different logs"));
    }
    let has = |partition: &Partition| there.iter().any(|(one, ..)| one == partition);
    let missing = (0..partitions).map(Partition);
    Ok(Some(Found {
        id,
        partitions,
        missing: missing.filter(|partition| !has(partition)).collect(),
    }))
}

async fn create(
    connection: &Connection,
    keys: &Keys,
    partitions: u16,
    id: Uuid,
) -> Result<(), LogError> {
    let started = started(None)?;
    for partition in (0..partitions).map(Partition) {
        let mut command = redis::cmd("FCALL");
        command.arg("headwater_create").arg(2);
        command
            .arg(keys.events(partition))
            .arg(keys.meta(partition));
        command.arg(partitions).arg(&started).arg(FIRST_EPOCH);
        command.arg(id.to_string());
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
