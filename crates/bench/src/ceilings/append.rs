//! The ceiling of the log: entries of a `Liked`'s size by plain pipelined XADD
//! to the same server, each answered after its fsync.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::{
    line::{Line, Unit},
    servers::{Servers, connect},
};

const CONNECTIONS: usize = 8;
const ENTRIES_PER_PIPELINE: usize = 64;
/// What the envelope of a `Liked` has.
const ENTRY_BYTES: usize = 126;
const STREAM: &str = "bench:append";

pub async fn measure(servers: &Servers, lasting: Duration) -> anyhow::Result<Line> {
    let mut loops = JoinSet::new();
    let end = Instant::now() + lasting;
    for number in 0..CONNECTIONS {
        let mut connection = connect(&servers.urls().redis_log).await?;
        loops.spawn(async move {
            let mut pipe = redis::pipe();
            for _ in 0..ENTRIES_PER_PIPELINE {
                pipe.cmd("XADD").arg(format!("{STREAM}:{number}"));
                pipe.arg("*").arg("e").arg(vec![b'x'; ENTRY_BYTES]).ignore();
            }
            let mut sent = 0;
            while Instant::now() < end {
                pipe.query_async::<()>(&mut connection).await?;
                sent += ENTRIES_PER_PIPELINE;
            }
            let mut delete = redis::cmd("UNLINK");
            delete.arg(format!("{STREAM}:{number}"));
            delete.query_async::<()>(&mut connection).await?;
            anyhow::Ok(sent)
        });
    }
    let mut sent = 0;
    while let Some(done) = loops.join_next().await {
        sent += done??;
    }
    let rate = sent as f64 / lasting.as_secs_f64();
    let name = "ceiling: pipelined durable XADD";
    Ok(Line::new("append", name, rate, Unit::PerSecond))
}
