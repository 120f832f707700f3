//! A connected log. It refuses a server that could lose what it acknowledged.

use std::sync::{Arc, PoisonError, RwLock};

use kernel::{
    AccountId, AggregateId, Envelope, Kind, Partition, Position, Recorded, Route, Timestamp, Uuid,
};
use redis::ErrorKind;
use servers::Redis;
use tokio::task::AbortHandle;

use crate::{
    append::{APPEND_CONNECTIONS_MAX, Append, Appender, Outcome},
    connection::Connection,
    fitness::{self, Judge},
    keys::{Keys, PARTITIONS_DEFAULT, PARTITIONS_MAX},
    load::{Get, Loader},
    read::{EPOCH_STARTED, Gap},
    signing::LogKey,
    turns::Turns,
    waiting::Waiting,
};

const FUNCTIONS: &str = include_str!("headwater.lua");
const FIRST_EPOCH: u64 = 1;

#[derive(Clone, Debug)]
pub struct LogSettings {
    pub server: Redis,
    /// Signs events; what was signed with another one is refused.
    pub key: LogKey,
    /// Before every key.
    pub prefix: String,
    /// Of a log that is made anew; one that was made with others is refused.
    pub partitions: u16,
    /// Take a server whose settings could lose acknowledged writes, or whose
    /// settings cannot be seen.
    pub allow_unsafe: bool,
    /// Which log it must be; none takes the one that is there.
    pub id: Option<Uuid>,
    /// When what is missing of it is made, as its first entries tell.
    pub made_at: Timestamp,
}

impl LogSettings {
    pub fn new(server: impl Into<Redis>, key: LogKey) -> Self {
        Self {
            server: server.into(),
            key,
            prefix: "hw".into(),
            partitions: PARTITIONS_DEFAULT,
            allow_unsafe: false,
            id: None,
            made_at: Timestamp(0),
        }
    }
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// Nothing is known about what was under way: it may have been done.
    #[error("the log server does not answer: {0}")]
    Unavailable(String),
    #[error(
        "the log server has too little memory left: archive and trim the log, or raise its maxmemory"
    )]
    Full,
    #[error("the log server refused: {0}")]
    Refused(String),
    #[error("the log is damaged: {0}")]
    Damaged(String),
    #[error(
        "the log server is not safe: {0}; `headwater doctor` says what mends it. Weak settings can be allowed by LOG_ALLOW_UNSAFE=true, without the promise that what is acknowledged is durable"
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
    /// By its state or its settings: it is the same for every write.
    #[error("the log server takes no writes: {0}")]
    NotWritable(&'static str),
    #[error("writes are held back: {0}")]
    Held(String),
    #[error(transparent)]
    Gap(#[from] Gap),
    /// What is only in the archive cannot be read for now.
    #[error("{0}")]
    Archive(String),
}

impl LogError {
    /// Whether it is the server's trouble, not that of what was asked: the next one
    /// would meet it too.
    pub fn is_of_the_server(&self) -> bool {
        match self {
            Self::Unavailable(_)
            | Self::Full
            | Self::Unsafe(_)
            | Self::Partitions { .. }
            | Self::Missing
            | Self::Incomplete(_)
            | Self::Another { .. }
            | Self::NotWritable(_)
            | Self::Held(_) => true,
            Self::Refused(_) | Self::Damaged(_) | Self::Gap(_) | Self::Archive(_) => false,
        }
    }
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
    pub(crate) fn check(&self, wanted: u16, id: Option<Uuid>) -> Result<(), LogError> {
        let found = self.partitions;
        if found != wanted {
            return Err(LogError::Partitions { found, wanted });
        }
        if !self.missing.is_empty() {
            let all: Vec<_> = self.missing.iter().map(ToString::to_string).collect();
            return Err(LogError::Incomplete(all.join(", ")));
        }
        match id {
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
            Some("OTHERLOG") => Self::NotWritable("it has another log"),
            Some("READONLY") => Self::NotWritable("it is a replica"),
            Some("MISCONF") => Self::NotWritable("it cannot write to its disk"),
            Some("NOREPLICAS") => Self::NotWritable("it has too few replicas"),
            Some("NOPERM") => Self::NotWritable("its access rules forbid it"),
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
    pub key: LogKey,
    pub id: Uuid,
    pub partitions: u16,
    pub connection: Connection,
    pub waiting: Waiting,
    pub appender: Appender,
    pub loader: Loader,
    pub turns: Turns,
    held: RwLock<Option<String>>,
    watching: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// What a log is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Read,
    Write,
    /// It need not be there yet.
    Make,
}

impl Log {
    /// Connects to the log that is there, on a server that is safe. It makes nothing.
    pub async fn open(settings: &LogSettings) -> Result<Self, LogError> {
        Self::open_for(settings, Purpose::Write).await
    }

    /// The same for those who only read: the server need not be one to write to.
    pub async fn look(settings: &LogSettings) -> Result<Self, LogError> {
        Self::open_for(settings, Purpose::Read).await
    }

    async fn open_for(settings: &LogSettings, purpose: Purpose) -> Result<Self, LogError> {
        let connection = connect_to_look(settings).await?;
        let found = find(&connection, &settings.prefix).await?;
        let found = found.ok_or(LogError::Missing)?;
        found.check(settings.partitions, settings.id)?;
        Self::connect(settings, &connection, found.id, purpose).await
    }

    /// Opens the log once what is missing of it was made. Whether it may be made is for
    /// the caller to say: a log that was lost must be restored instead.
    pub async fn create(settings: &LogSettings) -> Result<Self, LogError> {
        let connection = connect_to_look(settings).await?;
        let found = find(&connection, &settings.prefix).await?;
        let there = found.as_ref().map(|found| found.id);
        let id = settings.id.or(there).unwrap_or_else(Uuid::now_v7);
        if found.is_none_or(|found| !found.missing.is_empty()) {
            let log = Self::connect(settings, &connection, id, Purpose::Make).await?;
            create(&log, settings.made_at).await?;
        }
        let settings = LogSettings {
            id: Some(id),
            ..settings.clone()
        };
        Self::open(&settings).await
    }

    /// For those who restore what is missing: the log may lack partitions, or all.
    pub async fn restore(settings: &LogSettings) -> Result<Self, LogError> {
        let connection = connect_to_look(settings).await?;
        let found = find(&connection, &settings.prefix).await?;
        let there = found.map(|found| found.id);
        let id = settings.id.or(there).unwrap_or_else(Uuid::now_v7);
        Self::connect(settings, &connection, id, Purpose::Make).await
    }

    async fn connect(
        settings: &LogSettings,
        connection: &Connection,
        id: Uuid,
        purpose: Purpose,
    ) -> Result<Self, LogError> {
        let partitions = settings.partitions;
        let judge = Judge {
            prefix: settings.prefix.clone(),
            partitions,
            id,
            allow_unsafe: settings.allow_unsafe,
            whole: purpose != Purpose::Make,
        };
        let connection = connection.judged(&judge).await?;
        if purpose != Purpose::Read {
            connection.judge().await?.check_written()?;
            load_functions(&connection).await?;
        }
        let keys = Keys::new(&settings.prefix);
        let shares = usize::from(partitions).min(APPEND_CONNECTIONS_MAX);
        let mut appending = Vec::with_capacity(shares);
        for _ in 0..shares {
            appending.push(connection.judged(&judge).await?);
        }
        let mut watched = appending.clone();
        watched.push(connection.clone());
        let inner = Inner {
            appender: Appender::start(appending, keys.clone(), id),
            loader: Loader::start(connection.clone()),
            keys,
            key: settings.key.clone(),
            id,
            partitions,
            connection,
            waiting: Waiting::new(&settings.server)?,
            turns: Turns::default(),
            held: RwLock::default(),
            watching: tokio::spawn(fitness::watch(watched)).abort_handle(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Whether its server takes writes now: the same as what appends are answered.
    pub async fn check_server(&self) -> Result<(), LogError> {
        self.inner.connection.judge().await?.check_written()
    }

    /// Holds all appends of this process back, for a reason that the log does not know
    /// of; none lets them go on.
    pub fn hold(&self, reason: Option<String>) {
        let held = self.inner.held.write();
        *held.unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// The same as it is known, without a look.
    pub(crate) fn check_known(&self) -> Result<(), LogError> {
        self.check_held()?;
        self.inner.connection.known().check_written()
    }

    /// Whether its server has room for what clients write, as it was a moment ago: above
    /// `MEMORY_SHARE_MAX` the rest is for operators, and for what makes room.
    pub fn check_room(&self) -> Result<(), LogError> {
        self.inner.connection.known().check_room()
    }

    fn check_held(&self) -> Result<(), LogError> {
        let held = self.inner.held.read();
        let held = held.unwrap_or_else(PoisonError::into_inner);
        held.clone().map_or(Ok(()), |why| Err(LogError::Held(why)))
    }

    /// The log that is there; none where there is no partition of one. It makes
    /// nothing.
    pub async fn find(settings: &LogSettings) -> Result<Option<Found>, LogError> {
        let connection = Connection::open(&settings.server).await?;
        find(&connection, &settings.prefix).await
    }

    /// Whether its server is as it must be, whatever it has. It makes nothing.
    pub async fn check_fit(settings: &LogSettings) -> Result<(), LogError> {
        let judge = Judge {
            prefix: settings.prefix.clone(),
            partitions: settings.partitions,
            id: settings.id.unwrap_or_default(),
            allow_unsafe: settings.allow_unsafe,
            whole: false,
        };
        let connection = connect_to_look(settings).await?.judged(&judge).await?;
        match connection.judge().await?.check_written() {
            Err(LogError::Unsafe(why)) => Err(LogError::Unsafe(why)),
            _ => Ok(()),
        }
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

    /// Fails where an event that was kept elsewhere is not ours, or is not one of its
    /// partition. What the log itself gives was checked.
    pub fn check(&self, recorded: &Recorded) -> Result<(), LogError> {
        self.check_home(recorded)?;
        self.inner.key.check(recorded)
    }

    /// An event that was copied into another partition.
    pub(crate) fn check_home(&self, recorded: &Recorded) -> Result<(), LogError> {
        let (at, envelope) = (recorded.position, &recorded.envelope);
        let home = self.partition_of(&envelope.aggregate);
        if home == at.partition || envelope.event_type == EPOCH_STARTED {
            return Ok(());
        }
        Err(damaged(format!(
            "the event at {at} belongs to partition {home}: the log was written past us"
        )))
    }

    /// The first entry of an epoch.
    pub(crate) fn started(
        &self,
        previous_end: Option<Position>,
        at: Timestamp,
    ) -> Result<Vec<u8>, LogError> {
        let nobody = AccountId(Uuid::nil());
        let started = Envelope {
            event_type: EPOCH_STARTED.into(),
            event_version: 1,
            aggregate: AggregateId::single(Kind(0), nobody.0),
            version: 1,
            recorded_at: at,
            actor: nobody,
            correlation: nobody.0,
            causation: None,
            receipt: None,
            data: kernel::encode(&previous_end).map_err(damaged)?,
            trace: None,
        };
        self.inner.key.entry(&started).map_err(damaged)
    }

    pub(crate) async fn append(&self, append: Append) -> Result<Outcome, LogError> {
        self.check_held()?;
        self.inner.appender.append(append).await
    }

    pub(crate) async fn load(&self, gets: Vec<Get>) -> Result<Vec<Option<Vec<u8>>>, LogError> {
        self.inner.loader.load(gets).await
    }
}

pub(crate) async fn load_functions(connection: &Connection) -> Result<(), LogError> {
    let mut command = redis::cmd("FUNCTION");
    command.arg("LOAD").arg("REPLACE").arg(FUNCTIONS);
    match connection.query::<()>(&command).await {
        // A full server takes none; those that are there can be called, and what
        // frees memory must be able to begin.
        Err(LogError::Full) => {
            let mut list = redis::cmd("FUNCTION");
            list.arg("LIST").arg("LIBRARYNAME").arg("headwater");
            let there: Vec<redis::Value> = connection.query(&list).await?;
            if there.is_empty() {
                Err(LogError::Full)
            } else {
                Ok(())
            }
        }
        loaded => loaded,
    }
}

async fn connect_to_look(settings: &LogSettings) -> Result<Connection, LogError> {
    if !(1..=PARTITIONS_MAX).contains(&settings.partitions) {
        return Err(LogError::Refused(format!(
            "a log has 1 to {PARTITIONS_MAX} partitions"
        )));
    }
    Connection::open(&settings.server).await
}

async fn find(connection: &Connection, prefix: &str) -> Result<Option<Found>, LogError> {
    let pipeline = find_pipeline(prefix, PARTITIONS_MAX);
    found(connection.read(&pipeline).await?)
}

/// Looks for so many partitions: a log without its first one is not taken for none.
pub(crate) fn find_pipeline(prefix: &str, partitions: u16) -> redis::Pipeline {
    let keys = Keys::new(prefix);
    let mut pipeline = redis::pipe();
    for partition in (0..partitions).map(Partition) {
        let meta = keys.meta(partition);
        pipeline.cmd("HMGET").arg(meta).arg("partitions").arg("id");
        pipeline.cmd("EXISTS").arg(keys.events(partition));
    }
    pipeline
}

pub(crate) fn found(replies: Vec<redis::Value>) -> Result<Option<Found>, LogError> {
    let mut replies = replies.into_iter();
    let mut there = Vec::new();
    let mut numbers = (0..).map(Partition);
    while let (Some(meta), Some(events)) = (replies.next(), replies.next()) {
        let partition = numbers.next().unwrap_or(Partition(u16::MAX));
        let meta: (Option<u16>, Option<String>) = redis::from_redis_value(meta).map_err(damaged)?;
        let events: bool = redis::from_redis_value(events).map_err(damaged)?;
        let ((Some(partitions), id), true) = (meta, events) else {
            continue;
        };
        let id = id.and_then(|id| Uuid::parse_str(&id).ok());
        let id = id.ok_or_else(|| damaged("a partition does not say of which log it is"))?;
        there.push((partition, partitions, id));
    }
    let Some((_, partitions, id)) = there.first().copied() else {
        return Ok(None);
    };
    let differs = |(_, count, of): &(Partition, u16, Uuid)| (*count, *of) != (partitions, id);
    if there.iter().any(differs) {
        return Err(damaged("its partitions are those of different logs"));
    }
    let has = |partition: &Partition| there.iter().any(|(one, ..)| one == partition);
    let all = (0..partitions).map(Partition);
    Ok(Some(Found {
        id,
        partitions,
        missing: all.filter(|partition| !has(partition)).collect(),
    }))
}

async fn create(log: &Log, at: Timestamp) -> Result<(), LogError> {
    let (started, keys) = (log.started(None, at)?, &log.inner.keys);
    let partitions = log.inner.partitions;
    for partition in log.partitions() {
        let mut command = redis::cmd("FCALL");
        command.arg("headwater_create").arg(2);
        command
            .arg(keys.events(partition))
            .arg(keys.meta(partition));
        command.arg(partitions).arg(&started).arg(FIRST_EPOCH);
        command.arg(log.inner.id.to_string());
        let found: u16 = log.inner.connection.query(&command).await?;
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
