//! The local timeline: what everybody may see, newest id first. The database tells
//! which those are; what they say, and whom the one who looks hides, is known in
//! process. It refuses to look up for each row who hides whom.

use domain::posts::PostId;
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, Row};

use super::{EntryId, Timeline, refilled};
use crate::{
    ReadError,
    hot::{Reading, Seen, Shown},
    paging::{Part, Start, Step, turned},
    touches::Touch,
};

/// What a page of it is put together from.
pub struct Local<'a, T> {
    pub reading: Reading<'a, T>,
    pub viewer: Option<AccountId>,
}

impl<T: Shown> Local<'_, T> {
    /// Up to `limit` posts.
    pub async fn page(
        &self,
        start: Start<EntryId>,
        limit: u32,
    ) -> Result<Part<Seen<T>, EntryId>, ReadError> {
        Ok(refilled(self, start, limit).await?.0)
    }
}

impl<T: Shown> Timeline<T> for Local<'_, T> {
    async fn candidates(&self, step: Step<EntryId>) -> Result<Vec<EntryId>, ReadError> {
        let hidden = match self.viewer {
            Some(viewer) => self.reading.hidden(viewer).await?,
            None => None,
        };
        // Of more than are known here, `seen` leaves out what is hidden.
        let without = hidden.map_or_else(Vec::new, |hidden| hidden.ids());
        public_ids(self.reading.pool, &without, step).await
    }

    async fn seen(&self, ids: &[EntryId], _: &mut Vec<Touch>) -> Result<Vec<Seen<T>>, ReadError> {
        let ids: Vec<PostId> = ids.iter().map(|id| PostId(id.0)).collect();
        self.reading.public(self.viewer, &ids).await
    }
}

/// Ids of posts that are for everybody; those of private and deactivated authors are among
/// them. Whole posts are read of these alone.
async fn public_ids(
    pool: &PgPool,
    without: &[Uuid],
    step: Step<EntryId>,
) -> Result<Vec<EntryId>, ReadError> {
    macro_rules! sql {
        ($beyond:literal, $order:literal) => {
            concat!(
                "SELECT id FROM posts WHERE deleted_at IS NULL AND NOT followers_only
                     AND author_id <> ALL($3) AND id ",
                $beyond,
                " $1 ORDER BY id ",
                $order,
                " LIMIT $2"
            )
        };
    }
    let rows = sqlx::query(turned!(step.way, sql))
        .bind(step.key.0)
        .bind(i64::from(step.count))
        .bind(without)
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok(EntryId(row.try_get("id")?)))
        .collect()
}
