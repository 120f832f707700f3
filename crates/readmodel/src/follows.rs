//! Follows: the edges, followers and followed, how many there are, and who asked
//! to be let in.

use std::collections::BTreeSet;

use domain::{Event, follows::FollowEvent, kinds};
use kernel::{AccountId, AggregateId, Kind};
use sea_orm::sqlx::{self, PgPool, PgTransaction, Row};

use crate::{
    ReadError,
    accounts::AccountRow,
    counters::AccountCounter,
    edges::{Changes, Counted, EdgeTable, Ends},
    feature::Feature,
    paging::{EdgeKey, Part, Start},
    social::{Effects, Happened, Tables},
    standing::{Concern, Moves},
    timelines::FanOut,
    touches::Touch,
    visibility::listed,
};

const FOLLOWS: EdgeTable = EdgeTable {
    name: "follows",
    from: "follower_id",
    to: "followed_id",
    since: "followed_at",
    detail: None,
    counted: &[
        Counted::To(AccountCounter::Followers),
        Counted::From(AccountCounter::Following),
    ],
};

const REQUESTS: EdgeTable = EdgeTable {
    name: "follow_requests",
    from: "follower_id",
    to: "followed_id",
    since: "requested_at",
    detail: None,
    counted: &[],
};

#[derive(Debug, Default)]
pub(crate) struct Fold {
    follows: Changes,
    requests: Changes,
}

impl Feature for Fold {
    const KIND: Kind = kinds::FOLLOW;
    type Event = FollowEvent;

    const FAN_OUT: Option<fn(AggregateId, &Event, &mut FanOut)> = Some(fan_out);

    /// Folds of deactivations look follows up from both ends.
    fn tables() -> String {
        FOLLOWS.ddl() + &FOLLOWS.index_by_to() + &REQUESTS.ddl()
    }

    fn indexes() -> String {
        FOLLOWS.index_by_from() + &REQUESTS.index_by_to()
    }

    fn invalidates(edge: AggregateId, _: &FollowEvent) -> Vec<Touch> {
        let follower = AccountId(edge.id);
        vec![Touch::Follows(follower), Touch::FannedOut(follower)]
    }

    fn take(&mut self, happened: &Happened, event: &FollowEvent) {
        match event {
            FollowEvent::Followed(_) => self.follows.take(happened, true),
            FollowEvent::Unfollowed(_) | FollowEvent::FollowerRemoved(_) => {
                self.follows.take(happened, false);
            }
            FollowEvent::FollowRequested(_) => self.requests.take(happened, true),
            FollowEvent::FollowRequestWithdrawn(_) | FollowEvent::FollowRequestRejected(_) => {
                self.requests.take(happened, false);
            }
            FollowEvent::FollowRequestAccepted(_) => {
                self.requests.take(happened, false);
                self.follows.take(happened, true);
            }
            FollowEvent::FollowSevered(_) => {
                self.requests.take(happened, false);
                self.follows.take(happened, false);
            }
        }
    }

    /// The far ends of follows are accounts of other partitions.
    fn concern(&self) -> Option<Concern> {
        (!self.follows.is_empty()).then_some(Concern::Counts)
    }

    async fn write(
        self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        let Self { follows, requests } = self;
        follows
            .write(transaction, tables, &FOLLOWS, effects)
            .await?;
        requests
            .write(transaction, tables, &REQUESTS, effects)
            .await
    }

    async fn forget(
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        edge: AggregateId,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        let (from, to) = (edge.id, edge.member.unwrap_or_default());
        for table in [&FOLLOWS, &REQUESTS] {
            table.forget(transaction, tables, from, to, effects).await?;
        }
        Ok(())
    }

    async fn move_standings(
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        moves: &Moves,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        FOLLOWS
            .move_standings(transaction, tables, moves, effects)
            .await
    }
}

/// Following merges the followed's posts into home: it is filled anew. What is no longer
/// followed, reads leave out.
fn fan_out(edge: AggregateId, event: &Event, fan_out: &mut FanOut) {
    if let Event::Follow(FollowEvent::Followed(_) | FollowEvent::FollowRequestAccepted(_)) = event {
        fan_out.refill(AccountId(edge.id));
    }
}

/// Whom `account` follows, at most `limit`.
pub(crate) async fn followed(
    pool: &PgPool,
    account: AccountId,
    limit: u32,
) -> Result<Vec<AccountId>, ReadError> {
    let sql = "SELECT followed_id FROM follows WHERE follower_id = $1 LIMIT $2";
    let rows = sqlx::query(sql)
        .bind(account.0)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok(AccountId(row.try_get("followed_id")?)))
        .collect()
}

/// Those of `others` that `account` follows.
pub(crate) async fn followed_among(
    pool: &PgPool,
    account: AccountId,
    others: &BTreeSet<AccountId>,
) -> Result<BTreeSet<AccountId>, ReadError> {
    let others = others.iter().map(|other| other.0).collect();
    let followed = FOLLOWS.among(pool, account, others).await?;
    Ok(followed.into_iter().map(AccountId).collect())
}

/// Which end of the edges to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Followers,
    Following,
}

/// Followers of `account` or those it follows, the last first, without those
/// that the viewer blocks or is blocked by.
pub async fn list(
    pool: &PgPool,
    viewer: Option<AccountId>,
    account: AccountId,
    side: Side,
    start: Start<EdgeKey>,
    limit: u32,
) -> Result<Part<(i64, AccountRow), EdgeKey>, ReadError> {
    let ends = match side {
        Side::Followers => Ends::From,
        Side::Following => Ends::To,
    };
    let follows = (account.0, ends);
    (FOLLOWS.accounts(pool, viewer, follows, listed!(), start, limit)).await
}

/// How many ask to follow `account` and wait, of those that their list has; `max` where
/// there are as many or more.
pub async fn count_requests(pool: &PgPool, account: AccountId, max: u32) -> Result<u32, ReadError> {
    let sql = concat!(
        "SELECT count(*) FROM (
            SELECT 1 FROM follow_requests AS r CROSS JOIN LATERAL (
                SELECT 1 FROM accounts AS a WHERE a.id = r.follower_id AND ",
        listed!(),
        "OFFSET 0) AS asking
            WHERE r.followed_id = $1 LIMIT $2
         ) AS waiting"
    );
    let row = sqlx::query(sql)
        .bind(account.0)
        .bind(i64::from(max))
        .fetch_one(pool)
        .await?;
    Ok(row.try_get::<i64, _>("count")? as u32)
}

/// Who asked to follow `account` and waits, the last first.
pub async fn requests(
    pool: &PgPool,
    account: AccountId,
    start: Start<EdgeKey>,
    limit: u32,
) -> Result<Part<(i64, AccountRow), EdgeKey>, ReadError> {
    let requests = (account.0, Ends::From);
    (REQUESTS.accounts(pool, Some(account), requests, listed!(), start, limit)).await
}
