//! The tables of a projection, made anew in a schema of their own.

use std::{sync::Arc, time::Duration};

use eventlog::Log;
use kernel::Position;
use readmodel::{
    Generation, Projection, ReadError, checkpoints,
    comparing::{Snapshot, TableComparison},
    generations::{self, Held, Role, Stage},
    projections::{analyze, create_indexes, create_tables},
};
use sea_orm::{ConnectionTrait, TransactionTrait};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{Pace, RebuildError, Reports, aim, distance, live, tell, told_more};
use crate::{
    batch::Batch,
    context::WorkerContext,
    error::WorkError,
    folding::{self, Folding},
    reading,
};

/// The live generation is held only when so few events are left to fold.
const MEET_EVENTS_MAX: u64 = 1_000;
const MEET_TRIES_MAX: u32 = 50;
/// How long the new generation is folded here after a swap: workers look which
/// generations there are once a second.
const LINGER_SECONDS: u64 = 4;
const LINGER_PAUSE_MILLISECONDS: u64 = 5;

/// A generation beside the live one.
pub struct RebuiltTables {
    context: WorkerContext,
    pub generation: Generation,
    live: Generation,
    pace: Arc<Pace>,
    reports: Reports,
    stop: watch::Receiver<bool>,
}

impl RebuiltTables {
    /// Goes on with the one that was begun, or begins one.
    pub async fn begin(
        context: WorkerContext,
        projection: Projection,
        role: Role,
        pace: Pace,
        reports: Reports,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, RebuildError> {
        let plan = context.plan().await?;
        let live = live(&plan, projection)?;
        let generation = match plan.of(projection, role) {
            Some(known) => known.generation,
            None => {
                // Before anything is made that cannot be filled.
                let beginnings: Vec<_> = context.log.partitions().map(Log::beginning).collect();
                let whole = context.history.check(&beginnings).await;
                whole.map_err(WorkError::from)?;
                generations::begin(context.pool(), projection, role).await?
            }
        };
        let tables = context.tables(projection)?.as_ref();
        create_tables(&context.database, tables, &generation.schema(false)).await?;
        Ok(Self {
            context,
            generation,
            live,
            pace: Arc::new(pace),
            reports,
            stop,
        })
    }

    /// Folds until the live generation is near, then makes the indexes.
    pub async fn replay(&self) -> Result<(), RebuildError> {
        let done = checkpoints::of(self.context.pool(), self.generation).await?;
        let aims = aim(&self.context, self.live).await?;
        let all = aims.iter().map(|to| to.seq).sum();
        tell(&self.reports, "replaying", all);
        told_more(&self.reports, done.iter().map(|at| at.seq).sum());
        self.fold_to(aims).await?;
        while self.left().await? > MEET_EVENTS_MAX {
            self.fold_to(aim(&self.context, self.live).await?).await?;
        }
        tell(&self.reports, "making indexes", 0);
        self.make_indexes().await?;
        generations::set_stage(self.context.pool(), self.generation, Stage::Indexed).await?;
        Ok(())
    }

    /// Indexes, and what the planner must know, outside the limits of queries.
    async fn make_indexes(&self) -> Result<(), RebuildError> {
        let fresh = self.generation.schema(false);
        let tables = self.context.tables(self.generation.projection)?.as_ref();
        let transaction = self.context.database.begin().await?;
        for limit in ["statement_timeout = 0", "maintenance_work_mem = '256MB'"] {
            let sql = format!("SET LOCAL {limit}");
            transaction.execute_unprepared(&sql).await?;
        }
        create_indexes(&transaction, tables, &fresh).await?;
        analyze(&transaction, &fresh).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The live generation stands still, and this one is exactly where it is.
    async fn meet(&self) -> Result<Held, RebuildError> {
        for _ in 0..MEET_TRIES_MAX {
            self.fold_to(aim(&self.context, self.live).await?).await?;
            let held = generations::hold(self.context.pool(), self.live).await?;
            if self.left().await? <= MEET_EVENTS_MAX {
                // Others wait: as fast as it goes.
                let hurry = Arc::new(Pace::new(None));
                let aims = aim(&self.context, self.live).await?;
                self.fold_at(aims, &hurry).await?;
                return Ok(held);
            }
            held.release().await?;
        }
        Err(RebuildError::NeverMeets)
    }

    /// Every table beside the live one, as of one moment in which both were at
    /// the same place. The live generation goes on meanwhile.
    pub async fn compare(&self) -> Result<Vec<TableComparison>, RebuildError> {
        let held = self.meet().await?;
        let mut snapshot = Snapshot::take(self.context.pool(), self.generation.projection).await?;
        held.release().await?;
        let tables = snapshot.tables().await?;
        tell(&self.reports, "comparing tables", tables.len() as u64);
        let fresh = self.generation.schema(false);
        let mut compared = Vec::new();
        for table in tables {
            compared.push(snapshot.compare(&table, &fresh).await?);
            told_more(&self.reports, 1);
            self.go_on()?;
        }
        Ok(compared)
    }

    /// Takes the live generation's place, which is kept. `backwards`: even
    /// though it is behind, since the log is.
    pub async fn swap(&self, backwards: bool) -> Result<(), RebuildError> {
        tell(&self.reports, "swapping", 0);
        let held = self.meet().await?;
        held.swap(self.generation, backwards).await?;
        self.linger().await;
        Ok(())
    }

    /// Nobody waits until workers see that there is another generation: each
    /// partition is folded on here until one has taken it over.
    async fn linger(&self) {
        let until = Instant::now() + Duration::from_secs(LINGER_SECONDS);
        let partitions = self.context.log.partitions().map(|partition| async move {
            while Instant::now() < until && !*self.stop.borrow() {
                let heads = self.context.log.heads().await.unwrap_or_default();
                let aim = heads.into_iter().find(|head| head.partition == partition);
                let Some(aim) = aim else { return };
                if self.fold_to(vec![aim]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(LINGER_PAUSE_MILLISECONDS)).await;
            }
        });
        futures_util::future::join_all(partitions).await;
    }

    /// Drops what was made to be compared.
    pub async fn remove(self) -> Result<(), RebuildError> {
        Ok(generations::remove(self.context.pool(), self.generation).await?)
    }

    fn go_on(&self) -> Result<(), RebuildError> {
        match *self.stop.borrow() {
            true => Err(RebuildError::Stopped),
            false => Ok(()),
        }
    }

    /// Events that the live generation is ahead.
    async fn left(&self) -> Result<u64, RebuildError> {
        let there = checkpoints::of(self.context.pool(), self.generation).await?;
        let aims = aim(&self.context, self.live).await?;
        let left = aims.into_iter().map(|to| {
            let beginning = eventlog::Log::beginning(to.partition);
            distance(there.get(to.partition).unwrap_or(beginning), to)
        });
        Ok(left.sum())
    }

    /// All partitions at once, each up to its aim and no further.
    async fn fold_to(&self, aims: Vec<Position>) -> Result<(), RebuildError> {
        self.fold_at(aims, &self.pace).await
    }

    async fn fold_at(&self, aims: Vec<Position>, pace: &Arc<Pace>) -> Result<(), RebuildError> {
        let mut partitions = JoinSet::new();
        for aim in aims {
            let (context, pace) = (self.context.clone(), pace.clone());
            let (reports, stop) = (self.reports.clone(), self.stop.clone());
            let generation = self.generation;
            partitions.spawn(async move {
                fold_partition(&context, generation, aim, &pace, &reports, &stop).await
            });
        }
        while let Some(folded) = partitions.join_next().await {
            // It is not aborted, and does not panic.
            folded.map_err(|_| ReadError::CheckpointMoved)??;
        }
        Ok(())
    }
}

async fn fold_partition(
    context: &WorkerContext,
    generation: Generation,
    aim: Position,
    pace: &Pace,
    reports: &Reports,
    stop: &watch::Receiver<bool>,
) -> Result<(), RebuildError> {
    let mut folding = Folding::begin(context, generation, aim.partition).await?;
    let count = pace.batch(folding::BATCH_EVENTS_MAX);
    while folding.at() < aim {
        if *stop.borrow() {
            return Err(RebuildError::Stopped);
        }
        let at = folding.at();
        let read = reading::read(context, at, count).await;
        let events = read.map_err(WorkError::from)?;
        let batch = Batch::open(context, at, events).await;
        let batch = batch.map_err(WorkError::from)?;
        let events = batch.between(at, aim).unwrap_or(batch.none());
        if folding.fold(context, events).await?.is_none() {
            let (after, found) = (at, aim);
            return Err(WorkError::from(eventlog::Gap::Missing { after, found }).into());
        }
        let done = distance(at, folding.at());
        told_more(reports, done);
        pace.wait(done as usize).await;
    }
    Ok(())
}
