//! `headwater verify`: whether what is live is what the log says, row by row.

use std::io::{IsTerminal, Write};

use clap::Args;
use readmodel::{
    Projection,
    comparing::TableComparison,
    dead_letters::{self, Skip},
    generations::{self, Role},
};
use serde_json::json;
use worker::rebuilding::{self, ListsChecked, Pace, RebuiltTables};

use crate::{
    node::Node,
    outcome::Outcome,
    projections::{self, Rate, begin_operation, rate},
    reporting::Shown,
    settings::Settings,
    stop,
    table::{self, Tone},
};

#[derive(Args)]
#[command(after_help = "Examples:
  headwater verify
  headwater verify social --rate 20000

It folds the log once more into tables of its own, compares every row with what
is live at the same positions, to the last bit, and drops them. Reads and writes
go on. Into a pipe it prints JSON lines. Exit status 3 where anything differs, or an operator has skipped events.")]
pub struct Verify {
    /// Everything where none is named
    #[arg(value_parser = projections::name())]
    name: Option<Projection>,
    /// Events a second at most, or max
    #[arg(long, default_value = "max", value_parser = rate)]
    rate: Rate,
}

pub async fn run(arguments: Verify, settings: Settings) -> anyhow::Result<Outcome> {
    let node = Node::connect(settings).await?;
    let all: Vec<_> = match arguments.name {
        Some(name) => vec![name],
        None => node.projections.names().collect(),
    };
    let mut outcome = Outcome::Done;
    let mut differs = false;
    for projection in all {
        let same = match projection.has_tables() {
            true => tables(&node, projection, arguments.rate).await?,
            false => lists(&node, projection).await?,
        };
        let pool = node.database.get_postgres_connection_pool();
        let skips = dead_letters::skips(pool, projection).await?;
        show_skips(projection, &skips)?;
        differs |= !same;
        if !same || !skips.is_empty() {
            outcome = Outcome::Problems;
        }
    }
    if differs {
        eprintln!(
            "what differs is made anew by: headwater projections rebuild NAME --accept-differences"
        );
    }
    Ok(outcome)
}

/// What operators left out, as lines for people or for programs.
fn show_skips(projection: Projection, skips: &[Skip]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let terminal = std::io::stdout().is_terminal();
    for skip in skips {
        let (name, event, at) = (projection.name(), &skip.event_type, skip.position);
        let (operator, reason) = (&skip.operator, &skip.reason);
        if terminal {
            writeln!(
                out,
                "{event} at {at} was left out of {name} by {operator}: {reason}"
            )?;
        } else {
            let line = json!({
                "projection": name,
                "skipped": at,
                "event": event,
                "operator": operator,
                "reason": reason,
            });
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

async fn tables(node: &Node, projection: Projection, rate: Rate) -> anyhow::Result<bool> {
    let pool = node.database.get_postgres_connection_pool();
    let _operation = begin_operation(pool, projection).await?;
    let (shown, stop) = (Shown::start(), stop::on_signal()?);
    let checking = RebuiltTables::begin(
        node.worker_context(),
        projection,
        Role::Checking,
        Pace::new(rate.0),
        shown.reports.clone(),
        stop,
    );
    let checking = checking.await?;
    let compared = async {
        checking.replay().await?;
        checking.compare().await
    };
    let compared = compared.await;
    checking.remove().await?;
    shown.end().await;
    show_tables(&compared?)
}

async fn lists(node: &Node, projection: Projection) -> anyhow::Result<bool> {
    let pool = node.database.get_postgres_connection_pool();
    let plan = generations::plan(pool, &node.projections).await?;
    let Some(live) = plan.of(projection, Role::Live) else {
        anyhow::bail!("no generation is live: run `headwater migrate`");
    };
    let (shown, stop) = (Shown::start(), stop::on_signal()?);
    let context = node.worker_context();
    let checked = rebuilding::check(&context, live.generation, &shown.reports, &stop).await;
    shown.end().await;
    show_lists(&checked?)
}

/// Whether all are the same.
pub fn show_tables(compared: &[TableComparison]) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    if std::io::stdout().is_terminal() {
        let row = |one: &TableComparison| {
            let tone = if one.differing == 0 {
                Tone::Well
            } else {
                Tone::Bad
            };
            let verdict = if one.differing == 0 {
                "same"
            } else {
                "differs"
            };
            vec![
                table::text(&one.table),
                table::number(one.live_rows),
                table::number(one.fresh_rows),
                table::number(one.differing),
                table::toned(verdict, tone),
            ]
        };
        let rows: Vec<_> = compared.iter().map(row).collect();
        let headers = ["TABLE", "LIVE ROWS", "FRESH ROWS", "DIFFERING", "VERDICT"];
        table::write(&mut out, &headers, &rows, table::colours())?;
        for one in compared {
            for (live, fresh) in &one.examples {
                let none = "no such row";
                writeln!(out, "{}", one.table)?;
                writeln!(out, "  live:  {}", live.as_deref().unwrap_or(none))?;
                writeln!(out, "  fresh: {}", fresh.as_deref().unwrap_or(none))?;
            }
        }
    } else {
        for one in compared {
            let examples = one.examples.iter();
            let examples = examples.map(|(live, fresh)| json!({"live": live, "fresh": fresh}));
            let line = json!({
                "table": one.table,
                "live_rows": one.live_rows,
                "fresh_rows": one.fresh_rows,
                "differing": one.differing,
                "examples": examples.collect::<Vec<_>>(),
            });
            writeln!(out, "{line}")?;
        }
    }
    Ok(compared.iter().all(|one| one.differing == 0))
}

/// Whether none lacks a post.
pub fn show_lists(checked: &ListsChecked) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    let (lists, lacking) = (checked.lists, checked.lacking);
    if std::io::stdout().is_terminal() {
        writeln!(out, "{lists} lists, {lacking} lack posts of their home")?;
        for (reader, posts) in &checked.examples {
            writeln!(out, "  {reader}: {posts} posts are missing")?;
        }
    } else {
        let examples = checked.examples.iter();
        let examples = examples.map(|(reader, posts)| json!({"reader": reader, "missing": posts}));
        let examples: Vec<_> = examples.collect();
        let line = json!({"lists": lists, "lacking": lacking, "examples": examples});
        writeln!(out, "{line}")?;
    }
    Ok(lacking == 0)
}
