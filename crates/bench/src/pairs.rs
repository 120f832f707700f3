//! Two builds, in turns: single runs differ by 10 to 40 % here, so that only
//! the median of several pairs says anything. Each build gets data that it has
//! loaded itself.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::{
    OWN_BUILD, arguments::Arguments, bench::Bench, figures::Figure, line::Line, measure,
    table::Table,
};

const PAIRS: usize = 5;

/// Of every pair, own over other.
#[derive(Default)]
struct Ratios {
    name: String,
    values: Vec<f64>,
    /// The same of what each reached of its own run's ceiling: the machine may have
    /// changed between the two.
    of_ceilings: Vec<f64>,
    p99: Vec<f64>,
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
    for pair in 0..PAIRS {
        let mut lines = [Vec::new(), Vec::new()];
        // Who comes first changes: the second finds a warmer machine.
        for turn in 0..2 {
            let which = (pair + turn) % 2;
            let (binary, build) = match which {
                0 => (own, OWN_BUILD),
                _ => (other.as_path(), other_build.as_str()),
            };
            eprintln!("pair {} of {PAIRS}: {}", pair + 1, binary.display());
            let again = Arguments {
                // Once is enough.
                fresh: arguments.fresh && pair == 0,
                ..arguments.clone()
            };
            let bench = Bench::start(&again, binary, build).await?;
            lines[which] = measure(bench, figures, &Table::silent()).await?;
        }
        let [own, other] = lines;
        for (own, other) in own.iter().zip(&other) {
            ratios.entry(own.key.clone()).or_default().add(own, other);
        }
        // Who ends it early keeps what was seen.
        if pair + 1 < PAIRS {
            eprint!("after {} of {PAIRS} pairs:\n{}", pair + 1, table(&ratios));
        }
    }
    match arguments.json {
        true => print_json(&ratios),
        false => print!("{}", table(&ratios)),
    }
    Ok(())
}

fn print_json(ratios: &BTreeMap<String, Ratios>) {
    for (key, ratios) in ratios {
        println!(
            "{}",
            serde_json::json!({
                "figure": key,
                "value": median(&ratios.values),
                "of_ceiling": median(&ratios.of_ceilings),
                "p99": median(&ratios.p99),
                "values": ratios.values,
                "of_ceilings": ratios.of_ceilings,
            })
        );
    }
}

fn table(ratios: &BTreeMap<String, Ratios>) -> String {
    let line = |name: &str, value: &str, of_ceiling: &str, range: &str, p99: &str| {
        format!("{name:40} {value:>8} {of_ceiling:>11} {range:>16} {p99:>8}\n")
    };
    let text = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
    let mut table = line(
        "own / other, medians",
        "value",
        "of ceiling",
        "from … to",
        "p99",
    );
    for ratios in ratios.values() {
        let all = match ratios.of_ceilings.is_empty() {
            true => &ratios.values,
            false => &ratios.of_ceilings,
        };
        let least = all.iter().copied().reduce(f64::min);
        let most = all.iter().copied().reduce(f64::max);
        table += &line(
            &ratios.name,
            &text(median(&ratios.values)),
            &text(median(&ratios.of_ceilings)),
            &format!("{} … {}", text(least), text(most)),
            &text(median(&ratios.p99)),
        );
    }
    table
}

impl Ratios {
    fn add(&mut self, own: &Line, other: &Line) {
        self.name.clone_from(&own.name);
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
