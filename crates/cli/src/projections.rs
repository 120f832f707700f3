//! `headwater projections`: what operators see of projections and do to them.

mod controls;
mod list;
mod rebuild;
mod undo;

use clap::{
    Args, Subcommand,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use readmodel::Projection;

pub use controls::{aggregate, show_aggregate};
pub use rebuild::{Rate, rate};
pub use undo::begin_operation;

use crate::{outcome::Outcome, settings::Settings};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  headwater projections --watch
  headwater projections --json | jq 'select(.state != \"live\")'
  headwater projections rebuild social

States: live; catching up (the next event waits for more than 2 s); rebuilding;
paused; parked (some events wait, see `headwater dead-letters`); stalled
(something waits and nothing moves, or no worker holds the partition); diverged
(it has read what the log does not have). Into a pipe it prints JSON lines.")]
pub struct Projections {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: list::List,
}

#[derive(Subcommand)]
enum Command {
    /// Fold everything again beside what is live, compare, and swap
    Rebuild(rebuild::Rebuild),
    /// Drop a rebuild that has not become live
    Abort(undo::Abort),
    /// Make the generation before live again
    Rollback(undo::Rollback),
    /// Drop the generations that a rollback would need
    Drop(undo::Drop),
    /// Let workers stop folding a projection
    Pause(controls::Pause),
    /// Let workers go on
    Resume(controls::Resume),
    /// Fold events again into what is live
    Replay(controls::Replay),
}

/// Reads a registered projection's name.
pub fn name() -> impl TypedValueParser<Value = Projection> {
    let registered = readmodel::Projections::default();
    let value = |one: Projection| PossibleValue::new(one.name()).help(registered.about(one));
    let values: Vec<_> = registered.names().map(value).collect();
    PossibleValuesParser::new(values).try_map(move |name| {
        let found = registered.named(&name);
        found.ok_or("no projection of this name is registered")
    })
}

pub async fn run(arguments: Projections, settings: Settings) -> anyhow::Result<Outcome> {
    match arguments.command {
        None => list::run(arguments.list, &settings).await?,
        Some(Command::Rebuild(rebuild)) => return rebuild::run(rebuild, settings).await,
        Some(Command::Abort(abort)) => undo::abort(abort, settings).await?,
        Some(Command::Rollback(rollback)) => undo::rollback(rollback, settings).await?,
        Some(Command::Drop(drop)) => undo::drop(drop, settings).await?,
        Some(Command::Pause(pause)) => controls::pause(pause, settings).await?,
        Some(Command::Resume(resume)) => controls::resume(resume, settings).await?,
        Some(Command::Replay(replay)) => controls::replay(replay, settings).await?,
    }
    Ok(Outcome::Done)
}
