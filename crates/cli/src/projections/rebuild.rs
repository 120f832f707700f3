//! `headwater projections rebuild`.

use anyhow::Context;
use clap::Args;
use readmodel::{
    Projection,
    generations::{self, Role},
    progress::State,
};
use worker::rebuilding::{Pace, RebuiltLists, RebuiltTables, Reports};

use super::undo::begin_operation;
use crate::{
    node::Node, operator, outcome::Outcome, reporting::Shown, settings::Settings, stop, verify,
};

/// Events a second, so that reads and writes at half of their capacity hardly
/// notice: see the figures in `crates/cli/README.md`.
const RATE_DEFAULT: &str = "5000";

#[derive(Args)]
#[command(after_help = "Examples:
  headwater projections rebuild social
  headwater projections rebuild social --rate max

Reads and writes go on. It folds the log into tables (or lists) of its own,
compares them with what is live at the same positions, and swaps: one step that
no request waits for. What was live is kept and folded on, for `rollback`, until
`drop`. Killed or stopped, the same command goes on where it was; `abort` drops
what it made. Exit status 3: the two differ, and nothing was swapped.")]
pub struct Rebuild {
    #[arg(value_parser = super::name())]
    name: Projection,
    /// Events a second at most, or max
    #[arg(long, default_value = RATE_DEFAULT, value_parser = rate)]
    rate: Rate,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Swap although rows differ: the fold was mended, or the live rows are wrong
    #[arg(long)]
    accept_differences: bool,
    /// Rebuild and compare, but do not swap
    #[arg(long)]
    no_swap: bool,
}

/// None is as fast as it goes.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub Option<u64>);

pub fn rate(text: &str) -> Result<Rate, String> {
    match text {
        "max" => Ok(Rate(None)),
        text => match text.parse() {
            Ok(rate @ 1..) => Ok(Rate(Some(rate))),
            _ => Err("a number of events a second, from 1, or max".into()),
        },
    }
}

pub async fn run(arguments: Rebuild, settings: Settings) -> anyhow::Result<Outcome> {
    let node = Node::connect(settings).await?;
    let pool = node.database.get_postgres_connection_pool();
    let projection = arguments.name;
    let name = projection.name();
    let _operation = begin_operation(pool, projection).await?;
    let plan = generations::plan(pool, &node.projections).await?;
    let begun = plan.of(projection, Role::Building);
    match &begun {
        Some(known) => eprintln!(
            "goes on with generation {} of {name}",
            known.generation.number
        ),
        None => eprintln!("makes a new generation of {name} beside the live one"),
    }
    let live = api::look(&node.log, pool).await?;
    let live = || {
        live.iter()
            .filter(|progress| progress.checkpoint.projection == name)
            .filter(|progress| progress.checkpoint.role == "live")
    };
    let events: u64 = live().map(|progress| progress.checkpoint.at.seq).sum();
    // Of the epochs before it is not known here how long they were.
    let restored = live().any(|progress| progress.checkpoint.at.epoch > 1);
    match projection.has_tables() {
        true if restored => eprintln!("all events are to be folded"),
        true => eprintln!("{events} events are to be folded"),
        false => eprintln!("a list is filled for every reader who has one"),
    }
    let diverged = live().any(|progress| progress.state == State::Diverged);
    if diverged {
        eprintln!(
            "what is live has read what the log does not have: it cannot be compared, and \
             answers go back to what the log has"
        );
    }
    if arguments.dry_run {
        return Ok(Outcome::Done);
    }
    if begun.is_none() {
        operator::record(&node, "projections rebuild", name, None).await?;
    }
    let (shown, pace) = (Shown::start(), Pace::new(arguments.rate.0));
    let reports = shown.reports.clone();
    let same = match projection.has_tables() {
        true => tables(&node, &arguments, pace, reports, diverged).await,
        false => lists(&node, &arguments, pace, reports, diverged).await,
    };
    shown.end().await;
    let again =
        || format!("run the same command again to go on, or: headwater projections abort {name}");
    if !same.with_context(again)? {
        eprintln!(
            "nothing was swapped. If the differences are what you want:\n  \
             headwater projections rebuild {name} --accept-differences\n\
             otherwise:\n  headwater projections abort {name}"
        );
        return Ok(Outcome::Problems);
    }
    match arguments.no_swap {
        true => eprintln!("to swap: headwater projections rebuild {name}"),
        false if diverged => eprintln!(
            "{name} is rebuilt, and read from now on. What was read before has events that the \
             log lost; to free it:\n  headwater projections drop {name}"
        ),
        false => eprintln!(
            "{name} is rebuilt, and read from now on. To undo it:\n  \
             headwater projections rollback {name}\n\
             To free what was read before:\n  headwater projections drop {name}"
        ),
    }
    Ok(Outcome::Done)
}

async fn tables(
    node: &Node,
    arguments: &Rebuild,
    pace: Pace,
    reports: Reports,
    diverged: bool,
) -> anyhow::Result<bool> {
    let stop = stop::on_signal()?;
    let (context, projection) = (node.worker_context(), arguments.name);
    let rebuilt = RebuiltTables::begin(context, projection, Role::Building, pace, reports, stop);
    let rebuilt = rebuilt.await?;
    rebuilt.replay().await?;
    if !diverged {
        let compared = rebuilt.compare().await?;
        if !verify::show_tables(&compared)? && !arguments.accept_differences {
            return Ok(false);
        }
    }
    if !arguments.no_swap {
        rebuilt.swap(diverged).await?;
    }
    Ok(true)
}

async fn lists(
    node: &Node,
    arguments: &Rebuild,
    pace: Pace,
    reports: Reports,
    diverged: bool,
) -> anyhow::Result<bool> {
    let stop = stop::on_signal()?;
    let rebuilt = RebuiltLists::begin(node.worker_context(), pace, reports, stop).await?;
    rebuilt.fill().await?;
    let checked = rebuilt.check().await?;
    if !verify::show_lists(&checked)? && !arguments.accept_differences {
        return Ok(false);
    }
    if !arguments.no_swap {
        rebuilt.swap(diverged).await?;
    }
    Ok(true)
}
