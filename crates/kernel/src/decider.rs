//! The shape of every decision: a command is decided against the state of one
//! aggregate and facts of the moment about others, and gives events; a state is
//! what the events add up to. Pure: what a decision needs arrives with it.
//! (The pattern is Jérémie Chassaing's "Functional Event Sourcing Decider".)

use serde::{Serialize, de::DeserializeOwned};

use crate::{AggregateId, CodecError, Kind, NamedPersonal};

/// One sort of aggregate.
pub trait Decider: Send + Sync + 'static {
    const KIND: Kind;
    /// The shape of the stored state: raise it when `State` changes so that
    /// old bytes can't be read; the state is then rebuilt from the log.
    const SHAPE: u8;
    /// Whether any projection shows what these events did: whoever does something
    /// that is shown reads it next, wherever it stands.
    const SHOWN: bool = true;
    type State: Default + Clone + Serialize + DeserializeOwned + Send + Sync;
    type Event: EventPayload;

    fn evolve(state: Self::State, event: &Self::Event) -> Self::State;
}

/// The events of one feature: a closed list with a stored name and version each.
pub trait EventPayload: Sized + Send + Sync {
    /// Name and version of this event.
    fn event_type(&self) -> (&'static str, u16);

    fn to_bytes(&self) -> Result<Vec<u8>, CodecError>;

    /// `None` where the name is not of this feature.
    fn from_bytes(name: &str, version: u16, data: &[u8]) -> Option<Result<Self, CodecError>>;

    /// Every personal field of this event. Once released, a name is never changed:
    /// fields are sealed with it.
    fn personal(&mut self) -> Vec<NamedPersonal<'_>> {
        Vec::new()
    }
}

/// A wish to change one aggregate.
pub trait Command: Send + Sync {
    type Decider: Decider;
    type Error: std::error::Error + Send + Sync + 'static;

    /// Whose state the command is decided against, and whose version fences it.
    fn aggregate(&self) -> AggregateId;

    /// Other aggregates to look at: facts of the moment, not fenced. Asked
    /// again with what was found, until it names nothing new: what is worth
    /// reading may depend on what was read (a post's author).
    fn reads(&self, _found: &Facts) -> Vec<Read> {
        Vec::new()
    }

    /// The events that this command makes; none where there is nothing to do.
    fn decide(
        &self,
        current: &Versioned<<Self::Decider as Decider>::State>,
        facts: &Facts,
    ) -> Result<Vec<<Self::Decider as Decider>::Event>, Self::Error>;
}

/// A state and the version of the aggregate it was taken at; version 0 is an
/// aggregate that has no events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versioned<S> {
    pub version: u64,
    pub state: S,
}

/// The versions at which a command may meet its aggregate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ExpectedVersion {
    #[default]
    Any,
    /// None of them where there are none.
    OneOf(Vec<u64>),
}

impl ExpectedVersion {
    pub fn admits(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }
}

impl From<u64> for ExpectedVersion {
    fn from(version: u64) -> Self {
        Self::OneOf(vec![version])
    }
}

/// Which state to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Read {
    pub aggregate: AggregateId,
    pub shape: u8,
}

impl Read {
    pub fn of<D: Decider>(aggregate: AggregateId) -> Self {
        Self {
            aggregate,
            shape: D::SHAPE,
        }
    }
}

/// A stored state as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub version: u64,
    pub state: Vec<u8>,
}

impl Snapshot {
    pub fn decode<D: Decider>(snapshot: Option<&Self>) -> Result<Versioned<D::State>, CodecError> {
        Ok(match snapshot {
            None => Versioned::default(),
            Some(snapshot) => Versioned {
                version: snapshot.version,
                state: crate::decode(&snapshot.state)?,
            },
        })
    }
}

/// What was read of other aggregates: so few that a list is quicker than a map.
#[derive(Clone, Debug, Default)]
pub struct Facts(Vec<(AggregateId, Option<Snapshot>)>);

impl Facts {
    pub fn insert(&mut self, aggregate: AggregateId, snapshot: Option<Snapshot>) {
        match self.0.iter_mut().find(|(known, _)| *known == aggregate) {
            Some((_, known)) => *known = snapshot,
            None => self.0.push((aggregate, snapshot)),
        }
    }

    /// Whether `aggregate` was looked for, found or not.
    pub fn knows(&self, aggregate: &AggregateId) -> bool {
        self.get(aggregate).is_some()
    }

    fn get(&self, aggregate: &AggregateId) -> Option<Option<&Snapshot>> {
        let known = self.0.iter().find(|(known, _)| known == aggregate);
        known.map(|(_, snapshot)| snapshot.as_ref())
    }

    /// A state as if it had been read: for tests of deciders.
    pub fn with<D: Decider>(
        mut self,
        aggregate: AggregateId,
        version: u64,
        state: &D::State,
    ) -> Result<Self, CodecError> {
        let state = crate::encode(state)?;
        self.insert(aggregate, Some(Snapshot { version, state }));
        Ok(self)
    }

    /// The state of `aggregate` where it was read and can be: for decisions that
    /// must not take what nobody knows for nothing.
    pub fn known<D: Decider>(&self, aggregate: AggregateId) -> Option<Versioned<D::State>> {
        Snapshot::decode::<D>(self.get(&aggregate)?).ok()
    }

    /// The state of `aggregate`, at version 0 where it has no events. One that
    /// was not read, or cannot be read, counts as having none: decisions fail
    /// closed.
    pub fn of<D: Decider>(&self, aggregate: AggregateId) -> Versioned<D::State> {
        Snapshot::decode::<D>(self.get(&aggregate).flatten()).unwrap_or_default()
    }
}
