//! Folders of bookmarks: rows, and how many bookmarks are in each. What is deleted has no
//! row; bookmarks that were in it stay as they are (see `bookmarks`).

use std::collections::BTreeMap;

use domain::{bookmark_folders::FolderEvent, bookmark_folders::FolderId, kinds};
use kernel::{AccountId, AggregateId, Kind, Personal, Timestamp, Uuid};
use sea_orm::sqlx::{self, PgPool, PgTransaction, Row, postgres::PgRow};

use crate::{
    ReadError,
    feature::Feature,
    paging::{EdgeKey, Part, Start, Step, Way, part, turned},
    social::{Effects, Happened, Tables},
    touches::Touch,
};

/// Bookmarks of one folder that are counted, at most.
pub const BOOKMARKS_COUNTED_MAX: u32 = 1_000;

const TABLES: &str = "CREATE TABLE IF NOT EXISTS {schema}.bookmark_folders (
    id uuid PRIMARY KEY, account_id uuid NOT NULL, name text,
    made_at bigint NOT NULL, version bigint NOT NULL);";
const INDEXES: &str = "CREATE INDEX IF NOT EXISTS bookmark_folders_of
    ON {schema}.bookmark_folders (account_id, made_at DESC, id DESC);";

/// What a batch does to folders.
#[derive(Debug, Default)]
pub(crate) struct Fold(BTreeMap<Uuid, Change>);

/// What a batch does to one folder.
#[derive(Debug, Default)]
struct Change {
    /// By whom, and when.
    made: Option<(Uuid, i64)>,
    name: Option<String>,
    deleted: bool,
    version: u64,
}

impl Feature for Fold {
    const KIND: Kind = kinds::FOLDER;
    type Event = FolderEvent;

    fn tables() -> String {
        TABLES.to_owned()
    }

    fn indexes() -> String {
        INDEXES.to_owned()
    }

    /// No cache has folders.
    fn invalidates(_: AggregateId, _: &FolderEvent) -> Vec<Touch> {
        Vec::new()
    }

    fn take(&mut self, happened: &Happened, event: &FolderEvent) {
        let shown = |name: &Personal| name.text().map(str::to_owned);
        let change = self.0.entry(happened.aggregate.id).or_default();
        change.version = happened.version;
        match event {
            FolderEvent::FolderMade(made) => {
                *change = Change {
                    made: Some((made.owner.0, happened.recorded_at.0)),
                    name: shown(&made.name),
                    deleted: false,
                    version: happened.version,
                };
            }
            FolderEvent::FolderRenamed(renamed) => change.name = shown(&renamed.name),
            FolderEvent::FolderDeleted(_) => change.deleted = true,
        }
    }

    async fn write(
        self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        _: &mut Effects,
    ) -> Result<(), ReadError> {
        if self.0.is_empty() {
            return Ok(());
        }
        // Each folder is in one of the three.
        let sql = tables.sql(
            "WITH change AS (
                SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[],
                                     $5::bool[], $6::bigint[])
                    AS c (id, account_id, made_at, name, deleted, version)
             ), gone AS (
                DELETE FROM {s}.bookmark_folders AS f USING change AS c
                WHERE c.deleted AND f.id = c.id
             ), made AS (
                INSERT INTO {s}.bookmark_folders (id, account_id, made_at, name, version)
                SELECT id, account_id, made_at, name, version FROM change
                WHERE NOT deleted AND account_id IS NOT NULL
                ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, version = EXCLUDED.version
             )
             UPDATE {s}.bookmark_folders AS f SET name = c.name, version = c.version
             FROM change AS c WHERE NOT c.deleted AND c.account_id IS NULL AND f.id = c.id",
        );
        let changes = || self.0.values();
        let made = || changes().map(|change| change.made);
        sqlx::query(sql)
            .bind(self.0.keys().copied().collect::<Vec<_>>())
            .bind(made().map(|made| made.map(|m| m.0)).collect::<Vec<_>>())
            .bind(made().map(|made| made.map(|m| m.1)).collect::<Vec<_>>())
            .bind(changes().map(|c| c.name.clone()).collect::<Vec<_>>())
            .bind(changes().map(|c| c.deleted).collect::<Vec<_>>())
            .bind(changes().map(|c| c.version as i64).collect::<Vec<_>>())
            .execute(&mut **transaction)
            .await?;
        Ok(())
    }

    async fn forget(
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        folder: AggregateId,
        _: &mut Effects,
    ) -> Result<(), ReadError> {
        sqlx::query(tables.sql("DELETE FROM {s}.bookmark_folders WHERE id = $1"))
            .bind(folder.id)
            .execute(&mut **transaction)
            .await?;
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct FolderRow {
    pub id: FolderId,
    /// None where the owner's personal data is erased.
    pub name: Option<String>,
    pub made_at: Timestamp,
    pub version: u64,
    /// `BOOKMARKS_COUNTED_MAX` where there are more.
    pub bookmarks: i64,
}

macro_rules! select {
    ($condition:expr) => {
        concat!(
            "SELECT f.id, f.name, f.made_at, f.version, (
                SELECT count(*) FROM (
                    SELECT 1 FROM bookmarks AS b
                    WHERE b.account_id = $1 AND b.folder_id = f.id LIMIT $2
                ) AS counted
             ) AS bookmarks
             FROM bookmark_folders AS f WHERE f.account_id = $1 ",
            $condition
        )
    };
}

impl FolderRow {
    fn read(row: &PgRow) -> Result<Self, ReadError> {
        Ok(Self {
            id: FolderId(row.try_get("id")?),
            name: row.try_get("name")?,
            made_at: Timestamp(row.try_get("made_at")?),
            version: row.try_get::<i64, _>("version")? as u64,
            bookmarks: row.try_get("bookmarks")?,
        })
    }
}

/// The folder where `account` has it.
pub async fn by_id(
    pool: &PgPool,
    account: AccountId,
    folder: FolderId,
) -> Result<Option<FolderRow>, ReadError> {
    let row = sqlx::query(select!("AND f.id = $3"))
        .bind(account.0)
        .bind(i64::from(BOOKMARKS_COUNTED_MAX))
        .bind(folder.0)
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(FolderRow::read).transpose()
}

/// The folders of `account`, the last made first.
pub async fn list(
    pool: &PgPool,
    account: AccountId,
    start: Start<EdgeKey>,
    limit: u32,
) -> Result<Part<FolderRow, EdgeKey>, ReadError> {
    macro_rules! sql {
        ($beyond:literal, $order:literal) => {
            select!(concat!(
                "AND (f.made_at, f.id) ",
                $beyond,
                " ($3, $4) ORDER BY f.made_at ",
                $order,
                ", f.id ",
                $order,
                " LIMIT $5"
            ))
        };
    }
    let look = |step: Step<EdgeKey>| async move {
        let (at, id) = step.key;
        let rows = sqlx::query(turned!(step.way, sql))
            .bind(account.0)
            .bind(i64::from(BOOKMARKS_COUNTED_MAX))
            .bind(at)
            .bind(id)
            .bind(i64::from(step.count))
            .fetch_all(pool)
            .await?;
        let read = |row| {
            let folder = FolderRow::read(row)?;
            Ok(((folder.made_at.0, folder.id.0), Some(folder)))
        };
        rows.iter().map(read).collect()
    };
    part(Way::Down, start, limit, look).await
}

/// How many folders `account` has; `most` where there are more.
pub async fn count(pool: &PgPool, account: AccountId, most: u32) -> Result<u32, ReadError> {
    let sql = "SELECT count(*) AS folders FROM (
        SELECT 1 FROM bookmark_folders WHERE account_id = $1 LIMIT $2) AS counted";
    let row = sqlx::query(sql)
        .bind(account.0)
        .bind(i64::from(most))
        .fetch_one(pool)
        .await?;
    Ok(row.try_get::<i64, _>("folders")? as u32)
}
