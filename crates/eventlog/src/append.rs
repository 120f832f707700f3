//! Group commit: one task collects the appends that are waiting and sends one
//! function call a partition, all at once, so that they share an fsync. The
//! commands in a call are independent: each has its own checks and its own
//! outcome, in order.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use kernel::{Partition, Position, Uuid, crash};
use redis::Value;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    connection::Connection,
    execute::Receipt,
    keys::Keys,
    log::{LogError, damaged, load_functions},
    receipt::{parse_entry_id, parse_receipt},
};

const WAITING_MAX: usize = 4_096;
/// Bounds how long one call keeps the server: 64 appends take about 0.5 ms.
const APPENDS_PER_CALL_MAX: usize = 64;
const APPENDS_COLLECTED_MAX: usize = 1_024;
/// Redis fsyncs once per turn of its event loop, and reads 16 KiB (about 64
/// appends) of each connection in a turn: what is more goes over several
/// connections, so that it shares the fsync; what is less over one, since each
/// costs system calls on both sides.
pub(crate) const APPEND_CONNECTIONS_MAX: usize = 8;
const CONNECTION_BYTES: usize = 12 * 1_024;
/// What an append takes beside its own bytes: keys, lengths, numbers.
const APPEND_BYTES: usize = 160;
/// Calls under way at once: one is fsynced while the next is written.
const CALLS_MAX: usize = 2;
/// Redis refuses to keep anything for 0 ms, or beyond its own calendar: found
/// only when the events are written, that would be too late.
const LIFETIME_MILLISECONDS_MAX: u128 = 10 * 365 * 24 * 60 * 60 * 1_000;

/// One command's events, with all that is checked and written with them.
#[derive(Debug)]
pub(crate) struct Append {
    pub partition: Partition,
    pub states_key: Vec<u8>,
    pub field: Vec<u8>,
    /// Of the aggregate before these events.
    pub expected_version: u64,
    pub state: Vec<u8>,
    pub last_key: Option<Vec<u8>>,
    pub receipt: Option<ReceiptToKeep>,
    pub events: Vec<Vec<u8>>,
}

impl Append {
    /// Of the call, about.
    fn bytes(&self) -> usize {
        let events: usize = self.events.iter().map(Vec::len).sum();
        APPEND_BYTES + self.state.len() + events
    }

    fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        let receipt = self.receipt.as_ref().map(|receipt| &receipt.key);
        std::iter::once(&self.states_key)
            .chain(&self.last_key)
            .chain(receipt)
    }
}

#[derive(Debug)]
pub(crate) struct ReceiptToKeep {
    pub key: Vec<u8>,
    pub fingerprint: u64,
    pub lifetime: Duration,
    pub payload: Vec<u8>,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Appended {
        last: Position,
    },
    /// There were no events; the account's last position, if it has one.
    Nothing {
        last: Option<Position>,
    },
    Again(Receipt),
    KeyReused,
    Conflict,
}

struct Waiting {
    append: Append,
    reply: oneshot::Sender<Result<Outcome, LogError>>,
}

pub(crate) struct Appender {
    waiting: mpsc::Sender<Waiting>,
}

impl Appender {
    /// Of the log `id`: a server that has another one writes nothing.
    pub fn start(connections: Vec<Connection>, keys: Keys, id: Uuid) -> Self {
        let (waiting, collected) = mpsc::channel(WAITING_MAX);
        let own = Arc::new((keys, id.to_string()));
        tokio::spawn(collect(connections, own, collected));
        Self { waiting }
    }

    pub async fn append(&self, append: Append) -> Result<Outcome, LogError> {
        let (reply, answer) = oneshot::channel();
        let gone = || LogError::Unavailable("the log is shutting down".into());
        let waiting = Waiting { append, reply };
        self.waiting.send(waiting).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn collect(
    connections: Vec<Connection>,
    own: Arc<(Keys, String)>,
    mut collected: mpsc::Receiver<Waiting>,
) {
    let calls = Arc::new(Semaphore::new(CALLS_MAX));
    loop {
        let Ok(turn) = calls.clone().acquire_owned().await else {
            return;
        };
        let mut batch = Vec::new();
        if collected.recv_many(&mut batch, APPENDS_COLLECTED_MAX).await == 0 {
            return;
        }
        // Whoever gave up meanwhile was told that it may be done or not.
        batch.retain(|waiting| !waiting.reply.is_closed());
        if batch.is_empty() {
            continue;
        }
        let bytes: usize = batch.iter().map(|waiting| waiting.append.bytes()).sum();
        let used = bytes.div_ceil(CONNECTION_BYTES).clamp(1, connections.len());
        let mut by_partition: BTreeMap<Partition, Vec<Waiting>> = BTreeMap::new();
        for waiting in batch {
            let partition = waiting.append.partition;
            by_partition.entry(partition).or_default().push(waiting);
        }
        let (connections, own) = (connections.clone(), own.clone());
        tokio::spawn(async move {
            let calls = by_partition.into_iter().map(|(partition, mut waiting)| {
                let share = usize::from(partition.0) % used;
                let (connection, own) = (connections[share].clone(), own.clone());
                async move {
                    while !waiting.is_empty() {
                        let rest = waiting.split_off(waiting.len().min(APPENDS_PER_CALL_MAX));
                        call(&connection, &own, partition, waiting).await;
                        waiting = rest;
                    }
                }
            });
            join_all(calls).await;
            drop(turn);
        });
    }
}

async fn call(
    connection: &Connection,
    (keys, id): &(Keys, String),
    partition: Partition,
    waiting: Vec<Waiting>,
) {
    let command = command(keys, id, partition, &waiting);
    crash::point("append.before");
    let mut replies = connection.query::<Vec<Vec<Value>>>(&command).await;
    let lost = |error: &LogError| error.to_string().contains("Function not found");
    if replies.as_ref().is_err_and(lost) {
        tracing::warn!("the log server has lost our functions; loading them again");
        replies = match load_functions(connection).await {
            Ok(()) => connection.query(&command).await,
            Err(error) => Err(error),
        };
    }
    match replies {
        Ok(replies) => {
            crash::point("append.after");
            for (waiting, reply) in waiting.into_iter().zip(replies) {
                let receipt = waiting.append.receipt.as_ref();
                let fingerprint = receipt.map_or(0, |receipt| receipt.fingerprint);
                let outcome = outcome(reply, partition, fingerprint);
                // Whoever asked may have gone; the receipt tells them later.
                let _ = waiting.reply.send(outcome);
            }
        }
        Err(error) => {
            for waiting in waiting {
                let _ = waiting.reply.send(Err(error.clone()));
            }
        }
    }
}

/// The layout is told at `headwater_append` in `headwater.lua`.
fn command(keys: &Keys, id: &str, partition: Partition, waiting: &[Waiting]) -> redis::Cmd {
    let appends = || waiting.iter().map(|waiting| &waiting.append);
    let own = [keys.events(partition), keys.meta(partition)];
    let declared = own.len() + appends().flat_map(Append::keys).count();
    let mut command = redis::cmd("FCALL");
    command.arg("headwater_append").arg(declared).arg(&own);
    for key in appends().flat_map(Append::keys) {
        command.arg(key);
    }
    command.arg(id).arg(waiting.len());
    // In the order of `Append::keys`, from 1.
    let mut indexes = own.len() + 1..;
    let mut key = || indexes.next().unwrap_or_default();
    for append in appends() {
        command.arg(key()).arg(&append.field);
        command.arg(append.expected_version).arg(&append.state);
        let last_key = append.last_key.as_ref().map_or(0, |_| key());
        command.arg(last_key);
        match &append.receipt {
            None => command.arg(0),
            Some(receipt) => {
                let lifetime = receipt.lifetime.as_millis();
                let lifetime = lifetime.clamp(1, LIFETIME_MILLISECONDS_MAX) as u64;
                command.arg(key()).arg(receipt.fingerprint);
                command.arg(lifetime).arg(&receipt.payload)
            }
        };
        command.arg(append.events.len()).arg(&append.events);
    }
    command
}

fn outcome(reply: Vec<Value>, partition: Partition, fingerprint: u64) -> Result<Outcome, LogError> {
    let mut parts = reply.into_iter();
    let mut text = || -> Result<Vec<u8>, LogError> {
        let part = parts.next().ok_or_else(|| damaged("a reply is cut"))?;
        redis::from_redis_value(part).map_err(damaged)
    };
    let id = |bytes: Vec<u8>| parse_entry_id(partition, &String::from_utf8_lossy(&bytes));
    match text()?.as_slice() {
        b"appended" => {
            text()?;
            let last = id(text()?).ok_or_else(|| damaged("no entry id"))?;
            Ok(Outcome::Appended { last })
        }
        b"nothing" => Ok(Outcome::Nothing { last: id(text()?) }),
        b"again" => match parse_receipt(&text()?, partition, fingerprint)? {
            Some(receipt) => Ok(Outcome::Again(receipt)),
            None => Ok(Outcome::KeyReused),
        },
        b"reused" => Ok(Outcome::KeyReused),
        b"conflict" => Ok(Outcome::Conflict),
        b"gone" => Err(LogError::Incomplete(partition.to_string())),
        _ => Err(LogError::Refused(
            String::from_utf8_lossy(&text()?).into_owned(),
        )),
    }
}
