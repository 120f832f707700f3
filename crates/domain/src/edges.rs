//! Edges: an account does something once to an account or a post, and can undo it
//! (like, block, mute …). A feature declares its edge and what admits it; commands,
//! state and property test are the same for all. Not here: follows, which a private
//! account answers (see `follows`).

#[cfg(test)]
mod properties;

use std::fmt::Debug;

use kernel::{AccountId, AggregateId, Command, Decider, Facts, Read, Versioned};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::posts::PostId;

/// An aggregate that is an edge from an account.
pub trait Edge: Decider {
    /// What the edge leads to: an account or a post.
    type To: End;
    /// What the edge says beside that it is there; `()` where it says nothing.
    type Details: Clone + Debug + Default + Send + Sync;
    type Error: std::error::Error + Send + Sync + 'static;

    fn aggregate(ends: &Ends<Self::To>) -> AggregateId {
        AggregateId::edge(Self::KIND, ends.account.0, ends.to.id())
    }

    fn holds(state: &Self::State) -> bool;

    /// Whether there is nothing to change.
    fn is_as_wanted(state: &Self::State, _: &Self::Details) -> bool {
        Self::holds(state)
    }

    /// What must be read to know whether the account finds what the edge leads to.
    fn reads(found: &Facts, ends: &Ends<Self::To>) -> Vec<Read>;

    /// What else must be read to make the edge say this.
    fn reads_of(_: &Self::Details) -> Vec<Read> {
        Vec::new()
    }

    /// What must be read to undo an edge that is there.
    fn reads_to_undo(_: &Ends<Self::To>) -> Vec<Read> {
        Vec::new()
    }

    /// Fails where the account does not find what the edge leads to.
    fn find(facts: &Facts, ends: &Ends<Self::To>) -> Result<(), Self::Error>;

    /// The event of a new edge; fails where there may be none.
    fn connect(
        facts: &Facts,
        ends: &Ends<Self::To>,
        details: &Self::Details,
    ) -> Result<Self::Event, Self::Error>;

    /// The event of an edge that is undone.
    fn disconnect(facts: &Facts, ends: &Ends<Self::To>) -> Result<Self::Event, Self::Error>;
}

/// What an edge may lead to.
pub trait End: Copy + Debug + Send + Sync + 'static {
    fn id(self) -> Uuid;
}

impl End for AccountId {
    fn id(self) -> Uuid {
        self.0
    }
}

impl End for PostId {
    fn id(self) -> Uuid {
        self.0
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Ends<T> {
    pub account: AccountId,
    pub to: T,
    /// Who wrote the post that the edge leads to, as far as the caller knows: saves a
    /// round trip to the log.
    pub likely_author: Option<AccountId>,
}

/// The state of an edge that says nothing but that it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Held(pub bool);

/// Make an edge, or have it say something else; nothing to do where it is as wanted.
#[derive(Clone, Debug)]
pub struct Connect<E: Edge> {
    pub ends: Ends<E::To>,
    pub details: E::Details,
}

/// Undo an edge. Allowed whatever became of what it leads to; nothing to do where there
/// is no such edge.
#[derive(Clone, Debug)]
pub struct Disconnect<E: Edge> {
    pub ends: Ends<E::To>,
}

impl<E: Edge> Connect<E> {
    pub fn new(account: AccountId, to: E::To) -> Self {
        Self {
            ends: Ends::new(account, to),
            details: E::Details::default(),
        }
    }

    #[must_use]
    pub fn by_likely(mut self, author: Option<AccountId>) -> Self {
        self.ends.likely_author = author;
        self
    }

    #[must_use]
    pub fn with(self, details: E::Details) -> Self {
        Self { details, ..self }
    }
}

impl<E: Edge> Disconnect<E> {
    pub fn new(account: AccountId, to: E::To) -> Self {
        let ends = Ends::new(account, to);
        Self { ends }
    }
}

impl<T> Ends<T> {
    fn new(account: AccountId, to: T) -> Self {
        Self {
            account,
            to,
            likely_author: None,
        }
    }
}

impl<E: Edge> Command for Connect<E> {
    type Decider = E;
    type Error = E::Error;

    fn aggregate(&self) -> AggregateId {
        E::aggregate(&self.ends)
    }

    fn reads(&self, found: &Facts) -> Vec<Read> {
        let mut reads = E::reads(found, &self.ends);
        reads.extend(E::reads_of(&self.details));
        reads
    }

    fn decide(
        &self,
        current: &Versioned<E::State>,
        facts: &Facts,
    ) -> Result<Vec<E::Event>, E::Error> {
        let event = E::connect(facts, &self.ends, &self.details)?;
        Ok(match E::is_as_wanted(&current.state, &self.details) {
            true => Vec::new(),
            false => vec![event],
        })
    }
}

impl<E: Edge> Command for Disconnect<E> {
    type Decider = E;
    type Error = E::Error;

    fn aggregate(&self) -> AggregateId {
        E::aggregate(&self.ends)
    }

    /// Whether the account finds what the edge leads to is of interest only where there
    /// is no edge.
    fn reads(&self, found: &Facts) -> Vec<Read> {
        match found.known::<E>(self.aggregate()) {
            Some(edge) if !E::holds(&edge.state) => E::reads(found, &self.ends),
            Some(_) | None => E::reads_to_undo(&self.ends),
        }
    }

    fn decide(
        &self,
        current: &Versioned<E::State>,
        facts: &Facts,
    ) -> Result<Vec<E::Event>, E::Error> {
        match E::holds(&current.state) {
            true => Ok(vec![E::disconnect(facts, &self.ends)?]),
            false => E::find(facts, &self.ends).map(|()| Vec::new()),
        }
    }
}

/// Declares a plain edge: its aggregate, its kind, what it leads to, its two events
/// (structs of the feature) and their enum.
macro_rules! edge {
    (
        $(#[$doc:meta])*
        $edges:ident($kind:ident, $to:ty), $events:ident { $on:ident, $off:ident }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $edges;

        $crate::event::events!($events { $on = 1, $off = 1 });

        impl $crate::PersonalFields for $on {}
        impl $crate::PersonalFields for $off {}

        impl $edges {
            pub fn id(account: kernel::AccountId, to: $to) -> kernel::AggregateId {
                kernel::AggregateId::edge($crate::kinds::$kind, account.0, to.0)
            }
        }

        impl kernel::Decider for $edges {
            const KIND: kernel::Kind = $crate::kinds::$kind;
            const SHAPE: u8 = 1;
            type State = $crate::edges::Held;
            type Event = $events;

            fn evolve(_: Self::State, event: &$events) -> Self::State {
                $crate::edges::Held(match event {
                    $events::$on(_) => true,
                    $events::$off(_) => false,
                })
            }
        }
    };
}
pub(crate) use edge;
