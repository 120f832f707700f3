//! The `social` projection: the folds that share a checkpoint, because their rows are
//! read together. Which they are, the registry in `lib.rs` says.

use std::collections::BTreeMap;

use domain::Event;
use kernel::{AccountId, AggregateId, Position, Timestamp, Uuid};
use sea_orm::sqlx::{AssertSqlSafe, PgTransaction};

use crate::{
    ReadError,
    activity::Days,
    counters::{self, AccountCounts, PostCounts},
    features,
    standing::{self, Concern, Moves},
};

/// An event as folds see it: decoded, its personal fields opened.
#[derive(Clone, Debug)]
pub struct Happened {
    pub position: Position,
    pub aggregate: AggregateId,
    pub version: u64,
    pub recorded_at: Timestamp,
    pub actor: AccountId,
    pub event: Event,
}

/// One generation of the read model.
#[derive(Clone, Debug)]
pub struct Social {
    schema: String,
}

impl Social {
    /// The generation in `schema`.
    pub fn new(schema: &str) -> Self {
        Self {
            schema: schema.to_owned(),
        }
    }

    /// Folds a batch in memory to one change per key, and writes one statement
    /// per table. Tables come in a fixed order, and the keys of those that
    /// several partitions share (the counters) are sorted, or two partitions'
    /// transactions would wait for each other. What `written` holds already is
    /// left out; what was added is returned, for [`Written::keep`].
    pub async fn write(
        &self,
        transaction: &mut PgTransaction<'_>,
        batch: &[Happened],
        written: &Written,
    ) -> Result<Written, ReadError> {
        let mut features = features::Batch::default();
        for happened in batch {
            features.take(happened);
        }
        let days = written.days.news(Days::of(batch));
        let mut effects = Effects::default();
        let tables = Tables {
            schema: &self.schema,
        };
        if let Some(concern) = features.concern() {
            standing::lock(transaction, &tables, concern).await?;
        }
        features.write(transaction, &tables, &mut effects).await?;
        days.write(transaction, &tables).await?;
        effects.count(transaction, &tables).await?;
        Ok(Written { days })
    }

    /// Takes all rows of one aggregate back, as if it had never been; for
    /// whoever folds its events again.
    pub async fn forget(
        &self,
        transaction: &mut PgTransaction<'_>,
        aggregate: AggregateId,
    ) -> Result<(), ReadError> {
        let tables = Tables {
            schema: &self.schema,
        };
        let mut effects = Effects::default();
        standing::lock(transaction, &tables, Concern::Moves).await?;
        features::forget(transaction, &tables, aggregate, &mut effects).await?;
        effects.count(transaction, &tables).await
    }

    /// Notes when an account was active last: what events of others than its own
    /// aggregate say.
    pub async fn touch(
        &self,
        transaction: &mut PgTransaction<'_>,
        account: AccountId,
        at: Timestamp,
    ) -> Result<(), ReadError> {
        let tables = Tables {
            schema: &self.schema,
        };
        Days::of_one(account, at).write(transaction, &tables).await
    }
}

/// What one loop's transactions have committed and a later one need not write
/// again. Whoever has none writes all.
#[derive(Clone, Debug, Default)]
pub struct Written {
    days: Days,
}

impl Written {
    /// For once `more` is committed, no sooner.
    pub fn keep(&mut self, more: Self) {
        self.days.keep(more.days);
    }
}

/// Names tables of one generation.
pub(crate) struct Tables<'a> {
    schema: &'a str,
}

impl Tables<'_> {
    pub fn schema(&self) -> &str {
        self.schema
    }

    /// `{s}` in `sql` becomes the schema, whose name is ours and no input.
    pub fn sql(&self, sql: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(sql.replace("{s}", self.schema))
    }
}

/// What a batch does beside its own rows: how much counters change, sorted by key, and
/// which accounts are deactivated or brought back.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub accounts: BTreeMap<Uuid, AccountCounts>,
    pub posts: BTreeMap<Uuid, PostCounts>,
    pub moves: Moves,
}

impl Effects {
    async fn count(
        &self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
    ) -> Result<(), ReadError> {
        counters::count(transaction, tables, &self.accounts).await?;
        counters::count(transaction, tables, &self.posts).await
    }
}
