//! Home timelines, made anew below keys of their own: while the fan-out follows
//! the live tables, every list that readers have is filled from the tables.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use kernel::{AccountId, Partition, Position};
use readmodel::{
    Generation, Projection, checkpoints,
    generations::{self, Held, Role, Stage},
    timelines::{self, Lists},
};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{Pace, RebuildError, Reports, aim, distance, live, tell, told_more};
use crate::{context::WorkerContext, fanning::Fanning};

const FILLS_AT_ONCE: usize = 4;
/// The live generation is held only when so few events are left to fan out.
const MEET_EVENTS_MAX: u64 = 50;
const MEET_TRIES_MAX: u32 = 50;
/// What a list lacks may be on its way: it is looked at again so often.
const CHECK_TRIES: u32 = 50;
const CHECK_PAUSE_MILLISECONDS: u64 = 100;
const EXAMPLES_MAX: usize = 5;
/// How long the new generation is followed here after a swap.
const LINGER_SECONDS: u64 = 4;
const IDLE_MILLISECONDS: u64 = 20;

/// A generation of lists beside the live one.
pub struct RebuiltLists {
    context: WorkerContext,
    pub generation: Generation,
    live: Generation,
    pace: Pace,
    reports: Reports,
    stop: watch::Receiver<bool>,
}

/// What was found of lists.
#[derive(Clone, Debug, Default)]
pub struct ListsChecked {
    pub lists: u64,
    /// Readers whose list lacks posts of their home.
    pub lacking: u64,
    /// Some of them, and how many posts.
    pub examples: Vec<(AccountId, usize)>,
}

impl RebuiltLists {
    /// Goes on with the one that was begun, or begins one where the live
    /// generation is.
    pub async fn begin(
        context: WorkerContext,
        pace: Pace,
        reports: Reports,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, RebuildError> {
        let plan = context.plan().await?;
        let live = live(&plan, Projection::TIMELINES)?;
        let (projection, role) = (Projection::TIMELINES, Role::Building);
        let generation = match plan.of(projection, role) {
            Some(known) => known.generation,
            None => generations::begin(context.pool(), projection, role).await?,
        };
        for at in aim(&context, live).await? {
            // Where the live one has read what the log lost: where the tables are.
            let known = checkpoints::load(context.pool(), live, at.partition)
                .await?
                .at;
            let at = match known == at {
                true => at,
                false => folded(&context, at.partition).await?,
            };
            checkpoints::start_at(context.pool(), generation, at).await?;
        }
        Ok(Self {
            context,
            generation,
            live,
            pace,
            reports,
            stop,
        })
    }

    /// Fills a list for everybody who has one, while the fan-out follows.
    pub async fn fill(&self) -> Result<(), RebuildError> {
        tokio::select! {
            filled = self.fill_all() => filled,
            failed = self.follow() => failed,
        }
    }

    async fn fill_all(&self) -> Result<(), RebuildError> {
        let old = self.context.lists.of_generation(self.live.number);
        let mut all = 0;
        for_all_readers(&old, async |readers| {
            all += readers.len() as u64;
            self.go_on()
        })
        .await?;
        tell(&self.reports, "filling lists", all);
        let fresh = self.context.lists.of_generation(self.generation.number);
        for_all_readers(&old, async |readers| {
            let fills = stream::iter(readers).map(|reader| {
                let (pool, fresh) = (self.context.pool(), &fresh);
                async move { timelines::fill(pool, fresh, reader).await }
            });
            let mut fills = fills.buffer_unordered(FILLS_AT_ONCE);
            while let Some(filled) = fills.next().await {
                filled?;
                told_more(&self.reports, 1);
                self.pace.wait(1).await;
                self.go_on()?;
            }
            Ok(())
        })
        .await?;
        generations::set_stage(self.context.pool(), self.generation, Stage::Indexed).await?;
        Ok(())
    }

    /// Follows the live tables; ends only where it cannot.
    async fn follow(&self) -> Result<(), RebuildError> {
        let mut partitions = JoinSet::new();
        for partition in self.context.log.partitions() {
            let (context, generation) = (self.context.clone(), self.generation);
            partitions.spawn(async move {
                loop {
                    let aim = folded(&context, partition).await?;
                    fan_out_to(&context, generation, aim).await?;
                    tokio::time::sleep(Duration::from_millis(IDLE_MILLISECONDS)).await;
                }
            });
        }
        while let Some(ended) = partitions.join_next().await {
            if let Ok(failed) = ended {
                return failed;
            }
        }
        Ok(())
    }

    /// Whether every list has what the tables say.
    pub async fn check(&self) -> Result<ListsChecked, RebuildError> {
        let checking = check(&self.context, self.generation, &self.reports, &self.stop);
        self.catch_up().await?;
        tokio::select! {
            checked = checking => checked,
            failed = self.follow() => failed.map(|()| ListsChecked::default()),
        }
    }

    /// Fans out up to where the live generation is, or as far as the tables are
    /// where it has read what the log lost.
    async fn catch_up(&self) -> Result<(), RebuildError> {
        for aim in aim(&self.context, self.live).await? {
            let folded = folded(&self.context, aim.partition).await?;
            fan_out_to(&self.context, self.generation, aim.min(folded)).await?;
        }
        Ok(())
    }

    /// Events that the live generation is ahead.
    async fn left(&self) -> Result<u64, RebuildError> {
        let there = checkpoints::of(self.context.pool(), self.generation).await?;
        let aims = aim(&self.context, self.live).await?.into_iter();
        let left = aims.map(|to| distance(there.get(to.partition).unwrap_or(to), to));
        Ok(left.sum())
    }

    /// The live generation stands still, and this one is where it is.
    async fn meet(&self) -> Result<Held, RebuildError> {
        for _ in 0..MEET_TRIES_MAX {
            self.catch_up().await?;
            let held = generations::hold(self.context.pool(), self.live).await?;
            if self.left().await? <= MEET_EVENTS_MAX {
                self.catch_up().await?;
                return Ok(held);
            }
            held.release().await?;
        }
        Err(RebuildError::NeverMeets)
    }

    /// Takes the live generation's place, which is kept. `backwards`: even
    /// though it is behind, since the log is.
    pub async fn swap(&self, backwards: bool) -> Result<(), RebuildError> {
        tell(&self.reports, "swapping", 0);
        let held = self.meet().await?;
        held.swap(self.generation, backwards).await?;
        let until = Instant::now() + Duration::from_secs(LINGER_SECONDS);
        // Until a worker takes over, or it is so late that one has.
        let _ = tokio::time::timeout_at(until, self.follow()).await;
        Ok(())
    }

    fn go_on(&self) -> Result<(), RebuildError> {
        match *self.stop.borrow() {
            true => Err(RebuildError::Stopped),
            false => Ok(()),
        }
    }
}

/// Whether the lists of a generation have what the tables say.
pub async fn check(
    context: &WorkerContext,
    generation: Generation,
    reports: &Reports,
    stop: &watch::Receiver<bool>,
) -> Result<ListsChecked, RebuildError> {
    let lists = context.lists.of_generation(generation.number);
    let mut checked = ListsChecked::default();
    tell(reports, "checking lists", 0);
    for_all_readers(&lists, async |readers| {
        for reader in readers {
            let mut lacks = timelines::listed_ids(context.pool(), reader).await?;
            for _ in 0..CHECK_TRIES {
                lacks = timelines::missing(&lists, reader, lacks).await?;
                if lacks.is_empty() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(CHECK_PAUSE_MILLISECONDS)).await;
                // It may have been deleted, or its author unfollowed.
                let wanted = timelines::listed_ids(context.pool(), reader).await?;
                lacks.retain(|id| wanted.contains(id));
            }
            checked.lists += 1;
            told_more(reports, 1);
            if !lacks.is_empty() {
                checked.lacking += 1;
                if checked.examples.len() < EXAMPLES_MAX {
                    checked.examples.push((reader, lacks.len()));
                }
            }
            if *stop.borrow() {
                return Err(RebuildError::Stopped);
            }
        }
        Ok(())
    })
    .await?;
    Ok(checked)
}

/// Drops a generation that is not read any more, keys included.
pub async fn remove(context: &WorkerContext, generation: Generation) -> Result<(), RebuildError> {
    // First what writes to it.
    generations::remove(context.pool(), generation).await?;
    let lists = context.lists.of_generation(generation.number);
    for_all_readers(&lists, async |readers| Ok(lists.drop(&readers).await?)).await
}

async fn for_all_readers(
    lists: &Lists,
    mut each: impl AsyncFnMut(Vec<AccountId>) -> Result<(), RebuildError>,
) -> Result<(), RebuildError> {
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        let (readers, next) = lists.scan(from).await?;
        if !readers.is_empty() {
            each(readers).await?;
        }
        cursor = next;
    }
    Ok(())
}

/// How far the live tables are.
async fn folded(context: &WorkerContext, partition: Partition) -> Result<Position, RebuildError> {
    let live = checkpoints::live(context.pool(), Projection::FOLLOWED).await?;
    let at = live.positions.get(partition);
    Ok(at.unwrap_or(eventlog::Log::beginning(partition)))
}

async fn fan_out_to(
    context: &WorkerContext,
    generation: Generation,
    aim: Position,
) -> Result<(), RebuildError> {
    let (fanning, standing) = Fanning::begin(context, generation, aim.partition).await?;
    fanning.fan_out_to(context, standing.at, aim).await?;
    Ok(())
}
