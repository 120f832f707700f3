//! Generations: a projection is folded again beside its live generation, into
//! rows and keys of its own, and takes its place in one step. It refuses to
//! fold: it knows which generations there are, and which one is read.

use std::collections::BTreeSet;

use kernel::{Partition, Position};
use sea_orm::sqlx::{self, AssertSqlSafe, PgConnection, PgPool, Row};

use crate::{Projection, Projections, ReadError, checkpoints, database};

/// How long a swap waits for a lock before it gives up.
const LOCK_MILLISECONDS_MAX: u64 = 2_000;
/// Any number: operators' work on one projection at a time.
const OPERATION_LOCK: i32 = 0x6877_6f70;
/// Beside the names of projections.
const ARCHIVING: &str = "archiving";

/// One fold of the log, with rows or keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    pub projection: Projection,
    /// From 1.
    pub number: i32,
}

impl Generation {
    /// Where its rows are; queries read the live one.
    pub fn schema(self, live: bool) -> String {
        match live {
            true => self.projection.name().to_owned(),
            false => format!("{}_{}", self.projection.name(), self.number),
        }
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.projection.name(), self.number)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is read. Workers fold it.
    Live,
    /// Whoever rebuilds folds it.
    Building,
    /// It was live; workers fold it on, so that it can be again.
    Kept,
    /// Made to be compared with the live one, and dropped.
    Checking,
}

impl Role {
    const ALL: [Self; 4] = [Self::Live, Self::Building, Self::Kept, Self::Checking];

    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Building => "building",
            Self::Kept => "kept",
            Self::Checking => "checking",
        }
    }

    /// Whether workers keep it at the head of the log.
    pub fn is_worked(self) -> bool {
        matches!(self, Self::Live | Self::Kept)
    }
}

/// How far one that is not read yet has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Replaying,
    /// It has caught up once, and its indexes are there.
    Indexed,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Replaying => "replaying",
            Self::Indexed => "indexed",
        }
    }
}

/// A generation that there is.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub generation: Generation,
    pub role: Role,
    pub stage: Stage,
}

/// Every generation of every projection, and which projections are paused.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub generations: Vec<Known>,
    pub paused: BTreeSet<Projection>,
}

impl Plan {
    pub fn of(&self, projection: Projection, role: Role) -> Option<Known> {
        let is_it = |known: &&Known| known.generation.projection == projection;
        let mut all = self.generations.iter().filter(is_it);
        all.rfind(|known| known.role == role).copied()
    }

    /// What workers keep at the head of the log.
    pub fn worked(&self) -> impl Iterator<Item = Generation> {
        let worked = self.generations.iter().filter(|known| {
            known.role.is_worked() && !self.paused.contains(&known.generation.projection)
        });
        worked.map(|known| known.generation)
    }
}

/// What is of another release is left out.
pub async fn plan(pool: &PgPool, projections: &Projections) -> Result<Plan, ReadError> {
    let rows = sqlx::query(
        "SELECT projection, generation, role, stage FROM projections.generations
         UNION ALL SELECT projection, 0, 'paused', '' FROM projections.pauses
         ORDER BY projection, generation",
    )
    .fetch_all(pool)
    .await?;
    let mut plan = Plan::default();
    for row in &rows {
        let Some(projection) = projections.named(row.try_get("projection")?) else {
            continue;
        };
        let (role, stage): (&str, &str) = (row.try_get("role")?, row.try_get("stage")?);
        if role == "paused" {
            plan.paused.insert(projection);
            continue;
        }
        let Some(role) = Role::ALL.into_iter().find(|one| one.name() == role) else {
            continue;
        };
        plan.generations.push(Known {
            generation: Generation {
                projection,
                number: row.try_get("generation")?,
            },
            role,
            stage: match stage == Stage::Indexed.name() {
                true => Stage::Indexed,
                false => Stage::Replaying,
            },
        });
    }
    Ok(plan)
}

/// Lets nobody else rebuild, verify, replay or swap `projection` as long as it
/// lives. It ends with its connection.
pub struct Operation {
    connection: PgConnection,
}

/// `None` where somebody else is at it.
pub async fn begin_operation(
    pool: &PgPool,
    projection: Projection,
) -> Result<Option<Operation>, ReadError> {
    lock(pool, projection.name()).await
}

async fn lock(pool: &PgPool, name: &str) -> Result<Option<Operation>, ReadError> {
    // Not one of the pool: a lock must not come back to it.
    let mut connection = database::alone(&pool.connect_options()).await?;
    let row = sqlx::query("SELECT pg_try_advisory_lock($1, hashtext($2)) AS taken")
        .bind(OPERATION_LOCK)
        .bind(name)
        .fetch_one(&mut connection)
        .await?;
    Ok(row
        .try_get::<bool, _>("taken")?
        .then_some(Operation { connection }))
}

impl Operation {
    /// Fails where the lock is gone with its connection.
    pub async fn check(&mut self) -> Result<(), ReadError> {
        sqlx::query("SELECT 1")
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }
}

/// Lets nobody else archive. `None` where somebody does.
pub async fn begin_archiving(pool: &PgPool) -> Result<Option<Operation>, ReadError> {
    lock(pool, ARCHIVING).await
}

/// How far every generation is that workers fold: what comes before is needed by none
/// of them, nor by those of another release. None where one has not begun, or a
/// registered projection has none that is live.
pub async fn passed(
    pool: &PgPool,
    projections: &Projections,
    partition: Partition,
) -> Result<Option<Position>, ReadError> {
    let registered: Vec<_> = projections.names().map(Projection::name).collect();
    let rows = sqlx::query(
        "SELECT $1 AS partition, c.epoch, c.seq
         FROM (SELECT projection, generation FROM projections.generations
               WHERE role IN ('live', 'kept')
               UNION ALL SELECT name, NULL FROM unnest($2::text[]) AS registered (name)
               WHERE NOT EXISTS (SELECT FROM projections.generations AS there
                   WHERE there.projection = name AND there.role = 'live')) AS g
         LEFT JOIN projections.checkpoints AS c ON c.projection = g.projection
             AND c.generation = g.generation AND c.partition = $1
         ORDER BY c.epoch NULLS FIRST, c.seq LIMIT 1",
    )
    .bind(i32::from(partition.0))
    .bind(registered)
    .fetch_all(pool)
    .await?;
    let Some(least) = rows.first() else {
        return Ok(None);
    };
    match least.try_get::<Option<i64>, _>("epoch")? {
        Some(_) => Ok(Some(checkpoints::position(least)?)),
        None => Ok(None),
    }
}

/// The last epoch that any projection has seen; 0 where none has.
pub async fn last_epoch(pool: &PgPool) -> Result<u64, ReadError> {
    let row = sqlx::query("SELECT coalesce(max(epoch), 0) AS epoch FROM projections.checkpoints")
        .fetch_one(pool)
        .await?;
    Ok(row.try_get::<i64, _>("epoch")? as u64)
}

/// The next generation of `projection`, which has nothing yet, at the beginning
/// of the log.
pub async fn begin(
    pool: &PgPool,
    projection: Projection,
    role: Role,
) -> Result<Generation, ReadError> {
    let row = sqlx::query(
        "INSERT INTO projections.generations (projection, generation, role)
         VALUES ($1, nextval('projections.generation_numbers'), $2) RETURNING generation",
    )
    .bind(projection.name())
    .bind(role.name())
    .fetch_one(pool)
    .await?;
    Ok(Generation {
        projection,
        number: row.try_get("generation")?,
    })
}

pub async fn set_stage(
    pool: &PgPool,
    generation: Generation,
    stage: Stage,
) -> Result<(), ReadError> {
    sqlx::query(
        "UPDATE projections.generations SET stage = $3 WHERE projection = $1 AND generation = $2",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(stage.name())
    .execute(pool)
    .await?;
    Ok(())
}

/// A moment in which a generation does not move: nobody folds it until this is
/// given up.
pub struct Held {
    transaction: sqlx::PgTransaction<'static>,
    generation: Generation,
    pub positions: Vec<Position>,
}

/// Waits for the batches that are under way.
pub async fn hold(pool: &PgPool, generation: Generation) -> Result<Held, ReadError> {
    let mut transaction = crate::begin(pool).await?;
    let lock = format!("SET LOCAL lock_timeout = {LOCK_MILLISECONDS_MAX}");
    sqlx::query(AssertSqlSafe(lock))
        .execute(&mut *transaction)
        .await?;
    let positions = lock_checkpoints(&mut transaction, generation).await?;
    Ok(Held {
        transaction,
        generation,
        positions,
    })
}

async fn lock_checkpoints(
    connection: &mut PgConnection,
    generation: Generation,
) -> Result<Vec<Position>, ReadError> {
    let rows = sqlx::query(
        "SELECT partition, epoch, seq FROM projections.checkpoints
         WHERE projection = $1 AND generation = $2 ORDER BY partition FOR UPDATE",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .fetch_all(connection)
    .await?;
    rows.iter().map(checkpoints::position).collect()
}

impl Held {
    /// Lets it go on. (Dropping does it too, a little later.)
    pub async fn release(self) -> Result<(), ReadError> {
        Ok(self.transaction.rollback().await?)
    }

    /// Puts `next` in the place of this one, which is kept: from the commit on
    /// every query reads `next`. It must be at least as far in every partition,
    /// or answers would go back in time; unless they have to, where the log was
    /// lost (`backwards`).
    pub async fn swap(mut self, next: Generation, backwards: bool) -> Result<(), ReadError> {
        let connection = &mut *self.transaction;
        let sql = "SELECT 1 FROM projections.generations
                   WHERE projection = $1 AND generation = $2 AND role = 'live' FOR UPDATE";
        let live = sqlx::query(sql)
            .bind(self.generation.projection.name())
            .bind(self.generation.number)
            .fetch_optional(&mut *connection)
            .await?;
        live.ok_or(ReadError::GenerationGone)?;
        let there = lock_checkpoints(connection, next).await?;
        for position in &self.positions {
            let reached = |at: &Position| at.partition == position.partition && at >= position;
            if !backwards && !there.iter().any(reached) {
                return Err(ReadError::Behind(position.partition));
            }
        }
        let projection = next.projection.name();
        if next.projection.has_tables() {
            let (before, after) = (self.generation.schema(false), next.schema(true));
            let fresh = next.schema(false);
            for sql in [
                format!("ALTER SCHEMA {after} RENAME TO {before}"),
                format!("ALTER SCHEMA {fresh} RENAME TO {after}"),
            ] {
                let sql = sqlx::query(AssertSqlSafe(sql));
                sql.execute(&mut *connection).await?;
            }
        }
        let (before, after) = (self.generation.number, next.number);
        for (number, live, role) in [(before, false, Role::Kept), (after, true, Role::Live)] {
            for sql in [
                "UPDATE projections.checkpoints SET live = $3
                 WHERE projection = $1 AND generation = $2 AND $4 <> ''",
                "UPDATE projections.generations SET role = $4, stage = 'indexed'
                 WHERE projection = $1 AND generation = $2 AND $3 IS NOT NULL",
            ] {
                sqlx::query(sql)
                    .bind(projection)
                    .bind(number)
                    .bind(live)
                    .bind(role.name())
                    .execute(&mut *connection)
                    .await?;
            }
        }
        kernel::crash::point("swap.before");
        self.transaction.commit().await?;
        kernel::crash::point("swap.after");
        Ok(())
    }
}

/// Forgets a generation that is not live: its rows, checkpoints and letters.
/// Keys of timelines are dropped by `Lists`. Fails with `GenerationGone` where
/// there is none, or it is live.
pub async fn remove(pool: &PgPool, generation: Generation) -> Result<(), ReadError> {
    let mut transaction = crate::begin(pool).await?;
    let forgotten = sqlx::query(
        "DELETE FROM projections.generations
         WHERE projection = $1 AND generation = $2 AND role <> 'live'",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .execute(&mut *transaction)
    .await?;
    if forgotten.rows_affected() == 0 {
        return Err(ReadError::GenerationGone);
    }
    for table in ["checkpoints", "dead_letters"] {
        let sql =
            format!("DELETE FROM projections.{table} WHERE projection = $1 AND generation = $2");
        sqlx::query(AssertSqlSafe(sql))
            .bind(generation.projection.name())
            .bind(generation.number)
            .execute(&mut *transaction)
            .await?;
    }
    if generation.projection.has_tables() {
        let schema = generation.schema(false);
        let sql = format!("DROP SCHEMA IF EXISTS {schema} CASCADE");
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut *transaction)
            .await?;
    }
    Ok(transaction.commit().await?)
}

/// Workers stop folding `projection` until it is resumed.
pub async fn pause(
    pool: &PgPool,
    projection: Projection,
    operator: &str,
    reason: &str,
) -> Result<(), ReadError> {
    sqlx::query(
        "INSERT INTO projections.pauses (projection, operator, reason) VALUES ($1, $2, $3)
         ON CONFLICT (projection) DO UPDATE SET
             operator = EXCLUDED.operator, reason = EXCLUDED.reason",
    )
    .bind(projection.name())
    .bind(operator)
    .bind(reason)
    .execute(pool)
    .await?;
    Ok(())
}

/// Whether it was paused.
pub async fn resume(pool: &PgPool, projection: Projection) -> Result<bool, ReadError> {
    let resumed = sqlx::query("DELETE FROM projections.pauses WHERE projection = $1")
        .bind(projection.name())
        .execute(pool)
        .await?;
    Ok(resumed.rows_affected() > 0)
}

/// Puts checkpoints back, of the positions' partitions, as far as they are
/// beyond them. What was folded is folded again.
pub async fn set_back(
    pool: &PgPool,
    generation: Generation,
    to: &[Position],
) -> Result<u64, ReadError> {
    let partition = |position: &Position| i32::from(position.partition.0);
    let set = sqlx::query(
        "UPDATE projections.checkpoints AS c SET epoch = t.epoch, seq = t.seq,
             stopped_because = NULL, diverged = false
         FROM unnest($3::integer[], $4::bigint[], $5::bigint[]) AS t (partition, epoch, seq)
         WHERE projection = $1 AND generation = $2 AND c.partition = t.partition
           AND (c.epoch, c.seq) > (t.epoch, t.seq)",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(to.iter().map(partition).collect::<Vec<_>>())
    .bind(to.iter().map(|at| at.epoch as i64).collect::<Vec<_>>())
    .bind(to.iter().map(|at| at.seq as i64).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(set.rows_affected())
}

/// Whatever processes keep of rows, they must read anew.
pub async fn begin_new_life(pool: &PgPool) -> Result<(), ReadError> {
    sqlx::query("UPDATE projections.life SET id = gen_random_uuid()")
        .execute(pool)
        .await?;
    Ok(())
}

/// A partition's checkpoint in a generation, where there is one.
pub async fn at(
    pool: &PgPool,
    generation: Generation,
    partition: Partition,
) -> Result<Option<Position>, ReadError> {
    let row = sqlx::query(
        "SELECT partition, epoch, seq FROM projections.checkpoints
         WHERE projection = $1 AND generation = $2 AND partition = $3",
    )
    .bind(generation.projection.name())
    .bind(generation.number)
    .bind(i32::from(partition.0))
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(checkpoints::position).transpose()
}
