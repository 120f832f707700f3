//! Accounts: profiles and their counters.

use std::collections::BTreeMap;

use domain::{accounts::AccountEvent, handles::Handle, kinds};
use kernel::{AccountId, AggregateId, Kind, Timestamp, Uuid};
use sea_orm::sqlx::{self, PgPool, PgTransaction, Row, postgres::PgRow};

use crate::{
    ReadError, activity,
    counters::{self, AccountCounts},
    feature::Feature,
    relationships::RelationshipRow,
    social::{Effects, Happened, Tables},
    standing::{Concern, Moves},
    touches::Touch,
    visibility::{found, viewer_id},
};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS {schema}.accounts (
        id uuid PRIMARY KEY,
        handle text NOT NULL,
        display_name text,
        bio text,
        pinned_post_id uuid,
        registered_at bigint NOT NULL,
        active_on bigint NOT NULL,
        version bigint NOT NULL,
        private boolean NOT NULL DEFAULT false,
        deactivated boolean NOT NULL DEFAULT false
    ) WITH (fillfactor = 90);";

const INDEXES: &str = "
    CREATE INDEX IF NOT EXISTS accounts_handle ON {schema}.accounts (handle);";

#[derive(Debug, Default)]
pub(crate) struct Fold {
    changes: BTreeMap<Uuid, Change>,
}

/// What a batch did to one account; a field that is none did not change.
#[derive(Debug, Default)]
struct Change {
    registered: Option<(String, i64)>,
    display_name: Option<Option<String>>,
    bio: Option<Option<String>>,
    pinned: Option<Option<Uuid>>,
    private: Option<bool>,
    deactivated: Option<bool>,
    version: u64,
}

impl Feature for Fold {
    const KIND: Kind = kinds::ACCOUNT;
    type Event = AccountEvent;

    fn tables() -> String {
        TABLES.to_owned() + &counters::table::<AccountCounts>()
    }

    fn indexes() -> String {
        INDEXES.to_owned()
    }

    fn invalidates(aggregate: AggregateId, event: &AccountEvent) -> Vec<Touch> {
        let account = AccountId(aggregate.id);
        match event {
            // Posts of accounts that leave or come back go out of homes and into them.
            AccountEvent::AccountDeactivated(_) | AccountEvent::AccountReactivated(_) => vec![
                Touch::Author(account),
                Touch::CountedBy(account),
                Touch::FannedOut(account),
            ],
            AccountEvent::AccountRegistered(_)
            | AccountEvent::RegistrationAbandoned(_)
            | AccountEvent::ProfileUpdated(_)
            | AccountEvent::PostPinned(_)
            | AccountEvent::PostUnpinned(_)
            | AccountEvent::AccountMadePrivate(_)
            | AccountEvent::AccountMadePublic(_) => vec![Touch::Author(account)],
        }
    }

    fn take(&mut self, happened: &Happened, event: &AccountEvent) {
        if matches!(event, AccountEvent::RegistrationAbandoned(_)) {
            return;
        }
        let change = self.changes.entry(happened.aggregate.id).or_default();
        change.version = happened.version;
        let shown = |text: &kernel::Personal| {
            let text = text.text().filter(|text| !text.is_empty());
            text.map(str::to_owned)
        };
        match event {
            AccountEvent::AccountRegistered(registered) => {
                let handle = registered.handle.to_string();
                change.registered = Some((handle, happened.recorded_at.0));
                change.display_name = Some(registered.display_name.as_ref().and_then(shown));
            }
            AccountEvent::RegistrationAbandoned(_) => {}
            AccountEvent::ProfileUpdated(updated) => {
                if let Some(name) = &updated.display_name {
                    change.display_name = Some(shown(name));
                }
                if let Some(bio) = &updated.bio {
                    change.bio = Some(shown(bio));
                }
            }
            AccountEvent::PostPinned(pinned) => change.pinned = Some(Some(pinned.post.0)),
            AccountEvent::PostUnpinned(_) => change.pinned = Some(None),
            AccountEvent::AccountMadePrivate(_) => change.private = Some(true),
            AccountEvent::AccountMadePublic(_) => change.private = Some(false),
            AccountEvent::AccountDeactivated(_) => change.deactivated = Some(true),
            AccountEvent::AccountReactivated(_) => change.deactivated = Some(false),
        }
    }

    /// What a deactivation hides is of other partitions too.
    fn concern(&self) -> Option<Concern> {
        let mut changes = self.changes.values();
        let moves = changes.any(|change| change.deactivated.is_some());
        moves.then_some(Concern::Moves)
    }

    async fn write(
        self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let moves_standings = self.concern().is_some();
        let ids: Vec<Uuid> = self.changes.keys().copied().collect();
        let changes: Vec<Change> = self.changes.into_values().collect();
        let insert = tables.sql(
            "INSERT INTO {s}.accounts (id, handle, registered_at, version, active_on)
             SELECT *, 0 FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[])
                 AS c (id, handle, registered_at, version)
             WHERE handle IS NOT NULL
             ON CONFLICT (id) DO NOTHING",
        );
        let registered = |change: &Change| change.registered.clone();
        let handles: Vec<_> = changes.iter().map(|c| registered(c).map(|r| r.0)).collect();
        let at: Vec<_> = changes.iter().map(|c| registered(c).map(|r| r.1)).collect();
        let versions: Vec<_> = changes.iter().map(|c| c.version as i64).collect();
        sqlx::query(insert)
            .bind(&ids)
            .bind(handles)
            .bind(at)
            .bind(&versions)
            .execute(&mut **transaction)
            .await?;

        if moves_standings {
            effects.moves = moves(transaction, tables, &ids, &changes).await?;
        }
        let update = tables.sql(
            "UPDATE {s}.accounts AS a SET
                 display_name = CASE WHEN c.names THEN c.display_name ELSE a.display_name END,
                 bio = CASE WHEN c.bios THEN c.bio ELSE a.bio END,
                 pinned_post_id = CASE WHEN c.pins THEN c.pinned ELSE a.pinned_post_id END,
                 private = coalesce(c.private, a.private),
                 deactivated = coalesce(c.deactivated, a.deactivated),
                 version = c.version
             FROM unnest($1::uuid[], $2::bool[], $3::text[], $4::bool[], $5::text[],
                         $6::bool[], $7::uuid[], $8::bool[], $9::bool[], $10::bigint[])
                 AS c (id, names, display_name, bios, bio, pins, pinned, private,
                       deactivated, version)
             WHERE a.id = c.id AND a.version <= c.version",
        );
        let flat = |value: &Option<Option<String>>| value.clone().flatten();
        sqlx::query(update)
            .bind(&ids)
            .bind(column(&changes, |c| c.display_name.is_some()))
            .bind(column(&changes, |c| flat(&c.display_name)))
            .bind(column(&changes, |c| c.bio.is_some()))
            .bind(column(&changes, |c| flat(&c.bio)))
            .bind(column(&changes, |c| c.pinned.is_some()))
            .bind(column(&changes, |c| c.pinned.flatten()))
            .bind(column(&changes, |c| c.private))
            .bind(column(&changes, |c| c.deactivated))
            .bind(&versions)
            .execute(&mut **transaction)
            .await?;
        Ok(())
    }

    /// What a deactivated account did counts again.
    async fn forget(
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        aggregate: AggregateId,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        let sql = tables.sql(
            "WITH gone AS (DELETE FROM {s}.accounts WHERE id = $1 RETURNING id, deactivated)
             SELECT id, 1::bigint AS change FROM gone WHERE deactivated",
        );
        let rows = sqlx::query(sql)
            .bind(aggregate.id)
            .fetch_all(&mut **transaction)
            .await?;
        effects.moves = Moves::read(&rows)?;
        Ok(())
    }
}

/// Whose standing the update of the rows is going to change. Nobody else writes these
/// rows: they are of one partition.
async fn moves(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    ids: &[Uuid],
    changes: &[Change],
) -> Result<Moves, ReadError> {
    let sql = tables.sql(
        "SELECT a.id, CASE WHEN c.deactivated THEN -1 ELSE 1 END::bigint AS change
         FROM unnest($1::uuid[], $2::bool[], $3::bigint[]) AS c (id, deactivated, version)
         JOIN {s}.accounts AS a ON a.id = c.id
         WHERE a.version <= c.version AND a.deactivated <> c.deactivated",
    );
    let rows = sqlx::query(sql)
        .bind(ids)
        .bind(column(changes, |c| c.deactivated))
        .bind(column(changes, |c| c.version as i64))
        .fetch_all(&mut **transaction)
        .await?;
    Moves::read(&rows)
}

fn column<T>(changes: &[Change], field: impl Fn(&Change) -> T) -> Vec<T> {
    changes.iter().map(field).collect()
}

/// An account as one viewer sees it, with its counters.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountRow {
    pub id: AccountId,
    pub handle: String,
    pub display_name: Option<String>,
    pub bio: Option<String>,
    pub pinned_post_id: Option<Uuid>,
    pub registered_at: Timestamp,
    /// Midnight of the day of the last activity; none of a private account for who does
    /// not follow it.
    pub active_on: Option<Timestamp>,
    pub version: u64,
    /// Whether only followers see what it publishes.
    pub private: bool,
    pub counts: AccountCounts,
    /// Between the viewer and it.
    pub relationship: RelationshipRow,
}

/// Whether the viewer, as `$1`, may see what the account `a` shares.
macro_rules! shared {
    () => {
        "(NOT a.private OR a.id = $1 OR EXISTS (
            SELECT 1 FROM follows AS near
            WHERE near.follower_id = $1 AND near.followed_id = a.id)) "
    };
}
pub(crate) use shared;

/// `SELECT` of everything that `AccountRow` has, with accounts as `a` and the
/// viewer as `$1`. A pinned post is shown while the viewer may see it.
macro_rules! select {
    ($from:expr, $rest:expr) => {
        concat!(
            "SELECT a.id, a.handle, a.display_name, a.bio, pinned.id AS pinned_post_id, a.registered_at,
                    CASE WHEN ",
            $crate::accounts::shared!(),
            "THEN a.active_on END AS active_on, ",
            $crate::relationships::between!(),
            ", ",
            account_counts!(),
            "a.version, a.private ",
            $from,
            " LEFT JOIN account_counters AS n ON n.account_id = a.id
             LEFT JOIN posts AS pinned ON pinned.id = a.pinned_post_id
                 AND pinned.deleted_at IS NULL AND NOT pinned.followers_only
                 AND ",
            $crate::accounts::shared!(),
            $rest
        )
    };
}
pub(crate) use select;

impl AccountRow {
    /// For whoever may not see it, and must name it: what it says and does is gone.
    pub(crate) fn keep_the_name(&mut self) {
        (self.display_name, self.bio, self.pinned_post_id) = (None, None, None);
        self.active_on = self.active_on.map(|_| self.registered_at);
        self.version = 0;
        self.counts = AccountCounts::default();
    }

    pub(crate) fn read(row: &PgRow) -> Result<Self, ReadError> {
        Ok(Self {
            id: AccountId(row.try_get("id")?),
            handle: row.try_get("handle")?,
            display_name: row.try_get("display_name")?,
            bio: row.try_get("bio")?,
            pinned_post_id: row.try_get("pinned_post_id")?,
            registered_at: Timestamp(row.try_get("registered_at")?),
            active_on: row
                .try_get::<Option<_>, _>("active_on")?
                .map(activity::beginning_of),
            version: row.try_get::<i64, _>("version")? as u64,
            private: row.try_get("private")?,
            counts: AccountCounts::read(row)?,
            relationship: RelationshipRow::read(row)?,
        })
    }
}

/// Accounts in the order of `ids`; those that the viewer does not find are left
/// out.
pub async fn by_ids(
    pool: &PgPool,
    viewer: Option<AccountId>,
    ids: &[AccountId],
) -> Result<Vec<AccountRow>, ReadError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query(select!(
        "FROM unnest($2::uuid[]) WITH ORDINALITY AS w (id, place)
         JOIN accounts AS a ON a.id = w.id",
        concat!("WHERE ", found!(), "ORDER BY w.place")
    ))
    .bind(viewer_id(viewer))
    .bind(ids)
    .fetch_all(pool)
    .await?;
    rows.iter().map(AccountRow::read).collect()
}

pub async fn by_id(
    pool: &PgPool,
    viewer: Option<AccountId>,
    id: AccountId,
) -> Result<Option<AccountRow>, ReadError> {
    Ok(by_ids(pool, viewer, &[id]).await?.pop())
}

/// The account with that handle, where the viewer finds it.
pub async fn id_of(
    pool: &PgPool,
    viewer: Option<AccountId>,
    handle: &Handle,
) -> Result<Option<AccountId>, ReadError> {
    let sql = concat!(
        "SELECT a.id FROM accounts AS a WHERE ",
        found!(),
        "AND a.handle = $2"
    );
    let row = sqlx::query(sql)
        .bind(viewer_id(viewer))
        .bind(handle.as_str())
        .fetch_optional(pool)
        .await?;
    let id = row.map(|row| row.try_get("id")).transpose()?;
    Ok(id.map(AccountId))
}

pub async fn by_handle(
    pool: &PgPool,
    viewer: Option<AccountId>,
    handle: &Handle,
) -> Result<Option<AccountRow>, ReadError> {
    let row = sqlx::query(select!(
        "FROM accounts AS a",
        concat!("WHERE ", found!(), "AND a.handle = $2")
    ))
    .bind(viewer_id(viewer))
    .bind(handle.as_str())
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(AccountRow::read).transpose()
}
