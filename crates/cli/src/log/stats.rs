//! `headwater log stats`: how much there is, and where.

use std::io::{IsTerminal, Write};

use clap::Args;
use kernel::Position;
use serde_json::json;

use crate::{
    node::{self, Node},
    settings::Settings,
    table,
};

#[derive(Args)]
#[command(after_help = "Examples:
  headwater log stats
  headwater log stats | jq -s 'map(.hot_bytes) | add'

Into a pipe it prints JSON lines: one a partition, and one of what stands beside
the events. What is archived is null where ARCHIVE_URL names no archive.")]
pub struct Stats {}

pub async fn run(_: &Stats, settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    let (sizes, firsts, heads) =
        tokio::try_join!(node.log.sizes(), node.log.firsts(), node.log.heads())?;
    // Without an archive nothing is known of one, not that it is empty.
    let known = node.archive.is_some();
    let counted = |count: u64| match known {
        true => table::number(count),
        false => table::text("-"),
    };
    let mut rows = Vec::new();
    let mut lines = Vec::new();
    for ((size, first), head) in sizes.iter().zip(firsts).zip(heads) {
        let segments = match &node.archive {
            Some(archive) => archive.segments(head.partition).await?,
            None => Vec::new(),
        };
        let end = segments.last().map(|segment| segment.last);
        let archived: u64 = segments.iter().map(|segment| segment.events).sum();
        let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let entry = |at: Option<Position>| at.map_or("-".into(), |at| at.entry_id());
        rows.push(vec![
            table::number(head.partition),
            table::number(size.events),
            table::number(size.event_bytes),
            table::text(entry(first)),
            table::text(head.entry_id()),
            counted(segments.len() as u64),
            counted(archived),
            counted(bytes),
            table::text(entry(end)),
        ]);
        lines.push(json!({
            "partition": head.partition,
            "hot_events": size.events,
            "hot_bytes": size.event_bytes,
            "first": first,
            "head": head,
            "segments": known.then_some(segments.len()),
            "archived_events": known.then_some(archived),
            "archived_bytes": known.then_some(bytes),
            "archived_to": end,
        }));
    }
    let history = node::history(&node.log, node.archive.clone());
    if let Some(gap) = history.missing().await? {
        eprintln!("{gap}");
    }
    let [states, lasts, receipts] = node.log.keys_beside().await?;
    let mut out = std::io::stdout().lock();
    if std::io::stdout().is_terminal() {
        let headers = [
            "PARTITION",
            "HOT EVENTS",
            "BYTES",
            "FIRST",
            "HEAD",
            "SEGMENTS",
            "ARCHIVED",
            "BYTES",
            "TO",
        ];
        table::write(&mut out, &headers, &rows, table::colours())?;
        writeln!(
            out,
            "beside them: {states} keys of states, {lasts} of last positions, {receipts} receipts"
        )?;
    } else {
        for line in lines {
            writeln!(out, "{line}")?;
        }
        let line = json!({"state_keys": states, "last_keys": lasts, "receipts": receipts});
        writeln!(out, "{line}")?;
    }
    Ok(())
}
