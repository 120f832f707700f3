//! How far each projection is. A checkpoint moves in the transaction of the
//! rows it stands for, and only from where its worker believes it to be: that
//! compare-and-set is the fence against a worker that was paused.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{AccountId, Partition, Position, Positions};
use sea_orm::sqlx::{self, PgConnection, PgPool, PgTransaction, Row, postgres::PgRow};

use crate::{ReadError, Social};

/// The generation of a projection that was never rebuilt.
pub const FIRST_GENERATION: i32 = 1;

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
    let moved = sqlx::query(
        "UPDATE projections.checkpoints SET epoch = $6, seq = $7, stopped_because = NULL
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

/// Writes down why a partition stands still.
pub async fn stop(
    pool: &PgPool,
    projection: &str,
    partition: Partition,
    reason: &str,
) -> Result<(), ReadError> {
    sqlx::query(
        "UPDATE projections.checkpoints SET stopped_because = $4
         WHERE projection = $1 AND generation = $2 AND partition = $3",
    )
    .bind(projection)
    .bind(FIRST_GENERATION)
    .bind(i32::from(partition.0))
    .bind(reason)
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

/// All projections by name, and the authors whose posts are pulled, as of one
/// moment: an author is noted as pulled before anything is left unpushed.
pub async fn look(
    pool: &PgPool,
) -> Result<(BTreeMap<String, Reached>, BTreeSet<AccountId>), ReadError> {
    let rows = sqlx::query(
        "SELECT projection, partition, epoch, seq, stopped_because, NULL::uuid AS pulled
         FROM projections.checkpoints WHERE generation = $1
         UNION ALL
         SELECT NULL, NULL, NULL, NULL, NULL, account_id FROM projections.pulled_authors",
    )
    .bind(FIRST_GENERATION)
    .fetch_all(pool)
    .await?;
    let (mut projections, mut pulled) = (BTreeMap::<String, Reached>::new(), BTreeSet::new());
    for row in &rows {
        let Some(projection) = row.try_get::<Option<String>, _>("projection")? else {
            pulled.insert(AccountId(row.try_get("pulled")?));
            continue;
        };
        let position = position(row)?;
        let reached = projections.entry(projection).or_default();
        reached.positions.advance(position);
        if let Some(reason) = row.try_get::<Option<String>, _>("stopped_because")? {
            reached.stopped.push((position.partition, reason));
        }
    }
    Ok((projections, pulled))
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

fn position(row: &PgRow) -> Result<Position, ReadError> {
    Ok(Position {
        partition: Partition(row.try_get::<i32, _>("partition")? as u16),
        epoch: row.try_get::<i64, _>("epoch")? as u64,
        seq: row.try_get::<i64, _>("seq")? as u64,
    })
}
