//! `mutants`: breaks the product on purpose, one small replacement after
//! the other, and sees that the test which each mutant names fails. It works in a copy of
//! the last commit below `target/`, and refuses to touch the tree that it is
//! started in.

mod copy;
mod mutant;
mod source;
mod trial;

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use copy::Copy;
use mutant::Mutant;
use trial::{Outcome, Trials};

const SURVIVORS: u8 = 1;
const NOT_RUN: u8 = 2;

/// Runs mutants of the product against the tests that must kill them.
#[derive(Parser)]
struct Arguments {
    /// Only mutants whose name contains one of these
    names: Vec<String>,
    /// Run so many of them, another choice every day
    #[arg(long)]
    sample: Option<usize>,
    /// Run those again that were killed at this commit
    #[arg(long)]
    again: bool,
    /// Do not run the tests without mutants first
    #[arg(long)]
    trust_the_tests: bool,
    /// How long a test may take, where its file does not say
    #[arg(long, default_value_t = 4)]
    minutes: u64,
    /// Tell each result as one JSON object a line
    #[arg(long)]
    json: bool,
    /// Where the copy, its target directory and the results are kept
    #[arg(long, default_value = "target/mutants")]
    place: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(survived) if survived => ExitCode::from(SURVIVORS),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(NOT_RUN)
        }
    }
}

/// Whether any mutant is still alive.
fn run(arguments: &Arguments) -> Result<bool, String> {
    let copy = Copy::make(&arguments.place)?;
    let mut mutants = mutant::all(&copy.tree)?;
    let sources = source::all(&copy.tree)?;
    if !arguments.names.is_empty() {
        let wanted = |mutant: &Mutant| arguments.names.iter().any(|n| mutant.name.contains(n));
        mutants.retain(wanted);
    }
    if let Some(count) = arguments.sample {
        mutants = mutant::sample(mutants, count);
    }
    let trials = Trials::open(&arguments.place, copy, arguments.minutes)?;
    let (done, mut left): (Vec<_>, Vec<_>) = mutants
        .into_iter()
        .partition(|mutant| !arguments.again && trials.was_killed(mutant));
    for mutant in &done {
        eprintln!("killed before  {}", mutant.name);
    }
    // Neighbours share what has to be built.
    left.sort_by_cached_key(|mutant| (mutant.killed_by.package.clone(), mutant.file(&sources)));
    if !arguments.trust_the_tests {
        let tests: BTreeSet<_> = left.iter().map(|mutant| mutant.killed_by.clone()).collect();
        for (number, test) in (1..).zip(&tests) {
            eprintln!("unbroken {number}/{}  {test}", tests.len());
            trials.passes_unbroken(test)?;
        }
    }
    let (mut results, count) = (Vec::new(), left.len());
    for (number, mutant) in (1..).zip(&left) {
        eprintln!("mutant {number}/{count}  {}", mutant.name);
        let began = Instant::now();
        let outcome = trials.run(mutant)?;
        let seconds = began.elapsed().as_secs_f64();
        trials.note(mutant, &outcome, seconds)?;
        if arguments.json {
            println!("{}", trial::line(mutant, &outcome, seconds));
        } else {
            eprintln!("  {outcome} in {seconds:.0} s");
        }
        results.push((mutant, outcome, seconds));
    }
    if !arguments.json {
        tell(&results);
    }
    let killed = |outcome: &Outcome| matches!(outcome, Outcome::Killed(_));
    Ok(results.iter().any(|(_, outcome, _)| !killed(outcome)))
}

fn tell(results: &[(&Mutant, Outcome, f64)]) {
    let width = results.iter().map(|(mutant, ..)| mutant.name.len()).max();
    let width = width.unwrap_or_default();
    println!();
    for (mutant, outcome, seconds) in results {
        let (name, test) = (&mutant.name, &mutant.killed_by);
        println!("{name:width$}  {seconds:>4.0} s  {outcome}  by {test}");
    }
    let killed = results
        .iter()
        .filter(|(_, o, _)| matches!(o, Outcome::Killed(_)));
    println!(
        "{} of {} mutants were killed",
        killed.count(),
        results.len()
    );
}
