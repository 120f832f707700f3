//! How far each projection is. A checkpoint moves in the transaction of the
//! rows it stands for, and only from where its worker believes it to be: that
//! compare-and-set is the fence against a worker that was paused.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{AccountId, Partition, Position, Positions, Uuid};
use sea_orm::sqlx::{self, PgConnection, PgPool, PgTransaction, Row, postgres::PgRow};

use crate::{Generation, Projection, ReadError};

/// What happened longer ago counts little in a rate.
pub(crate) const RATE_SECONDS: f64 = 10.0;
/// So many times `RATE_SECONDS` ago counts nothing. PostgreSQL refuses the exponential
/// of what is much further: after two hours without an event.
pub(crate) const RATE_TIMES_MAX: f64 = 50.0;

/// A checkpoint with what whoever moves it must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub at: Position,
    /// Of the event there ([`kernel::Envelope::mark`]), where it is known.
    pub mark: Option<Uuid>,
    /// Whether its generation is the one that is read.
    pub live: bool,
    /// Whether events of this partition wait as dead letters.
    pub parked: bool,
}

/// The checkpoint, made at the beginning of the log where there is none. Fails
/// with `GenerationGone` where there is no such generation.
pub async fn load(
    pool: &PgPool,
    generation: Generation,
    partition: Partition,
) -> Result<Standing, ReadError> {
    if let Some(standing) = there(pool, generation, partition).await? {
        return Ok(standing);
    }
    // Who drops or swaps the generation meanwhile is waited for.
    sqlx::query(
        "INSERT INTO projections.checkpoints
             (projection, generation, partition, epoch, seq, live)
         SELECT projection, generation, $3, 0, 0, role = 'live'
         FROM projections.generations WHERE projection = $1 AND generation = $2 FOR SHARE
         ON CONFLICT DO NOTHING",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(i32::from(partition.0))
    .execute(pool)
    .await?;
    let standing = there(pool, generation, partition).await?;
    standing.ok_or(ReadError::GenerationGone)
}

async fn there(
    pool: &PgPool,
    generation: Generation,
    partition: Partition,
) -> Result<Option<Standing>, ReadError> {
    let row = sqlx::query(
        "SELECT partition, epoch, seq, live, parked,
             CASE WHEN mark_epoch = epoch AND mark_seq = seq THEN mark END AS mark
         FROM projections.checkpoints
         WHERE projection = $1 AND generation = $2 AND partition = $3",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(i32::from(partition.0))
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(standing).transpose()
}

fn standing(row: &PgRow) -> Result<Standing, ReadError> {
    Ok(Standing {
        at: position(row)?,
        mark: row.try_get("mark")?,
        live: row.try_get("live")?,
        parked: row.try_get::<i64, _>("parked")? > 0,
    })
}

/// Moves the checkpoint, or fails with `CheckpointMoved`. The transaction will
/// not wait for the disk: its rows and its checkpoint are lost together or not
/// at all, and the log gives them again. Nobody can swap the generation until
/// the transaction ends. `mark`: of the event at `to`.
pub async fn advance(
    transaction: &mut PgTransaction<'_>,
    generation: Generation,
    from: Position,
    to: Position,
    mark: Option<Uuid>,
) -> Result<Standing, ReadError> {
    // The rate is an exponentially weighted mean over about ten seconds. The setting
    // is the transaction's own, as by SET LOCAL, without a journey for it.
    let moved = sqlx::query(
        "UPDATE projections.checkpoints SET epoch = $6, seq = $7,
             mark = $9, mark_epoch = $6, mark_seq = $7,
             stopped_because = NULL, diverged = false, moved_at = clock_timestamp(),
             rate = (SELECT rate * w + greatest($7 - seq, 0) / t * (1 - w)
                     FROM (SELECT t, exp(-least(t / $8, $10)) AS w FROM (SELECT greatest(0.001,
                         extract(epoch FROM clock_timestamp() - moved_at)::float8) AS t)
                         AS passed) AS weighed)
         WHERE projection = $1 AND generation = $2 AND partition = $3
           AND epoch = $4 AND seq = $5
         RETURNING partition, epoch, seq, mark, live, parked,
             set_config('synchronous_commit', 'off', true)",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(i32::from(from.partition.0))
    .bind(from.epoch as i64)
    .bind(from.seq as i64)
    .bind(to.epoch as i64)
    .bind(to.seq as i64)
    .bind(RATE_SECONDS)
    .bind(mark)
    .bind(RATE_TIMES_MAX)
    .fetch_optional(&mut **transaction)
    .await?;
    standing(&moved.ok_or(ReadError::CheckpointMoved)?)
}

/// The checkpoint, which nobody moves until the transaction ends.
pub async fn lock(
    transaction: &mut PgTransaction<'_>,
    generation: Generation,
    partition: Partition,
) -> Result<Standing, ReadError> {
    let row = sqlx::query(
        "SELECT partition, epoch, seq, live, parked,
             CASE WHEN mark_epoch = epoch AND mark_seq = seq THEN mark END AS mark
         FROM projections.checkpoints
         WHERE projection = $1 AND generation = $2 AND partition = $3 FOR UPDATE",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(i32::from(partition.0))
    .fetch_optional(&mut **transaction)
    .await?;
    standing(&row.ok_or(ReadError::GenerationGone)?)
}

/// Begins a partition of a generation somewhere else than at the beginning.
pub async fn start_at(
    pool: &PgPool,
    generation: Generation,
    at: Position,
) -> Result<(), ReadError> {
    sqlx::query(
        "INSERT INTO projections.checkpoints
             (projection, generation, partition, epoch, seq, live)
         VALUES ($1, $2, $3, $4, $5, false) ON CONFLICT DO NOTHING",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(i32::from(at.partition.0))
    .bind(at.epoch as i64)
    .bind(at.seq as i64)
    .execute(pool)
    .await?;
    Ok(())
}

/// Fails with `RowsMissing` where the live rows of `projection` of the events up to `to`
/// are not there: a database that crashed forgets its last moments, and the fold
/// makes them again.
pub async fn check_folded(
    connection: &mut PgConnection,
    projection: Projection,
    to: Position,
) -> Result<(), ReadError> {
    let folded = sqlx::query(
        "SELECT 1 AS folded FROM projections.checkpoints
         WHERE projection = $1 AND live AND partition = $2 AND (epoch, seq) >= ($3, $4)",
    )
    .bind(projection.name())
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
    generation: Generation,
    partition: Partition,
    reason: &str,
    diverged: bool,
) -> Result<(), ReadError> {
    sqlx::query(
        "UPDATE projections.checkpoints SET stopped_because = $4, diverged = $5
         WHERE projection = $1 AND generation = $2 AND partition = $3",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(i32::from(partition.0))
    .bind(reason)
    .bind(diverged)
    .execute(pool)
    .await?;
    Ok(())
}

/// How far the live generation of one projection is, and why those of its
/// partitions that stand still do.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// The generation's number.
    pub generation: i32,
    /// Not of partitions that have diverged: what they have read is not what the
    /// log has at those positions.
    pub positions: Positions,
    pub stopped: Vec<(Partition, String)>,
    /// Dead letters of all partitions.
    pub parked: i64,
}

/// The views and the database, as of one moment.
#[derive(Clone, Debug, Default)]
pub struct Look {
    pub projections: BTreeMap<String, Reached>,
    /// Authors whose posts are pulled: each is noted before anything is left
    /// unpushed.
    pub pulled: BTreeSet<AccountId>,
    /// Another one after every crash of the database, which may have lost what
    /// was committed last, and whenever rows were changed beside the folds.
    pub life: Option<Uuid>,
}

pub async fn look(pool: &PgPool) -> Result<Look, ReadError> {
    let rows = sqlx::query(
        "SELECT c.projection, c.generation, c.partition, c.epoch, c.seq, c.parked, c.diverged,
             coalesce(c.stopped_because, 'paused: ' || p.reason) AS stopped_because,
             NULL::uuid AS pulled, NULL::uuid AS life
         FROM projections.checkpoints AS c
         LEFT JOIN projections.pauses AS p ON p.projection = c.projection
         WHERE c.live
         UNION ALL
         SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, account_id, NULL
         FROM projections.pulled_authors
         UNION ALL
         SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, min(id::text)::uuid
         FROM projections.life",
    )
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
        let reached = look.projections.entry(projection).or_default();
        reached.take(row)?;
    }
    if look.life.is_none() {
        look.life = match begin_life(pool).await {
            // It is begun when the database takes writes again.
            Err(error) if error.is_read_only() => None,
            begun => begun?,
        };
    }
    Ok(look)
}

impl Reached {
    fn take(&mut self, row: &PgRow) -> Result<(), ReadError> {
        let position = position(row)?;
        if !row.try_get::<bool, _>("diverged")? {
            self.positions.advance(position);
        }
        self.generation = row.try_get("generation")?;
        self.parked += row.try_get::<i64, _>("parked")?;
        if let Some(reason) = row.try_get::<Option<String>, _>("stopped_because")? {
            self.stopped.push((position.partition, reason));
        }
        Ok(())
    }
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

/// The live generation of one projection.
pub async fn live(pool: &PgPool, projection: Projection) -> Result<Reached, ReadError> {
    let mut look = look(pool).await?;
    Ok(look
        .projections
        .remove(projection.name())
        .unwrap_or_default())
}

/// How far a generation is.
pub async fn of(pool: &PgPool, generation: Generation) -> Result<Positions, ReadError> {
    let rows = sqlx::query(
        "SELECT partition, epoch, seq FROM projections.checkpoints
         WHERE projection = $1 AND generation = $2",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .fetch_all(pool)
    .await?;
    rows.iter().map(position).collect()
}

pub(crate) fn position(row: &PgRow) -> Result<Position, ReadError> {
    Ok(Position {
        partition: Partition(row.try_get::<i32, _>("partition")? as u16),
        epoch: row.try_get::<i64, _>("epoch")? as u64,
        seq: row.try_get::<i64, _>("seq")? as u64,
    })
}
