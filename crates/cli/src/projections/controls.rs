//! `headwater projections pause`, `resume` and `replay`.

use anyhow::Context;
use clap::Args;
use domain::kinds;
use kernel::{AggregateId, Positions};
use readmodel::{
    Projection,
    generations::{self, Role},
};
use worker::repairing;

use super::undo::begin_operation;
use crate::{nearest::nearest, node::Node, operator, settings::Settings, tail};

#[derive(Args)]
#[command(after_help = "Examples:
  headwater projections pause social --reason 'disk is being moved'
  headwater projections pause timelines --reason test

Workers stop within two seconds. What is written is kept in the log; reads that
wait for it are answered with 503 until it is resumed.")]
pub struct Pause {
    #[arg(value_parser = super::name())]
    name: Projection,
    /// Why, for whoever wonders
    #[arg(long)]
    reason: String,
}

pub async fn pause(arguments: Pause, settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    let projection = arguments.name;
    let (name, reason) = (projection.name(), arguments.reason);
    operator::record(&node, "projections pause", name, Some(&reason)).await?;
    let pool = node.database.get_postgres_connection_pool();
    generations::pause(pool, projection, &operator::name(), &reason).await?;
    eprintln!("{name} is paused. To go on: headwater projections resume {name}");
    Ok(())
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater projections resume social
  headwater projections resume timelines && headwater projections --watch")]
pub struct Resume {
    #[arg(value_parser = super::name())]
    name: Projection,
}

pub async fn resume(arguments: Resume, settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    let projection = arguments.name;
    let name = projection.name();
    operator::record(&node, "projections resume", name, None).await?;
    let pool = node.database.get_postgres_connection_pool();
    match generations::resume(pool, projection).await? {
        true => eprintln!("{name} goes on. To see it: headwater projections --watch"),
        false => eprintln!("{name} was not paused"),
    }
    Ok(())
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater projections replay social --from 3:1-4711
  headwater projections replay social --from @2026-01-31T12:00:00Z --yes
  headwater projections replay social --aggregate post:01890a5d-ac96-774b-bcce-b302099a8057

--from folds what comes after a position once more into what is live: rows that
are missing come back, and what counts is right after it; rows that were changed
by hand stay. Answers may go back in time until it has caught up. --aggregate
takes the rows of one account, post, like or follow back and folds its events
again, in one step. To make everything anew without either: rebuild.")]
pub struct Replay {
    #[arg(value_parser = super::name())]
    name: Projection,
    /// start, a position (3:1-4711, or several with commas; other partitions
    /// stay where they are), or @TIME
    #[arg(
        long,
        conflicts_with = "aggregate",
        required_unless_present = "aggregate"
    )]
    from: Option<String>,
    /// Such as post:UUID, or like:UUID:UUID (account and post)
    #[arg(long, value_parser = aggregate)]
    aggregate: Option<AggregateId>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub async fn replay(arguments: Replay, settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    let projection = arguments.name;
    if let Some(aggregate) = arguments.aggregate {
        return replay_aggregate(&node, projection, aggregate, arguments.yes).await;
    }
    let from = arguments.from.unwrap_or_default();
    let name = projection.name();
    let history = node.history();
    let mut to = tail::positions(&node.log, &history, &from).await?;
    if let Ok(given) = from.parse::<Positions>() {
        to.retain(|at| given.get(at.partition).is_some());
    }
    tail::check(&history, &to, &from).await?;
    let shown: Positions = to.iter().copied().collect();
    operator::confirm(
        &format!("folds everything after {shown} once more into what is live of {name}"),
        arguments.yes,
    )?;
    let pool = node.database.get_postgres_connection_pool();
    let _operation = begin_operation(pool, projection).await?;
    operator::record(&node, "projections replay", name, Some(&from)).await?;
    let plan = generations::plan(pool, &node.projections).await?;
    let live = plan.of(projection, Role::Live);
    let live = live.context("no generation is live: run `headwater migrate`")?;
    let set = generations::set_back(pool, live.generation, &to).await?;
    eprintln!("{set} partitions of {name} were set back. To see it: headwater projections --watch");
    Ok(())
}

async fn replay_aggregate(
    node: &Node,
    projection: Projection,
    aggregate: AggregateId,
    yes: bool,
) -> anyhow::Result<()> {
    anyhow::ensure!(
        projection.has_tables(),
        "lists of timelines are filled from the tables: rebuild timelines instead"
    );
    let shown = show_aggregate(&aggregate);
    operator::confirm(
        &format!("takes the rows of {shown} back and folds its events again"),
        yes,
    )?;
    operator::record(node, "projections replay", projection.name(), Some(&shown)).await?;
    let events = repairing::replay_aggregate(&node.worker_context(), projection, aggregate).await?;
    match events {
        0 => eprintln!("the log has no event of {shown}: its rows are gone"),
        events => eprintln!("{events} events of {shown} were folded again"),
    }
    Ok(())
}

/// `kind:id` or `kind:id:member`.
pub fn show_aggregate(aggregate: &AggregateId) -> String {
    let (kind, id) = (kinds::name(aggregate.kind), aggregate.id);
    match aggregate.member {
        Some(member) => format!("{kind}:{id}:{member}"),
        None => format!("{kind}:{id}"),
    }
}

pub fn aggregate(text: &str) -> Result<AggregateId, String> {
    let wrong = || {
        format!(
            "{text} is not kind:UUID such as post:01890a5d-ac96-774b-bcce-b302099a8057, or like:UUID:UUID"
        )
    };
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default();
    let kind = kinds::ALL
        .iter()
        .copied()
        .find(|kind| kinds::name(*kind) == name);
    let kind = kind.ok_or_else(|| unknown_kind(name))?;
    let id = parts
        .next()
        .and_then(|id| id.parse().ok())
        .ok_or_else(wrong)?;
    let member = match parts.next() {
        Some(member) => Some(member.parse().map_err(|_| wrong())?),
        None => None,
    };
    match parts.next() {
        Some(_) => Err(wrong()),
        None => Ok(AggregateId { kind, id, member }),
    }
}

fn unknown_kind(name: &str) -> String {
    let all: Vec<_> = kinds::ALL.iter().copied().map(kinds::name).collect();
    let near = nearest(name, &all).map(|near| format!(", did you mean {near}?"));
    let near = near.unwrap_or_default();
    format!(
        "there is no kind {name:?}{near} There are: {}",
        all.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_names_the_nearest() {
        let told = |text| aggregate(text).err().unwrap_or_default();
        let error = told("pots:01890a5d-ac96-774b-bcce-b302099a8057");
        assert!(error.contains("did you mean post?"), "{error}");
        let error = told("xyz:01890a5d-ac96-774b-bcce-b302099a8057");
        assert!(
            !error.contains("mean") && error.contains("follow"),
            "{error}"
        );
    }

    #[test]
    fn an_aggregate_reads_back_as_it_is_shown() {
        for text in [
            "post:01890a5d-ac96-774b-bcce-b302099a8057",
            "like:01890a5d-ac96-774b-bcce-b302099a8057:01890a5d-ac96-774b-bcce-b302099a8058",
        ] {
            let read = aggregate(text).map(|aggregate| show_aggregate(&aggregate));
            assert_eq!(read.as_deref(), Ok(text));
        }
        for text in [
            "post",
            "post:1",
            "unknown:01890a5d-ac96-774b-bcce-b302099a8057",
            "",
        ] {
            assert!(aggregate(text).is_err(), "{text}");
        }
    }
}
