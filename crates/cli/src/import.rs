//! `headwater import`: sends files of activity through the command side. Ids
//! derive from the source and the place in it, so that a second run, or one
//! after a kill, has no second effect. Whatever ends it early (a signal, a file
//! that is cut, a server that stays away), commands that were begun are finished.

mod activity;
mod commands;
mod input;
mod lanes;
mod lines;
mod patience;
mod source;
mod summary;

use std::{
    io::IsTerminal,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use crate::{node::Node, outcome::Outcome, settings::Settings, stop};
use activity::Operation;
use input::{Input, Item, Progress};
use lanes::Lanes;
use summary::{End, Place};

const REPORT_SECONDS: u64 = 5;
const REPORT_LINES: u64 = 256;
/// A file with so many unreadable lines and no other is not activity.
const UNREADABLE_LINES_MAX: u64 = 1_000;

#[derive(Args)]
#[command(after_help = "\
Examples:
  headwater import activity.ndjson.gz
  headwater import part-aa part-ab          the parts of one file, in order
  zstd -dc activity.zst | headwater import -

A second run, or one after an interruption, has no second effect. Lines may be
added at the end of a file; those before are known again.")]
pub struct Import {
    /// NDJSON, plain or gzip; several are read in order as one; - for standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// What the ids derive from, with the place of each line; by default the first
    /// file's first 64 KiB
    #[arg(long)]
    source: Option<String>,
    /// How long to wait for a server that does not answer
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait: u64,
}

pub async fn run(import: Import, settings: Settings) -> anyhow::Result<Outcome> {
    // Before any server is needed: what is wrong with a file is known at once.
    let mut input = Input::open(&import.files)?;
    let node = Node::connect(settings).await?;
    let stopped = stop::on_signal()?;
    let source = match import.source {
        Some(source) => source,
        None => source::find(&node, input.head()).await?,
    };
    let began = Instant::now();
    let wait = Duration::from_secs(import.wait);
    let mut lanes = Lanes::start(node, source.clone(), wait);
    let (end, lines) = feed(&mut input, &mut lanes, stopped.clone()).await;
    let (summary, failure) = lanes.finish(stopped).await;
    let end = failure.map_or(end, End::Failed);
    let names = input.names();
    summary.print(&end, names, lines, began.elapsed().as_secs_f64(), &source)?;
    if summary.speaks_of_others() {
        eprintln!("{}", source::HINT);
    }
    let at = match lines.file.and_then(|file| names.get(file)) {
        Some(name) => format!("{name}, line {}", lines.line),
        None => "the beginning".to_owned(),
    };
    match end {
        End::Cut(why) => anyhow::bail!(
            "{why}\nWhat comes before is done. Get the whole file and run the same command again: \
             nothing is done twice"
        ),
        End::Failed(why) => anyhow::bail!(
            "stopped near {at}: {why}\nRun the same command again to go on: nothing is done twice"
        ),
        End::Stopped => {
            eprintln!(
                "stopped at {at}: all lines up to it are done. Run the same command again to go on"
            );
            Ok(Outcome::Interrupted)
        }
        End::Whole if !summary.found_anything() => {
            anyhow::bail!("no line of {} is activity", names.join(", "))
        }
        End::Whole if summary.all_in() => Ok(Outcome::Done),
        End::Whole => Ok(Outcome::Problems),
    }
}

/// Sends line after line, until all are sent or something ends it.
async fn feed(
    input: &mut Input,
    lanes: &mut Lanes,
    mut stopped: watch::Receiver<bool>,
) -> (End, Place) {
    let mut failed = lanes.failures();
    let mut shown = Shown::start(input.progress());
    let mut items = input.read();
    let mut at = Place::default();
    let end = loop {
        let item = tokio::select! {
            biased;
            () = stop::asked(&mut stopped) => break End::Stopped,
            () = failed.next() => break End::Whole,
            item = items.recv() => item,
        };
        let line = match item {
            Some(Item::Line(line)) => line,
            Some(Item::Cut(why)) => break End::Cut(why),
            Some(Item::End) => break End::Whole,
            None => break End::Cut("the files could not be read to their end".to_owned()),
        };
        let place = Place {
            file: Some(line.file),
            line: line.number,
            all: at.all + 1,
        };
        match line.text.and_then(|text| Operation::parse(&text)) {
            Ok(None) => {}
            Ok(Some(operation)) => tokio::select! {
                biased;
                () = stop::asked(&mut stopped) => break End::Stopped,
                () = failed.next() => break End::Whole,
                () = lanes.send(place, operation) => {}
            },
            Err(why) => {
                let all = lanes.refuse_line(place, &why);
                if all.is_some_and(|all| all >= UNREADABLE_LINES_MAX) {
                    at = place;
                    break End::Whole;
                }
            }
        }
        at = place;
        shown.reached(at.all);
    };
    shown.bar.finish_and_clear();
    (end, at)
}

/// A bar on a terminal, now and then a line elsewhere.
struct Shown {
    bar: ProgressBar,
    progress: Progress,
    began: Instant,
    reported: Instant,
}

impl Shown {
    fn start(progress: Progress) -> Self {
        let (bar, template) = match progress.bytes {
            Some(bytes) => (
                ProgressBar::new(bytes),
                "{bar:30} {percent}% {msg}, {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let began = Instant::now();
        Self {
            bar,
            progress,
            began,
            reported: began,
        }
    }

    fn reached(&mut self, lines: u64) {
        if !lines.is_multiple_of(REPORT_LINES) {
            return;
        }
        let rate = lines as f64 / self.began.elapsed().as_secs_f64();
        self.bar.set_position(self.progress.read());
        self.bar.set_message(format!("{lines} lines, {rate:.0}/s"));
        if self.bar.is_hidden() && self.reported.elapsed() > Duration::from_secs(REPORT_SECONDS) {
            eprintln!("{lines} lines, {rate:.0}/s");
            self.reported = Instant::now();
        }
    }
}
