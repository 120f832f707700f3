//! A log in memory whose events come out of the real deciders. It refuses to make one up.

use std::{collections::HashMap, fmt::Debug};

use kernel::{
    AccountId, AggregateId, Command, Decider, EventPayload, Partition, Personal, Position,
    Timestamp,
};
use proptest::prelude::*;

use crate::{Event, memory::Memory};

/// Of the log.
pub const PARTITIONS: u16 = 4;

/// An event and where it is in the log.
#[derive(Clone, Debug)]
pub struct Entry {
    pub position: Position,
    pub aggregate: AggregateId,
    pub version: u64,
    pub recorded_at: Timestamp,
    pub actor: AccountId,
    pub event: Event,
}

/// When a command comes, from whom, and whether its words are read too late.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub actor: AccountId,
    pub at: i64,
    pub erased: bool,
}

#[derive(Debug, Default)]
pub struct Log {
    memory: Memory,
    /// The last number of each partition.
    ends: HashMap<Partition, u64>,
    made: Vec<Entry>,
}

impl Log {
    /// What happened, in the order in which it did.
    pub fn entries(self) -> Vec<Entry> {
        self.made
    }

    pub fn state<D: Decider>(&self, aggregate: AggregateId) -> Result<D::State, TestCaseError> {
        Ok(self.memory.current::<D>(aggregate)?.state)
    }

    /// Appends what the command decides; whether it was not refused.
    pub fn execute<C>(&mut self, asked: Asked, command: &C) -> Result<bool, TestCaseError>
    where
        C: Command<Error: PartialEq>,
        C::Decider: Decider<State: Debug + PartialEq, Event: Clone + Debug + PartialEq>,
        Event: From<<C::Decider as Decider>::Event>,
    {
        let aggregate = command.aggregate();
        let before = self.memory.current::<C::Decider>(aggregate)?.version;
        let Ok(events) = self.memory.execute(command)? else {
            return Ok(false);
        };
        for (version, mut event) in (before + 1..).zip(events) {
            if asked.erased {
                let personal = event.personal().into_iter();
                personal.for_each(|(_, field)| *field = Personal::Erased);
            }
            self.append(aggregate, version, asked, event.into());
        }
        Ok(true)
    }

    fn append(&mut self, aggregate: AggregateId, version: u64, asked: Asked, event: Event) {
        let partition = aggregate.route().partition(PARTITIONS);
        let end = self.ends.entry(partition).or_default();
        *end += 1;
        self.made.push(Entry {
            position: Position {
                partition,
                epoch: 1,
                seq: *end,
            },
            aggregate,
            version,
            recorded_at: Timestamp(asked.at),
            actor: asked.actor,
            event,
        });
    }
}
