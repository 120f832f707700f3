//! The `social` projection: the registry of the folds that share a checkpoint,
//! because their rows are read together. It refuses logic of any one feature.

use std::collections::BTreeMap;

use domain::{Event, kinds};
use kernel::{AccountId, AggregateId, Position, Timestamp, Uuid};
use sea_orm::sqlx::{AssertSqlSafe, PgTransaction};

use crate::{
    ReadError, accounts,
    activity::Days,
    blocks, follows, likes, mutes, posts,
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
        let mut accounts = accounts::Fold::default();
        let mut posts = posts::Fold::default();
        let mut likes = likes::Fold::default();
        let mut follows = follows::Fold::default();
        let mut blocks = blocks::Fold::default();
        let mut mutes = mutes::Fold::default();
        for happened in batch {
            match &happened.event {
                Event::Account(event) => accounts.take(happened, event),
                Event::Handle(_) | Event::Operation(_) => {}
                Event::Post(event) => posts.take(happened, event),
                Event::Like(event) => likes.take(happened, event),
                Event::Follow(event) => follows.take(happened, event),
                Event::Block(event) => blocks.take(happened, event),
                Event::Mute(event) => mutes.take(happened, event),
            }
        }
        let days = written.days.news(Days::of(batch));
        let mut counters = Counters::default();
        let tables = Tables {
            schema: &self.schema,
        };
        // What a deactivation hides is of other partitions too.
        match (accounts.moves_standings(), follows.counts()) {
            (true, _) => standing::lock(transaction, &tables, Concern::Moves).await?,
            (false, true) => standing::lock(transaction, &tables, Concern::Counts).await?,
            (false, false) => {}
        }
        let moves = accounts.write(transaction, &tables).await?;
        // What there was before this batch counts for more or less; what the batch adds is
        // counted by the standings that it leaves.
        move_standings(transaction, &tables, &moves, &mut counters).await?;
        days.write(transaction, &tables).await?;
        posts.write(transaction, &tables, &mut counters).await?;
        likes.write(transaction, &tables, &mut counters).await?;
        follows.write(transaction, &tables, &mut counters).await?;
        blocks.write(transaction, &tables).await?;
        mutes.write(transaction, &tables).await?;
        accounts::count(transaction, &tables, &counters.accounts).await?;
        posts::count(transaction, &tables, &counters.posts).await?;
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
        let mut counters = Counters::default();
        let (id, member) = (aggregate.id, aggregate.member.unwrap_or_default());
        standing::lock(transaction, &tables, Concern::Moves).await?;
        match aggregate.kind {
            kinds::ACCOUNT => {
                let moves = accounts::forget(transaction, &tables, id).await?;
                move_standings(transaction, &tables, &moves, &mut counters).await?;
            }
            kinds::POST => posts::forget(transaction, &tables, id, &mut counters).await?,
            kinds::LIKE => likes::forget(transaction, &tables, id, member, &mut counters).await?,
            kinds::FOLLOW => {
                follows::forget(transaction, &tables, id, member, &mut counters).await?;
            }
            kinds::BLOCK => blocks::forget(transaction, &tables, id, member).await?,
            kinds::MUTE => mutes::forget(transaction, &tables, id, member).await?,
            _ => {}
        }
        accounts::count(transaction, &tables, &counters.accounts).await?;
        posts::count(transaction, &tables, &counters.posts).await
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

/// Counts what accounts did that were deactivated, or are back.
async fn move_standings(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    moves: &Moves,
    counters: &mut Counters,
) -> Result<(), ReadError> {
    if moves.is_empty() {
        return Ok(());
    }
    posts::move_standings(transaction, tables, moves, counters).await?;
    likes::move_standings(transaction, tables, moves, counters).await?;
    follows::move_standings(transaction, tables, moves, counters).await
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

/// How much the counters of a batch change, sorted by key.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub accounts: BTreeMap<Uuid, AccountCounts>,
    pub posts: BTreeMap<Uuid, PostCounts>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccountCounts {
    pub followers: i64,
    pub following: i64,
    pub posts: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PostCounts {
    pub likes: i64,
    pub replies: i64,
}
