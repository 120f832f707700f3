//! Parts of lists, either way. A list is looked at along an index, and what the viewer may
//! not see is left out of what was looked at: so a part costs what it has, not what is
//! hidden. Where very much is hidden, a part is short, and says where to go on. A part
//! begins beyond a key and not at a count, so that what comes and goes between two parts
//! makes neither a gap nor a repeat.

use domain::posts::PostId;
use kernel::Uuid;

use crate::ReadError;

/// Rows looked at beyond what a part needs, for those that are hidden.
const SPARE_ROWS: u32 = 4;
/// Rounds of one part, at most. Each reads four times as many rows as the one before.
const ROUNDS_MAX: u32 = 4;
/// Rows looked at in one round, at most.
const ROUND_ROWS_MAX: u32 = 800;

/// Along a list in its order, or back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    #[default]
    Next,
    Prev,
}

/// Whether keys grow or fall: in the order of a list, or as it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
}

/// What a list is sorted by. No row has the least or the greatest.
pub trait ListKey: Copy + Ord {
    const LEAST: Self;
    const GREATEST: Self;

    /// The key beside it.
    fn neighbour(self, way: Way) -> Self;
}

/// Where a part begins: beyond the key; without one, at the end of the list from which the
/// direction leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start<K> {
    pub direction: Direction,
    pub key: Option<K>,
}

/// What to look at: the `count` nearest keys beyond `key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<K> {
    pub way: Way,
    pub key: K,
    pub count: u32,
}

/// A part of a list, in its order. It may have fewer rows than were asked for, and none.
#[derive(Clone, Debug, PartialEq)]
pub struct Part<R, K> {
    pub rows: Vec<R>,
    /// The key after which the list goes on; none at its end.
    pub next: Option<K>,
    /// The key before which the list goes back; none from its end.
    pub prev: Option<K>,
    /// Whether there may be more in the direction that was asked for.
    pub more: bool,
}

/// The key of what has a time, as edges have: that, and what is at its end.
pub type EdgeKey = (i64, Uuid);

/// A query that is written once: `$sql!` of how keys compare with the one that they are
/// beyond, and of their order.
macro_rules! turned {
    ($way:expr, $sql:ident) => {
        match $way {
            $crate::paging::Way::Up => $sql!(">", "ASC"),
            $crate::paging::Way::Down => $sql!("<", "DESC"),
        }
    };
}
pub(crate) use turned;

impl Way {
    const fn back(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }

    /// The two literals of `turned!`.
    pub(crate) const fn sql(self) -> (&'static str, &'static str) {
        macro_rules! both {
            ($beyond:literal, $order:literal) => {
                ($beyond, $order)
            };
        }
        turned!(self, both)
    }
}

impl<K> Default for Start<K> {
    fn default() -> Self {
        Self::next(None)
    }
}

impl<K> Start<K> {
    pub const fn next(key: Option<K>) -> Self {
        let direction = Direction::Next;
        Self { direction, key }
    }

    pub const fn prev(key: Option<K>) -> Self {
        let direction = Direction::Prev;
        Self { direction, key }
    }

    pub fn is_first_page(&self) -> bool {
        self.direction == Direction::Next && self.key.is_none()
    }

    /// Which way a list of this order is looked at.
    pub(crate) const fn way(&self, order: Way) -> Way {
        match self.direction {
            Direction::Next => order,
            Direction::Prev => order.back(),
        }
    }
}

impl<K: ListKey> Step<K> {
    /// The greatest keys.
    pub fn newest(count: u32) -> Self {
        let (way, key) = (Way::Down, K::GREATEST);
        Self { way, key, count }
    }
}

impl ListKey for Uuid {
    const LEAST: Self = Self::nil();
    const GREATEST: Self = Self::max();

    fn neighbour(self, way: Way) -> Self {
        let number = self.as_u128();
        Self::from_u128(match way {
            Way::Up => number.saturating_add(1),
            Way::Down => number.saturating_sub(1),
        })
    }
}

impl ListKey for PostId {
    const LEAST: Self = Self(Uuid::LEAST);
    const GREATEST: Self = Self(Uuid::GREATEST);

    fn neighbour(self, way: Way) -> Self {
        Self(self.0.neighbour(way))
    }
}

/// Of versions, which the database has as `bigint`.
impl ListKey for u64 {
    const LEAST: Self = 0;
    const GREATEST: Self = i64::MAX as Self;

    fn neighbour(self, way: Way) -> Self {
        match way {
            Way::Up => self.saturating_add(1),
            Way::Down => self.saturating_sub(1),
        }
    }
}

/// No edge leads to the least id or the greatest.
impl ListKey for EdgeKey {
    const LEAST: Self = (i64::MIN, Uuid::LEAST);
    const GREATEST: Self = (i64::MAX, Uuid::GREATEST);

    fn neighbour(self, way: Way) -> Self {
        (self.0, self.1.neighbour(way))
    }
}

impl<R, K> Part<R, K> {
    /// The rows, and the part without them.
    pub fn without_rows(self) -> (Vec<R>, Part<R, K>) {
        let rows = Vec::new();
        (self.rows, Self { rows, ..self })
    }

    /// The part with other rows.
    pub fn with<T>(self, rows: Vec<T>) -> Part<T, K> {
        let Self {
            next, prev, more, ..
        } = self;
        Part {
            rows,
            next,
            prev,
            more,
        }
    }
}

/// A part that is being put together: what to look at is asked with `step` until nothing
/// is, and what was found is told with `take`.
pub(crate) struct Filling<R, K> {
    way: Way,
    start: Start<K>,
    limit: usize,
    rows: Vec<(K, R)>,
    /// The first and the last of the keys that were looked at.
    looked: Option<(K, K)>,
    count: u32,
    rounds: u32,
    /// Once it is done: whether there may be more.
    more: Option<bool>,
}

impl<R, K: ListKey> Filling<R, K> {
    pub fn new(order: Way, start: Start<K>, limit: u32) -> Self {
        Self {
            way: start.way(order),
            start,
            limit: limit as usize,
            rows: Vec::new(),
            looked: None,
            count: limit + SPARE_ROWS,
            rounds: 0,
            more: None,
        }
    }

    pub fn step(&self) -> Option<Step<K>> {
        let end = match self.way {
            Way::Up => K::LEAST,
            Way::Down => K::GREATEST,
        };
        let last = self.looked.map(|(_, last)| last);
        let key = last.or(self.start.key).unwrap_or(end);
        let (way, count) = (self.way, self.count);
        (self.more.is_none()).then_some(Step { way, key, count })
    }

    /// The keys of the step, each with its row where the viewer may see it; fewer than it
    /// counts at the end alone.
    pub fn take(&mut self, looked: Vec<(K, Option<R>)>) {
        let is_end = looked.len() < self.count as usize;
        for (key, row) in looked {
            if let Some(row) = row {
                if self.is_full() {
                    self.more = Some(true);
                    return;
                }
                self.rows.push((key, row));
            }
            let first = self.looked.map_or(key, |(first, _)| first);
            self.looked = Some((first, key));
        }
        self.rounds += 1;
        self.count = (self.count * 4).min(ROUND_ROWS_MAX);
        if is_end {
            self.more = Some(false);
        } else if self.is_full() || self.rounds == ROUNDS_MAX {
            self.more = Some(true);
        }
    }

    fn is_full(&self) -> bool {
        self.rows.len() == self.limit
    }

    pub fn part(self) -> Part<R, K> {
        let more = self.more.unwrap_or(true);
        let first = self.rows.first().map(|(key, _)| *key);
        let last = self.rows.last().map(|(key, _)| *key);
        // Where it goes on: what is hidden is looked at again where it may come back, but
        // not where that alone was too much.
        let ahead = match more && !self.is_full() {
            true => self.looked.map(|(_, last)| last),
            false => last,
        };
        let ahead = ahead.or(self.start.key);
        // Where it goes back: a part without rows goes back over the key that it began at.
        let behind = first.or_else(|| match self.start.key {
            Some(key) => Some(key.neighbour(self.way)),
            None => self.looked.filter(|_| more).map(|(first, _)| first),
        });
        let mut rows: Vec<R> = self.rows.into_iter().map(|(_, row)| row).collect();
        match self.start.direction {
            Direction::Next => Part {
                rows,
                next: ahead.filter(|_| more),
                prev: behind,
                more,
            },
            Direction::Prev => {
                rows.reverse();
                Part {
                    rows,
                    next: behind,
                    prev: ahead,
                    more,
                }
            }
        }
    }
}

/// Up to `limit` rows of a list of this order. `look` gives what `Filling::take` takes.
pub(crate) async fn part<R, K: ListKey, F>(
    order: Way,
    start: Start<K>,
    limit: u32,
    look: impl Fn(Step<K>) -> F,
) -> Result<Part<R, K>, ReadError>
where
    F: Future<Output = Result<Vec<(K, Option<R>)>, ReadError>>,
{
    let mut filling = Filling::new(order, start, limit);
    while let Some(step) = filling.step() {
        filling.take(look(step).await?);
    }
    Ok(filling.part())
}

#[cfg(test)]
mod tests;
