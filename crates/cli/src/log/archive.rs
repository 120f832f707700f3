//! `headwater log archive` and `trim`.

use anyhow::Context;
use clap::Args;
use readmodel::generations;

use crate::{archiver::Archiver, node::Node, operator, settings::Settings};

#[derive(Args)]
#[command(after_help = "Examples:
  headwater log archive
  headwater log archive && headwater log verify

Safe to be killed at any moment, and to be run again. It does not trim.")]
pub struct Archive {}

pub async fn seal(_: &Archive, settings: Settings) -> anyhow::Result<()> {
    let (node, archiver) = open(settings).await?;
    let _turn = begin(&archiver).await?;
    operator::record(&node, "log archive", "log", None).await?;
    let mut events = 0;
    for partition in node.log.partitions() {
        let sealed = archiver.seal(partition, true).await?;
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
    let _turn = begin(&archiver).await?;
    operator::record(&node, "log trim", "log", Some(&format!("keep {keep}"))).await?;
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

/// A worker may be the archiver; then it does this anyway.
async fn begin(archiver: &Archiver) -> anyhow::Result<generations::Operation> {
    let turn = generations::begin_archiving(&archiver.pool).await?;
    turn.context("another process archives: a worker does so every few seconds")
}
