//! The aggregates of these tests: a counter, and an edge that is there or not.

use std::{convert::Infallible, sync::atomic::AtomicU64};

use eventlog::{Intent, Log};
use kernel::{
    AccountId, AggregateId, CodecError, Command, Decider, EventPayload, Facts, Kind, PersonalField,
    Position, Recorded, Sealer, SealerFuture, Timestamp, Uuid, Versioned,
};
use serde::{Deserialize, Serialize};

pub struct Counter;

impl Decider for Counter {
    const KIND: Kind = Kind(1);
    const SHAPE: u8 = 1;
    type State = u64;
    type Event = Incremented;

    fn evolve(count: u64, _: &Incremented) -> u64 {
        count + 1
    }
}

pub struct Incremented;

impl EventPayload for Incremented {
    fn event_type(&self) -> (&'static str, u16) {
        ("Incremented", 1)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        Ok(Vec::new())
    }

    fn from_bytes(_: &str, _: u16, _: &[u8]) -> Option<Result<Self, CodecError>> {
        Some(Ok(Self))
    }
}

/// Can't tell by itself that it was done already.
pub struct Increment(pub AggregateId);

impl Command for Increment {
    type Decider = Counter;
    type Error = Infallible;

    fn aggregate(&self) -> AggregateId {
        self.0
    }

    fn decide(&self, _: &Versioned<u64>, _: &Facts) -> Result<Vec<Incremented>, Infallible> {
        Ok(vec![Incremented])
    }
}

/// Increments up to a count, so that it has no second effect by itself.
pub struct Reach(pub AggregateId, pub u64);

impl Command for Reach {
    type Decider = Counter;
    type Error = Infallible;

    fn aggregate(&self) -> AggregateId {
        self.0
    }

    fn decide(&self, current: &Versioned<u64>, _: &Facts) -> Result<Vec<Incremented>, Infallible> {
        let missing = self.1.saturating_sub(current.state);
        Ok((0..missing).map(|_| Incremented).collect())
    }
}

/// An increment during whose decision something else happens.
pub struct Disturbed<F> {
    pub counter: AggregateId,
    pub meanwhile: F,
}

impl<F: Fn() + Send + Sync> Command for Disturbed<F> {
    type Decider = Counter;
    type Error = Infallible;

    fn aggregate(&self) -> AggregateId {
        self.counter
    }

    fn decide(&self, _: &Versioned<u64>, _: &Facts) -> Result<Vec<Incremented>, Infallible> {
        (self.meanwhile)();
        Ok(vec![Incremented])
    }
}

/// A counter that no projection shows.
pub struct Unseen;

impl Decider for Unseen {
    const KIND: Kind = Kind(3);
    const SHAPE: u8 = 1;
    const SHOWN: bool = false;
    type State = u64;
    type Event = Incremented;

    fn evolve(count: u64, _: &Incremented) -> u64 {
        count + 1
    }
}

pub struct IncrementUnseen(pub AggregateId);

impl Command for IncrementUnseen {
    type Decider = Unseen;
    type Error = Infallible;

    fn aggregate(&self) -> AggregateId {
        self.0
    }

    fn decide(&self, _: &Versioned<u64>, _: &Facts) -> Result<Vec<Incremented>, Infallible> {
        Ok(vec![Incremented])
    }
}

pub struct Edge;

#[derive(Clone, Default, Serialize, Deserialize)]
pub struct EdgeState {
    pub on: bool,
}

impl Decider for Edge {
    const KIND: Kind = Kind(2);
    const SHAPE: u8 = 1;
    type State = EdgeState;
    type Event = Liked;

    fn evolve(_: EdgeState, _: &Liked) -> EdgeState {
        EdgeState { on: true }
    }
}

pub struct Liked;

impl EventPayload for Liked {
    fn event_type(&self) -> (&'static str, u16) {
        ("Liked", 1)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        Ok(Vec::new())
    }

    fn from_bytes(_: &str, _: u16, _: &[u8]) -> Option<Result<Self, CodecError>> {
        Some(Ok(Self))
    }
}

pub struct Like(pub AggregateId);

impl Command for Like {
    type Decider = Edge;
    type Error = Infallible;

    fn aggregate(&self) -> AggregateId {
        self.0
    }

    fn decide(&self, edge: &Versioned<EdgeState>, _: &Facts) -> Result<Vec<Liked>, Infallible> {
        Ok(if edge.state.on { vec![] } else { vec![Liked] })
    }
}

/// There are no personal fields here.
pub struct NoSealer;

impl Sealer for NoSealer {
    fn seal<'a>(&'a self, fields: Vec<PersonalField<'a>>) -> SealerFuture<'a> {
        assert!(fields.is_empty());
        Box::pin(async { Ok(()) })
    }

    fn open<'a>(&'a self, _: Vec<PersonalField<'a>>) -> SealerFuture<'a> {
        Box::pin(async { Ok(()) })
    }
}

/// A new id whose routing bits are `route`.
pub fn id(route: u16) -> Uuid {
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    let drawn = DRAWN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    kernel::compose_id(1_790_000_000_000, drawn.to_be_bytes(), kernel::Route(route))
}

/// A new account, and a counter of its own.
pub fn counter(route: u16) -> (AccountId, AggregateId) {
    let account = AccountId(id(route));
    (account, AggregateId::single(Counter::KIND, account.0))
}

pub fn by(actor: AccountId) -> Intent {
    Intent {
        actor,
        now: Timestamp(1_790_000_000_000),
        correlation: id(0),
        causation: None,
        key: None,
        trace: None,
    }
}

pub async fn count(log: &Log, counter: AggregateId) -> u64 {
    log.state::<Counter>(counter).await.unwrap().state
}

/// Every event but the start of the epoch, all partitions, checked for gaps.
pub async fn events(log: &Log) -> Vec<Recorded> {
    let mut events = Vec::new();
    for partition in log.partitions() {
        let mut after: Position = Log::beginning(partition);
        loop {
            let page = log.read(after, 1_000).await.unwrap();
            let Some(last) = page.last() else { break };
            let end = last.position;
            for event in page {
                eventlog::check_contiguous(after, &event).unwrap();
                after = event.position;
                events.push(event);
            }
            assert_eq!(after, end);
        }
    }
    events.retain(|event| event.envelope.event_type != eventlog::EPOCH_STARTED);
    events
}
