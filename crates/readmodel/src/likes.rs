//! Likes: the edges, who liked a post, and how many did.

use domain::{likes::LikeEvent, posts::PostId};
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool};

use crate::{
    ReadError,
    accounts::{self, AccountRow},
    counters::PostCounter,
    edges::{self, Counted, EdgeTable, edge_fold},
    touches::Touch,
    visibility::{listed, viewer_id},
};

const TABLE: EdgeTable = EdgeTable {
    name: "likes",
    from: "account_id",
    to: "post_id",
    since: "liked_at",
    detail: None,
    counted: &[Counted::Post(PostCounter::Likes)],
};

edge_fold!(
    TABLE, LIKE, LikeEvent, LikeEvent::Liked(_) => LikeEvent::Unliked(_),
    |edge| Touch::of_mark(edge, true),
    TABLE.index_by_to()
);

/// Who liked `post`, the last first, without those that the viewer blocks or is
/// blocked by. `last` is the key of the last row seen.
pub async fn likers(
    pool: &PgPool,
    viewer: Option<AccountId>,
    post: PostId,
    last: Option<(i64, Uuid)>,
    limit: u32,
) -> Result<Vec<(i64, AccountRow)>, ReadError> {
    let (at, account) = edges::after(last);
    let rows = sqlx::query(accounts::select!(
        ", e.liked_at AS edge_at FROM likes AS e JOIN accounts AS a ON a.id = e.account_id",
        concat!(
            "WHERE ",
            listed!(),
            "AND e.post_id = $2 AND (e.liked_at, e.account_id) < ($3, $4)
             ORDER BY e.liked_at DESC, e.account_id DESC LIMIT $5"
        )
    ))
    .bind(viewer_id(viewer))
    .bind(post.0)
    .bind(at)
    .bind(account)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    edges::read_all(&rows)
}
