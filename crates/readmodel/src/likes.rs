//! Likes: the edges, who liked a post, and how many did.

use domain::{likes::LikeEvent, posts::PostId};
use kernel::AccountId;
use sea_orm::sqlx::PgPool;

use crate::{
    ReadError,
    accounts::AccountRow,
    counters::PostCounter,
    edges::{Counted, EdgeTable, Ends, edge_fold},
    paging::{EdgeKey, Part, Start},
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
    let (posts, part) = (TABLE.targets(pool, account.0, start, limit).await?).without_rows();
    Ok(part.with(posts.into_iter().map(PostId).collect()))
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
