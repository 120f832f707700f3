#![doc = include_str!("../README.md")]

mod aof;
mod backup;
mod checks;
mod client;
mod disk;
mod faults;
mod journal;
mod lane;
mod lasting;
mod load;
mod lost;
mod operators;
mod plan;
mod product;
mod proxy;
mod read_only;
mod record;
mod state;
mod summary;
mod torn;
mod trial;
mod unfit;
mod workload;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use record::Record;
use tokio::sync::{mpsc, watch};

/// A trial that takes longer hangs.
const TRIAL_SECONDS_MAX: u64 = 180;

/// Crash trials of Headwater
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Command {
    /// Print a table of what was tried, by fault
    Summary { files: Vec<PathBuf> },
}

#[derive(Args)]
struct Run {
    /// How many trials; they go on where the last run with this seed ended
    #[arg(required = true, default_value_t = 0)]
    count: u64,
    /// The same seed gives the same plans
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the trial of this number, which is not written down
    #[arg(long, conflicts_with = "fault")]
    only: Option<u64>,
    /// Only faults whose name has this text; they go on by themselves, in a file of
    /// their own
    #[arg(long)]
    fault: Option<String>,
    /// Begin at this number, whatever was run before
    #[arg(long)]
    from: Option<u64>,
    /// Trials at once, each with servers of its own
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    lanes: u16,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = match (runtime, arguments.command) {
        (Err(error), _) => Err(error.into()),
        (Ok(_), Some(Command::Summary { files })) => summarise(&files),
        (Ok(runtime), None) => runtime.block_on(run(arguments.run)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("trials: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn summarise(files: &[PathBuf]) -> anyhow::Result<bool> {
    let mut records = Vec::new();
    for file in files {
        records.extend(record::read(file)?);
    }
    print!("{}", summary::table(&records));
    Ok(true)
}

/// Whether no trial found anything.
async fn run(run: Run) -> anyhow::Result<bool> {
    let program = product::program()?;
    let place = program
        .ancestors()
        .nth(2)
        .context("no target folder")?
        .join("trials");
    std::fs::create_dir_all(&place)?;
    let file = match &run.fault {
        Some(fault) => format!("seed-{}-{}.jsonl", run.seed, words(fault)),
        None => format!("seed-{}.jsonl", run.seed),
    };
    let file = place.join(file);
    let before = record::read(&file)?;
    let last = before.iter().map(|record| record.number).max();
    let first = run
        .only
        .or(run.from)
        .unwrap_or(last.map_or(0, |last| last + 1));
    let count = if run.only.is_some() { 1 } else { run.count };
    let numbers: Arc<[u64]> = match &run.fault {
        Some(fault) => plan::with_fault(run.seed, fault, first, count)?.into(),
        None => (first..first + count).collect(),
    };
    let next = Arc::new(AtomicUsize::new(0));
    let bar = ProgressBar::new(count);
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} {elapsed} {msg}",
    )?);
    let (done, mut records) = mpsc::channel(usize::from(run.lanes));
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.send_replace(true);
        }
        // Kept, or all would stop.
        std::future::pending::<()>().await;
    });
    let lanes: Vec<_> = (0..run.lanes.min(count.try_into().unwrap_or(u16::MAX)))
        .map(|number| {
            let part = Part {
                number,
                seed: run.seed,
                program: program.clone(),
                place: place.clone(),
                numbers: numbers.clone(),
                next: next.clone(),
                done: done.clone(),
                stopped: stopped.clone(),
            };
            std::thread::spawn(move || part.run())
        })
        .collect();
    drop(done);
    let (mut violated, mut unfired) = (0, 0);
    while let Some(record) = records.recv().await {
        if run.only.is_none() {
            record::append(&file, &record)?;
        }
        tell(&bar, &record);
        violated += u64::from(!record.violations.is_empty());
        unfired += u64::from(!record.fired && record.skipped.is_none());
        bar.inc(1);
        bar.set_message(format!("{violated} violated, {unfired} did not fire"));
    }
    bar.finish();
    for lane in lanes {
        lane.join()
            .map_err(|_| anyhow::anyhow!("a lane broke off"))??;
    }
    eprintln!(
        "{count} trials, {violated} violated, {unfired} did not fire: {}",
        file.display()
    );
    Ok(violated == 0)
}

/// For a file's name.
fn words(text: &str) -> String {
    let letter = |letter: char| match letter.is_ascii_alphanumeric() {
        true => letter.to_ascii_lowercase(),
        false => '-',
    };
    text.chars().map(letter).collect()
}

/// One lane's part of a run, in a thread of its own.
struct Part {
    number: u16,
    seed: u64,
    program: PathBuf,
    place: PathBuf,
    numbers: Arc<[u64]>,
    /// Among the numbers.
    next: Arc<AtomicUsize>,
    done: mpsc::Sender<Record>,
    stopped: watch::Receiver<bool>,
}

impl Part {
    fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut stopped = self.stopped.clone();
        runtime.block_on(async {
            tokio::select! {
                done = self.trials() => done,
                _ = stopped.wait_for(|stopped| *stopped) => anyhow::bail!("stopped"),
            }
        })
    }

    async fn trials(&self) -> anyhow::Result<()> {
        let (seed, logs) = (self.seed, self.place.join(format!("seed-{}", self.seed)));
        let folder = logs.join(format!("lane-{}", self.number));
        let mut lane = lane::Lane::start(self.number, self.program.clone(), folder).await?;
        loop {
            let next = self.next.fetch_add(1, Ordering::SeqCst);
            let Some(&number) = self.numbers.get(next) else {
                return Ok(lane.stack.stop().await?);
            };
            let folder = logs.join(format!("{number:05}"));
            forget(&folder);
            let patience = Duration::from_secs(TRIAL_SECONDS_MAX);
            let run = trial::run(&mut lane, seed, number, folder.clone());
            let record = tokio::time::timeout(patience, run).await;
            let record = record.with_context(|| format!("trial {number} hangs"))?;
            if record.violations.is_empty() && record.fired {
                forget(&folder);
            }
            self.done.send(record).await?;
        }
    }
}

/// Logs are kept of what went wrong only.
fn forget(folder: &Path) {
    // That there are none is fine.
    let _ = std::fs::remove_dir_all(folder);
}

fn tell(bar: &ProgressBar, record: &Record) {
    let Record {
        number,
        seed,
        fault,
        ..
    } = record;
    if let Some(reason) = &record.skipped {
        bar.suspend(|| eprintln!("trial {number} ({fault}) was skipped: {reason}"));
    }
    if !record.fired && record.skipped.is_none() && record.violations.is_empty() {
        bar.suspend(|| eprintln!("trial {number} ({fault}) did not fire: {}", record.note));
    }
    if !record.violations.is_empty() {
        bar.suspend(|| {
            eprintln!("trial {number} ({fault}) violated:");
            for violation in &record.violations {
                eprintln!("  {violation}");
            }
            eprintln!("  again: trials 1 --seed {seed} --only {number}");
        });
    }
}
