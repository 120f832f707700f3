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
    }
    print(arguments.json, &ratios);
    Ok(())
}

fn print(json: bool, ratios: &BTreeMap<String, Ratios>) {
    if !json {
        println!(
            "{:40} {:>8} {:>11} {:>16} {:>8}",
            "own / other, medians", "value", "of ceiling", "from … to", "p99"
        );
    }
    for (key, ratios) in ratios {
        let (value, p99) = (median(&ratios.values), median(&ratios.p99));
        let of_ceiling = median(&ratios.of_ceilings);
        if json {
            println!(
                "{}",
                serde_json::json!({
                    "figure": key, "value": value, "of_ceiling": of_ceiling, "p99": p99,
                    "values": ratios.values, "of_ceilings": ratios.of_ceilings,
                })
            );
            continue;
        }
        let text = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let all = match of_ceiling {
            Some(_) => &ratios.of_ceilings,
            None => &ratios.values,
        };
        let least = all.iter().copied().reduce(f64::min);
        let most = all.iter().copied().reduce(f64::max);
        let range = format!("{} … {}", text(least), text(most));
        println!(
            "{:40} {:>8} {:>11} {range:>16} {:>8}",
            ratios.name,
            text(value),
            text(of_ceiling),
            text(p99)
        );
    }
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
