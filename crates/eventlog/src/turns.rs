//! Turns, in this process, for the aggregates that commands race for. An
//! aggregate that nobody races for takes no room, and waits for no other.

use std::{collections::HashMap, sync::Arc};

use kernel::AggregateId;
use parking_lot::Mutex;
use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

/// Those who wait for the same aggregate, the first first.
type Waiting = Arc<Queue<()>>;

#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<AggregateId, Waiting>>);

impl Turns {
    /// Whether somebody has, or waits for, the aggregate's turn.
    pub fn are_taken(&self, aggregate: &AggregateId) -> bool {
        self.0.lock().contains_key(aggregate)
    }

    /// The turn, once those who asked before have had theirs.
    pub async fn take(&self, aggregate: AggregateId) -> Turn<'_> {
        let waiting = self.0.lock().entry(aggregate).or_default().clone();
        let mut turn = Turn {
            turns: self,
            aggregate,
            waiting,
            held: None,
        };
        turn.held = Some(turn.waiting.clone().lock_owned().await);
        turn
    }
}

/// Ends when it is dropped, also where it was only waited for.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    aggregate: AggregateId,
    waiting: Waiting,
    held: Option<OwnedMutexGuard<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.held = None;
        let mut all = self.turns.0.lock();
        // One in the map, and this one's: nobody else is left.
        if Arc::strong_count(&self.waiting) == 2 {
            all.remove(&self.aggregate);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kernel::{Kind, Uuid};
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn aggregate(number: u128) -> AggregateId {
        AggregateId::single(Kind(1), Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn nobody_waits_for_another_aggregate_and_none_is_left() {
        let turns = Turns::default();
        let held = turns.take(aggregate(0)).await;
        for other in 1..10_000 {
            assert!(!turns.are_taken(&aggregate(other)));
        }
        let other = timeout(SOON, turns.take(aggregate(1))).await;
        assert!(other.is_ok());
        // One that gives up, and one that comes next.
        assert!(timeout(SOON, turns.take(aggregate(0))).await.is_err());
        assert!(turns.are_taken(&aggregate(0)));
        let (next, ()) = tokio::join!(timeout(SOON, turns.take(aggregate(0))), async {
            drop(held);
        });
        assert!(next.is_ok());
        drop((next, other));
        assert!(turns.0.lock().is_empty());
    }
}
