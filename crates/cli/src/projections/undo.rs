//! `headwater projections abort`, `rollback` and `drop`: what undoes a rebuild,
//! or ends it for good.

use anyhow::Context;
use clap::Args;
use readmodel::{
    Generation, PgPool, Projection,
    generations::{self, Operation, Plan, Role},
};
use worker::rebuilding;

use crate::{node::Node, operator, settings::Settings};

/// One at a time does what moves generations.
pub async fn begin_operation(pool: &PgPool, projection: Projection) -> anyhow::Result<Operation> {
    let begun = generations::begin_operation(pool, projection).await?;
    let name = projection.name();
    begun.with_context(|| {
        format!("somebody else is at work on {name}: wait until their command has ended")
    })
}

/// Whoever moves the generations of a projection, and what there are.
struct Mover {
    node: Node,
    projection: Projection,
    plan: Plan,
    _operation: Operation,
}

impl Mover {
    async fn begin(projection: Projection, settings: Settings) -> anyhow::Result<Self> {
        let node = Node::connect(settings).await?;
        let pool = node.database.get_postgres_connection_pool();
        // Nobody moves them once the plan is read.
        let operation = begin_operation(pool, projection).await?;
        let plan = generations::plan(pool, &node.projections).await?;
        Ok(Self {
            projection,
            plan,
            _operation: operation,
            node,
        })
    }

    fn name(&self) -> &'static str {
        self.projection.name()
    }

    fn of(&self, role: Role) -> Option<Generation> {
        let known = self.plan.of(self.projection, role);
        known.map(|known| known.generation)
    }

    async fn record(&self, action: &str) -> anyhow::Result<()> {
        operator::record(&self.node, action, self.name(), None).await
    }

    async fn remove(&self, all: &[Generation]) -> anyhow::Result<()> {
        let pool = self.node.database.get_postgres_connection_pool();
        for generation in all {
            match generation.projection.has_tables() {
                true => generations::remove(pool, *generation).await?,
                false => rebuilding::remove(&self.node.worker_context(), *generation).await?,
            }
        }
        Ok(())
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater projections abort social
  headwater projections abort social --yes")]
pub struct Abort {
    #[arg(value_parser = super::name())]
    name: Projection,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub async fn abort(arguments: Abort, settings: Settings) -> anyhow::Result<()> {
    let mover = Mover::begin(arguments.name, settings).await?;
    let name = mover.name();
    let building = mover.of(Role::Building);
    let building = building.with_context(|| format!("no rebuild of {name} is under way"))?;
    operator::confirm(
        &format!(
            "drops generation {} of {name}, which nobody reads",
            building.number
        ),
        arguments.yes,
    )?;
    mover.record("projections abort").await?;
    mover.remove(&[building]).await?;
    eprintln!("dropped. To begin anew: headwater projections rebuild {name}");
    Ok(())
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater projections rollback social
  headwater projections rollback timelines")]
pub struct Rollback {
    #[arg(value_parser = super::name())]
    name: Projection,
}

pub async fn rollback(arguments: Rollback, settings: Settings) -> anyhow::Result<()> {
    let mover = Mover::begin(arguments.name, settings).await?;
    let name = mover.name();
    let kept = mover.of(Role::Kept);
    let kept = kept.with_context(|| format!("no generation of {name} is kept"))?;
    let live = mover.of(Role::Live);
    let live = live.context("no generation is live: run `headwater migrate`")?;
    mover.record("projections rollback").await?;
    rebuilding::swap_back(&mover.node.worker_context(), live, kept).await?;
    eprintln!(
        "generation {} of {name} is read again; {} is kept and folded on. To undo it:\n  \
         headwater projections rollback {name}",
        kept.number, live.number
    );
    Ok(())
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater projections drop social
  headwater projections drop social --yes")]
pub struct Drop {
    #[arg(value_parser = super::name())]
    name: Projection,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub async fn drop(arguments: Drop, settings: Settings) -> anyhow::Result<()> {
    let mover = Mover::begin(arguments.name, settings).await?;
    let name = mover.name();
    let all = mover.plan.generations.iter();
    let kept: Vec<_> = all
        .filter(|known| known.generation.projection == mover.projection)
        .filter(|known| known.role == Role::Kept)
        .map(|known| known.generation)
        .collect();
    anyhow::ensure!(!kept.is_empty(), "no generation of {name} is kept");
    let numbers: Vec<_> = kept.iter().map(|kept| kept.number.to_string()).collect();
    operator::confirm(
        &format!(
            "drops generation {} of {name}: there will be nothing to roll back to",
            numbers.join(", ")
        ),
        arguments.yes,
    )?;
    mover.record("projections drop").await?;
    mover.remove(&kept).await?;
    eprintln!("dropped");
    Ok(())
}
