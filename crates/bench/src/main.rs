#![doc = include_str!("../README.md")]

mod arguments;
mod baseline;
mod bench;
mod binary;
mod ceilings;
mod figures;
mod graph;
mod lag;
mod line;
mod load;
mod memory;
mod pairs;
mod plot;
mod processor;
mod progress;
mod random;
mod roles;
mod seeded;
mod servers;
mod table;
mod wait;
mod world;

use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    arguments::{Arguments, Command},
    baseline::Baseline,
    bench::Bench,
    figures::Figure,
    line::Line,
    progress::Progress,
    table::Table,
};

/// Of the measured build's own data, whatever its exact build.
const OWN_BUILD: &str = "own";
/// A run of so many takes minutes, in which a machine may change.
const LONG_FIGURES: usize = 4;

#[tokio::main]
async fn main() -> ExitCode {
    let done = tokio::select! {
        done = run(Arguments::parse().settled()) => done,
        // What was started ends with it.
        told = end() => Err(told.map_or_else(Into::into, |()| anyhow::anyhow!("interrupted"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
            eprintln!("bench: {}", causes.join(": "));
            ExitCode::FAILURE
        }
    }
}

/// Waits until a signal says that this is enough.
async fn end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        told = tokio::signal::ctrl_c() => told,
        _ = terminate.recv() => Ok(()),
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(Command::Hello) = arguments.command {
        return ceilings::hello::serve().await;
    }
    if arguments.list {
        for figure in Figure::ALL {
            println!("{:10} {}", figure.name(), figure.about());
        }
        return Ok(());
    }
    let figures = chosen(&arguments.only)?;
    if !binary::is_optimised() {
        eprintln!("this is a debug build: its figures say nothing");
    }
    if servers::are_scheduled_by_session() {
        eprintln!(
            "Linux shares processors by session: a p99 may be that of waiting for one \
             (sysctl -w kernel.sched_autogroup_enabled=0 ends that)"
        );
    }
    let binary = match &arguments.headwater {
        Some(binary) => binary.canonicalize()?,
        None => binary::find_or_build().await?,
    };
    if let Some(other) = &arguments.pairs {
        return pairs::run(&arguments, &figures, &binary, other).await;
    }
    let baseline = match arguments.compare {
        true => Some(Baseline::read()?),
        false => None,
    };
    let table = Table::new(arguments.json, baseline);
    let bench = Bench::start(&arguments, &binary, OWN_BUILD).await?;
    let lines = measure(bench, &figures, &table).await?;
    if arguments.accept {
        Baseline::accept(&lines)?;
    }
    let missed = |line: &&Line| line.targets.iter().any(|target| !target.met);
    let missed: Vec<_> = lines.iter().filter(missed).collect();
    let names: Vec<_> = missed.iter().map(|line| line.key.as_str()).collect();
    ensure!(
        !arguments.strict || names.is_empty(),
        "a target was missed: {}",
        names.join(", ")
    );
    Ok(())
}

/// Prints every line as soon as it is known. A figure that fails is told, and
/// does not keep the others from being measured.
async fn measure(mut bench: Bench, figures: &[Figure], table: &Table) -> anyhow::Result<Vec<Line>> {
    let progress = Progress::start(figures.len() + 1);
    let mut lines = Vec::new();
    let mut failed = Vec::new();
    progress.begin("hello");
    let hello = bench.measure_hello().await?;
    progress.aside(|| {
        table.print_header();
        table.print(&hello);
    });
    lines.push(hello);
    for figure in figures {
        progress.begin(figure.name());
        bench.world.refresh_tokens()?;
        match figure.measure(&mut bench).await {
            Ok(measured) => {
                progress.aside(|| measured.iter().for_each(|line| table.print(line)));
                lines.extend(measured);
            }
            Err(error) => {
                progress.aside(|| eprintln!("{}: {error:#}", figure.name()));
                failed.push(figure.name());
            }
        }
    }
    if figures.len() >= LONG_FIGURES {
        progress.begin("hello, again");
        let again = bench.measure_hello_again().await?;
        progress.aside(|| table.print(&again));
    }
    progress.end();
    bench.stop().await?;
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(lines)
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<Figure>> {
    if names.is_empty() {
        return Ok(Figure::ALL.to_vec());
    }
    for name in names {
        if Figure::ALL.iter().all(|figure| figure.name() != name) {
            bail!("there is no figure {name}; --list shows them");
        }
    }
    let wanted = |figure: &&Figure| names.iter().any(|name| name == figure.name());
    Ok(Figure::ALL.iter().filter(wanted).copied().collect())
}
