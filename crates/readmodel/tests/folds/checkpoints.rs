//! The checkpoint is the fence: who comes late leaves nothing behind.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use domain::posts::Visibility;
use kernel::{Partition, Position, Uuid};
use readmodel::{
    Generation, Happened, Projection, ReadError, Written, checkpoints, leases, progress,
};

use sea_orm::sqlx::{self, PgPool, Postgres, pool::PoolConnection};

use super::{
    setting::Setting,
    world::{World, by_partition},
};

const SOCIAL: Generation = Generation {
    projection: Projection::SOCIAL,
    number: 1,
};
const CONNECTIONS: u32 = 3;
const ROUNDS: i64 = 20;
/// More than a `begin` needs.
const LOOKS_MAX: i64 = 5;

/// Events of partition 0, and where they end.
fn batch(seed: u64) -> (Vec<Happened>, Position) {
    let mut world = World::new(seed);
    while world.accounts.len() < 12 {
        world.register();
    }
    for author in world.accounts.clone() {
        world.publish(author, world.now, Visibility::Public, None);
    }
    let events = by_partition(&world.take()).swap_remove(0);
    let end = events.last().unwrap().position;
    (events, end)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_a_writer_that_was_overtaken_are_rolled_back() {
    let setting = Setting::new().await;
    let (pool, social) = (setting.pool(), setting.live());
    let from = checkpoints::load(pool, SOCIAL, Partition(0)).await;
    let from = from.unwrap().at;
    let (mine, to) = batch(1);
    let (stale, stale_to) = batch(2);

    let mut first = pool.begin().await.unwrap();
    checkpoints::advance(&mut first, SOCIAL, from, to, None)
        .await
        .unwrap();
    social
        .write(&mut first, &mine, &Written::default())
        .await
        .unwrap();
    let late = {
        let (pool, social) = (pool.clone(), social.clone());
        tokio::spawn(async move {
            let mut late = pool.begin().await?;
            social.write(&mut late, &stale, &Written::default()).await?;
            checkpoints::advance(&mut late, SOCIAL, from, stale_to, None).await?;
            late.commit().await?;
            Ok::<_, ReadError>(())
        })
    };
    first.commit().await.unwrap();
    let overtaken = late.await.unwrap();
    assert!(
        matches!(overtaken, Err(ReadError::CheckpointMoved)),
        "{overtaken:?}"
    );

    let alone = setting.generation("alone").await;
    setting.fold(&alone, &mine).await;
    let rows = setting.rows(Projection::SOCIAL.name()).await;
    assert_eq!(rows, setting.rows("alone").await);
    let at = checkpoints::load(pool, SOCIAL, Partition(0)).await;
    assert_eq!(at.unwrap().at, to);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_partition_stands_still_is_told_until_it_goes_on() {
    let setting = Setting::new().await;
    let pool = setting.pool();
    let from = checkpoints::load(pool, SOCIAL, Partition(2)).await;
    let from = from.unwrap().at;
    checkpoints::load(pool, SOCIAL, Partition(1)).await.unwrap();
    checkpoints::stop(pool, SOCIAL, Partition(2), "because", false)
        .await
        .unwrap();
    let live = async || checkpoints::live(pool, Projection::SOCIAL).await.unwrap();
    let stopped = live().await.stopped;
    assert_eq!(stopped, [(Partition(2), "because".to_owned())]);

    let to = Position { epoch: 1, ..from };
    let mut transaction = pool.begin().await.unwrap();
    checkpoints::advance(&mut transaction, SOCIAL, from, to, None)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let now = live().await;
    assert_eq!(now.positions.get(Partition(2)), Some(to));
    assert!(now.stopped.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_moves_on_after_years_without_an_event() {
    let setting = Setting::new().await;
    let pool = setting.pool();
    let from = checkpoints::load(pool, SOCIAL, Partition(0)).await;
    let from = from.unwrap().at;
    let (_, to) = batch(1);
    let long_ago = "UPDATE projections.checkpoints
        SET rate = 1000, moved_at = now() - interval '3 years'";
    sqlx::query(long_ago).execute(pool).await.unwrap();
    let known = progress::checkpoints(pool).await.unwrap();
    assert!(known.iter().all(|one| one.rate < 1e-6), "{known:?}");
    assert!(!known.is_empty());
    let mut transaction = pool.begin().await.unwrap();
    let moved = checkpoints::advance(&mut transaction, SOCIAL, from, to, None).await;
    assert_eq!(moved.unwrap().at, to);
    transaction.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_one_workers_until_its_lease_ends() {
    let setting = Setting::new().await;
    let pool = setting.pool();
    let [one, other] = [1, 2].map(Uuid::from_u128);
    let taken = leases::take(pool, one, 8, 6, 60).await.unwrap();
    assert_eq!(taken.len(), 6);
    let rest = leases::take(pool, other, 8, 8, 60).await.unwrap();
    assert_eq!((rest.len(), taken.intersection(&rest).count()), (2, 0));
    let back: Vec<_> = taken.iter().copied().take(2).collect();
    leases::release(pool, other, &back).await.unwrap();
    let none = leases::take(pool, other, 8, 8, 60).await.unwrap();
    assert!(none.is_empty(), "nobody gives back what is not theirs");
    leases::release(pool, one, &back).await.unwrap();
    let free = leases::take(pool, other, 8, 8, 60).await.unwrap();
    assert!(free.iter().eq(&back));
    assert_eq!(leases::renew(pool, one, 60).await.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_nobody_waits_for_takes_nothing_along() {
    // Given: connections that are at hand, so that `BEGIN` is sent at once.
    let setting = Setting::new().await;
    let connect = async || {
        let database = readmodel::connect(&setting.servers.database, CONNECTIONS);
        let database = database.await.unwrap();
        database.get_postgres_connection_pool().clone()
    };
    let (pool, other) = (connect().await, connect().await);
    drop(connections(&pool).await);
    for round in 1..=ROUNDS {
        // When: whoever asks gives up, sooner or later.
        let looks = 1 + round % LOOKS_MAX;
        give_up_after(looks, readmodel::begin(&pool)).await;

        // Then: what is written later on any connection is there for others.
        for mut connection in connections(&pool).await {
            let sql = "INSERT INTO projections.pulled_authors VALUES (gen_random_uuid())";
            sqlx::query(sql).execute(&mut *connection).await.unwrap();
        }
        let sql = "SELECT count(*) FROM projections.pulled_authors";
        let seen: i64 = sqlx::query_scalar(sql).fetch_one(&other).await.unwrap();
        assert_eq!(seen, round * i64::from(CONNECTIONS));
    }
}

/// Polls at most so often, each time when there may be something new.
async fn give_up_after<T>(mut looks: i64, asked: impl Future<Output = T>) {
    let mut asked = pin!(asked);
    poll_fn(|context| {
        looks -= 1;
        let polled = asked.as_mut().poll(context).map(drop);
        if looks == 0 { Poll::Ready(()) } else { polled }
    })
    .await;
}

/// All that the pool has.
async fn connections(pool: &PgPool) -> Vec<PoolConnection<Postgres>> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(pool.acquire().await.unwrap());
    }
    connections
}
