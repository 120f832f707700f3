//! How far the fold of a partition is, and the events that it folded last: the
//! fan-out that keeps up takes them from its hands, and does not read them again.

use std::sync::Arc;

use kernel::{Position, Recorded};

/// Cheap to clone. Holds one batch at most.
#[derive(Clone)]
pub(crate) struct Front {
    from: Position,
    pub at: Position,
    /// What comes after `from`; more than was folded, where the fold took a part.
    events: Arc<[Recorded]>,
}

impl Front {
    /// With nothing in hand.
    pub fn at(at: Position) -> Self {
        Self::new(at, at, Vec::new())
    }

    pub fn new(from: Position, at: Position, events: Vec<Recorded>) -> Self {
        let events = events.into();
        Self { from, at, events }
    }

    /// What comes after `at` and was folded, where it is in hand from there on.
    pub fn after(&self, at: Position) -> Option<&[Recorded]> {
        let up_to = |end| self.events.partition_point(|event| event.position <= end);
        let events = self.events.get(up_to(at)..up_to(self.at))?;
        (self.from <= at && !events.is_empty()).then_some(events)
    }
}

#[cfg(test)]
mod tests {
    use kernel::{AccountId, AggregateId, Envelope, Kind, Partition, Timestamp, Uuid};

    use super::*;

    fn position(seq: u64) -> Position {
        Position {
            partition: Partition(3),
            epoch: 1,
            seq,
        }
    }

    fn event(seq: u64) -> Recorded {
        Recorded {
            position: position(seq),
            envelope: Envelope {
                event_type: "Liked".into(),
                event_version: 1,
                aggregate: AggregateId::single(Kind(4), Uuid::nil()),
                version: 1,
                recorded_at: Timestamp(0),
                actor: AccountId(Uuid::nil()),
                correlation: Uuid::nil(),
                causation: None,
                receipt: None,
                data: Vec::new(),
                trace: None,
            },
        }
    }

    #[test]
    fn what_was_folded_is_in_hand_from_where_the_batch_began() {
        // Of 5 to 9, read after 4, the fold took up to 7.
        let front = Front::new(position(4), position(7), (5..=9).map(event).collect());
        let after = |seq| {
            let events = front.after(position(seq))?;
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
}
