//! Coalesced loads: one task collects what is waiting and sends it as one
//! pipeline, so that a hundred commands at once cost one round trip.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, RedisResult};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use crate::{
    connection::{Connection, RESPONSE_MILLISECONDS_MAX},
    log::LogError,
};

const WAITING_MAX: usize = 4_096;
const LOADS_PER_CALL_MAX: usize = 256;
/// Calls under way at once: one is answered while the next is written.
const CALLS_MAX: usize = 2;
/// Queueing included.
const LOAD_MILLISECONDS_MAX: u64 = RESPONSE_MILLISECONDS_MAX + 500;

#[derive(Clone, Debug)]
pub(crate) enum Get {
    Field { key: Vec<u8>, field: Vec<u8> },
    Key(Vec<u8>),
}

impl Get {
    fn command(&self) -> Cmd {
        let (name, key, field) = match self {
            Self::Field { key, field } => ("HGET", key, Some(field)),
            Self::Key(key) => ("GET", key, None),
        };
        let length = name.len() + key.len() + field.map_or(0, Vec::len);
        let mut command = Cmd::with_capacity(3, length);
        command.arg(name).arg(key);
        if let Some(field) = field {
            command.arg(field);
        }
        command
    }
}

struct Load {
    gets: Vec<Get>,
    reply: oneshot::Sender<Result<Vec<Option<Vec<u8>>>, LogError>>,
}

pub(crate) struct Loader {
    waiting: mpsc::Sender<Load>,
}

impl Loader {
    pub fn start(connection: Connection) -> Self {
        let (waiting, collected) = mpsc::channel(WAITING_MAX);
        tokio::spawn(collect(connection, collected));
        Self { waiting }
    }

    /// The values in the order of `gets`, in bounded time.
    pub async fn load(&self, gets: Vec<Get>) -> Result<Vec<Option<Vec<u8>>>, LogError> {
        let patience = Duration::from_millis(LOAD_MILLISECONDS_MAX);
        let late = |_| LogError::Unavailable("no answer in time".into());
        timeout(patience, self.load_within_a_deadline(gets))
            .await
            .map_err(late)?
    }

    /// For callers that have a deadline of their own.
    pub async fn load_within_a_deadline(
        &self,
        gets: Vec<Get>,
    ) -> Result<Vec<Option<Vec<u8>>>, LogError> {
        let (reply, answer) = oneshot::channel();
        let gone = || LogError::Unavailable("the log is shutting down".into());
        let load = Load { gets, reply };
        self.waiting.send(load).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn collect(connection: Connection, mut collected: mpsc::Receiver<Load>) {
    let calls = Arc::new(Semaphore::new(CALLS_MAX));
    loop {
        let Ok(turn) = calls.clone().acquire_owned().await else {
            return;
        };
        let mut loads = Vec::with_capacity(LOADS_PER_CALL_MAX);
        if collected.recv_many(&mut loads, LOADS_PER_CALL_MAX).await == 0 {
            return;
        }
        // Whoever gave up meanwhile needs no answer.
        loads.retain(|load| !load.reply.is_closed());
        if loads.is_empty() {
            continue;
        }
        let connection = connection.clone();
        tokio::spawn(async move {
            call(&connection, loads).await;
            drop(turn);
        });
    }
}

async fn call(connection: &Connection, loads: Vec<Load>) {
    let mut pipeline = redis::pipe();
    // A key that cannot be read must not fail those who asked for others.
    pipeline.ignore_errors();
    for get in loads.iter().flat_map(|load| &load.gets) {
        pipeline.add_command(get.command());
    }
    let values: RedisResult<Vec<RedisResult<Option<Vec<u8>>>>> = connection.read(&pipeline).await;
    match values {
        Ok(values) => {
            let mut values = values.into_iter();
            for load in loads {
                // Every value is taken, whatever the first error: the next
                // load's stand behind.
                let own: Vec<_> = values.by_ref().take(load.gets.len()).collect();
                let own: RedisResult<Vec<_>> = own.into_iter().collect();
                // Whoever asked may have gone; nothing depends on the answer.
                let _ = load.reply.send(own.map_err(LogError::from));
            }
        }
        Err(error) => {
            let error = LogError::from(error);
            for load in loads {
                let _ = load.reply.send(Err(error.clone()));
            }
        }
    }
}
