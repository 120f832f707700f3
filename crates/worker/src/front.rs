//! How far the tables that timelines follow are in a partition, and events up to there:
//! those that were folded last, which the fan-out that keeps up takes from here and does
//! not read again, or what the fan-out has read of the log.

use std::sync::Arc;

use kernel::Position;

use crate::{
    batch::{Batch, Events},
    fanning,
};

/// Cheap to clone. Holds one batch at most.
#[derive(Clone)]
pub(crate) struct Front {
    pub at: Position,
    /// It may have more than was folded, where the fold took a part.
    batch: Arc<Batch>,
}

impl Front {
    /// Without events.
    pub fn at(at: Position) -> Self {
        Self::new(at, Arc::new(Batch::empty(at)))
    }

    pub fn new(at: Position, batch: Arc<Batch>) -> Self {
        Self { at, batch }
    }

    /// What comes after `at` and was folded, where all of it is here.
    pub fn after(&self, at: Position) -> Option<Events<'_>> {
        self.batch.between(at, self.at)
    }

    /// Whether anything that was folded after `at` asks something of the timelines,
    /// or may: what is not here may be anything.
    pub fn asks_after(&self, at: Position) -> bool {
        match self.after(at) {
            Some(events) => events.recorded().iter().any(fanning::asks),
            None => at < self.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use kernel::{AccountId, AggregateId, Envelope, Kind, Partition, Recorded, Timestamp, Uuid};

    use super::*;

    fn position(seq: u64) -> Position {
        Position {
            partition: Partition(3),
            epoch: 1,
            seq,
        }
    }

    /// Of events after 4, folded up to `at`.
    fn front(at: u64, events: Vec<Recorded>) -> Front {
        Front::new(position(at), Arc::new(Batch::decode(position(4), events)))
    }

    fn event(seq: u64) -> Recorded {
        event_of("Liked", seq)
    }

    fn event_of(event_type: &str, seq: u64) -> Recorded {
        let kind = match event_type {
            "PostCreated" => Kind(3),
            _ => Kind(4),
        };
        Recorded {
            position: position(seq),
            envelope: Envelope {
                event_type: event_type.into(),
                event_version: 1,
                aggregate: AggregateId::single(kind, Uuid::nil()),
                version: 1,
                recorded_at: Timestamp(0),
                actor: AccountId(Uuid::nil()),
                correlation: Uuid::nil(),
                causation: None,
                receipt: None,
                data: Vec::new(),
                trace: None,
            },
            mac: Default::default(),
        }
    }

    #[test]
    fn what_was_folded_is_in_hand_from_where_the_batch_began() {
        // Of 5 to 9, read after 4, the fold took up to 7.
        let front = front(7, (5..=9).map(event).collect());
        let after = |seq| {
            let events = front.after(position(seq))?.recorded();
            Some(events.iter().map(|event| event.position.seq).collect())
        };
        assert_eq!(after(4), Some(vec![5, 6, 7]));
        assert_eq!(after(6), Some(vec![7]));
        // 4 is missing, and the rest is not whole without it.
        assert_eq!(after(3), None);
        for nothing in [7, 8, 9, 10] {
            assert_eq!(after(nothing), None, "{nothing}");
        }
        assert!(Front::at(position(4)).after(position(2)).is_none());
    }

    #[test]
    fn what_is_not_in_hand_may_ask_anything() {
        let mut events: Vec<_> = (5..=9).map(event).collect();
        let asks =
            |events: &[Recorded], after| front(8, events.to_vec()).asks_after(position(after));
        assert!(!asks(&events, 4));
        // 4 may be anything.
        assert!(asks(&events, 3));
        events[2] = event_of("PostCreated", 7);
        assert!(asks(&events, 4));
        assert!(asks(&events, 6));
        assert!(!asks(&events, 7));
        // It is not folded yet.
        events[2] = event(7);
        events[4] = event_of("PostCreated", 9);
        assert!(!asks(&events, 4));
        assert!(!asks(&events, 8));
    }

    #[test]
    fn likes_go_out_with_a_batch_of_posts_and_make_none() {
        let turn = |events: Vec<Recorded>| {
            let batch = Batch::decode(position(0), events);
            fanning::turn(batch.all()).len()
        };
        assert_eq!(turn((1..=3_000).map(event).collect()), 3_000);
        // Every second one is a post.
        let kind = |seq| ["Liked", "PostCreated"][seq as usize % 2];
        let mixed = (1..=3_000).map(|seq| event_of(kind(seq), seq));
        assert_eq!(turn(mixed.collect()), 999);
        assert_eq!(turn(Vec::new()), 0);
    }
}
