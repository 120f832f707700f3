//! The local timeline: what everybody may see, newest id first. The database tells
//! which those are; what they say, and whom the one who looks hides, is known in
//! process. It refuses to look up for each row who hides whom.

use domain::posts::PostId;
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, Row};

use super::{Timeline, refilled};
use crate::{
    ReadError,
    hot::{Reading, Seen, Shown},
    touches::Touch,
    visibility::public,
};

/// What a page of it is put together from.
pub struct Local<'a, T> {
    pub reading: Reading<'a, T>,
    pub viewer: Option<AccountId>,
}

impl<T: Shown> Local<'_, T> {
    /// Up to `limit` posts before the id last seen.
    pub async fn page(
        &self,
        before: Option<PostId>,
        limit: u32,
    ) -> Result<Vec<Seen<T>>, ReadError> {
        Ok(refilled(self, before, limit).await?.0)
    }
}

impl<T: Shown> Timeline<T> for Local<'_, T> {
    type Id = PostId;

    async fn candidates(
        &self,
        before: Option<PostId>,
        count: u32,
    ) -> Result<Vec<PostId>, ReadError> {
        let hidden = match self.viewer {
            Some(viewer) => self.reading.hidden(viewer).await?,
            None => None,
        };
        // Of more than are known here, `seen` leaves out what is hidden.
        let without = hidden.map_or_else(Vec::new, |hidden| hidden.ids());
        public_ids(self.reading.pool, &without, before, count).await
    }

    async fn seen(&self, ids: &[PostId], _: &mut Vec<Touch>) -> Result<Vec<Seen<T>>, ReadError> {
        self.reading.public(self.viewer, ids).await
    }
}

/// Ids of posts that everybody may see, newest first, before the id last seen: whole
/// posts are read of these alone.
async fn public_ids(
    pool: &PgPool,
    without: &[Uuid],
    before: Option<PostId>,
    limit: u32,
) -> Result<Vec<PostId>, ReadError> {
    let rows = sqlx::query(concat!(
        "SELECT p.id FROM posts AS p JOIN accounts AS a ON a.id = p.author_id WHERE ",
        public!(),
        "AND p.id < $1 AND p.author_id <> ALL($3) ORDER BY p.id DESC LIMIT $2",
    ))
    .bind(before.map_or(Uuid::max(), |id| id.0))
    .bind(i64::from(limit))
    .bind(without)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| Ok(PostId(row.try_get("id")?)))
        .collect()
}
