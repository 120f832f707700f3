//! Likes: the edges, who liked a post, and how many did.

use domain::{likes::LikeEvent, posts::PostId};
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, Row, postgres::PgRow};

use crate::{
    ReadError,
    accounts::AccountRow,
    counters::PostCounter,
    edges::{Counted, EdgeTable, Ends, edge_fold},
    paging::{EdgeKey, Part, Start, Step, Way, part, turned},
    touches::Touch,
    visibility::listed,
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
    TABLE.index_by_from() + &TABLE.index_by_to()
);

/// What `account` liked, the last first, whatever became of the posts.
pub async fn list(
    pool: &PgPool,
    account: AccountId,
    start: Start<EdgeKey>,
    limit: u32,
) -> Result<Part<PostId, EdgeKey>, ReadError> {
    macro_rules! list {
        ($beyond:literal, $order:literal) => {
            concat!(
                "SELECT post_id, liked_at FROM likes
                 WHERE account_id = $1 AND (liked_at, post_id) ",
                $beyond,
                " ($2, $3) ORDER BY liked_at ",
                $order,
                ", post_id ",
                $order,
                " LIMIT $4"
            )
        };
    }
    let look = |step: Step<EdgeKey>| async move {
        let (at, id) = step.key;
        let rows = sqlx::query(turned!(step.way, list))
            .bind(account.0)
            .bind(at)
            .bind(id)
            .bind(i64::from(step.count))
            .fetch_all(pool)
            .await?;
        let read = |row: &PgRow| {
            let post: Uuid = row.try_get("post_id")?;
            Ok(((row.try_get("liked_at")?, post), Some(PostId(post))))
        };
        rows.iter().map(read).collect()
    };
    part(Way::Down, start, limit, look).await
}

/// Who liked `post`, the last first, without those that the viewer blocks or is
/// blocked by.
pub async fn likers(
    pool: &PgPool,
    viewer: Option<AccountId>,
    post: PostId,
    start: Start<EdgeKey>,
    limit: u32,
) -> Result<Part<(i64, AccountRow), EdgeKey>, ReadError> {
    let likes = (post.0, Ends::From);
    TABLE
        .accounts(pool, viewer, likes, listed!(), start, limit)
        .await
}
