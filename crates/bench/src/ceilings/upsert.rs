//! The ceilings of the fold: rows of likes into a copy of their table, with the
//! same indexes, by COPY and by batched upsert.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::Uuid;
use sea_orm::sqlx::{postgres::PgPoolCopyExt, query as sql};
use tokio::task::JoinSet;

use crate::{
    bench::Bench,
    line::{Line, Unit},
    servers::PARTITIONS,
};

/// As many as the fold takes at once.
const BATCH_ROWS: usize = 2_000;
const BATCHES_PER_COPY: usize = 10;
/// A prime that divides no number of edges, and leaps over the table.
const EDGE_STRIDE: usize = 1_000_000_007;
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
    accounts: Arc<[Uuid]>,
    posts: Vec<Uuid>,
    /// Of the next row; steps by `step`.
    next: usize,
    step: usize,
}

type Batch = (Vec<Uuid>, Vec<Uuid>, Vec<i64>);

impl Rows {
    /// Those of one of several connections.
    fn new(bench: &Bench, number: u16) -> Self {
        let posts = bench.world.posts.iter();
        Self {
            accounts: bench.world.accounts.clone(),
            posts: posts.filter_map(|post| post.parse().ok()).collect(),
            next: usize::from(number),
            step: usize::from(PARTITIONS) + 1,
        }
    }

    fn batch(&mut self) -> Batch {
        let all = self.accounts.len() * self.posts.len();
        let mut edges = Vec::with_capacity(BATCH_ROWS);
        for _ in 0..BATCH_ROWS {
            // A prime's multiples meet every edge once before any twice; after
            // that posts are other ones.
            let edge = self.next * EDGE_STRIDE % all;
            let round = (self.next / all) as u128;
            let post = self.posts[edge / self.accounts.len()];
            let post = Uuid::from_u128(post.as_u128() ^ (round << 64));
            edges.push((self.accounts[edge % self.accounts.len()], post));
            self.next += self.step;
        }
        edges.sort_unstable();
        (
            edges.iter().map(|edge| edge.0).collect(),
            edges.iter().map(|edge| edge.1).collect(),
            vec![self.next as i64; BATCH_ROWS],
        )
    }
}
