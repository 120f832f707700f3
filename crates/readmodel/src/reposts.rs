//! Reposts: the edges, who reposted a post, and how many did. Which of them home shows is
//! in `timelines/home.rs`.

use domain::{
    Event,
    posts::PostId,
    reposts::{RepostEvent, RepostId},
};
use kernel::{AccountId, AggregateId, Timestamp, Uuid};
use sea_orm::sqlx::{self, PgPool, Row, postgres::PgRow};

use crate::{
    ReadError,
    accounts::AccountRow,
    counters::PostCounter,
    edges::{Counted, EdgeTable, Ends, edge_fold},
    paging::{EdgeKey, Part, Start},
    posts::Author,
    timelines::FanOut,
    touches::Touch,
    visibility::listed,
};

const TABLE: EdgeTable = EdgeTable {
    name: "reposts",
    from: "account_id",
    to: "post_id",
    since: "reposted_at",
    detail: Some("repost_id"),
    counted: &[Counted::Post(PostCounter::Reposts)],
};

edge_fold!(
    TABLE, REPOST, RepostEvent, RepostEvent::Reposted(reposted) => RepostEvent::Unreposted(_),
    invalidates,
    TABLE.index_by_to() + &TABLE.index_by_detail() + &TABLE.index_by_from_and_detail(),
    detail: Some(reposted.repost.0),
    fan_out: fan_out
);

/// Homes of followers gain it or lose it.
fn invalidates(edge: AggregateId) -> Vec<Touch> {
    let account = AccountId(edge.id);
    let mut touches = Touch::of_mark(edge, true);
    touches.extend([Touch::Authored(account), Touch::FannedOut(account)]);
    touches
}

/// One that is undone stays in the lists: reads find no row of it.
fn fan_out(edge: AggregateId, event: &Event, fan_out: &mut FanOut) {
    if let Event::Repost(RepostEvent::Reposted(reposted)) = event {
        fan_out.push(AccountId(edge.id), reposted.repost.into());
    }
}

/// That an account reposted a post, and how the account is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Repost {
    pub id: RepostId,
    pub post: PostId,
    pub by: Author,
    /// Whose account is deactivated has reposted nothing.
    pub deactivated: bool,
    pub created_at: Timestamp,
}

impl Repost {
    /// What makes it old: its author took it back, or the author or the post changed.
    pub(crate) fn touches(&self) -> [Touch; 3] {
        let (account, post) = (self.by.id, self.post);
        [
            Touch::Mark(account, post),
            Touch::Author(account),
            Touch::Post(post),
        ]
    }
}

/// `SELECT` of everything that `Repost` has, with reposts as `r` and their accounts as `a`.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT r.repost_id, r.post_id, r.reposted_at, a.id AS account_id, a.handle,
                    a.display_name, a.deactivated
             FROM reposts AS r JOIN accounts AS a ON a.id = r.account_id WHERE ",
            $condition
        )
    };
}

impl Repost {
    fn read(row: &PgRow) -> Result<Self, ReadError> {
        Ok(Self {
            id: RepostId(row.try_get("repost_id")?),
            post: PostId(row.try_get("post_id")?),
            by: Author {
                id: AccountId(row.try_get("account_id")?),
                handle: row.try_get("handle")?,
                display_name: row.try_get("display_name")?,
            },
            deactivated: row.try_get("deactivated")?,
            created_at: Timestamp(row.try_get("reposted_at")?),
        })
    }
}

/// Those of `ids` that are there.
pub(crate) async fn by_ids(pool: &PgPool, ids: &[RepostId]) -> Result<Vec<Repost>, ReadError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query(select!("r.repost_id = ANY($1)"))
        .bind(ids)
        .fetch_all(pool)
        .await?;
    rows.iter().map(Repost::read).collect()
}

/// Reposts of `posts` with ids from `from` on and below `to`, by those whom `reader`
/// follows; where `only` is given, by those of them.
pub(crate) async fn by_followed(
    pool: &PgPool,
    reader: AccountId,
    only: Option<&[AccountId]>,
    posts: &[PostId],
    (from, to): (Uuid, Uuid),
) -> Result<Vec<Repost>, ReadError> {
    let only = only.map(|only| only.iter().map(|account| account.0).collect::<Vec<_>>());
    let rows = sqlx::query(select!(
        "r.post_id = ANY($2) AND r.repost_id >= $3 AND r.repost_id < $4
         AND r.account_id IN (SELECT followed_id FROM follows WHERE follower_id = $1)
         AND ($5::uuid[] IS NULL OR r.account_id = ANY($5))"
    ))
    .bind(reader.0)
    .bind(posts.iter().map(|post| post.0).collect::<Vec<_>>())
    .bind(from)
    .bind(to)
    .bind(only)
    .fetch_all(pool)
    .await?;
    rows.iter().map(Repost::read).collect()
}

/// Who reposted `post`, the last first, without those that the viewer blocks or is
/// blocked by.
pub async fn reposters(
    pool: &PgPool,
    viewer: Option<AccountId>,
    post: PostId,
    start: Start<EdgeKey>,
    limit: u32,
) -> Result<Part<(i64, AccountRow), EdgeKey>, ReadError> {
    let reposts = (post.0, Ends::From);
    TABLE
        .accounts(pool, viewer, reposts, listed!(), start, limit)
        .await
}
