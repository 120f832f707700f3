//! How far each projection is. A checkpoint moves in the transaction of the
//! rows it stands for, and only from where its worker believes it to be: that
//! compare-and-set is the fence against a worker that was paused.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{AccountId, Partition, Position, Positions, Uuid};
use sea_orm::sqlx::{self, PgConnection, PgPool, PgTransaction, Row, postgres::PgRow};

use crate::{ReadError, Social};

/// The generation of a projection that was never rebuilt.
pub const FIRST_GENERATION: i32 = 1;
/// What happened longer ago counts little in a rate.
pub(crate) const RATE_SECONDS: f64 = 10.0;

/// The checkpoint, made at the beginning of the log where there is none.
pub async fn load(
    pool: &PgPool,
    projection: &str,
    partition: Partition,
) -> Result<Position, ReadError> {
    sqlx::query(
        "INSERT INTO projections.checkpoints (projection, generation, partition, epoch, seq)
         VALUES ($1, $2, $3, 0, 0) ON CONFLICT DO NOTHING",
    )
    .bind(projection)
    .bind(FIRST_GENERATION)
    .bind(i32::from(partition.0))
    .execute(pool)
    .await?;
    let row = sqlx::query(
        "SELECT partition, epoch, seq FROM projections.checkpoints
         WHERE projection = $1 AND generation = $2 AND partition = $3",
    )
    .bind(projection)
    .bind(FIRST_GENERATION)
    .bind(i32::from(partition.0))
    .fetch_one(pool)
    .await?;
    position(&row)
}

/// Moves the checkpoint, or fails with `CheckpointMoved`. The transaction will
/// not wait for the disk: its rows and its checkpoint are lost together or not
/// at all, and the log gives them again.
pub async fn advance(
    transaction: &mut PgTransaction<'_>,
    projection: &str,
    from: Position,
    to: Position,
) -> Result<(), ReadError> {
    sqlx::query("SET LOCAL synchronous_commit = off")
        .execute(&mut **transaction)
        .await?;
    // The rate is an exponentially weighted mean over about ten seconds.
    let moved = sqlx::query(
        "UPDATE projections.checkpoints SET epoch = $6, seq = $7,
             stopped_because = NULL, diverged = false, moved_at = clock_timestamp(),
             rate = (SELECT rate * w + greatest($7 - seq, 0) / t * (1 - w)
                     FROM (SELECT t, exp(-t / $8) AS w FROM (SELECT greatest(0.001,
                         extract(epoch FROM clock_timestamp() - moved_at)::float8) AS t)
                         AS passed) AS weighed)
         WHERE projection = $1 AND generation = $2 AND partition = $3
           AND epoch = $4 AND seq = $5",
    )
    .bind(projection)
    .bind(FIRST_GENERATION)
    .bind(i32::from(from.partition.0))
    .bind(from.epoch as i64)
    .bind(from.seq as i64)
    .bind(to.epoch as i64)
    .bind(to.seq as i64)
    .bind(RATE_SECONDS)
    .execute(&mut **transaction)
    .await?;
    match moved.rows_affected() {
        1 => Ok(()),
        _ => Err(ReadError::CheckpointMoved),
    }
}

/// Fails with `RowsMissing` where the `social` rows of the events up to `to` are
/// not there: a database that crashed forgets its last moments, and the fold
/// makes them again.
pub async fn check_folded(connection: &mut PgConnection, to: Position) -> Result<(), ReadError> {
    let folded = sqlx::query(
        "SELECT 1 AS folded FROM projections.checkpoints
         WHERE projection = $1 AND generation = $2 AND partition = $3
           AND (epoch, seq) >= ($4, $5)",
    )
    .bind(Social::NAME)
    .bind(FIRST_GENERATION)
    .bind(i32::from(to.partition.0))
    .bind(to.epoch as i64)
    .bind(to.seq as i64)
    .fetch_optional(connection)
    .await?;
    folded.map(|_| ()).ok_or(ReadError::RowsMissing)
}

/// Writes down why a partition stands still, and whether it has read what the
/// log does not have.
pub async fn stop(
    pool: &PgPool,
    projection: &str,
    partition: Partition,
    reason: &str,
    diverged: bool,
) -> Result<(), ReadError> {
    sqlx::query(
        "UPDATE projections.checkpoints SET stopped_because = $4, diverged = $5
         WHERE projection = $1 AND generation = $2 AND partition = $3",
    )
    .bind(projection)
    .bind(FIRST_GENERATION)
    .bind(i32::from(partition.0))
    .bind(reason)
    .bind(diverged)
    .execute(pool)
    .await?;
    Ok(())
}

/// How far one projection is, and why those of its partitions that stand still
/// do.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    pub positions: Positions,
    pub stopped: Vec<(Partition, String)>,
}

/// The views and the database, as of one moment.
#[derive(Clone, Debug, Default)]
pub struct Look {
    pub projections: BTreeMap<String, Reached>,
    /// Authors whose posts are pulled: each is noted before anything is left
    /// unpushed.
    pub pulled: BTreeSet<AccountId>,
    /// Another one after every crash of the database, which may have lost what
    /// was committed last.
    pub life: Option<Uuid>,
}

pub async fn look(pool: &PgPool) -> Result<Look, ReadError> {
    let rows = sqlx::query(
        "SELECT projection, partition, epoch, seq, stopped_because,
             NULL::uuid AS pulled, NULL::uuid AS life
         FROM projections.checkpoints WHERE generation = $1
         UNION ALL
         SELECT NULL, NULL, NULL, NULL, NULL, account_id, NULL FROM projections.pulled_authors
         UNION ALL
         SELECT NULL, NULL, NULL, NULL, NULL, NULL, min(id::text)::uuid FROM projections.life",
    )
    .bind(FIRST_GENERATION)
    .fetch_all(pool)
    .await?;
    let mut look = Look::default();
    for row in &rows {
        let Some(projection) = row.try_get::<Option<String>, _>("projection")? else {
            let pulled: Option<Uuid> = row.try_get("pulled")?;
            look.pulled.extend(pulled.map(AccountId));
            look.life = look.life.or(row.try_get("life")?);
            continue;
        };
        let position = position(row)?;
        let reached = look.projections.entry(projection).or_default();
        reached.positions.advance(position);
        if let Some(reason) = row.try_get::<Option<String>, _>("stopped_because")? {
            reached.stopped.push((position.partition, reason));
        }
    }
    if look.life.is_none() {
        look.life = begin_life(pool).await?;
    }
    Ok(look)
}

/// Of two who do this at once the lesser counts; who saw the other looks anew.
async fn begin_life(pool: &PgPool) -> Result<Option<Uuid>, ReadError> {
    sqlx::query(
        "INSERT INTO projections.life (id)
         SELECT gen_random_uuid() WHERE NOT EXISTS (SELECT FROM projections.life)",
    )
    .execute(pool)
    .await?;
    let row = sqlx::query("SELECT min(id::text)::uuid AS life FROM projections.life")
        .fetch_one(pool)
        .await?;
    Ok(row.try_get("life")?)
}

/// Every partition's checkpoint, and why those that stand still do.
pub async fn all(
    pool: &PgPool,
    projection: &str,
) -> Result<(Positions, Vec<(Partition, String)>), ReadError> {
    let rows = sqlx::query(
        "SELECT partition, epoch, seq, stopped_because FROM projections.checkpoints
         WHERE projection = $1 AND generation = $2",
    )
    .bind(projection)
    .bind(FIRST_GENERATION)
    .fetch_all(pool)
    .await?;
    let mut positions = Positions::default();
    let mut stopped = Vec::new();
    for row in &rows {
        let position = position(row)?;
        positions.advance(position);
        if let Some(reason) = row.try_get::<Option<String>, _>("stopped_because")? {
            stopped.push((position.partition, reason));
        }
    }
    Ok((positions, stopped))
}

pub(crate) fn position(row: &PgRow) -> Result<Position, ReadError> {
    Ok(Position {
        partition: Partition(row.try_get::<i32, _>("partition")? as u16),
        epoch: row.try_get::<i64, _>("epoch")? as u64,
        seq: row.try_get::<i64, _>("seq")? as u64,
    })
}
