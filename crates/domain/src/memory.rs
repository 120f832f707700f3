//! For properties: the loop of `eventlog::execute` over states in memory, which
//! asserts on the way what must hold of every command of every feature. It
//! refuses to know a feature.

use std::{collections::HashMap, fmt::Debug};

use kernel::{
    AccountId, AggregateId, Command, Decider, Envelope, EventPayload, Facts, Personal, Snapshot,
    Timestamp, Versioned,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::Event;

/// Facts may lead to facts as far as `eventlog` follows them.
const READ_ROUNDS_MAX: usize = 4;

type State<C> = <<C as Command>::Decider as Decider>::State;
type Decided<C> = Result<Vec<<<C as Command>::Decider as Decider>::Event>, <C as Command>::Error>;

/// Every aggregate's state as the log stores it.
#[derive(Debug, Default)]
pub struct Memory(HashMap<AggregateId, Snapshot>);

impl Memory {
    pub fn current<D: Decider>(
        &self,
        aggregate: AggregateId,
    ) -> Result<Versioned<D::State>, TestCaseError> {
        Ok(Snapshot::decode::<D>(self.0.get(&aggregate))?)
    }

    /// Its own state, what the command asks to look at, and nothing else.
    pub fn facts<C: Command>(&self, command: &C) -> Result<Facts, TestCaseError> {
        let mut facts = Facts::default();
        let own = command.aggregate();
        let first = command.reads(&facts);
        facts.insert(own, self.0.get(&own).cloned());
        for read in first {
            facts.insert(read.aggregate, self.0.get(&read.aggregate).cloned());
        }
        for _ in 0..READ_ROUNDS_MAX {
            let mut reads = command.reads(&facts);
            reads.retain(|read| !facts.knows(&read.aggregate));
            if reads.is_empty() {
                return Ok(facts);
            }
            for read in reads {
                facts.insert(read.aggregate, self.0.get(&read.aggregate).cloned());
            }
        }
        Err(TestCaseError::fail("it never stops asking for facts"))
    }

    pub fn execute<C: Command>(&mut self, command: &C) -> Result<Decided<C>, TestCaseError>
    where
        State<C>: Debug + PartialEq,
        <C::Decider as Decider>::Event: Clone + Debug + PartialEq,
        C::Error: PartialEq,
    {
        let aggregate = command.aggregate();
        prop_assert_eq!(aggregate.kind, C::Decider::KIND);
        let current = self.current::<C::Decider>(aggregate)?;
        let facts = self.facts(command)?;
        let decided = command.decide(&current, &facts);
        prop_assert_eq!(&decided, &command.decide(&current, &facts), "is not pure");
        let Ok(events) = &decided else {
            return Ok(decided);
        };
        let mut state = current.state;
        for (version, event) in (current.version + 1..).zip(events) {
            let stored = stored(event, aggregate)?;
            prop_assert_eq!(&stored.0, event, "reads back as something else");
            let evolved = C::Decider::evolve(state.clone(), event);
            let unreadable = [&stored.1, &stored.2].map(|e| C::Decider::evolve(state.clone(), e));
            for unreadable in &unreadable {
                prop_assert_eq!(unreadable, &evolved, "a state must need no words");
            }
            state = evolved;
            let snapshot = Snapshot {
                version,
                state: kernel::encode(&state)?,
            };
            self.0.insert(aggregate, snapshot);
            prop_assert_eq!(&self.current::<C::Decider>(aggregate)?.state, &state);
        }
        Ok(decided)
    }
}

#[cfg(test)]
impl Memory {
    /// A fact that no command of the feature under test makes.
    pub fn set<D: Decider>(
        &mut self,
        aggregate: AggregateId,
        state: &D::State,
    ) -> Result<(), TestCaseError> {
        let version = self.0.get(&aggregate).map_or(1, |held| held.version + 1);
        let state = kernel::encode(state)?;
        self.0.insert(aggregate, Snapshot { version, state });
        Ok(())
    }

    /// Bytes that no release can read.
    pub fn damage(&mut self, aggregate: AggregateId) {
        let state = vec![0xc1];
        self.0.insert(aggregate, Snapshot { version: 1, state });
    }
}

/// The event as it comes back from the log: opened, still sealed, and erased.
fn stored<E: EventPayload + Clone + PartialEq + Debug>(
    event: &E,
    aggregate: AggregateId,
) -> Result<(E, E, E), TestCaseError> {
    let mut sealed = event.clone();
    for (_, field) in sealed.personal() {
        if let Personal::Plain(text) = field {
            *field = Personal::Sealed([b"sealed", text.as_bytes()].concat());
        }
    }
    let (name, version) = sealed.event_type();
    let envelope = Envelope {
        event_type: name.to_owned(),
        event_version: version,
        aggregate,
        version: 1,
        recorded_at: Timestamp(0),
        actor: AccountId(Uuid::nil()),
        correlation: Uuid::nil(),
        causation: None,
        receipt: None,
        data: sealed.to_bytes()?,
        trace: None,
    };
    let known = Event::decode(&Envelope::from_bytes(&envelope.to_bytes()?)?);
    prop_assert!(known.is_ok(), "{name} is not in the registry");
    let Some(read) = E::from_bytes(name, version, &envelope.data) else {
        return Err(TestCaseError::fail(format!("{name} is not its own event")));
    };
    let read = read?;
    prop_assert_eq!(&read, &sealed);
    let (mut opened, mut erased) = (read.clone(), read.clone());
    for (_, field) in opened.personal() {
        if let Personal::Sealed(bytes) = field {
            *field = Personal::plain(String::from_utf8_lossy(&bytes[b"sealed".len()..]));
        }
    }
    for (_, field) in erased.personal() {
        *field = Personal::Erased;
    }
    Ok((opened, read, erased))
}
