//! Events of one aggregate that are folded again, outside of the order of the log.

use std::sync::Arc;

use eventlog::Log;
use kernel::{AggregateId, Position, Recorded};
use readmodel::{
    Generation, Happened, TableProjection, checkpoints::Standing, projections::Traces,
    timelines::FanOut,
};
use sea_orm::sqlx::PgTransaction;

use super::scan;
use crate::{batch::Batch, context::WorkerContext, error::WorkError, fanning};

pub(super) struct Again<'a> {
    context: &'a WorkerContext,
    generation: Generation,
    /// None where they are timelines.
    tables: Option<&'a Arc<dyn TableProjection>>,
    batch: Vec<Happened>,
    fan_out: FanOut,
    traces: Option<Box<dyn Traces>>,
    /// Up to where traces were looked up.
    looked: Position,
}

impl<'a> Again<'a> {
    pub fn new(context: &'a WorkerContext, generation: Generation, aggregate: AggregateId) -> Self {
        let tables = context.projections.tables(generation.projection);
        Self {
            context,
            generation,
            tables,
            batch: Vec::new(),
            fan_out: FanOut::default(),
            traces: tables.and_then(|tables| tables.traces(aggregate)),
            looked: Log::beginning(context.log.partition_of(&aggregate)),
        }
    }

    pub async fn take(&mut self, events: Vec<Recorded>) -> Result<(), WorkError> {
        let Some(tables) = self.tables else {
            let batch = Batch::decode(self.looked, events);
            for happened in batch.all().decoded(fanning::asks)? {
                self.fan_out.take(happened.aggregate, &happened.event);
            }
            return Ok(());
        };
        let wants = |recorded: &Recorded| tables.wants(&recorded.envelope.event_type);
        let wanted = events.into_iter().filter(wants).collect();
        let batch = Batch::open(self.context, self.looked, wanted).await?;
        batch.all().check(|_| true)?;
        self.batch = batch.all().happened().to_vec();
        Ok(())
    }

    /// Looks further for what events of other aggregates have left in the rows.
    pub async fn look_up(&mut self, until: Position) -> Result<(), WorkError> {
        let Some(traces) = &mut self.traces else {
            return Ok(());
        };
        let each = |recorded: Recorded| traces.take(&recorded.envelope);
        scan(self.context, self.looked, until, each).await?;
        self.looked = self.looked.max(until);
        Ok(())
    }

    /// The generation is at `standing`, and stays there until the transaction ends.
    pub async fn write(
        mut self,
        transaction: &mut PgTransaction<'static>,
        standing: Standing,
    ) -> Result<(), WorkError> {
        self.look_up(standing.at).await?;
        let Some(tables) = self.tables else {
            let lists = self.context.lists.of_generation(self.generation.number);
            let followers_max = self.context.push_followers_max;
            let pushed = self.fan_out.run(transaction, &lists, followers_max);
            return Ok(pushed.await?);
        };
        let schema = self.generation.schema(standing.live);
        let mut fold = tables.fold();
        fold.write(&schema, transaction, &self.batch).await?;
        if let Some(traces) = &self.traces {
            traces.write(&schema, transaction).await?;
        }
        Ok(())
    }
}
