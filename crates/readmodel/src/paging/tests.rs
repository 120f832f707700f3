use std::{
    collections::BTreeSet,
    pin::pin,
    task::{Context, Poll, Waker},
};

use proptest::{collection::btree_set, prelude::*};

use super::*;

/// A list of numbers, of which those are seen that `step` divides.
#[derive(Clone, Debug)]
struct List {
    order: Way,
    keys: BTreeSet<u64>,
    step: u64,
}

impl List {
    fn is_seen(&self, key: u64) -> bool {
        key.is_multiple_of(self.step)
    }

    /// What is seen, in the order of the list.
    fn seen(&self) -> Vec<u64> {
        let seen = self.keys.iter().copied().filter(|key| self.is_seen(*key));
        match self.order {
            Way::Up => seen.collect(),
            Way::Down => seen.rev().collect(),
        }
    }

    fn look(&self, step: Step<u64>) -> Vec<(u64, Option<u64>)> {
        let row = |key: &u64| (*key, self.is_seen(*key).then_some(*key));
        let count = step.count as usize;
        match step.way {
            Way::Up => {
                let above = self.keys.range(step.key + 1..);
                above.take(count).map(row).collect()
            }
            Way::Down => {
                let below = self.keys.range(..step.key).rev();
                below.take(count).map(row).collect()
            }
        }
    }

    fn part(&self, start: Start<u64>, limit: u32) -> Result<Part<u64, u64>, TestCaseError> {
        let look = |step| std::future::ready(Ok(self.look(step)));
        let part = pin!(part(self.order, start, limit, look));
        match part.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(part)) => Ok(part),
            Poll::Ready(Err(_)) | Poll::Pending => Err(TestCaseError::fail("no part")),
        }
    }

    /// Part by part to the end, from `start` on.
    fn parts(&self, start: Start<u64>, limit: u32) -> Result<Vec<u64>, TestCaseError> {
        let (mut all, mut start) = (Vec::new(), start);
        loop {
            let part = self.part(start, limit)?;
            prop_assert!(part.rows.len() <= limit as usize);
            match start.direction {
                Direction::Next => all.extend(part.rows),
                Direction::Prev => drop(all.splice(0..0, part.rows)),
            }
            let (direction, key) = match start.direction {
                Direction::Next if part.next.is_none() => break,
                Direction::Next => (Direction::Next, part.next),
                Direction::Prev if !part.more => break,
                Direction::Prev => (Direction::Prev, part.prev),
            };
            prop_assert_ne!(key, start.key, "it goes on");
            start = Start { direction, key };
        }
        Ok(all)
    }
}

fn list() -> impl Strategy<Value = List> {
    let order = prop_oneof![Just(Way::Up), Just(Way::Down)];
    let keys = prop_oneof![
        (1_u64..5_000).prop_map(|total| (1..total).collect::<BTreeSet<u64>>()),
        btree_set(1_u64..200, 0..80),
    ];
    (order, keys, prop_oneof![1_u64..4, 1_u64..3_000]).prop_map(|(order, keys, step)| List {
        order,
        keys,
        step,
    })
}

proptest! {
    #[test]
    fn parts_in_a_row_have_all_that_is_seen_once_and_in_order(
        list in list(),
        limit in 1_u32..12,
    ) {
        let seen = list.seen();
        prop_assert_eq!(&list.parts(Start::next(None), limit)?, &seen);
        prop_assert_eq!(&list.parts(Start::prev(None), limit)?, &seen);
    }

    #[test]
    fn before_and_after_a_part_there_is_all_that_it_has_not(
        list in list(),
        start in (any::<bool>(), 1_u64..5_000),
        limit in 1_u32..12,
    ) {
        let (is_next, key) = start;
        let start = if is_next { Start::next(Some(key)) } else { Start::prev(Some(key)) };
        let part = list.part(start, limit)?;
        let mut all = match part.prev {
            None => Vec::new(),
            key => list.parts(Start::prev(key), limit)?,
        };
        all.extend(&part.rows);
        if part.next.is_some() {
            all.extend(list.parts(Start::next(part.next), limit)?);
        }
        prop_assert_eq!(all, list.seen());
    }

    /// Numbers come and go between parts: of those that stay none is lost, and nothing is
    /// shown twice.
    #[test]
    fn what_comes_and_goes_between_parts_makes_no_gap_and_no_repeat(
        list in list(),
        others in btree_set(1_u64..200, 0..80),
        limit in 1_u32..12,
        is_next in any::<bool>(),
    ) {
        let later = List { keys: others, ..list.clone() };
        let (mut start, mut all, mut part_number) = (Start::next(None), Vec::new(), 0);
        if !is_next {
            start = Start::prev(None);
        }
        loop {
            let now = if part_number % 2 == 0 { &list } else { &later };
            let part = now.part(start, limit)?;
            part_number += 1;
            if is_next {
                all.extend(part.rows);
                start = Start::next(part.next);
            } else {
                drop(all.splice(0..0, part.rows));
                start = Start::prev(part.prev);
            }
            if !part.more {
                break;
            }
        }
        let is_sorted = match list.order {
            Way::Up => all.is_sorted_by(|a, b| a < b),
            Way::Down => all.is_sorted_by(|a, b| a > b),
        };
        prop_assert!(is_sorted, "{:?}", all);
        // Up to where it ended, whichever list it ended in.
        let end = match (is_next, all.first(), all.last()) {
            (true, _, Some(last)) => *last,
            (false, Some(first), _) => *first,
            _ => return Ok(()),
        };
        let is_passed = |key: u64| if (list.order == Way::Up) == is_next { key <= end } else { key >= end };
        for key in list.keys.intersection(&later.keys) {
            prop_assert!(!is_passed(*key) || !list.is_seen(*key) || all.contains(key), "{}", key);
        }
    }

    /// Who has the list asks again and again for what came: that is all there is then.
    #[test]
    fn what_comes_is_before_the_first_part(
        list in list(),
        came in btree_set(1_u64..200, 0..80),
        limit in 1_u32..12,
    ) {
        let first = list.part(Start::default(), limit)?;
        let again = list.part(Start::prev(first.prev), limit)?;
        if !again.more {
            prop_assert_eq!(again.rows.len(), 0);
            prop_assert_eq!(again.prev, first.prev, "nothing came: the same is asked again");
        }
        let mut now = list.clone();
        let beyond = list.keys.last().copied().unwrap_or(0);
        now.keys.extend(came.iter().map(|key| match list.order {
            Way::Down => beyond + key,
            Way::Up => *key,
        }));
        let mut all = now.parts(Start::prev(first.prev), limit)?;
        all.extend(&first.rows);
        if let Some(next) = first.next {
            all.extend(now.parts(Start::next(Some(next)), limit)?);
        }
        let mut wanted = now.seen();
        if list.order == Way::Up {
            // What came into the middle of the part is not shown by going on.
            let is_within = |key: &u64| {
                first.prev.is_some_and(|prev| *key > prev) && first.next.is_none_or(|next| *key <= next)
            };
            wanted.retain(|key| !is_within(key) || first.rows.contains(key));
        }
        prop_assert_eq!(all, wanted);
    }
}

#[test]
fn a_part_looks_at_a_few_rounds_alone() -> Result<(), TestCaseError> {
    let list = List {
        order: Way::Down,
        keys: (1..100_000).collect(),
        step: 99_999,
    };
    let part = list.part(Start::default(), 20)?;
    assert_eq!(part.rows, [99_999]);
    assert!(part.next.is_some_and(|next| next > 98_000), "{part:?}");
    let part = list.part(Start::prev(Some(1)), 20)?;
    assert_eq!((part.rows, part.more), (Vec::new(), true));
    assert!(part.prev.is_some_and(|prev| prev < 2_000));
    Ok(())
}
