//! The log server comes back with a setting that could lose writes, or becomes a
//! replica; and how both are mended without a restart of the product, where
//! nothing was lost. Not here: what must be seen meanwhile (see `lasting.rs`).

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::ensure;
use devservices::{RedisOptions, RedisRole, RedisServer};
use tokio::time::sleep;

use crate::{
    faults::Fired,
    lane::{Lane, redis},
    lasting::{self, Unfit},
    lost,
    plan::Primary,
    read_only,
    trial::Trial,
};

/// Until a replica has what its primary has.
const SYNC_SECONDS_MAX: u64 = 10;
/// Writes wait for so long at most while a replica takes over.
const FAILOVER_MILLISECONDS: u64 = 3_000;
const POLL_MILLISECONDS: u64 = 5;
/// By default a primary waits 5 s for more replicas.
const SYNC_AT_ONCE: &str = "repl-diskless-sync-delay 0";

const REPLICA: Unfit = Unfit {
    state: "the log server is a replica",
    part: lasting::LOG,
    words: &["replica"],
};

/// Both are true.
const WIPED: Unfit = Unfit {
    state: "the log server is an empty replica",
    part: lasting::LOG,
    words: &["replica", "gone", "lost", "no log"],
};

/// What a log server must have, by setting.
fn right(setting: &str) -> &'static str {
    match setting {
        "appendonly" => "yes",
        "appendfsync" => "always",
        "maxmemory-policy" => "noeviction",
        _ => "no",
    }
}

pub async fn weaken(
    trial: &mut Trial<'_>,
    (setting, value): (&'static str, &'static str),
    running: bool,
    down: Duration,
) -> anyhow::Result<Fired> {
    let unfit = Unfit {
        state: "the log server could lose writes",
        part: lasting::LOG,
        words: match setting {
            "appendonly" => &["appendonly"],
            "appendfsync" => &["appendfsync"],
            "maxmemory-policy" => &["maxmemory-policy"],
            _ => &["no-appendfsync-on-rewrite"],
        },
    };
    let log = trial.lane.stack.log();
    log.kill().await?;
    log.set_lines(vec![format!("{setting} {value}")]);
    sleep(down).await;
    let refusing = unfit.refuse(trial, true);
    trial.lane.stack.log().restart().await?;
    lasting::look(trial, unfit, &refusing).await?;
    lasting::nothing_begins(trial, unfit).await?;
    if setting == "appendonly" {
        // It has loaded nothing: its file would be replaced by that.
        let mend = lasting::doctor_mends(trial, setting).await?;
        if let Some(mend) = mend.filter(|mend| mend.contains("CONFIG SET")) {
            let complaint = format!("doctor advises what would delete the log: {mend}");
            trial.violations.push(complaint);
        }
    }
    trial.load.refuse(None);
    let log = trial.lane.stack.log();
    log.set_lines(Vec::new());
    if running {
        let mut connection = redis(&trial.direct.log).await?;
        let mut command = ::redis::cmd("CONFIG");
        command.arg("SET").arg(setting).arg(right(setting));
        command.query_async::<()>(&mut connection).await?;
    } else {
        log.restart().await?;
    }
    trial.restarted = Instant::now();
    Ok(Fired::yes(match running {
        true => "corrected while it ran",
        false => "corrected by a restart",
    }))
}

pub async fn demote(trial: &mut Trial<'_>, of: Primary, down: Duration) -> anyhow::Result<Fired> {
    match of {
        Primary::Copy => copy_takes_over(trial).await,
        Primary::Empty => wiped(trial).await,
        Primary::Missing => comes_back_as_replica(trial, down).await,
    }
}

/// An orderly failover: the replica has all that was acknowledged.
async fn copy_takes_over(trial: &mut Trial<'_>) -> anyhow::Result<Fired> {
    let mut log = redis(&trial.direct.log).await?;
    let delay: Vec<_> = SYNC_AT_ONCE.split(' ').collect();
    ::redis::cmd("CONFIG")
        .arg("SET")
        .arg(&delay)
        .query_async::<()>(&mut log)
        .await?;
    let port = trial.lane.stack.log().port();
    let copy = server(trial, "copy", &format!("replicaof 127.0.0.1 {port}")).await?;
    until_synced(copy.url()).await?;
    until(&trial.direct.log, ",state=online,").await?;
    ::redis::cmd("FAILOVER")
        .arg("TO")
        .arg("127.0.0.1")
        .arg(copy.port())
        .arg("TIMEOUT")
        .arg(FAILOVER_MILLISECONDS)
        .query_async::<()>(&mut log)
        .await?;
    if let Err(error) = until(&trial.direct.log, "role:slave").await {
        ::redis::cmd("REPLICAOF")
            .arg(&["NO", "ONE"])
            .query_async::<()>(&mut log)
            .await?;
        let note = format!("the copy did not take over: {error}");
        trial.restarted = Instant::now();
        return Ok(Fired { fired: false, note });
    }
    let refusing = REPLICA.refuse(trial, true);
    lasting::look(trial, REPLICA, &refusing).await?;
    lasting::nothing_begins(trial, REPLICA).await?;
    trial.load.refuse(None);
    promote(&trial.direct.log).await?;
    end(copy).await?;
    trial.restarted = Instant::now();
    Ok(Fired::yes("its copy took over, and gave back"))
}

/// What an operator mistypes: all is deleted, and told as lost.
async fn wiped(trial: &mut Trial<'_>) -> anyhow::Result<Fired> {
    lost::until_archived(trial).await?;
    let primary = server(trial, "empty", SYNC_AT_ONCE).await?;
    let mut log = redis(&trial.direct.log).await?;
    let mut command = ::redis::cmd("REPLICAOF");
    command.arg("127.0.0.1").arg(primary.port());
    command.query_async::<()>(&mut log).await?;
    let refusing = WIPED.refuse(trial, true);
    until_synced(&trial.direct.log).await?;
    lasting::look(trial, WIPED, &refusing).await?;
    lasting::nothing_begins(trial, WIPED).await?;
    if lasting::doctor_mends(trial, "replica").await?.is_none() {
        let complaint = "doctor does not find that the log server is a replica";
        trial.violations.push(complaint.into());
    }
    promote(&trial.direct.log).await?;
    end(primary).await?;
    lost::gone(trial).await?;
    lost::restore_archive(trial).await
}

/// With its data, of a primary that is away, and it takes writes: those would go
/// with its next synchronisation.
async fn comes_back_as_replica(trial: &mut Trial<'_>, down: Duration) -> anyhow::Result<Fired> {
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let log = trial.lane.stack.log();
    log.kill().await?;
    log.set_lines(vec![
        format!("replicaof 127.0.0.1 {nobody}"),
        "replica-read-only no".into(),
    ]);
    sleep(down).await;
    let refusing = REPLICA.refuse(trial, true);
    trial.lane.stack.log().restart().await?;
    lasting::look(trial, REPLICA, &refusing).await?;
    lasting::nothing_begins(trial, REPLICA).await?;
    trial.load.refuse(None);
    trial.lane.stack.log().set_lines(Vec::new());
    promote(&trial.direct.log).await?;
    trial.restarted = Instant::now();
    Ok(Fired::yes("it took writes, of a primary that was away"))
}

async fn server(trial: &Trial<'_>, name: &str, line: &str) -> anyhow::Result<RedisServer> {
    let folder = trial.folder.join(name);
    let options = RedisOptions::new(&trial.lane.programs, RedisRole::Log, folder);
    Ok(RedisServer::start(options.line(line)).await?)
}

async fn end(mut server: RedisServer) -> anyhow::Result<()> {
    server.stop().await?;
    Ok(std::fs::remove_dir_all(&server.options().directory)?)
}

async fn promote(url: &str) -> anyhow::Result<()> {
    let mut log = redis(url).await?;
    let mut command = ::redis::cmd("REPLICAOF");
    command.arg(&["NO", "ONE"]);
    Ok(command.query_async(&mut log).await?)
}

async fn until_synced(url: &str) -> anyhow::Result<()> {
    until(url, "master_link_status:up").await
}

async fn until(url: &str, text: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(SYNC_SECONDS_MAX);
    let mut server = redis(url).await?;
    loop {
        let mut command = ::redis::cmd("INFO");
        let info: String = command.arg("replication").query_async(&mut server).await?;
        if info.contains(text) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "no {text} in {SYNC_SECONDS_MAX} s: {info}"
        );
        sleep(Duration::from_millis(POLL_MILLISECONDS)).await;
    }
}

/// For the next trial, however this one ended.
pub async fn heal(lane: &mut Lane) -> anyhow::Result<()> {
    lane.stack.log().set_lines(Vec::new());
    lane.stack.log().restart().await?;
    read_only::lift_all(lane.stack.postgres().url()).await
}
