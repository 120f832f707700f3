//! Leases on partitions, kept where the checkpoints are. Correctness does not
//! rest on them: a checkpoint moves by compare-and-set.

use std::collections::BTreeSet;

use kernel::{Partition, Uuid};
use sea_orm::sqlx::{self, PgPool, Row, postgres::PgRow};

use crate::ReadError;

/// Says that `owner` is alive, and returns how many workers are. `name` is for
/// people.
pub async fn announce(
    pool: &PgPool,
    owner: Uuid,
    name: &str,
    seconds: u32,
) -> Result<usize, ReadError> {
    sqlx::query(
        "INSERT INTO projections.workers (owner, until, name)
         VALUES ($1, now() + make_interval(secs => $2), $3)
         ON CONFLICT (owner) DO UPDATE SET until = EXCLUDED.until",
    )
    .bind(owner)
    .bind(f64::from(seconds))
    .bind(name)
    .execute(pool)
    .await?;
    sqlx::query("DELETE FROM projections.workers WHERE until < now() - interval '1 minute'")
        .execute(pool)
        .await?;
    let row = sqlx::query("SELECT count(*) FROM projections.workers WHERE until > now()")
        .fetch_one(pool)
        .await?;
    Ok(row.try_get::<i64, _>(0)? as usize)
}

/// Renews the leases that `owner` still has, and returns them.
pub async fn renew(
    pool: &PgPool,
    owner: Uuid,
    seconds: u32,
) -> Result<BTreeSet<Partition>, ReadError> {
    let rows = sqlx::query(
        "UPDATE projections.leases SET until = now() + make_interval(secs => $2)
         WHERE owner = $1 AND until > now() RETURNING partition",
    )
    .bind(owner)
    .bind(f64::from(seconds))
    .fetch_all(pool)
    .await?;
    rows.iter().map(partition).collect()
}

/// Takes at most `wanted` of the partitions that nobody holds.
pub async fn take(
    pool: &PgPool,
    owner: Uuid,
    partitions: u16,
    wanted: usize,
    seconds: u32,
) -> Result<BTreeSet<Partition>, ReadError> {
    let rows = sqlx::query(
        "INSERT INTO projections.leases AS l (partition, owner, until)
         SELECT p.partition, $1, now() + make_interval(secs => $4)
         FROM generate_series(0, $2 - 1) AS p (partition)
         LEFT JOIN projections.leases AS held
             ON held.partition = p.partition AND held.until > now()
         WHERE held.partition IS NULL
         ORDER BY p.partition LIMIT $3
         ON CONFLICT (partition) DO UPDATE SET owner = EXCLUDED.owner, until = EXCLUDED.until
             WHERE l.until <= now()
         RETURNING partition",
    )
    .bind(owner)
    .bind(i32::from(partitions))
    .bind(wanted as i64)
    .bind(f64::from(seconds))
    .fetch_all(pool)
    .await?;
    rows.iter().map(partition).collect()
}

/// Gives leases back before their time.
pub async fn release(
    pool: &PgPool,
    owner: Uuid,
    partitions: &[Partition],
) -> Result<(), ReadError> {
    let numbers: Vec<i32> = partitions.iter().map(|p| i32::from(p.0)).collect();
    sqlx::query("DELETE FROM projections.leases WHERE owner = $1 AND partition = ANY($2)")
        .bind(owner)
        .bind(numbers)
        .execute(pool)
        .await?;
    Ok(())
}

/// Gives everything back: the worker ends.
pub async fn leave(pool: &PgPool, owner: Uuid) -> Result<(), ReadError> {
    for sql in [
        "DELETE FROM projections.leases WHERE owner = $1",
        "DELETE FROM projections.workers WHERE owner = $1",
    ] {
        sqlx::query(sql).bind(owner).execute(pool).await?;
    }
    Ok(())
}

/// Forgets everybody: for whoever knows that no worker is left.
pub async fn clear(pool: &PgPool) -> Result<(), ReadError> {
    for sql in [
        "DELETE FROM projections.leases",
        "DELETE FROM projections.workers",
    ] {
        sqlx::query(sql).execute(pool).await?;
    }
    Ok(())
}

/// Who holds what now.
pub async fn held(pool: &PgPool) -> Result<Vec<(Partition, Uuid)>, ReadError> {
    let rows = sqlx::query(
        "SELECT partition, owner FROM projections.leases WHERE until > now() ORDER BY partition",
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| Ok((partition(row)?, row.try_get("owner")?)))
        .collect()
}

fn partition(row: &PgRow) -> Result<Partition, ReadError> {
    Ok(Partition(row.try_get::<i32, _>("partition")? as u16))
}
