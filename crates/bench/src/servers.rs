//! The servers of one run, and what the benchmark looks at in them: how far the
//! log is, and how far the projections. Names of keys and tables are repeated
//! here on purpose: another build may be measured, which this program is not
//! linked with.

use std::{path::Path, time::Duration};

use anyhow::Context;
use devservices::{Programs, Stack, Urls};
use redis::aio::MultiplexedConnection;
use sea_orm::sqlx::{AssertSqlSafe, PgPool, Row, postgres::PgPoolOptions, query as sql};

use crate::{roles::KEY_PREFIX, wait::until};

pub const PARTITIONS: u16 = 8;
pub const SOCIAL: &str = "social";
pub const TIMELINES: &str = "timelines";
const DATABASE_CONNECTIONS: u32 = 16;
const REDIS_ANSWER_SECONDS_MAX: u64 = 60;
/// A big backlog is folded in this time, or something stands still.
const SETTLE_SECONDS_MAX: u64 = 600;

pub struct Servers {
    stack: Stack,
    pub pool: PgPool,
    pub log: MultiplexedConnection,
    pub views: MultiplexedConnection,
}

/// The last sequence number of each partition.
pub type Heads = Vec<u64>;

impl Servers {
    /// Those of `folder`, made there where there are none.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let quiet = |_: &str| {};
        let programs = Programs::find_or_install(&quiet).await?;
        let stack = Stack::start(folder, &programs, &quiet).await?;
        let urls = stack.urls().clone();
        let pool = PgPoolOptions::new()
            .max_connections(DATABASE_CONNECTIONS)
            .connect(&urls.database)
            .await?;
        Ok(Self {
            log: connect(&urls.redis_log).await?,
            views: connect(&urls.redis_views).await?,
            stack,
            pool,
        })
    }

    pub fn urls(&self) -> &Urls {
        self.stack.urls()
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        self.pool.close().await;
        self.stack.stop().await.context("the servers")
    }

    /// Stops the views server as a crash would; `start_views` brings it back,
    /// empty.
    pub async fn kill_views(&mut self) -> anyhow::Result<()> {
        Ok(self.stack.views().kill().await?)
    }

    pub async fn start_views(&mut self) -> anyhow::Result<()> {
        self.stack.views().restart().await?;
        self.views = connect(&self.stack.urls().redis_views).await?;
        Ok(())
    }

    pub async fn heads(&self) -> anyhow::Result<Heads> {
        heads(&mut self.log.clone()).await
    }

    pub async fn reached(&self, projection: &str) -> anyhow::Result<Heads> {
        reached(&self.pool, projection).await
    }

    /// Waits until both projections are at the head of the log.
    pub async fn settle(&self) -> anyhow::Result<()> {
        for projection in [SOCIAL, TIMELINES] {
            until("the log is folded", SETTLE_SECONDS_MAX, async || {
                let (heads, reached) = (self.heads().await?, self.reached(projection).await?);
                Ok((heads == reached).then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Runs statements that bind nothing.
    pub async fn execute(&self, text: &str) -> anyhow::Result<()> {
        for statement in text.split(';').filter(|text| !text.trim().is_empty()) {
            sql(AssertSqlSafe(statement.to_owned()))
                .execute(&self.pool)
                .await
                .with_context(|| statement.to_owned())?;
        }
        Ok(())
    }
}

pub async fn connect(url: &str) -> anyhow::Result<MultiplexedConnection> {
    let config = redis::AsyncConnectionConfig::new()
        .set_response_timeout(Some(Duration::from_secs(REDIS_ANSWER_SECONDS_MAX)));
    let client = redis::Client::open(url)?;
    Ok(client
        .get_multiplexed_async_connection_with_config(&config)
        .await?)
}

pub async fn heads(log: &mut MultiplexedConnection) -> anyhow::Result<Heads> {
    let mut pipe = redis::pipe();
    for partition in 0..PARTITIONS {
        let key = events_key(partition);
        pipe.cmd("XREVRANGE").arg(key).arg("+").arg("-");
        pipe.arg("COUNT").arg(1);
    }
    let last: Vec<Vec<(String, redis::Value)>> = pipe.query_async(log).await?;
    let seq = |entries: &Vec<(String, redis::Value)>| {
        let (id, _) = entries.first()?;
        id.split_once('-')?.1.parse().ok()
    };
    Ok(last.iter().map(|e| seq(e).unwrap_or(0)).collect())
}

pub async fn reached(pool: &PgPool, projection: &str) -> anyhow::Result<Heads> {
    // The oldest generation is live, or kept at the head.
    let rows = sql(
        "SELECT DISTINCT ON (partition) partition, seq FROM projections.checkpoints
         WHERE projection = $1 ORDER BY partition, generation",
    )
    .bind(projection)
    .fetch_all(pool)
    .await?;
    let mut reached = vec![0; usize::from(PARTITIONS)];
    for row in rows {
        let partition = row.try_get::<i32, _>("partition")? as usize;
        let seq = row.try_get::<i64, _>("seq")? as u64;
        if let Some(reached) = reached.get_mut(partition) {
            *reached = seq;
        }
    }
    Ok(reached)
}

pub fn events_key(partition: u16) -> String {
    format!("{KEY_PREFIX}:{{p{partition:02}}}:events")
}

/// Of one account's home timeline.
pub fn home_key(account: kernel::Uuid) -> Vec<u8> {
    let mut key = format!("{KEY_PREFIX}:home:").into_bytes();
    key.extend_from_slice(account.as_bytes());
    key
}

/// Whether Linux shares processors by session (sched(7), "The autogroup feature"), of
/// which each process of PostgreSQL is one: they wait up to a second for a turn.
pub fn are_scheduled_by_session() -> bool {
    let enabled = std::fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled");
    enabled.is_ok_and(|enabled| enabled.trim() == "1")
}
