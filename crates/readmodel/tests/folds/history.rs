//! A read model is a pure function of the log.

use domain::posts::Visibility;
use readmodel::Happened;

use super::{
    setting::{Setting, try_fold},
    world::{PARTITIONS, Random, World, by_partition, cut, interleave},
};

const SEEDS: std::ops::Range<u64> = 1..7;
const STEPS: usize = 260;
/// A history may end without rows of these; not each may.
const RARE: &[&str] = &["follow_requests"];

#[track_caller]
fn assert_same(seed: u64, way: &str, left: &[String], right: &[String]) {
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter()
            .filter(|row| !b.contains(row))
            .take(3)
            .cloned()
            .collect()
    };
    assert!(
        left == right,
        "seed {seed}, {way}: {:#?} became {:#?}",
        only(left, right),
        only(right, left)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_the_same_however_the_log_is_cut_and_its_partitions_interleave() {
    let setting = Setting::new().await;
    let mut empty = setting.tables("social").await;
    for seed in SEEDS {
        let history = World::history(seed, STEPS);
        let mut random = Random(seed);
        let singly: Vec<_> = history.iter().map(|event| vec![event.clone()]).collect();
        let partitions = by_partition(&history);
        assert!(partitions.iter().all(|events| events.len() > 20));
        let in_cuts = |random: &mut Random, events_max| -> Vec<_> {
            let cuts = partitions
                .iter()
                .map(|events| cut(random, events, events_max));
            cuts.collect()
        };
        let ways: [(&str, Vec<Vec<Happened>>); 4] = [
            ("one by one", singly),
            ("in any cuts", in_cuts(&mut random, 40).concat()),
            ("interleaved", {
                let cuts = in_cuts(&mut random, 5);
                interleave(&mut random, cuts)
            }),
            ("backwards", partitions.iter().rev().cloned().collect()),
        ];
        let mut first: Option<Vec<String>> = None;
        for (place, (way, batches)) in ways.into_iter().enumerate() {
            let schema = format!("seed{seed}_{place}");
            let social = setting.generation(&schema).await;
            for batch in batches {
                setting.fold(&social, &batch).await;
            }
            let wrong = setting.wrong_counters(&schema).await;
            assert!(wrong.is_empty(), "seed {seed}, {way}: {wrong:#?}");
            let rows = setting.rows(&schema).await;
            match &first {
                Some(first) => assert_same(seed, way, first, &rows),
                None => first = Some(rows),
            }
        }
        let rows = first.unwrap();
        let is_filled = |table: &String| {
            let row = format!("{table} ");
            rows.iter().any(|there| there.starts_with(&row))
        };
        let is_rare = |table: &&String| RARE.contains(&table.as_str());
        let tables = setting.tables("social").await;
        assert!(
            tables.iter().filter(|table| !is_rare(table)).all(is_filled),
            "seed {seed} tells too little"
        );
        empty.retain(|table| !is_filled(table));
    }
    assert!(empty.is_empty(), "no row of {empty:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_folded_twice_changes_nothing_the_second_time() {
    let setting = Setting::new().await;
    for seed in SEEDS {
        let history = World::history(seed, STEPS);
        let mut random = Random(seed);
        let cuts = by_partition(&history)
            .iter()
            .map(|events| cut(&mut random, events, 30))
            .collect();
        let batches = interleave(&mut random, cuts);
        let (once, twice) = (format!("once{seed}"), format!("twice{seed}"));
        let one = setting.generation(&once).await;
        let other = setting.generation(&twice).await;
        for batch in batches {
            setting.fold(&one, &batch).await;
            setting.fold(&other, &batch).await;
            setting.fold(&other, &batch).await;
        }
        let (once, again) = (setting.rows(&once).await, setting.rows(&twice).await);
        assert_same(seed, "twice", &once, &again);
        assert!(setting.wrong_counters(&twice).await.is_empty());
    }
}

/// Everybody likes, follows and answers the same few, in any order, all
/// partitions at once.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_share_counters_do_not_wait_for_each_other_in_a_circle() {
    let setting = Setting::new().await;
    let social = setting.generation("shared").await;
    let mut world = World::new(7);
    for _ in 0..40 {
        world.register();
    }
    let famous: Vec<_> = world.accounts[..12].to_vec();
    for author in &famous {
        world.publish(*author, world.now, Visibility::Public, None);
    }
    let posts = world.posts.clone();
    setting.fold(&social, &world.take()).await;
    for _ in 0..6_000 {
        let account = world.somebody();
        let place = world.random.below(posts.len());
        match world.random.below(24) {
            0 => world.toggle_standing(famous[place], true),
            1 => world.toggle_standing(account, true),
            2 => drop(world.publish(account, world.now, Visibility::Public, Some(posts[place]))),
            3..12 => world.toggle_like(account, posts[place]),
            _ => world.toggle_follow(account, famous[place]),
        }
    }
    let history = world.take();
    let tasks: Vec<_> = by_partition(&history)
        .into_iter()
        .map(|events| {
            let (pool, social) = (setting.pool().clone(), social.clone());
            tokio::spawn(async move {
                for batch in events.chunks(25) {
                    try_fold(&pool, &social, batch).await?;
                }
                Ok::<_, readmodel::ReadError>(events.len())
            })
        })
        .collect();
    assert_eq!(tasks.len(), usize::from(PARTITIONS));
    for task in tasks {
        assert!(task.await.unwrap().unwrap() > 600);
    }
    assert_eq!(setting.wrong_counters("shared").await, Vec::<String>::new());
}
