//! Parts of lists. A list is looked at along an index, and what the viewer may not see is
//! left out of what was looked at: so a part costs what it has, not what is hidden. Where
//! very much is hidden, a part is short, and says where to go on.

use kernel::Uuid;

use crate::ReadError;

/// Rows looked at beyond what a part needs, for those that are hidden.
pub(crate) const SPARE_ROWS: u32 = 4;
/// Rounds of one part, at most. Each reads four times as many rows as the one before.
pub(crate) const ROUNDS_MAX: u32 = 4;
/// Rows looked at in one round, at most.
const ROUND_ROWS_MAX: u32 = 800;

/// A part of a list: what was found, and the key after which the list goes on; none at
/// its end. It may have fewer rows than were asked for, and none.
#[derive(Clone, Debug, PartialEq)]
pub struct Part<R, K> {
    pub rows: Vec<R>,
    pub next: Option<K>,
}

impl<R, K> Default for Part<R, K> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            next: None,
        }
    }
}

/// The key of what has a time, as edges have: that, and what is at its end.
pub type EdgeKey = (i64, Uuid);

/// How many rows to look at in a round, from the one before.
pub(crate) fn next_round(rows: u32) -> u32 {
    (rows * 4).min(ROUND_ROWS_MAX)
}

/// Up to `limit` rows after the key last seen. `look` gives the next keys of the list, each
/// with its row where the viewer may see it; fewer than it was asked for at the end alone.
pub(crate) async fn part<R, K: Copy, F>(
    after: Option<K>,
    limit: u32,
    look: impl Fn(Option<K>, u32) -> F,
) -> Result<Part<R, K>, ReadError>
where
    F: Future<Output = Result<Vec<(K, Option<R>)>, ReadError>>,
{
    let (mut rows, mut next) = (Vec::new(), after);
    let mut count = limit + SPARE_ROWS;
    for _ in 0..ROUNDS_MAX {
        let looked = look(next, count).await?;
        let is_end = looked.len() < count as usize;
        for (key, row) in looked {
            if let Some(row) = row {
                if rows.len() == limit as usize {
                    return Ok(Part { rows, next });
                }
                rows.push(row);
            }
            next = Some(key);
        }
        if is_end {
            return Ok(Part { rows, next: None });
        }
        if rows.len() == limit as usize {
            break;
        }
        count = next_round(count);
    }
    Ok(Part { rows, next })
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use proptest::prelude::*;

    use super::*;

    /// Of the numbers below `total`, those that `step` divides are seen.
    fn read(after: Option<u32>, limit: u32, total: u32, step: u32) -> Option<Part<u32, u32>> {
        let look = |after: Option<u32>, count: u32| {
            let from = after.map_or(0, |after| after + 1);
            let keys = (from..total).take(count as usize);
            let seen = keys.map(|key| (key, key.is_multiple_of(step).then_some(key)));
            std::future::ready(Ok(seen.collect()))
        };
        let part = pin!(part(after, limit, look));
        match part.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(part) => part.ok(),
            Poll::Pending => None,
        }
    }

    proptest! {
        #[test]
        fn parts_in_a_row_have_all_that_is_seen_once_and_in_order(
            limit in 1_u32..12,
            total in 0_u32..5_000,
            step in 1_u32..3_000,
        ) {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let Some(part) = read(after, limit, total, step) else {
                    return Err(TestCaseError::fail("no part"));
                };
                prop_assert!(part.rows.len() <= limit as usize);
                all.extend(part.rows);
                match part.next {
                    None => break,
                    Some(next) => prop_assert!(after.replace(next) < Some(next)),
                }
            }
            let wanted: Vec<u32> = (0..total).filter(|key| key.is_multiple_of(step)).collect();
            prop_assert_eq!(all, wanted);
        }
    }

    #[test]
    fn a_part_looks_at_a_few_rounds_alone() {
        let part = read(None, 20, 1_000_000, 999_999).unwrap_or_default();
        assert_eq!(part.rows, [0]);
        assert!(part.next.is_some_and(|next| next < 2_000), "{part:?}");
    }
}
