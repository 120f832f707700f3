//! Two builds, in turns: runs a few minutes apart differ by 10 to 80 % here, so
//! both stand side by side on data that each has loaded itself, and take turns
//! figure by figure. Only the median of several such pairs says anything. Each
//! round begins with fresh copies: a figure may leave data that it would not find
//! new again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::{
    OWN_BUILD, arguments::Arguments, bench::Bench, figures::Figure, line::Line, progress::Progress,
};

/// Of every pair, own over other.
#[derive(Default)]
struct Ratios {
    name: String,
    /// What was measured of the own build, in the figure's unit.
    own: Vec<f64>,
    values: Vec<f64>,
    /// The same of what each reached of its own ceiling.
    of_ceilings: Vec<f64>,
    p99: Vec<f64>,
    /// Of processor time for an answer: it moves less than anything else does.
    processor: Vec<f64>,
}

pub async fn run(
    arguments: &Arguments,
    figures: &[Figure],
    own: &Path,
    other: &Path,
) -> anyhow::Result<()> {
    let bytes = fs::read(other).with_context(|| other.display().to_string())?;
    let other_build = hex::encode(&Sha256::digest(&bytes)[..8]);
    let other = other.canonicalize()?;
    let mut ratios: BTreeMap<String, Ratios> = BTreeMap::new();
    let mut failed = BTreeSet::new();
    let rounds = usize::from(arguments.rounds);
    for round in 0..rounds {
        let again = Arguments {
            // Once is enough.
            fresh: arguments.fresh && round == 0,
            ..arguments.clone()
        };
        let mut benches = [
            Bench::start(&again, own, OWN_BUILD).await?,
            Bench::start(&again, &other, &other_build).await?,
        ];
        let progress = Progress::start(figures.len() + 1);
        progress.begin("hello");
        for [own, other] in in_turns(&mut benches, round, None).await? {
            keep(&mut ratios, &own, &other);
        }
        for figure in figures {
            progress.begin(figure.name());
            match in_turns(&mut benches, round, Some(*figure)).await {
                Ok(pairs) => pairs
                    .iter()
                    .for_each(|[own, other]| keep(&mut ratios, own, other)),
                Err(error) => {
                    progress.aside(|| eprintln!("{}: {error:#}", figure.name()));
                    failed.insert(figure.name());
                }
            }
        }
        progress.end();
        for bench in benches {
            bench.stop().await?;
        }
        // Who ends it early keeps what was seen.
        if round + 1 < rounds {
            eprint!(
                "after {} of {rounds} rounds:\n{}",
                round + 1,
                table(&ratios)
            );
        }
    }
    match arguments.json {
        true => print_json(&ratios),
        false => print!("{}", table(&ratios)),
    }
    let failed: Vec<_> = failed.into_iter().collect();
    ensure!(
        failed.is_empty(),
        "not measured in every round: {}",
        failed.join(", ")
    );
    Ok(())
}

/// The lines of a figure (of the bare program where there is none) of both. Who
/// comes first changes: the second finds a warmer machine.
async fn in_turns(
    benches: &mut [Bench; 2],
    round: usize,
    figure: Option<Figure>,
) -> anyhow::Result<Vec<[Line; 2]>> {
    let mut lines = [Vec::new(), Vec::new()];
    let mut beside_rebuild = None;
    for turn in 0..2 {
        let which = (round + turn) % 2;
        let bench = &mut benches[which];
        bench.beside_rebuild = beside_rebuild;
        lines[which] = match figure {
            None => vec![bench.measure_hello().await?],
            Some(figure) => {
                bench.world.refresh_tokens()?;
                let lines = figure.measure(bench).await;
                let lines = lines.with_context(|| bench.launcher.binary.display().to_string())?;
                // What is left to do would be done beside the other.
                bench.finish().await?;
                beside_rebuild = bench.beside_rebuild;
                lines
            }
        };
    }
    let [own, other] = lines;
    Ok(own
        .into_iter()
        .zip(other)
        .map(|(own, other)| [own, other])
        .collect())
}

fn keep(ratios: &mut BTreeMap<String, Ratios>, own: &Line, other: &Line) {
    ratios.entry(own.key.clone()).or_default().add(own, other);
}

fn print_json(ratios: &BTreeMap<String, Ratios>) {
    for (key, ratios) in ratios {
        println!(
            "{}",
            serde_json::json!({
                "figure": key,
                "own": ratios.own,
                "value": median(&ratios.values),
                "of_ceiling": median(&ratios.of_ceilings),
                "p99": median(&ratios.p99),
                "processor": median(&ratios.processor),
                "values": ratios.values,
                "of_ceilings": ratios.of_ceilings,
                "processors": ratios.processor,
            })
        );
    }
}

fn table(ratios: &BTreeMap<String, Ratios>) -> String {
    let line =
        |name: &str, value: &str, of_ceiling: &str, range: &str, p99: &str, processor: &str| {
            format!("{name:40} {value:>8} {of_ceiling:>11} {range:>16} {p99:>8} {processor:>6}\n")
        };
    let text = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
    let mut table = line(
        "own / other, medians",
        "value",
        "of ceiling",
        "from … to",
        "p99",
        "cpu",
    );
    for ratios in ratios.values() {
        let all = ratios.values.iter().copied();
        let (least, most) = (all.clone().reduce(f64::min), all.reduce(f64::max));
        table += &line(
            &ratios.name,
            &text(median(&ratios.values)),
            &text(median(&ratios.of_ceilings)),
            &format!("{} … {}", text(least), text(most)),
            &text(median(&ratios.p99)),
            &text(median(&ratios.processor)),
        );
    }
    table
}

impl Ratios {
    fn add(&mut self, own: &Line, other: &Line) {
        self.name.clone_from(&own.name);
        self.own.push(own.value);
        if other.value > 0.0 {
            self.values.push(own.value / other.value);
        }
        if let (Some(own), Some(other)) = (own.ratio(), other.ratio())
            && other > 0.0
        {
            self.of_ceilings.push(own / other);
        }
        if let (Some(own), Some(other)) = (own.p99_milliseconds, other.p99_milliseconds)
            && other > 0.0
        {
            self.p99.push(own / other);
        }
        if let (Some(own), Some(other)) = (own.processor_microseconds, other.processor_microseconds)
            && other > 0.0
        {
            self.processor.push(own / other);
        }
    }
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_five_is_the_third() {
        assert_eq!(median(&[5.0, 1.0, 4.0, 2.0, 3.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }
}
