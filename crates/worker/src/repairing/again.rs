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
use crate::{
    engine::{Parts, WorkError},
    fanning, folding,
};

pub(super) struct Again<'a> {
    parts: &'a Parts,
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
    pub fn new(parts: &'a Parts, generation: Generation, aggregate: AggregateId) -> Self {
        let tables = parts.projections.tables(generation.projection);
        Self {
            parts,
            generation,
            tables,
            batch: Vec::new(),
            fan_out: FanOut::default(),
            traces: tables.and_then(|tables| tables.traces(aggregate)),
            looked: Log::beginning(parts.log.partition_of(&aggregate)),
        }
    }

    pub async fn take(&mut self, events: &[Recorded]) -> Result<(), WorkError> {
        let Some(tables) = self.tables else {
            for recorded in events {
                fanning::take(&mut self.fan_out, recorded, &Default::default())?;
            }
            return Ok(());
        };
        let wanted = |recorded: &&Recorded| tables.wants(&recorded.envelope.event_type);
        let batch = events.iter().filter(wanted).map(folding::decode);
        self.batch = batch.collect::<Result<_, _>>()?;
        folding::open(self.parts, &mut self.batch).await
    }

    /// Looks further for what events of other aggregates have left in the rows.
    pub async fn look_up(&mut self, until: Position) -> Result<(), WorkError> {
        let Some(traces) = &mut self.traces else {
            return Ok(());
        };
        let each = |recorded: Recorded| traces.take(&recorded.envelope);
        scan(self.parts, self.looked, until, each).await?;
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
            let lists = self.parts.lists.of_generation(self.generation.number);
            let followers_max = self.parts.push_followers_max;
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
