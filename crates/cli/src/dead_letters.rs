//! `headwater dead-letters`: events that could not be folded, and what becomes
//! of them.

use std::{
    collections::BTreeSet,
    io::{IsTerminal, Write},
};

use anyhow::Context;
use clap::{Args, Subcommand};
use kernel::{AggregateId, Position};
use readmodel::{
    Generation, PgPool, Projection,
    dead_letters::{self, DeadLetter, Skip},
    generations::{self, Role},
};
use serde_json::{Value, json};
use worker::repairing;

use crate::{
    node::Node,
    operator,
    outcome::Outcome,
    projections::{self, aggregate, show_aggregate},
    settings::Settings,
    table, tail,
};

/// Letters that are looked at in one step.
const BATCH_LETTERS: i64 = 500;
const LIST_DEFAULT: u64 = 100;

#[derive(Args)]
#[command(after_help = "Examples:
  headwater dead-letters list
  headwater dead-letters retry social --aggregate post:01890a5d-ac96-774b-bcce-b302099a8057

An event that cannot be folded waits here, and all later ones of the same
aggregate behind it; everything else goes on.")]
pub struct DeadLetters {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show what waits, the first of each aggregate with its reason
    List(List),
    /// Show one event, and why it waits
    Show(Show),
    /// Fold what waits, in order, as far as it can be folded
    Retry(Retry),
    /// Leave one event out for good, and fold what waits behind it
    Skip(SkipOne),
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater dead-letters list
  headwater dead-letters list social --number 10

Exit status 3 where any waits. Into a pipe it prints JSON lines.")]
struct List {
    #[arg(value_parser = projections::name())]
    name: Option<Projection>,
    /// At most so many
    #[arg(short, long, default_value_t = LIST_DEFAULT)]
    number: u64,
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater dead-letters show social 3:1-4711
  headwater dead-letters show social 3:1-4711 | jq .reason")]
struct Show {
    #[arg(value_parser = projections::name())]
    name: Projection,
    position: Position,
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater dead-letters retry social --all
  headwater dead-letters retry social --aggregate post:01890a5d-ac96-774b-bcce-b302099a8057

Exit status 3 where something still waits.")]
struct Retry {
    #[arg(value_parser = projections::name())]
    name: Projection,
    /// Every aggregate that waits
    #[arg(
        long,
        conflicts_with = "aggregate",
        required_unless_present = "aggregate"
    )]
    all: bool,
    /// Such as post:UUID
    #[arg(long, value_parser = aggregate)]
    aggregate: Option<AggregateId>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater dead-letters skip social 3:1-4711 --reason 'made by a broken release'
  headwater dead-letters skip social 3:1-4711 --reason 'damaged' --yes

It stays in the log and is left out of this projection, now and in every rebuild.
`headwater verify` tells of it.")]
struct SkipOne {
    #[arg(value_parser = projections::name())]
    name: Projection,
    position: Position,
    /// Why, for whoever wonders
    #[arg(long, value_parser = operator::reason)]
    reason: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub async fn run(arguments: DeadLetters, settings: Settings) -> anyhow::Result<Outcome> {
    let node = Node::connect(settings).await?;
    match arguments.command {
        Command::List(arguments) => list(&arguments, &node).await,
        Command::Show(arguments) => show(&arguments, &node).await,
        Command::Retry(arguments) => retry(&arguments, &node).await,
        Command::Skip(arguments) => skip(arguments, &node).await,
    }
}

fn pool(node: &Node) -> &PgPool {
    node.database.get_postgres_connection_pool()
}

async fn list(arguments: &List, node: &Node) -> anyhow::Result<Outcome> {
    let number = i64::try_from(arguments.number).unwrap_or(i64::MAX);
    let registered = &node.projections;
    let letters = dead_letters::list(pool(node), registered, arguments.name, None, number).await?;
    let mut out = std::io::stdout().lock();
    if std::io::stdout().is_terminal() {
        let row = |letter: &DeadLetter| {
            vec![
                table::text(letter.generation.to_string()),
                table::text(letter.position.to_string()),
                table::text(show_aggregate(&letter.aggregate)),
                table::text(&letter.event_type),
                table::number(letter.tries),
                table::number(format!("{:.0} s", letter.waits_seconds)),
                table::text(
                    letter
                        .reason
                        .as_deref()
                        .unwrap_or("waits for the one before"),
                ),
            ]
        };
        let rows: Vec<_> = letters.iter().map(row).collect();
        let headers = [
            "PROJECTION",
            "POSITION",
            "AGGREGATE",
            "EVENT",
            "TRIES",
            "WAITS",
            "REASON",
        ];
        table::write(&mut out, &headers, &rows, table::colours())?;
    } else {
        for letter in &letters {
            writeln!(out, "{}", line(letter))?;
        }
    }
    Ok(match letters.is_empty() {
        true => Outcome::Done,
        false => Outcome::Problems,
    })
}

fn line(letter: &DeadLetter) -> Value {
    json!({
        "projection": letter.generation.projection.name(),
        "generation": letter.generation.number,
        "position": letter.position,
        "aggregate": show_aggregate(&letter.aggregate),
        "event": letter.event_type,
        "reason": letter.reason,
        "tries": letter.tries,
        "waits_seconds": letter.waits_seconds,
    })
}

async fn show(arguments: &Show, node: &Node) -> anyhow::Result<Outcome> {
    let letter = find(node, arguments.name, arguments.position).await?;
    let recorded = repairing::read_at(&node.worker_context(), letter.position).await?;
    let mut shown = line(&letter);
    shown["cloud_event"] = tail::cloud_event(recorded, None).await?;
    let mut out = std::io::stdout().lock();
    match std::io::stdout().is_terminal() {
        true => writeln!(out, "{shown:#}")?,
        false => writeln!(out, "{shown}")?,
    }
    Ok(Outcome::Done)
}

/// In the live generation.
async fn find(
    node: &Node,
    projection: Projection,
    position: Position,
) -> anyhow::Result<DeadLetter> {
    let live = live(node, projection).await?;
    let found = dead_letters::at(pool(node), live, position).await?;
    let name = projection.name();
    found.with_context(|| {
        format!("nothing waits for {name} at {position}: see `headwater dead-letters list`")
    })
}

async fn live(node: &Node, projection: Projection) -> anyhow::Result<Generation> {
    let plan = generations::plan(pool(node), &node.projections).await?;
    let live = plan.of(projection, Role::Live);
    Ok(live
        .context("no generation is live: run `headwater migrate`")?
        .generation)
}

async fn retry(arguments: &Retry, node: &Node) -> anyhow::Result<Outcome> {
    let projection = arguments.name;
    let target = match &arguments.aggregate {
        Some(aggregate) => show_aggregate(aggregate),
        None => "all".to_owned(),
    };
    operator::record(node, "dead-letters retry", projection.name(), Some(&target)).await?;
    let live = live(node, projection).await?;
    let (mut folded, mut failed) = (0, 0);
    let mut tried = BTreeSet::new();
    let mut after: Option<DeadLetter> = None;
    loop {
        let letters = match &arguments.aggregate {
            Some(aggregate) => {
                let mut connection = pool(node).acquire().await?;
                dead_letters::of_aggregate(&mut connection, live, *aggregate).await?
            }
            None => {
                let (registered, after) = (&node.projections, after.as_ref());
                let only = Some(projection);
                dead_letters::list(pool(node), registered, only, after, BATCH_LETTERS).await?
            }
        };
        let Some(last) = letters.last() else { break };
        after = Some(last.clone());
        for letter in letters {
            if !tried.insert((letter.generation, letter.aggregate)) {
                continue;
            }
            let retried =
                repairing::retry(&node.worker_context(), letter.generation, letter.aggregate)
                    .await?;
            folded += retried.folded;
            if let Some(reason) = retried.failed {
                failed += 1;
                eprintln!("{}: {reason}", show_aggregate(&letter.aggregate));
            }
        }
        if arguments.aggregate.is_some() {
            break;
        }
    }
    eprintln!("{folded} events were folded, {failed} aggregates still wait");
    Ok(match failed {
        0 => Outcome::Done,
        _ => Outcome::Problems,
    })
}

async fn skip(arguments: SkipOne, node: &Node) -> anyhow::Result<Outcome> {
    let projection = arguments.name;
    let letter = find(node, projection, arguments.position).await?;
    let (event, position) = (&letter.event_type, letter.position);
    let name = projection.name();
    operator::confirm(
        &format!("leaves {event} at {position} out of {name}, now and in every rebuild"),
        arguments.yes,
    )?;
    let target = format!("{name} {position}");
    operator::record(node, "dead-letters skip", &target, Some(&arguments.reason)).await?;
    let skip = Skip {
        projection,
        position,
        event_type: event.clone(),
        reason: arguments.reason,
        operator: operator::name(),
    };
    let retried = repairing::skip(&node.worker_context(), &letter, &skip).await?;
    let retried = retried.context("it waits no more: somebody else was quicker")?;
    eprintln!("left out; {} events behind it were folded", retried.folded);
    match retried.failed {
        None => Ok(Outcome::Done),
        Some(reason) => {
            eprintln!("the next one waits: {reason}");
            Ok(Outcome::Problems)
        }
    }
}
