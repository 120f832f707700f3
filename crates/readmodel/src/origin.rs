//! Which log the database belongs to: positions mean nothing in another one.

use kernel::Uuid;
use sea_orm::sqlx::{self, PgPool, Row};

use crate::ReadError;

/// The log of this database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub id: Uuid,
    /// Whether it was made to the end: one that is not there now was lost.
    pub made: bool,
}

/// None where no log was made for this database.
pub async fn of(pool: &PgPool) -> Result<Option<Origin>, ReadError> {
    let row = sqlx::query("SELECT id, made FROM projections.log")
        .fetch_optional(pool)
        .await?;
    row.map(|row| {
        Ok(Origin {
            id: row.try_get("id")?,
            made: row.try_get("made")?,
        })
    })
    .transpose()
}

/// Notes the log that is about to be made, before any of it is. Of two who do so at
/// once, the first one's counts for both.
pub async fn begin(pool: &PgPool, id: Uuid) -> Result<Origin, ReadError> {
    sqlx::query("INSERT INTO projections.log (id, made) VALUES ($1, false) ON CONFLICT DO NOTHING")
        .bind(id)
        .execute(pool)
        .await?;
    let origin = of(pool).await?;
    Ok(origin.ok_or(sqlx::Error::RowNotFound)?)
}

/// Notes that the log is there, where the database has none yet. Fails with
/// `AnotherLog` where it has another one.
pub async fn claim(pool: &PgPool, id: Uuid) -> Result<(), ReadError> {
    if of(pool).await? == Some(Origin { id, made: true }) {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO projections.log (id, made) VALUES ($1, true)
         ON CONFLICT (one) DO UPDATE SET made = true WHERE log.id = EXCLUDED.id",
    )
    .bind(id)
    .execute(pool)
    .await?;
    match of(pool).await? {
        Some(origin) if origin.id == id => Ok(()),
        Some(_) | None => Err(ReadError::AnotherLog),
    }
}

/// Whether any projection has read a log.
pub async fn has_read(pool: &PgPool) -> Result<bool, ReadError> {
    let row = sqlx::query(
        "SELECT EXISTS (SELECT FROM projections.checkpoints WHERE epoch > 0) AS has_read",
    )
    .fetch_one(pool)
    .await?;
    Ok(row.try_get("has_read")?)
}
