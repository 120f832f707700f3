#![doc = include_str!("../README.md")]

mod arguments;
mod baseline;
mod bench;
mod binary;
mod ceilings;
mod figures;
mod graph;
mod line;
mod load;
mod progress;
mod random;
mod roles;
mod seeded;
mod servers;
mod table;
mod wait;
mod world;

use anyhow::bail;
use clap::Parser;

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

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse().settled();
    if let Some(Command::Hello) = arguments.command {
        return ceilings::hello::serve().await;
    }
    if arguments.list {
        for figure in Figure::ALL {
            println!("{:10} {}", figure.name(), figure.about());
        }
        return Ok(());
    }
    tokio::select! {
        ended = run(arguments) => ended,
        // What was started ends with it.
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let figures = chosen(&arguments.only)?;
    if !binary::is_optimised() {
        eprintln!("this is a debug build: its figures say nothing");
    }
    let binary = match &arguments.headwater {
        Some(binary) => binary.canonicalize()?,
        None => binary::find_or_build().await?,
    };
    let table = Table {
        json: arguments.json,
        baseline: match arguments.compare {
            true => Some(Baseline::read()?),
            false => None,
        },
    };
    let bench = Bench::start(&arguments, &binary, OWN_BUILD).await?;
    let lines = measure(bench, &figures, &table).await?;
    if arguments.accept {
        Baseline::accept(&lines)?;
    }
    Ok(())
}

/// Prints every line as soon as it is known.
async fn measure(mut bench: Bench, figures: &[Figure], table: &Table) -> anyhow::Result<Vec<Line>> {
    let progress = Progress::start(figures.len() + 1);
    let mut lines = Vec::new();
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
        let measured = figure.measure(&mut bench).await?;
        progress.aside(|| measured.iter().for_each(|line| table.print(line)));
        lines.extend(measured);
    }
    progress.end();
    bench.stop().await?;
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
    let wanted = |figure: &Figure| names.iter().any(|name| name == figure.name());
    Ok(Figure::ALL.into_iter().filter(wanted).collect())
}
