//! Marks: what a reader did with a post and sees on it (liked it …). A mark is a line
//! in `lib.rs`; caches, queries, answers and their tags follow from it.

use std::collections::BTreeMap;

use domain::posts::PostId;
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, Row, postgres::PgRow};

use crate::ReadError;

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident $bit:literal $table:literal,)+) => {
        /// The names of all marks, by their bits.
        pub const NAMES: &[&str] = &[$(stringify!($name)),+];

        /// A mark has the bit of its place.
        const _: () = {
            let (bits, mut place): (&[u8], usize) = (&[$($bit),+], 0);
            while place < bits.len() {
                assert!(bits[place] == 1 << place);
                place += 1;
            }
        };

        /// The marks of the viewer `$1` on `posts AS p`.
        macro_rules! marks {
            () => {
                concat!(
                    "(0", $(
                        " + CASE WHEN EXISTS (SELECT 1 FROM ", $table, " AS v
                            WHERE v.account_id = $1 AND v.post_id = p.id) THEN ", $bit, " ELSE 0 END"
                    ),+, ")::smallint"
                )
            };
        }

        /// Marks of `$1` on posts whose ids are as `$condition` says, a row for each.
        macro_rules! marked {
            ($condition:literal) => {
                concat!("SELECT NULL::uuid AS post_id, 0::smallint AS mark WHERE false", $(
                    " UNION ALL (SELECT post_id, ", $bit, "::smallint FROM ", $table,
                    " WHERE account_id = $1 AND ", $condition, ")"
                ),+)
            };
        }
    };
}

for_each_mark!(tables);

/// A set of marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// As a number, a bit for each of `NAMES`.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether the mark at this place of `NAMES` is there.
    pub fn has(self, place: usize) -> bool {
        self.0 >> place & 1 == 1
    }

    pub(crate) fn read(row: &PgRow) -> Result<Self, ReadError> {
        let bits: i16 = row.try_get("marks")?;
        Ok(Self(bits as u8))
    }

    /// The first one alone, for examples.
    pub fn example() -> Self {
        Self(1)
    }

    fn of(rows: &[PgRow]) -> Result<BTreeMap<PostId, Self>, ReadError> {
        let mut marks: BTreeMap<PostId, Self> = BTreeMap::new();
        for row in rows {
            let mark: i16 = row.try_get("mark")?;
            marks.entry(PostId(row.try_get("post_id")?)).or_default().0 |= mark as u8;
        }
        Ok(marks)
    }
}

/// The newest posts' marks of `account`, at most `limit` marks, and the id from which on
/// they are all.
pub(crate) async fn newest(
    pool: &PgPool,
    account: AccountId,
    limit: u32,
) -> Result<(PostId, BTreeMap<PostId, Marks>), ReadError> {
    let sql = concat!(
        marked!("true ORDER BY post_id DESC LIMIT $2"),
        " ORDER BY 1 DESC LIMIT $2"
    );
    let rows = sqlx::query(sql)
        .bind(account.0)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    let mut marks = Marks::of(&rows)?;
    if rows.len() < limit as usize {
        return Ok((PostId(Uuid::nil()), marks));
    }
    // Of the oldest one, some marks may be missing.
    marks.pop_first();
    let since = marks.keys().next().copied();
    Ok((since.unwrap_or(PostId(Uuid::max())), marks))
}

/// Marks of `account` on `posts`.
pub(crate) async fn among(
    pool: &PgPool,
    account: AccountId,
    posts: &[PostId],
) -> Result<BTreeMap<PostId, Marks>, ReadError> {
    let posts: Vec<Uuid> = posts.iter().map(|post| post.0).collect();
    let rows = sqlx::query(marked!("post_id = ANY($2)"))
        .bind(account.0)
        .bind(posts)
        .fetch_all(pool)
        .await?;
    Marks::of(&rows)
}
