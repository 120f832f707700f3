//! The loops of one partition that this process holds: one for each generation that is
//! kept at the head of the log, and what they share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use eventlog::Log;
use kernel::Partition;
use readmodel::{
    Generation, Projection,
    generations::{Plan, Role},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    batch::Batch,
    context::WorkerContext,
    error::WorkError,
    fanning::Fanning,
    feed::Feed,
    folding::{BATCH_EVENTS_MAX, Folding},
    front::Front,
    partition_loop::PartitionLoop,
    reading,
    spans::Telling,
};

pub(crate) struct PartitionWork {
    partition: Partition,
    feed: Arc<Feed>,
    /// How far the tables are that timelines follow.
    folded: watch::Sender<Front>,
    /// A loop has seen that its generation is not live any more.
    swapped: Arc<Notify>,
    running: BTreeMap<Generation, watch::Sender<bool>>,
}

impl PartitionWork {
    pub fn new(partition: Partition, swapped: Arc<Notify>) -> Self {
        Self {
            swapped,
            partition,
            feed: Arc::new(Feed::new(partition)),
            folded: watch::channel(Front::at(Log::beginning(partition))).0,
            running: BTreeMap::new(),
        }
    }

    pub fn end(&mut self) {
        for end in self.running.values() {
            end.send_replace(true);
        }
        self.running.clear();
    }

    /// Ends the loops of what is not in the plan any more, and begins those of
    /// what is new.
    pub fn follow(
        &mut self,
        context: &WorkerContext,
        telling: &Telling,
        plan: &Plan,
        loops: &mut JoinSet<()>,
    ) {
        let worked: BTreeSet<_> = plan.worked().collect();
        self.feed.led_by(leader(context, plan, &worked));
        self.running.retain(|generation, end| {
            let keep = worked.contains(generation) && !end.is_closed();
            if !keep {
                end.send_replace(true);
            }
            keep
        });
        for generation in worked {
            if self.running.contains_key(&generation) {
                continue;
            }
            let (end, ended) = watch::channel(false);
            let one = PartitionLoop {
                context: context.clone(),
                telling: telling.clone(),
                generation,
                partition: self.partition,
                feed: self.feed.clone(),
                folded: self.folded.clone(),
                swapped: self.swapped.clone(),
                ended,
            };
            loops.spawn(one.run());
            self.running.insert(generation, end);
        }
    }
}

/// The live generation that reads for all: of the first projection that is worked on.
fn leader(
    context: &WorkerContext,
    plan: &Plan,
    worked: &BTreeSet<Generation>,
) -> Option<Generation> {
    let tables = context.projections.with_tables();
    let mut live = tables.filter_map(|one| plan.of(one.name(), Role::Live));
    let worked = live.find(|known| worked.contains(&known.generation));
    worked.map(|known| known.generation)
}

/// Folds and fans out until all that workers keep are at the head of the partition.
pub(crate) async fn drain(
    context: &WorkerContext,
    plan: &Plan,
    partition: Partition,
) -> Result<(), WorkError> {
    let (tables, lists): (Vec<_>, Vec<_>) = plan
        .worked()
        .partition(|generation| generation.projection.has_tables());
    let followed = plan.of(Projection::FOLLOWED, Role::Live);
    let followed = followed.map(|known| known.generation);
    let mut folded = None;
    for generation in tables {
        let mut folding = Folding::begin(context, generation, partition).await?;
        loop {
            let at = folding.at();
            let events = reading::read(context, at, BATCH_EVENTS_MAX).await?;
            let batch = Batch::open(context, at, events).await?;
            if folding.fold(context, batch.all()).await?.is_none() {
                break;
            }
        }
        if followed == Some(generation) {
            folded = Some(folding.at());
        }
    }
    let Some(folded) = folded else { return Ok(()) };
    for generation in lists {
        let (fanning, standing) = Fanning::begin(context, generation, partition).await?;
        fanning.fan_out_to(context, standing.at, folded).await?;
    }
    Ok(())
}
