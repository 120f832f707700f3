//! `headwater log`: the hot half of the log in Redis, and the cold one in the
//! archive.

mod archive;
mod restore;
mod stats;
mod verify;
mod versions;

use clap::{Args, Subcommand};

use crate::{outcome::Outcome, settings::Settings};

#[derive(Args)]
#[command(after_help = "Examples:
  headwater log stats
  headwater log archive && headwater log trim --keep 100000

Where ARCHIVE_URL is set, `headwater work` archives and trims by itself.")]
pub struct Log {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show how much each partition holds, hot and archived
    Stats(stats::Stats),
    /// Seal what the archive has not yet
    Archive(archive::Archive),
    /// Forget in Redis what is archived and passed by every projection
    Trim(archive::Trim),
    /// Check archive and log: checksums, gaps, signatures, and what both have
    Verify(verify::Verify),
    /// Make a lost log anew from the archive, in a new epoch
    Restore(restore::Restore),
    /// Make the states that commands decide on anew from the events
    RebuildState(restore::RebuildState),
}

pub async fn run(arguments: Log, settings: Settings) -> anyhow::Result<Outcome> {
    match arguments.command {
        Command::Stats(arguments) => stats::run(&arguments, settings).await?,
        Command::Archive(arguments) => archive::seal(&arguments, settings).await?,
        Command::Trim(arguments) => archive::trim(&arguments, settings).await?,
        Command::Verify(arguments) => return verify::run(&arguments, settings).await,
        Command::Restore(arguments) => restore::run(&arguments, settings).await?,
        Command::RebuildState(arguments) => restore::rebuild_state(&arguments, settings).await?,
    }
    Ok(Outcome::Done)
}
