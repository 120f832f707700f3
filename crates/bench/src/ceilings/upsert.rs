//! The ceilings of the fold: rows of likes into a copy of their table, with the
//! same indexes, by COPY and by batched upsert.

use std::time::{Duration, Instant};

use sea_orm::sqlx::{postgres::PgPoolCopyExt, query as sql};
use tokio::task::JoinSet;

use crate::{
    bench::Bench,
    line::{Line, Unit},
    random::Random,
    servers::PARTITIONS,
};

/// As many as the fold takes at once.
const BATCH_ROWS: usize = 2_000;
const BATCHES_PER_COPY: usize = 10;
const MAKE_TABLE: &str = "CREATE SCHEMA IF NOT EXISTS bench;
    DROP TABLE IF EXISTS bench.likes;
    CREATE TABLE bench.likes (LIKE social.likes INCLUDING ALL)";

/// Rows a second by `INSERT … SELECT FROM unnest(…) ON CONFLICT`, a connection
/// for each partition.
pub async fn upsert(bench: &Bench, lasting: Duration) -> anyhow::Result<Line> {
    bench.servers.execute(MAKE_TABLE).await?;
    let mut loops = JoinSet::new();
    let end = Instant::now() + lasting;
    let began = Instant::now();
    for number in 0..PARTITIONS {
        let (pool, rows) = (bench.servers.pool.clone(), Rows::new(bench, number));
        loops.spawn(async move {
            let (mut rows, mut written) = (rows, 0);
            while Instant::now() < end {
                let (accounts, posts, at) = rows.batch();
                let mut transaction = pool.begin().await?;
                sql("SET LOCAL synchronous_commit = off")
                    .execute(&mut *transaction)
                    .await?;
                sql("INSERT INTO bench.likes (account_id, post_id, liked_at)
                     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[])
                     ON CONFLICT (account_id, post_id)
                     DO UPDATE SET liked_at = EXCLUDED.liked_at")
                .bind(accounts)
                .bind(posts)
                .bind(at)
                .execute(&mut *transaction)
                .await?;
                transaction.commit().await?;
                written += BATCH_ROWS;
            }
            anyhow::Ok(written)
        });
    }
    let mut written = 0;
    while let Some(done) = loops.join_next().await {
        written += done??;
    }
    let rate = written as f64 / began.elapsed().as_secs_f64();
    let name = "ceiling: batched upsert of likes";
    Ok(Line::new("upsert", name, rate, Unit::PerSecond))
}

/// Rows a second by COPY, on one connection.
pub async fn copy(bench: &Bench, lasting: Duration) -> anyhow::Result<Line> {
    bench.servers.execute(MAKE_TABLE).await?;
    let mut rows = Rows::new(bench, PARTITIONS);
    let (mut written, mut spent) = (0, Duration::ZERO);
    while spent < lasting {
        let mut text = String::new();
        for _ in 0..BATCHES_PER_COPY {
            let (accounts, posts, at) = rows.batch();
            for ((account, post), at) in accounts.iter().zip(&posts).zip(&at) {
                text.push_str(&format!("{account}\t{post}\t{at}\n"));
            }
        }
        let began = Instant::now();
        let mut copy = bench
            .servers
            .pool
            .copy_in_raw("COPY bench.likes FROM STDIN")
            .await?;
        copy.send(text.as_bytes()).await?;
        written += copy.finish().await?;
        spent += began.elapsed();
    }
    bench.servers.execute("DROP SCHEMA bench CASCADE").await?;
    let rate = written as f64 / spent.as_secs_f64();
    let name = "ceiling: COPY of likes";
    Ok(Line::new("copy", name, rate, Unit::PerSecond))
}

/// Likes that are in no batch before, in the order that a fold writes them in.
struct Rows {
    accounts: std::sync::Arc<[kernel::Uuid]>,
    posts: Vec<kernel::Uuid>,
    random: Random,
    at: i64,
}

type Batch = (Vec<kernel::Uuid>, Vec<kernel::Uuid>, Vec<i64>);

impl Rows {
    fn new(bench: &Bench, number: u16) -> Self {
        let posts = bench
            .world
            .posts
            .iter()
            .filter_map(|post| post.parse().ok());
        Self {
            accounts: bench.world.accounts.clone(),
            posts: posts.collect(),
            random: Random::new(u64::from(number) + 1),
            at: 0,
        }
    }

    fn batch(&mut self) -> Batch {
        let mut edges: std::collections::BTreeSet<_> = Default::default();
        while edges.len() < BATCH_ROWS {
            let account = self.accounts[self.random.below(self.accounts.len())];
            let post = self.posts[self.random.below(self.posts.len())];
            edges.insert((account, post));
        }
        self.at += 1;
        (
            edges.iter().map(|edge| edge.0).collect(),
            edges.iter().map(|edge| edge.1).collect(),
            vec![self.at; BATCH_ROWS],
        )
    }
}
