//! `headwater projections` alone: how far each projection is, and how it is
//! doing.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use clap::Args;
use readmodel::progress::{Progress, State};
use serde_json::{Value, json};
use vault::Vault;

use crate::{
    node::{connect_database, find_log, master_keys},
    origin::{self, Seen},
    settings::Settings,
    stop,
    table::{self, Tone},
    terminal,
};

const WATCH_SECONDS: u64 = 1;
/// Goes to the top and clears what is below (ECMA-48: CUP, ED).
const REDRAW: &str = "\u{1b}[H\u{1b}[J";

#[derive(Args)]
pub struct List {
    /// Show it anew every second, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// One JSON object a line for each projection and partition
    #[arg(long)]
    json: bool,
}

pub async fn run(arguments: List, settings: &Settings) -> anyhow::Result<()> {
    let database = connect_database(settings).await?;
    let Some(log) = find_log(settings).await? else {
        let vault = Vault::new(database.clone(), master_keys(settings));
        let pool = database.get_postgres_connection_pool();
        if let Seen::Lost(loss) = origin::look(settings, pool, &vault).await? {
            return Err(loss.into());
        }
        anyhow::bail!("there is no log yet: `headwater serve` or `work` makes it");
    };
    let json = arguments.json || !std::io::stdout().is_terminal();
    let mut stopped = stop::on_signal()?;
    loop {
        let all = api::look(&log, database.get_postgres_connection_pool()).await?;
        let mut out = std::io::stdout().lock();
        if json {
            for progress in &all {
                writeln!(out, "{}", line(progress))?;
            }
        } else {
            if arguments.watch && terminal::is_smart(&std::io::stdout()) {
                write!(out, "{REDRAW}")?;
            }
            show(&mut out, &all)?;
        }
        out.flush()?;
        drop(out);
        if !arguments.watch {
            return Ok(());
        }
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs(WATCH_SECONDS)) => {}
        }
    }
}

fn line(progress: &Progress) -> Value {
    let checkpoint = &progress.checkpoint;
    json!({
        "projection": checkpoint.projection,
        "generation": checkpoint.generation,
        "role": checkpoint.role,
        "partition": checkpoint.at.partition,
        "state": progress.state.name(),
        "position": checkpoint.at,
        "head": progress.head,
        "lag_events": progress.lag_events,
        "lag_seconds": progress.lag_seconds,
        "events_per_second": checkpoint.rate,
        "seconds_to_head": progress.seconds_to_head,
        "owner": checkpoint.owner,
        "parked_events": checkpoint.parked,
        "parked_seconds": checkpoint.parked_seconds,
        "trouble": progress.trouble,
    })
}

fn show(out: &mut impl Write, all: &[Progress]) -> std::io::Result<()> {
    let headers = [
        "PROJECTION",
        "GENERATION",
        "PARTITION",
        "STATE",
        "POSITION",
        "HEAD",
        "LAG",
        "BEHIND",
        "RATE",
        "TO HEAD",
        "OWNER",
    ];
    let row = |progress: &Progress| {
        let checkpoint = &progress.checkpoint;
        let tone = match progress.state {
            State::Live => Tone::Well,
            State::CatchingUp | State::Rebuilding | State::Paused => Tone::Notable,
            State::Parked | State::Stalled | State::Diverged => Tone::Bad,
        };
        vec![
            table::text(&checkpoint.projection),
            table::text(match checkpoint.role.as_str() {
                "live" => checkpoint.generation.to_string(),
                role => format!("{} {role}", checkpoint.generation),
            }),
            table::number(checkpoint.at.partition),
            table::toned(progress.state.name(), tone),
            table::text(checkpoint.at.entry_id()),
            table::text(progress.head.entry_id()),
            table::number(progress.lag_events),
            table::number(format!("{:.1} s", progress.lag_seconds)),
            table::number(format!("{:.0}/s", checkpoint.rate)),
            table::number(progress.seconds_to_head.map_or("-".into(), duration)),
            table::text(checkpoint.owner.as_deref().unwrap_or("-")),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    table::write(out, &headers, &rows, table::colours())?;
    if all.is_empty() {
        writeln!(
            out,
            "no worker has run yet: start one with `headwater work`"
        )?;
    }
    for progress in all {
        if let Some(trouble) = &progress.trouble {
            let checkpoint = &progress.checkpoint;
            let (name, partition) = (&checkpoint.projection, checkpoint.at.partition);
            writeln!(out, "{name} {partition}: {trouble}")?;
        }
    }
    Ok(())
}

/// Such as `42 s` or `1 h 05 min`.
fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let cases = [(0.4, "0 s"), (59.6, "1 min 00 s"), (3_900.0, "1 h 05 min")];
        for (seconds, shown) in cases {
            assert_eq!(duration(seconds), shown);
        }
    }
}
