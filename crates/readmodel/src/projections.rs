//! The projections that there are, by name. Those with tables fold into a schema of
//! their own for each generation, and have everything of their own: checkpoints, lag,
//! pauses, rebuilds, dead letters. Home timelines are lists in the views server and
//! follow the tables of `social`. Not here: which generations there are (see
//! `generations`).

mod social;
mod tables;

use std::{pin::Pin, sync::Arc};

use kernel::{AggregateId, Envelope};
use sea_orm::sqlx::PgTransaction;

pub use tables::{analyze, create_indexes, create_tables, names, schemas};

use crate::{Generation, Happened, ReadError};

/// The name of a projection: what its checkpoints, dead letters and pauses are kept
/// under, and its schema. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Projection(&'static str);

impl Projection {
    /// The tables that pages of posts and accounts are read from.
    pub const SOCIAL: Self = Self("social");
    /// Home timelines in the views server.
    pub const TIMELINES: Self = Self("timelines");

    /// Whose rows timelines are filled from.
    pub const FOLLOWED: Self = Self::SOCIAL;

    /// A lower-case word: it is the name of a schema too.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    pub fn name(self) -> &'static str {
        self.0
    }

    /// Whether its generations are schemas.
    pub fn has_tables(self) -> bool {
        self != Self::TIMELINES
    }

    pub fn first(self) -> Generation {
        Generation {
            projection: self,
            number: 1,
        }
    }
}

/// What a step of a fold comes to.
pub type Folded<'a> = Pin<Box<dyn Future<Output = Result<(), ReadError>> + Send + 'a>>;

/// A projection whose rows are tables. Its folds read and write no other's tables.
pub trait TableProjection: Send + Sync {
    fn name(&self) -> Projection;

    /// One line for operators.
    fn about(&self) -> &'static str;

    /// What makes the schema `{schema}`, its tables, and the indexes that folds use; it
    /// may run again where they are there. Tables have primary keys, no foreign keys
    /// (rows of different partitions come in any order), and no types local to the
    /// schema (prepared statements outlive a rename).
    fn tables(&self) -> String;

    /// The indexes that folds do without, in the order in which folds write the tables:
    /// making an index that is there waits for a lock all the same.
    fn indexes(&self) -> String;

    /// Whether the fold does anything with events of this name. The checkpoint may rest
    /// for a moment over those that it does not want.
    fn wants(&self, event_type: &str) -> bool;

    /// The fold of one loop.
    fn fold(&self) -> Box<dyn TableFold>;

    /// Takes all rows of one aggregate back, as if it had never been; for whoever folds
    /// its events again.
    fn forget<'a>(
        &'a self,
        schema: &'a str,
        transaction: &'a mut PgTransaction<'static>,
        aggregate: AggregateId,
    ) -> Folded<'a>;

    /// Collects what events of other aggregates have left in the rows of this one, for
    /// whoever folds its events again. None where they leave nothing.
    fn traces(&self, _aggregate: AggregateId) -> Option<Box<dyn Traces>> {
        None
    }
}

/// Folds batch after batch, and may remember what it committed.
pub trait TableFold: Send + Sync {
    /// Writes what a batch says: the same rows, however the log was cut into batches and
    /// its partitions interleaved, and whether or not the batch was written before.
    fn write<'a>(
        &'a mut self,
        schema: &'a str,
        transaction: &'a mut PgTransaction<'static>,
        batch: &'a [Happened],
    ) -> Folded<'a>;

    /// The transaction of the last `write` was committed.
    fn committed(&mut self) {}
}

/// What events of other aggregates have left in the rows of one.
pub trait Traces: Send + Sync {
    /// An event of the aggregate's partition.
    fn take(&mut self, envelope: &Envelope);

    fn write<'a>(
        &'a self,
        schema: &'a str,
        transaction: &'a mut PgTransaction<'static>,
    ) -> Folded<'a>;
}

/// The registered projections; cheap to clone.
#[derive(Clone)]
pub struct Projections {
    tables: Arc<[Arc<dyn TableProjection>]>,
}

/// Those of the product.
impl Default for Projections {
    fn default() -> Self {
        Self {
            tables: Arc::new([Arc::new(social::SocialTables)]),
        }
    }
}

impl Projections {
    /// These and one more. No name may begin with another's: schemas of generations are
    /// told apart by it.
    #[must_use]
    pub fn with(self, more: Arc<dyn TableProjection>) -> Self {
        let all = self.tables.iter().cloned().chain([more]);
        Self {
            tables: all.collect(),
        }
    }

    /// Those with tables, in their order.
    pub fn with_tables(&self) -> impl Iterator<Item = &Arc<dyn TableProjection>> {
        self.tables.iter()
    }

    /// Every one, in their order.
    pub fn names(&self) -> impl Iterator<Item = Projection> {
        let tables = self.tables.iter().map(|one| one.name());
        tables.chain([Projection::TIMELINES])
    }

    pub fn named(&self, name: &str) -> Option<Projection> {
        self.names().find(|one| one.name() == name)
    }

    /// None where it has no tables, or is not registered.
    pub fn tables(&self, projection: Projection) -> Option<&Arc<dyn TableProjection>> {
        self.tables.iter().find(|one| one.name() == projection)
    }

    /// One line for operators.
    pub fn about(&self, projection: Projection) -> &'static str {
        match self.tables(projection) {
            Some(tables) => tables.about(),
            None => "Home timelines in the views server",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_begins_with_another_and_each_is_a_schema() {
        let names: Vec<_> = Projections::default().names().collect();
        for (place, one) in names.iter().enumerate() {
            let word = |byte: u8| byte.is_ascii_lowercase();
            assert!(one.name().bytes().all(word), "{one:?}");
            for (other_place, other) in names.iter().enumerate() {
                let begins = other.name().starts_with(one.name());
                assert!(place == other_place || !begins, "{one:?}, {other:?}");
            }
        }
    }

    #[test]
    fn what_makes_a_generation_names_its_schema() {
        for projection in Projections::default().with_tables() {
            for sql in [projection.tables(), projection.indexes()] {
                let own = format!(" {}.", projection.name().name());
                assert!(sql.contains("{schema}.") && !sql.contains(&own), "{sql}");
            }
        }
    }
}
