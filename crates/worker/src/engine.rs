//! A worker: starts and stops the loops of the partitions that this process holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kernel::{Partition, Spans, Uuid, crash};
use readmodel::{ReadError, generations::Plan};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    context::WorkerContext,
    error::WorkError,
    leases,
    partition::{self, PartitionWork},
    partition_loop::told,
    spans::Telling,
};

const SHARE_MILLISECONDS: u64 = 1_000;

/// A worker of this process.
pub struct Engine {
    context: WorkerContext,
    owner: Uuid,
    name: String,
    telling: Telling,
}

impl Engine {
    /// `owner` tells this process from all others.
    pub fn new(context: WorkerContext, owner: Uuid) -> Self {
        Self {
            context,
            owner,
            name: String::new(),
            telling: Telling::default(),
        }
    }

    /// What operators are told of this process.
    #[must_use]
    pub fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Where it is told what was folded.
    #[must_use]
    pub fn recorded(self, spans: Option<Arc<dyn Spans>>) -> Self {
        let telling = Telling::new(spans);
        Self { telling, ..self }
    }

    /// Works until `stop` says so or nobody is left to say it, then ends what
    /// is under way and gives its leases back.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let partitions = self.context.log.partitions().count() as u16;
        let mut running: BTreeMap<Partition, PartitionWork> = BTreeMap::new();
        let swapped = Arc::new(Notify::new());
        let mut loops = JoinSet::new();
        while !*stop.borrow() {
            let shared = tokio::select! {
                shared = self.share(partitions) => shared,
                () = told(stop.clone()) => break,
            };
            let (held, plan) = match shared {
                Ok(shared) => shared,
                Err(error) => {
                    tracing::warn!(%error, "leases cannot be renewed; the work pauses");
                    Default::default()
                }
            };
            running.retain(|partition, work| {
                let keep = held.contains(partition);
                if !keep {
                    tracing::info!(partition = partition.0, "lets a partition go");
                    work.end();
                }
                keep
            });
            for partition in held {
                let work = running.entry(partition).or_insert_with(|| {
                    tracing::info!(partition = partition.0, "takes a partition");
                    PartitionWork::new(partition, swapped.clone())
                });
                work.follow(&self.context, &self.telling, &plan, &mut loops);
            }
            while let Some(ended) = loops.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!(%error, "the loops of a partition broke off");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(SHARE_MILLISECONDS)) => {}
                () = swapped.notified() => {}
                () = told(stop.clone()) => break,
            }
        }
        running.values_mut().for_each(PartitionWork::end);
        while loops.join_next().await.is_some() {}
        crash::point("shutdown.worked");
        if let Err(error) = readmodel::leases::leave(self.context.pool(), self.owner).await {
            tracing::warn!(%error, "leases are left to expire");
        }
    }

    /// What this worker holds, and what there is to work on.
    async fn share(&self, partitions: u16) -> Result<(BTreeSet<Partition>, Plan), ReadError> {
        let held = leases::share(&self.context, self.owner, &self.name, partitions).await?;
        Ok((held, self.context.plan().await?))
    }

    /// Folds and fans out until all that workers keep are at the head of every
    /// partition. For tests and commands that have no other worker beside them.
    pub async fn drain(&self) -> Result<(), WorkError> {
        let plan = self.context.plan().await?;
        let partitions = self.context.log.partitions();
        let drained = partitions.map(|partition| partition::drain(&self.context, &plan, partition));
        futures_util::future::try_join_all(drained).await?;
        Ok(())
    }
}
