//! A log in memory whose events come out of the real deciders. It refuses to
//! make one up.

use std::collections::HashMap;

use domain::Event;
use kernel::{
    AccountId, AggregateId, Command, Decider, EventPayload, Facts, Partition, Personal, Position,
    Snapshot, Timestamp,
};
use readmodel::Happened;

use super::world::PARTITIONS;

/// Facts may lead to facts as far as `eventlog` follows them.
const READ_ROUNDS_MAX: usize = 4;

/// When a command comes, from whom, and whether its words are read too late.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub actor: AccountId,
    pub at: i64,
    pub erased: bool,
}

#[derive(Default)]
pub struct Deciding {
    states: HashMap<AggregateId, Snapshot>,
    ends: [u64; PARTITIONS as usize],
    made: Vec<Happened>,
}

impl Deciding {
    /// What happened, in the order in which it did.
    pub fn history(self) -> Vec<Happened> {
        self.made
    }

    pub fn state<D: Decider>(&self, aggregate: AggregateId) -> D::State {
        let state = Snapshot::decode::<D>(self.states.get(&aggregate));
        state.unwrap().state
    }

    /// Appends what the command decides; says whether it was not refused.
    pub fn execute<C: Command>(
        &mut self,
        asked: Asked,
        command: &C,
        named: fn(<C::Decider as Decider>::Event) -> Event,
    ) -> bool {
        let aggregate = command.aggregate();
        let found = self.states.get(&aggregate);
        let current = Snapshot::decode::<C::Decider>(found).unwrap();
        let Ok(events) = command.decide(&current, &self.facts(command)) else {
            return false;
        };
        let (mut state, before) = (current.state, current.version);
        for (version, mut event) in (before + 1..).zip(events) {
            state = C::Decider::evolve(state, &event);
            let snapshot = Snapshot {
                version,
                state: kernel::encode(&state).unwrap(),
            };
            self.states.insert(aggregate, snapshot);
            if asked.erased {
                let personal = event.personal().into_iter();
                personal.for_each(|field| *field = Personal::Erased);
            }
            self.append(aggregate, version, asked, named(event));
        }
        true
    }

    fn facts<C: Command>(&self, command: &C) -> Facts {
        let mut facts = Facts::default();
        let own = command.aggregate();
        facts.insert(own, self.states.get(&own).cloned());
        for _ in 0..READ_ROUNDS_MAX {
            for read in command.reads(&facts) {
                let found = self.states.get(&read.aggregate).cloned();
                facts.insert(read.aggregate, found);
            }
        }
        facts
    }

    fn append(&mut self, aggregate: AggregateId, version: u64, asked: Asked, event: Event) {
        let Partition(partition) = aggregate.route().partition(PARTITIONS);
        let end = &mut self.ends[usize::from(partition)];
        *end += 1;
        let position = Position {
            partition: Partition(partition),
            epoch: 1,
            seq: *end,
        };
        self.made.push(Happened {
            position,
            aggregate,
            version,
            recorded_at: Timestamp(asked.at),
            actor: asked.actor,
            event,
        });
    }
}
