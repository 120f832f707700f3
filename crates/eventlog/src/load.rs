//! Coalesced loads: one task collects what is waiting and sends it as one
//! pipeline, so that a hundred commands at once cost one round trip.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, RedisResult, Value, from_redis_value};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use crate::{
    connection::{Connection, RESPONSE_MILLISECONDS_MAX},
    log::{LogError, damaged},
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

/// Those of a load's gets that one command answers: fields of one hash, or a key.
struct Group(Vec<usize>);

/// Edges share the hash of the account that they start from, so that some of what a
/// command reads stands together.
fn groups(gets: &[Get]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(gets.len());
    for (index, get) in gets.iter().enumerate() {
        let shares = |group: &&mut Group| match (get, &gets[group.0[0]]) {
            (Get::Field { key, .. }, Get::Field { key: other, .. }) => key == other,
            (Get::Field { .. } | Get::Key(_), _) => false,
        };
        match groups.iter_mut().find(shares) {
            Some(Group(members)) => members.push(index),
            None => groups.push(Group(vec![index])),
        }
    }
    groups
}

impl Group {
    fn command(&self, gets: &[Get]) -> Cmd {
        let Self(members) = self;
        let mut command = Cmd::new();
        match &gets[members[0]] {
            Get::Key(key) => command.arg("GET").arg(key),
            Get::Field { key, .. } if members.len() == 1 => command.arg("HGET").arg(key),
            Get::Field { key, .. } => command.arg("HMGET").arg(key),
        };
        for member in members {
            if let Get::Field { field, .. } = &gets[*member] {
                command.arg(field);
            }
        }
        command
    }

    /// Puts what was answered where it belongs.
    fn place(&self, reply: Value, values: &mut [Option<Vec<u8>>]) -> Result<(), LogError> {
        let Self(members) = self;
        if let [member] = members[..] {
            values[member] = from_redis_value(reply).map_err(damaged)?;
            return Ok(());
        }
        let found: Vec<Option<Vec<u8>>> = from_redis_value(reply).map_err(damaged)?;
        if found.len() != members.len() {
            return Err(damaged("a reply is cut"));
        }
        for (member, value) in members.iter().zip(found) {
            values[*member] = value;
        }
        Ok(())
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
    let groups: Vec<_> = loads.iter().map(|load| groups(&load.gets)).collect();
    for (load, groups) in loads.iter().zip(&groups) {
        for group in groups {
            pipeline.add_command(group.command(&load.gets));
        }
    }
    let replies = connection.read::<Vec<RedisResult<Value>>>(&pipeline).await;
    match replies {
        Ok(replies) => {
            let mut replies = replies.into_iter();
            for (load, groups) in loads.into_iter().zip(groups) {
                // Every reply is taken, whatever the first error: the next load's
                // stand behind.
                let own = replies.by_ref().take(groups.len()).collect();
                // Whoever asked may have gone; nothing depends on the answer.
                let _ = load.reply.send(values(&groups, own, load.gets.len()));
            }
        }
        Err(error) => {
            for load in loads {
                let _ = load.reply.send(Err(error.clone()));
            }
        }
    }
}

fn values(
    groups: &[Group],
    replies: Vec<RedisResult<Value>>,
    gets: usize,
) -> Result<Vec<Option<Vec<u8>>>, LogError> {
    let mut values = vec![None; gets];
    for (group, reply) in groups.iter().zip(replies) {
        group.place(reply?, &mut values)?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(key: &str, field: &str) -> Get {
        let (key, field) = (key.into(), field.into());
        Get::Field { key, field }
    }

    #[test]
    fn what_stands_in_one_hash_is_asked_for_at_once_and_put_where_it_belongs()
    -> Result<(), LogError> {
        let key = |key: &str| Get::Key(key.into());
        let gets = [
            field("a", "1"),
            key("k"),
            field("b", "1"),
            field("a", "2"),
            key("k"),
        ];
        let groups = groups(&gets);
        let members: Vec<_> = groups.iter().map(|group| group.0.as_slice()).collect();
        assert_eq!(members, [&[0, 3][..], &[1], &[2], &[4]]);
        let packed: Vec<_> = groups
            .iter()
            .map(|group| {
                String::from_utf8_lossy(&group.command(&gets).get_packed_command()).into_owned()
            })
            .collect();
        assert_eq!(
            packed[0],
            "*4\r\n$5\r\nHMGET\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\n2\r\n"
        );
        assert_eq!(packed[2], "*3\r\n$4\r\nHGET\r\n$1\r\nb\r\n$1\r\n1\r\n");
        let text = |text: &str| Value::BulkString(text.into());
        let replies = [
            Value::Array(vec![text("a1"), Value::Nil]),
            text("k"),
            text("b1"),
            Value::Nil,
        ];
        let values = values(&groups, replies.into_iter().map(Ok).collect(), gets.len())?;
        let some = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(values, [some("a1"), some("k"), some("b1"), None, None]);
        Ok(())
    }
}
