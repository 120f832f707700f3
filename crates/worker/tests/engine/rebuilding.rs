//! What is remembered can be made again.

use std::time::{Duration, Instant};

use kernel::{AccountId, Partition, Position};
use readmodel::{
    Projection, Projections, ReadError, checkpoints,
    generations::{self, Role},
    paging::{Start, Step},
    projections,
    timelines::home_ids,
};
use testkit::home;
use worker::rebuilding::Pace;

use super::setting::{PARTITIONS, Setting, TABLES};

async fn homes(setting: &Setting, accounts: &[AccountId]) -> Vec<Vec<kernel::Uuid>> {
    let mut homes = Vec::new();
    for reader in accounts {
        let page = home(
            setting.pool(),
            Some(&setting.lists),
            *reader,
            Start::default(),
            100,
        )
        .await;
        let ids = page.unwrap();
        let oracle = home_ids(setting.pool(), *reader, Step::newest(100))
            .await
            .unwrap();
        assert_eq!(ids, oracle);
        homes.push(ids.into_iter().map(|id| id.0).collect());
    }
    homes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_whole_and_folded_again_is_as_it_was() {
    let setting = Setting::new().await;
    let mut accounts = setting.populate(1).await;
    setting.drain().await;
    homes(&setting, &accounts).await;
    accounts.extend(setting.populate(2).await);
    setting.drain().await;
    let (rows, shown) = (setting.rows().await, homes(&setting, &accounts).await);
    assert!(rows.len() > 100 && shown.iter().all(|home| home.len() > 1));

    for table in TABLES {
        setting
            .execute_sql(&format!("TRUNCATE social.{table}"))
            .await;
    }
    for table in ["checkpoints", "pulled_authors"] {
        setting
            .execute_sql(&format!("DELETE FROM projections.{table}"))
            .await;
    }
    let client = redis::Client::open(setting.servers.redis_views.as_str()).unwrap();
    let mut views = client.get_multiplexed_async_connection().await.unwrap();
    for reader in &accounts {
        let mut key = format!("{}:home:", setting.servers.prefix).into_bytes();
        key.extend_from_slice(reader.0.as_bytes());
        let gone: u64 = redis::cmd("DEL")
            .arg(key)
            .query_async(&mut views)
            .await
            .unwrap();
        assert_eq!(gone, 1, "every home had a list");
    }
    assert_eq!(setting.rows().await, Vec::<String>::new());

    setting.drain().await;
    assert_eq!(setting.rows().await, rows);
    assert_eq!(homes(&setting, &accounts).await, shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_is_behind_does_not_take_the_place_of_the_live_one() {
    let setting = Setting::new().await;
    setting.populate(1).await;
    setting.drain().await;
    let live = Projection::SOCIAL.first();
    let next = generations::begin(setting.pool(), Projection::SOCIAL, Role::Building).await;
    let next = next.unwrap();
    let registered = Projections::default();
    let social = registered.tables(Projection::SOCIAL).unwrap().as_ref();
    let fresh = next.schema(false);
    let made = projections::create_tables(&setting.database, social, &fresh).await;
    made.unwrap();
    let (rows, heads) = (setting.rows().await, setting.heads().await);
    for partition in 0..PARTITIONS {
        let head = heads.get(Partition(partition)).unwrap();
        let seq = head.seq - u64::from(partition == 3);
        let at = Position { seq, ..head };
        checkpoints::start_at(setting.pool(), next, at)
            .await
            .unwrap();
    }
    let held = generations::hold(setting.pool(), live).await.unwrap();
    let swapped = held.swap(next, false).await;
    assert!(
        matches!(swapped, Err(ReadError::Behind(Partition(3)))),
        "{swapped:?}"
    );
    assert_eq!(setting.rows().await, rows);
    let held = generations::hold(setting.pool(), live).await.unwrap();
    held.swap(next, true).await.unwrap();
    assert_eq!(setting.rows().await, Vec::<String>::new());
    let plan = generations::plan(setting.pool(), &registered)
        .await
        .unwrap();
    let role = |role| {
        plan.of(Projection::SOCIAL, role)
            .map(|known| known.generation)
    };
    assert_eq!(role(Role::Live), Some(next));
    assert_eq!(role(Role::Kept), Some(live));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_share_a_pace_are_together_no_faster_than_it() {
    let (pace, began) = (Pace::new(Some(1_000)), Instant::now());
    let one = async || {
        for _ in 0..3 {
            pace.wait(pace.batch(4_000)).await;
        }
    };
    tokio::join!(one(), one());
    assert_eq!(pace.batch(4_000), 100);
    assert!(began.elapsed() >= Duration::from_millis(599));
    let unlimited = Pace::new(None);
    unlimited.wait(1_000_000).await;
    assert_eq!(unlimited.batch(4_000), 4_000);
}
