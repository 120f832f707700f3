//! Who sees what: the conditions of queries, and one predicate over what caches know.
//! Both say the same, and what `domain` decides by (a property test holds the three
//! against each other). No rule of visibility is anywhere else.

use std::{collections::BTreeSet, sync::Arc};

use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, PgPool, Row, postgres::PgRow};

use crate::ReadError;

/// Who sees a post, beside its author, as it and its author are now. Blocks
/// come on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    Everybody,
    Followers,
    /// Its author's account is deactivated.
    Nobody,
}

impl Audience {
    /// Of a row with `followers_only`, and `private` and `deactivated` of the author.
    pub(crate) fn read(row: &PgRow) -> Result<Self, ReadError> {
        let followers_only = row.try_get("followers_only")?;
        let (private, deactivated) = (row.try_get("private")?, row.try_get("deactivated")?);
        Ok(match (followers_only || private, deactivated) {
            (_, true) => Self::Nobody,
            (true, false) => Self::Followers,
            (false, false) => Self::Everybody,
        })
    }
}

/// Who looks, as a query parameter: an id that no account has where nobody is
/// signed in.
pub(crate) fn viewer_id(viewer: Option<AccountId>) -> Uuid {
    viewer.map_or(Uuid::nil(), |viewer| viewer.0)
}

/// Whether the viewer `$1` may see `posts AS p` of `accounts AS a`. `OFFSET 0` keeps what is looked up for a
/// row a look-up: as a join, the planner would read all posts for a page of them.
macro_rules! visible {
    () => {
        "p.deleted_at IS NULL AND NOT a.deactivated
         AND (NOT (p.followers_only OR a.private) OR p.author_id = $1 OR EXISTS (
            SELECT 1 FROM follows AS f
            WHERE f.follower_id = $1 AND f.followed_id = p.author_id))
         AND NOT EXISTS (
            SELECT 1 FROM blocks AS b
            WHERE b.blocker_id = $1 AND b.blocked_id = p.author_id OFFSET 0)
         AND NOT EXISTS (
            SELECT 1 FROM blocks AS b
            WHERE b.blocker_id = p.author_id AND b.blocked_id = $1 OFFSET 0) "
    };
}
pub(crate) use visible;

/// `$1` does not mute the author of `posts AS p`.
macro_rules! unmuted {
    () => {
        "AND NOT EXISTS (
            SELECT 1 FROM mutes AS m
            WHERE m.muter_id = $1 AND m.muted_id = p.author_id OFFSET 0) "
    };
}
pub(crate) use unmuted;

/// `accounts AS a` does not block `$1`, and is there.
macro_rules! found {
    () => {
        "NOT a.deactivated AND NOT EXISTS (
            SELECT 1 FROM blocks AS b
            WHERE b.blocker_id = a.id AND b.blocked_id = $1 OFFSET 0) "
    };
}
pub(crate) use found;

/// The same, and `$1` does not block it either: for lists.
macro_rules! listed {
    () => {
        concat!(
            $crate::visibility::found!(),
            "AND NOT EXISTS (
                SELECT 1 FROM blocks AS b
                WHERE b.blocker_id = $1 AND b.blocked_id = a.id OFFSET 0) "
        )
    };
}
pub(crate) use listed;

/// The same, and `$1` does not mute it: for what one comes across. `accounts AS a` is
/// found by a key; what is looked up for it is an index look-up each.
macro_rules! unhidden {
    () => {
        "NOT a.deactivated
         AND NOT EXISTS (SELECT 1 FROM mutes AS m WHERE m.muter_id = $1 AND m.muted_id = a.id)
         AND NOT EXISTS (SELECT 1 FROM blocks AS b WHERE b.blocker_id = $1 AND b.blocked_id = a.id)
         AND NOT EXISTS (SELECT 1 FROM blocks AS b WHERE b.blocker_id = a.id AND b.blocked_id = $1) "
    };
}
pub(crate) use unhidden;

/// Where a post is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// By its id: mutes do not count.
    Direct,
    /// In a home timeline.
    Home,
    /// There too, because somebody reposted it whom the reader follows.
    Reposted,
    /// In a list of what everybody may see.
    Public,
}

/// What must be known of a reader to tell what that reader sees.
#[derive(Clone, Debug, Default)]
pub(crate) struct Viewer {
    pub id: Option<AccountId>,
    /// At least those authors in question that it follows.
    pub follows: BTreeSet<AccountId>,
    /// At least those authors in question that are hidden from it.
    pub hidden: Hidden,
}

impl Viewer {
    /// Whether it sees a post of `author` with this audience there.
    pub fn sees(&self, author: AccountId, audience: Audience, place: Place) -> bool {
        let own = self.id == Some(author);
        let follows = self.follows.contains(&author);
        let is_admitted = match audience {
            Audience::Everybody => true,
            Audience::Followers => own || follows,
            Audience::Nobody => false,
        };
        let belongs = match place {
            Place::Direct | Place::Reposted => true,
            Place::Home => own || follows,
            Place::Public => audience == Audience::Everybody,
        };
        let is_hidden = match place {
            Place::Direct => self.hidden.blocked.contains(&author),
            Place::Home | Place::Reposted | Place::Public => self.hidden.has(&author),
        };
        is_admitted && belongs && (own || !is_hidden)
    }

    /// Whether what `account` reposts comes into its home; as `sees`, it says nothing of
    /// the post.
    pub fn is_brought_by(&self, account: AccountId, deactivated: bool) -> bool {
        !deactivated && self.follows.contains(&account) && !self.hidden.has(&account)
    }
}

/// Whether `viewer` sees what `account` shares with followers: it is the account, or
/// follows it. A private account's lists are for these alone.
pub async fn is_close(
    pool: &PgPool,
    viewer: Option<AccountId>,
    account: AccountId,
) -> Result<bool, ReadError> {
    match viewer {
        None => Ok(false),
        Some(viewer) if viewer == account => Ok(true),
        Some(viewer) => {
            let query = "SELECT EXISTS (
                SELECT 1 FROM follows WHERE follower_id = $1 AND followed_id = $2)";
            let query = sqlx::query_scalar(query).bind(viewer.0).bind(account.0);
            Ok(query.fetch_one(pool).await?)
        }
    }
}

/// Whom one account is not to see. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hidden {
    /// Blocked by it, or blocking it.
    pub blocked: Arc<BTreeSet<AccountId>>,
    pub muted: Arc<BTreeSet<AccountId>>,
}

impl Hidden {
    /// From what one comes across.
    pub fn has(&self, account: &AccountId) -> bool {
        self.blocked.contains(account) || self.muted.contains(account)
    }

    /// As a query parameter.
    pub fn ids(&self) -> Vec<Uuid> {
        let all = self.blocked.iter().chain(self.muted.iter());
        all.map(|account| account.0).collect()
    }

    fn read(rows: &[PgRow]) -> Result<Self, ReadError> {
        let (mut blocked, mut muted) = (BTreeSet::new(), BTreeSet::new());
        for row in rows {
            let account = AccountId(row.try_get("id")?);
            match row.try_get("muted")? {
                true => muted.insert(account),
                false => blocked.insert(account),
            };
        }
        let (blocked, muted) = (Arc::new(blocked), Arc::new(muted));
        Ok(Self { blocked, muted })
    }
}

/// All that is hidden from `account`; none where that is more than `edges_max`
/// blocks and mutes.
pub(crate) async fn hidden(
    pool: &PgPool,
    account: AccountId,
    edges_max: u32,
) -> Result<Option<Hidden>, ReadError> {
    let rows = sqlx::query(
        "SELECT blocked_id AS id, false AS muted FROM blocks WHERE blocker_id = $1
         UNION ALL SELECT blocker_id, false FROM blocks WHERE blocked_id = $1
         UNION ALL SELECT muted_id, true FROM mutes WHERE muter_id = $1
         LIMIT $2",
    )
    .bind(account.0)
    .bind(i64::from(edges_max) + 1)
    .fetch_all(pool)
    .await?;
    let all = rows.len() <= edges_max as usize;
    all.then(|| Hidden::read(&rows)).transpose()
}

/// Those of `others` that are hidden from `account`.
pub(crate) async fn hidden_among(
    pool: &PgPool,
    account: AccountId,
    others: &BTreeSet<AccountId>,
) -> Result<Hidden, ReadError> {
    let others: Vec<Uuid> = others.iter().map(|other| other.0).collect();
    let rows = sqlx::query(
        "SELECT blocked_id AS id, false AS muted FROM blocks
            WHERE blocker_id = $1 AND blocked_id = ANY($2)
         UNION ALL SELECT blocker_id, false FROM blocks
            WHERE blocked_id = $1 AND blocker_id = ANY($2)
         UNION ALL SELECT muted_id, true FROM mutes WHERE muter_id = $1 AND muted_id = ANY($2)",
    )
    .bind(account.0)
    .bind(others)
    .fetch_all(pool)
    .await?;
    Hidden::read(&rows)
}
