//! What operators do to a log: look at its size, trim what is archived, make it
//! anew after a loss. It refuses to decide how far to trim.

use std::time::Duration;

use kernel::{AccountId, AggregateId, Partition, Position, Timestamp};

use crate::{
    keys::state_field,
    log::{Log, LogError, damaged},
    receipt::{Payload, parse_entry_id},
};

/// States, last positions or receipts that are written in one round trip.
const RESTORE_KEYS: usize = 1_000;
/// Keys that one step of a count looks at, about.
const SCAN_KEYS: usize = 1_000;

/// What one partition holds in the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionSize {
    pub events: u64,
    /// Memory of the events, as the server tells it.
    pub event_bytes: u64,
}

/// What stands beside the events, restored before they are.
#[derive(Clone, Debug)]
pub enum Beside {
    State {
        aggregate: AggregateId,
        shape: u8,
        version: u64,
        state: Vec<u8>,
    },
    Last {
        account: AccountId,
        at: Position,
    },
    Receipt {
        key_hash: u128,
        fingerprint: u64,
        aggregate: AggregateId,
        version: u64,
        first: Position,
        last: Position,
        lifetime: Duration,
    },
}

impl Log {
    /// Whether a partition was made, and is there.
    pub async fn has(&self, partition: Partition) -> Result<bool, LogError> {
        let mut pipeline = redis::pipe();
        let keys = &self.inner.keys;
        let own = [keys.meta(partition), keys.events(partition)];
        pipeline.cmd("EXISTS").arg(&own);
        let (there,): (usize,) = self.inner.connection.read(&pipeline).await?;
        Ok(there == own.len())
    }

    /// Whether the server takes no more, for lack of memory.
    pub async fn is_full(&self) -> Result<bool, LogError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("memory");
        let (info,): (String,) = self.inner.connection.read(&pipeline).await?;
        let number = |name: &str| -> u64 {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok())
                .unwrap_or(0)
        };
        let most = number("maxmemory:");
        Ok(most > 0 && number("used_memory:") >= most)
    }

    /// Another one after each start of the server.
    pub async fn run(&self) -> Result<String, LogError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("server");
        let (info,): (String,) = self.inner.connection.read(&pipeline).await?;
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        Ok(run.unwrap_or_default().trim().to_owned())
    }

    /// The first position that each partition still has; none where it has no
    /// entry.
    pub async fn firsts(&self) -> Result<Vec<Option<Position>>, LogError> {
        let mut pipeline = redis::pipe();
        for partition in self.partitions() {
            let key = self.inner.keys.events(partition);
            pipeline.cmd("XRANGE").arg(key);
            pipeline.arg("-").arg("+").arg("COUNT").arg(1);
        }
        type Entry = (String, Vec<Vec<u8>>);
        let first: Vec<Vec<Entry>> = self.inner.connection.read(&pipeline).await?;
        let position = |(partition, entries): (Partition, Vec<Entry>)| {
            let id = entries.first().map(|entry| &entry.0);
            let at =
                id.map(|id| parse_entry_id(partition, id).ok_or_else(|| damaged("an entry id")));
            at.transpose()
        };
        self.partitions().zip(first).map(position).collect()
    }

    pub async fn sizes(&self) -> Result<Vec<PartitionSize>, LogError> {
        let mut pipeline = redis::pipe();
        for partition in self.partitions() {
            let key = self.inner.keys.events(partition);
            pipeline.cmd("XLEN").arg(&key);
            pipeline.cmd("MEMORY").arg("USAGE").arg(&key);
        }
        let sizes: Vec<Option<u64>> = self.inner.connection.read(&pipeline).await?;
        let size = |pair: &[Option<u64>]| PartitionSize {
            events: pair[0].unwrap_or_default(),
            event_bytes: pair[1].unwrap_or_default(),
        };
        Ok(sizes.chunks_exact(2).map(size).collect())
    }

    /// How many keys there are of each family: states by account, last
    /// positions, receipts.
    pub async fn keys_beside(&self) -> Result<[u64; 3], LogError> {
        let mut counts = [0; 3];
        let mut cursor = 0;
        loop {
            let mut pipeline = redis::pipe();
            let scan = pipeline.cmd("SCAN").arg(cursor);
            scan.arg("MATCH").arg(self.inner.keys.pattern());
            scan.arg("COUNT").arg(SCAN_KEYS);
            let ((next, keys),): ((u64, Vec<Vec<u8>>),) =
                self.inner.connection.read(&pipeline).await?;
            for key in keys {
                match self.inner.keys.family(&key) {
                    Some(b's') => counts[0] += 1,
                    Some(b'l') => counts[1] += 1,
                    Some(b'r') => counts[2] += 1,
                    _ => {}
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(counts);
            }
        }
    }

    /// Forgets what comes before `first`, but never the last entry, which tells
    /// where the partition is. Returns how many events are gone.
    pub async fn trim(&self, first: Position) -> Result<u64, LogError> {
        let heads = self.heads().await?;
        let head = heads.into_iter().find(|at| at.partition == first.partition);
        let first = head.map_or(first, |head| first.min(head));
        let mut pipeline = redis::pipe();
        pipeline
            .cmd("XTRIM")
            .arg(self.inner.keys.events(first.partition))
            .arg("MINID")
            .arg("=")
            .arg(first.entry_id());
        let (gone,): (u64,) = self.inner.connection.read(&pipeline).await?;
        Ok(gone)
    }

    /// Writes what stands beside the events of a partition. Doing it again
    /// changes nothing.
    pub async fn restore_beside(
        &self,
        partition: Partition,
        all: &[Beside],
    ) -> Result<(), LogError> {
        for chunk in all.chunks(RESTORE_KEYS) {
            let mut pipeline = redis::pipe();
            for beside in chunk {
                self.restore_one(&mut pipeline, partition, beside)?;
            }
            let () = self.inner.connection.read(&pipeline).await?;
        }
        Ok(())
    }

    fn restore_one(
        &self,
        pipeline: &mut redis::Pipeline,
        partition: Partition,
        beside: &Beside,
    ) -> Result<(), LogError> {
        let keys = &self.inner.keys;
        match beside {
            Beside::State {
                aggregate,
                shape,
                version,
                state,
            } => {
                let set = pipeline.cmd("FCALL").arg("headwater_restate").arg(1);
                set.arg(keys.states(partition, *shape, aggregate));
                set.arg(state_field(aggregate)).arg(*version).arg(state);
                set.ignore();
            }
            Beside::Last { account, at } => {
                let set = pipeline.cmd("SET");
                set.arg(keys.last(partition, *account))
                    .arg(at.entry_id())
                    .ignore();
            }
            Beside::Receipt {
                key_hash,
                fingerprint,
                aggregate,
                version,
                first,
                last,
                lifetime,
            } => {
                let payload =
                    kernel::encode(&Payload::new(*aggregate, *version)).map_err(damaged)?;
                let (first, last) = (first.entry_id(), last.entry_id());
                let mut value = format!("{fingerprint} {first} {last} ").into_bytes();
                value.extend(payload);
                let set = pipeline.cmd("SET").arg(keys.receipt(partition, *key_hash));
                set.arg(value)
                    .arg("PX")
                    .arg(lifetime.as_millis().max(1) as u64)
                    .ignore();
            }
        }
        Ok(())
    }

    /// Begins a partition that was lost anew, after `previous_end`, in `epoch`,
    /// which nobody must have seen before, at a time. Does nothing where the partition is
    /// there.
    pub async fn begin_epoch(
        &self,
        previous_end: Position,
        epoch: u64,
        at: Timestamp,
    ) -> Result<(), LogError> {
        let partition = previous_end.partition;
        let mut command = redis::cmd("FCALL");
        command.arg("headwater_create").arg(2);
        command
            .arg(self.inner.keys.events(partition))
            .arg(self.inner.keys.meta(partition));
        command.arg(self.inner.partitions);
        command.arg(self.started(Some(previous_end), at)?);
        command.arg(epoch);
        command.arg(self.inner.id.to_string());
        let _: u16 = self.inner.connection.query(&command).await?;
        Ok(())
    }
}
