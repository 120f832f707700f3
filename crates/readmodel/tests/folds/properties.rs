//! Rows are a pure function of the log, for logs that any commands in any order
//! leave behind. `PROPTEST_CASES` asks for more of them than CI has time for.

use std::collections::BTreeSet;

use domain::{
    Event,
    strategies::{self, ACCOUNTS, PARTITIONS, Step, step},
};
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{TestError, TestRunner},
};
use readmodel::{Happened, Social};

use super::{
    setting::Setting,
    world::{Random, by_partition, cut, interleave},
};

const CASES: u32 = 24;
const STEPS_MAX: usize = 140;
/// Some partitions have several accounts.
const _: () = assert!(PARTITIONS < ACCOUNTS);
const WAYS: [&str; 4] = ["one_by_one", "in_cuts", "delivered_again", "backwards"];

/// What the steps leave in the log.
pub fn history(steps: &[Step]) -> Result<Vec<Happened>, TestCaseError> {
    let entries = strategies::history(steps)?.into_iter();
    let happened = entries.map(|entry| Happened {
        position: entry.position,
        aggregate: entry.aggregate,
        version: entry.version,
        recorded_at: entry.recorded_at,
        actor: entry.actor,
        event: entry.event,
    });
    Ok(happened.collect())
}

/// The batches in which each of `WAYS` folds the log.
fn batches(way: &str, history: &[Happened], random: &mut Random) -> Vec<Vec<Happened>> {
    let partitions = by_partition(history);
    let events_max = 1 + random.below(30);
    let mut cuts = || -> Vec<_> {
        let cuts = partitions
            .iter()
            .map(|events| cut(random, events, events_max));
        cuts.collect()
    };
    match way {
        "one_by_one" => history.iter().map(|event| vec![event.clone()]).collect(),
        "in_cuts" => {
            let cuts = cuts();
            interleave(random, cuts)
        }
        "delivered_again" => {
            let cuts = cuts();
            let batches = interleave(random, cuts);
            again(random, &partitions, batches)
        }
        _ => partitions
            .into_iter()
            .rev()
            .filter(|events| !events.is_empty())
            .collect(),
    }
}

/// After some batches, what is folded of their partition comes once more: from
/// anywhere up to where it was, in other cuts.
fn again(
    random: &mut Random,
    partitions: &[Vec<Happened>],
    batches: Vec<Vec<Happened>>,
) -> Vec<Vec<Happened>> {
    let mut all = Vec::new();
    for batch in batches {
        let end = batch.last().map(|happened| happened.position);
        all.push(batch);
        let Some(end) = end.filter(|_| random.chance(20)) else {
            continue;
        };
        let events = &partitions[usize::from(end.partition.0)];
        let end = events
            .iter()
            .take_while(|happened| happened.position <= end)
            .count();
        let begin = random.below(end + 1);
        let events_max = 1 + random.below(20);
        all.extend(cut(random, &events[begin..end], events_max));
    }
    all
}

struct Generations {
    setting: Setting,
    ways: Vec<(&'static str, Social)>,
}

impl Generations {
    async fn new() -> Self {
        let setting = Setting::new().await;
        let mut ways = Vec::new();
        for way in WAYS {
            ways.push((way, setting.generation(way).await));
        }
        Self { setting, ways }
    }

    async fn rows(&self, way: &str, social: &Social, batches: &[Vec<Happened>]) -> Vec<String> {
        self.setting.empty(way).await;
        for batch in batches {
            self.setting.fold(social, batch).await;
        }
        self.setting.rows(way).await
    }

    async fn check(&self, steps: &[Step], seed: u64) -> Result<(), TestCaseError> {
        let history = history(steps)?;
        let mut random = Random(seed);
        let mut first: Option<Vec<String>> = None;
        for (way, social) in &self.ways {
            let batches = batches(way, &history, &mut random);
            let rows = self.rows(way, social, &batches).await;
            let wrong = self.setting.wrong_counters(way).await;
            prop_assert!(wrong.is_empty(), "{way}: {wrong:#?}");
            let first = first.get_or_insert_with(|| rows.clone());
            let only = |a: &[String], b: &[String]| -> Vec<String> {
                a.iter()
                    .filter(|row| !b.contains(row))
                    .take(3)
                    .cloned()
                    .collect()
            };
            let (lost, new) = (only(first, &rows), only(&rows, first));
            prop_assert!(rows == *first, "{way}: {lost:#?} became {new:#?}");
        }
        Ok(())
    }
}

#[test]
fn rows_are_the_same_for_any_commands_cuts_interleavings_and_redeliveries() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let generations = runtime.block_on(Generations::new());
    let asked = std::env::var("PROPTEST_CASES").ok();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: asked.map_or(CASES, |cases| cases.parse().unwrap()),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    });
    let strategy = (vec(step(), 1..STEPS_MAX), any::<u64>());
    let checked = runner.run(&strategy, |(steps, seed)| {
        runtime.block_on(generations.check(&steps, seed))
    });
    match checked {
        Ok(()) => {}
        Err(TestError::Fail(why, (steps, seed))) => panic!("seed {seed}, {steps:#?}: {why}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_steps_make_every_event_that_is_folded() {
    let mut runner = TestRunner::deterministic();
    let strategy = vec(vec(step(), STEPS_MAX), 800);
    let logs = strategy.new_tree(&mut runner).unwrap().current();
    let events = logs.iter().flat_map(|steps| history(steps).unwrap());
    let names = events.map(|happened| happened.event.event_type().0);
    let names: BTreeSet<_> = names.collect();
    let mut all: BTreeSet<_> = Event::types().collect();
    // No table shows it.
    assert!(all.remove("OperatorActed"));
    assert_eq!(names, all);
}
