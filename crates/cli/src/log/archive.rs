//! `headwater log archive` and `trim`.

use anyhow::Context;
use archive::{ArchiveError, Sealed};
use clap::Args;
use kernel::Partition;

use crate::{
    archiver::Archiver,
    node::{self, Node},
    operator,
    settings::Settings,
};

const SEAL_TRIES: u32 = 5;

#[derive(Args)]
#[command(after_help = "Examples:
  headwater log archive
  headwater log archive && headwater log verify

Safe to be killed at any moment, and to be run again. It does not trim.")]
pub struct Archive {}

pub async fn seal(_: &Archive, settings: Settings) -> anyhow::Result<()> {
    node::make_archive(&settings)?;
    let (node, archiver) = open(settings).await?;
    archiver.check_same(&node.log.heads().await?).await?;
    operator::record_if_there_is_room(&node, "log archive").await?;
    let mut events = 0;
    for partition in node.log.partitions() {
        let sealed = seal_all(&archiver, partition).await?;
        events += sealed.events;
        if sealed.events > 0 {
            eprintln!(
                "partition {partition}: {} events in {} segments, {} bytes",
                sealed.events, sealed.segments, sealed.bytes
            );
        }
    }
    eprintln!("{events} events were archived. To free their memory: headwater log trim");
    Ok(())
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater log trim
  headwater log trim --keep 100000 --yes

What is trimmed is read from the archive from then on.")]
pub struct Trim {
    /// Events that each partition keeps in any case; by default
    /// ARCHIVE_HOT_EVENTS
    #[arg(long)]
    keep: Option<u64>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub async fn trim(arguments: &Trim, settings: Settings) -> anyhow::Result<()> {
    let (node, archiver) = open(settings).await?;
    let keep = arguments.keep.unwrap_or(archiver.hot_events);
    operator::confirm(
        &format!(
            "forgets in Redis what is archived and passed by every projection, but the last \
             {keep} events of each partition"
        ),
        arguments.yes,
    )?;
    archiver.check_same(&node.log.heads().await?).await?;
    operator::record_if_there_is_room(&node, "log trim").await?;
    let mut events = 0;
    for partition in node.log.partitions() {
        events += archiver.trim(partition, keep).await?;
    }
    eprintln!("{events} events are in the archive alone. To look: headwater log stats");
    Ok(())
}

pub async fn open(settings: Settings) -> anyhow::Result<(Node, Archiver)> {
    let node = Node::connect(settings).await?;
    let archiver = node.archiver();
    let archiver =
        archiver.context("there is no archive: set ARCHIVE_URL, such as file:///var/headwater")?;
    Ok((node, archiver))
}

/// A worker that archives meanwhile may be faster.
async fn seal_all(archiver: &Archiver, partition: Partition) -> Result<Sealed, ArchiveError> {
    for _ in 1..SEAL_TRIES {
        match archiver.seal(partition, true).await {
            Err(ArchiveError::Raced(_)) => archiver.archive.forget(),
            sealed => return sealed,
        }
    }
    archiver.seal(partition, true).await
}
