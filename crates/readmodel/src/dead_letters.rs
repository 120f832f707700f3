//! Dead letters: events that a fold could not take, and those after them of
//! the same aggregate. They wait in order; everything else flows. It refuses to
//! keep payloads: the log has them.

use std::collections::BTreeSet;

use kernel::{AggregateId, Kind, Partition, Position, Positions, Uuid};
use sea_orm::sqlx::{self, PgConnection, PgPool, Row, postgres::PgRow};

use crate::{Generation, Projection, Projections, ReadError, checkpoints};

/// Dead letters of one partition; where there are more, it is not the events.
pub const PARKED_MAX: i64 = 10_000;

/// A query for rows that `letter` takes.
macro_rules! letters {
    ($which:literal) => {
        concat!(
            "SELECT *, extract(epoch FROM now() - parked_at)::float8 AS waits
             FROM projections.dead_letters ",
            $which
        )
    };
}

/// An event that waits.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub generation: Generation,
    pub position: Position,
    pub aggregate: AggregateId,
    pub event_type: String,
    /// Why it could not be folded; none where it waits for one before it.
    pub reason: Option<String>,
    /// How often it was tried.
    pub tries: i32,
    /// How long it waits, in seconds.
    pub waits_seconds: f64,
}

/// An event to be parked.
pub struct Parked<'a> {
    pub position: Position,
    pub aggregate: AggregateId,
    pub event_type: &'a str,
    /// None where it waits for one before it.
    pub reason: Option<&'a str>,
}

/// Parks an event, in the transaction that moves the checkpoint over it.
pub async fn park(
    connection: &mut PgConnection,
    generation: Generation,
    parked: Parked<'_>,
) -> Result<(), ReadError> {
    let Parked {
        position,
        aggregate,
        ..
    } = parked;
    let letters = sqlx::query(
        "WITH parked AS (
             INSERT INTO projections.dead_letters (projection, generation, partition,
                 epoch, seq, kind, aggregate_id, member, event_type, reason)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (projection, generation, partition, epoch, seq) DO UPDATE SET
                 reason = coalesce(EXCLUDED.reason, dead_letters.reason),
                 tries = dead_letters.tries + 1
             RETURNING xmax = 0 AS is_new
         )
         UPDATE projections.checkpoints SET parked = parked + (SELECT is_new FROM parked)::int
         WHERE projection = $1 AND generation = $2 AND partition = $3
         RETURNING parked",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(i32::from(position.partition.0))
    .bind(position.epoch as i64)
    .bind(position.seq as i64)
    .bind(i16::from(aggregate.kind.0))
    .bind(aggregate.id)
    .bind(aggregate.member)
    .bind(parked.event_type)
    .bind(parked.reason)
    .fetch_one(connection)
    .await?;
    match letters.try_get::<i64, _>("parked")? > PARKED_MAX {
        true => Err(ReadError::TooManyParked),
        false => Ok(()),
    }
}

/// The aggregates of a partition whose events wait.
pub async fn aggregates(
    connection: &mut PgConnection,
    generation: Generation,
    partition: Partition,
) -> Result<BTreeSet<AggregateId>, ReadError> {
    let rows = sqlx::query(
        "SELECT DISTINCT kind, aggregate_id, member FROM projections.dead_letters
         WHERE projection = $1 AND generation = $2 AND partition = $3",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(i32::from(partition.0))
    .fetch_all(connection)
    .await?;
    rows.iter().map(aggregate).collect()
}

/// What nobody may be shown an older state of: ids of the aggregates that wait
/// for the live generation.
pub async fn hidden(pool: &PgPool, projection: Projection) -> Result<BTreeSet<Uuid>, ReadError> {
    let rows = sqlx::query(
        "SELECT DISTINCT d.aggregate_id FROM projections.dead_letters AS d
         JOIN projections.generations AS g
             ON g.projection = d.projection AND g.generation = d.generation
         WHERE d.projection = $1 AND g.role = 'live' AND d.member IS NULL",
    )
    .bind(projection.name())
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| Ok(row.try_get("aggregate_id")?))
        .collect()
}

/// At most `limit` of the letters of all generations after `after`, in the
/// order of projection, generation and position.
pub async fn list(
    pool: &PgPool,
    projections: &Projections,
    projection: Option<Projection>,
    after: Option<&DeadLetter>,
    limit: i64,
) -> Result<Vec<DeadLetter>, ReadError> {
    let rows = sqlx::query(letters!(
        "WHERE ($1::text IS NULL OR projection = $1)
           AND ($2::text IS NULL
                OR (projection, generation, partition, epoch, seq) > ($2, $3, $4, $5, $6))
         ORDER BY projection, generation, partition, epoch, seq LIMIT $7"
    ))
    .bind(projection.map(Projection::name))
    .bind(after.map(|letter| letter.generation.projection.name()))
    .bind(after.map(|letter| letter.generation.number))
    .bind(after.map(|letter| i32::from(letter.position.partition.0)))
    .bind(after.map(|letter| letter.position.epoch as i64))
    .bind(after.map(|letter| letter.position.seq as i64))
    .bind(limit)
    .fetch_all(pool)
    .await?;
    let letters = rows.iter().map(|row| {
        // What is of another release is left out.
        let projection = projections.named(row.try_get("projection")?);
        projection.map(|one| letter(one, row)).transpose()
    });
    letters.filter_map(Result::transpose).collect()
}

/// The letters of one aggregate in one generation, in order.
pub async fn of_aggregate(
    connection: &mut PgConnection,
    generation: Generation,
    aggregate: AggregateId,
) -> Result<Vec<DeadLetter>, ReadError> {
    let rows = sqlx::query(letters!(
        "WHERE projection = $1 AND generation = $2 AND kind = $3 AND aggregate_id = $4
           AND member IS NOT DISTINCT FROM $5
         ORDER BY partition, epoch, seq"
    ))
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(i16::from(aggregate.kind.0))
    .bind(aggregate.id)
    .bind(aggregate.member)
    .fetch_all(connection)
    .await?;
    letters(generation.projection, &rows)
}

/// The letters at a position, of every generation.
pub async fn all_at(
    pool: &PgPool,
    projection: Projection,
    position: Position,
) -> Result<Vec<DeadLetter>, ReadError> {
    let rows = sqlx::query(letters!(
        "WHERE projection = $1 AND partition = $2 AND epoch = $3 AND seq = $4
         ORDER BY generation"
    ))
    .bind(projection.name())
    .bind(i32::from(position.partition.0))
    .bind(position.epoch as i64)
    .bind(position.seq as i64)
    .fetch_all(pool)
    .await?;
    letters(projection, &rows)
}

/// The letter at a position, where there is one.
pub async fn at(
    pool: &PgPool,
    generation: Generation,
    position: Position,
) -> Result<Option<DeadLetter>, ReadError> {
    let row = sqlx::query(letters!(
        "WHERE projection = $1 AND generation = $2 AND partition = $3 AND epoch = $4
           AND seq = $5"
    ))
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(i32::from(position.partition.0))
    .bind(position.epoch as i64)
    .bind(position.seq as i64)
    .fetch_optional(pool)
    .await?;
    let letter = |row| letter(generation.projection, row);
    row.as_ref().map(letter).transpose()
}

/// Why one that waits could not be folded this time either.
pub async fn note(
    pool: &PgPool,
    generation: Generation,
    position: Position,
    reason: &str,
) -> Result<(), ReadError> {
    sqlx::query(
        "UPDATE projections.dead_letters SET reason = $6, tries = tries + 1
         WHERE projection = $1 AND generation = $2 AND partition = $3 AND epoch = $4
           AND seq = $5",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(i32::from(position.partition.0))
    .bind(position.epoch as i64)
    .bind(position.seq as i64)
    .bind(reason)
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets those at `positions`, of one partition: they were folded, or are
/// left out. Returns how many there were.
pub async fn remove(
    connection: &mut PgConnection,
    generation: Generation,
    partition: Partition,
    positions: &[Position],
) -> Result<u64, ReadError> {
    let row = sqlx::query(
        "WITH gone AS (
             DELETE FROM projections.dead_letters
             WHERE projection = $1 AND generation = $2 AND partition = $3
               AND (epoch, seq) IN (SELECT * FROM unnest($4::bigint[], $5::bigint[]))
             RETURNING 1
         ), fewer AS (
             UPDATE projections.checkpoints SET parked = parked - (SELECT count(*) FROM gone)
             WHERE projection = $1 AND generation = $2 AND partition = $3
         )
         SELECT count(*) AS gone FROM gone",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(i32::from(partition.0))
    .bind(
        positions
            .iter()
            .map(|at| at.epoch as i64)
            .collect::<Vec<_>>(),
    )
    .bind(positions.iter().map(|at| at.seq as i64).collect::<Vec<_>>())
    .fetch_one(connection)
    .await?;
    Ok(row.try_get::<i64, _>("gone")? as u64)
}

/// An event that an operator left out.
#[derive(Clone, Debug)]
pub struct Skip {
    pub projection: Projection,
    pub position: Position,
    pub event_type: String,
    pub reason: String,
    pub operator: String,
}

pub async fn skip(connection: &mut PgConnection, skip: &Skip) -> Result<(), ReadError> {
    sqlx::query(
        "INSERT INTO projections.skips
             (projection, partition, epoch, seq, event_type, reason, operator)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(skip.projection.name())
    .bind(i32::from(skip.position.partition.0))
    .bind(skip.position.epoch as i64)
    .bind(skip.position.seq as i64)
    .bind(&skip.event_type)
    .bind(&skip.reason)
    .bind(&skip.operator)
    .execute(connection)
    .await?;
    Ok(())
}

/// Every event that was left out of a projection.
pub async fn skips(pool: &PgPool, projection: Projection) -> Result<Vec<Skip>, ReadError> {
    let rows = sqlx::query(
        "SELECT * FROM projections.skips WHERE projection = $1 ORDER BY partition, epoch, seq",
    )
    .bind(projection.name())
    .fetch_all(pool)
    .await?;
    let skip = |row: &PgRow| -> Result<Skip, ReadError> {
        Ok(Skip {
            projection,
            position: checkpoints::position(row)?,
            event_type: row.try_get("event_type")?,
            reason: row.try_get("reason")?,
            operator: row.try_get("operator")?,
        })
    };
    rows.iter().map(skip).collect()
}

/// Their positions.
pub async fn skipped(pool: &PgPool, projection: Projection) -> Result<Vec<Position>, ReadError> {
    let all = skips(pool, projection).await?;
    Ok(all.into_iter().map(|skip| skip.position).collect())
}

/// The lowest position that waits in each partition, of every generation.
pub async fn lowest(pool: &PgPool) -> Result<Positions, ReadError> {
    let rows = sqlx::query(
        "SELECT DISTINCT ON (partition) partition, epoch, seq FROM projections.dead_letters
         ORDER BY partition, epoch, seq",
    )
    .fetch_all(pool)
    .await?;
    rows.iter().map(checkpoints::position).collect()
}

fn aggregate(row: &PgRow) -> Result<AggregateId, ReadError> {
    Ok(AggregateId {
        kind: Kind(row.try_get::<i16, _>("kind")? as u8),
        id: row.try_get("aggregate_id")?,
        member: row.try_get("member")?,
    })
}

fn letters(projection: Projection, rows: &[PgRow]) -> Result<Vec<DeadLetter>, ReadError> {
    rows.iter().map(|row| letter(projection, row)).collect()
}

fn letter(projection: Projection, row: &PgRow) -> Result<DeadLetter, ReadError> {
    Ok(DeadLetter {
        generation: Generation {
            projection,
            number: row.try_get("generation")?,
        },
        position: checkpoints::position(row)?,
        aggregate: aggregate(row)?,
        event_type: row.try_get("event_type")?,
        reason: row.try_get("reason")?,
        tries: row.try_get("tries")?,
        waits_seconds: row.try_get("waits")?,
    })
}
