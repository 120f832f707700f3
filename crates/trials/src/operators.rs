//! What operators do while the product runs, and dies: rebuilding projections,
//! archiving, and restoring a log that was lost.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use archive::Archive;
use kernel::{Partition, Recorded};
use rustix::process::Signal;
use tokio::time::sleep;

use crate::{
    faults::{Fired, start_again},
    lane::redis,
    plan::Target,
    product::Setting,
    state::{self, events_key},
    trial::Trial,
};

/// Of a command that ends by itself.
const COMMAND_SECONDS_MAX: u64 = 40;
const ARCHIVE: &str = "ARCHIVE_URL";

/// What makes workers archive, and trim nearly everything.
pub fn archiving(folder: &Path) -> Vec<(&'static str, String)> {
    vec![
        (ARCHIVE, format!("file://{}/archive", folder.display())),
        ("ARCHIVE_SECONDS", "1".into()),
        ("ARCHIVE_HOT_EVENTS", "20".into()),
    ]
}

/// Where the workers of this setting archive.
pub fn archive_url(setting: &Setting) -> anyhow::Result<String> {
    let beside = setting.beside.iter().find(|(name, _)| *name == ARCHIVE);
    Ok(beside.context("no archive")?.1.clone())
}

/// Runs a command to its end; whether it died at the point that it was armed
/// with. One that neither did that nor succeeded is a violation.
pub async fn command(
    trial: &mut Trial<'_>,
    name: &str,
    arguments: &str,
    crash: Option<(&str, u32)>,
) -> anyhow::Result<bool> {
    let armed = crash.map(|(point, count)| format!("{point}:{count}"));
    let mut process = trial.setting.start(name, arguments, armed.as_deref())?;
    let ended = process
        .wait(Duration::from_secs(COMMAND_SECONDS_MAX))
        .await?;
    let crashed = crash.is_some_and(|(point, _)| process.crashed_at(point));
    if !crashed && !ended.success() {
        let lines = process.last_lines();
        let complaint = format!("headwater {arguments}: {ended}: {lines}");
        trial.violations.push(complaint);
    }
    Ok(crashed)
}

pub async fn rebuild(
    trial: &mut Trial<'_>,
    projection: &str,
    point: &str,
    count: u32,
) -> anyhow::Result<Fired> {
    let rebuild = format!("projections rebuild {projection} --rate max");
    let fired = command(trial, "rebuild", &rebuild, Some((point, count))).await?;
    if fired {
        // Where it died after the swap, this is another one.
        command(trial, "again", &rebuild, None).await?;
    }
    let rollback = format!("projections rollback {projection}");
    command(trial, "rollback", &rollback, None).await?;
    let drop = format!("projections drop {projection} --yes");
    command(trial, "drop", &drop, None).await?;
    trial.restarted = Instant::now();
    Ok(Fired {
        fired,
        note: format!("{point} {count}"),
    })
}

/// Nothing is lost that was acknowledged: the API is away while all is archived.
pub async fn lose_log(trial: &mut Trial<'_>, count: u32, down: Duration) -> anyhow::Result<Fired> {
    trial.api.signal(Signal::TERM);
    let ended = trial.api.stop().await?;
    if !ended.success() {
        trial
            .violations
            .push(format!("the API was asked to end: {ended}"));
    }
    archive_all(trial).await?;
    sleep(down).await;
    let mut log = redis(&trial.direct.log).await?;
    ::redis::cmd("FLUSHALL").query_async::<()>(&mut log).await?;
    let point = Some(("restore.partition", count));
    let fired = command(trial, "restore", "log restore", point).await?;
    command(trial, "again", "log restore", None).await?;
    start_workers(trial)?;
    start_again(trial, Target::Api).await?;
    Ok(Fired {
        fired,
        note: format!("partition {count}"),
    })
}

/// Whoever archives by itself is asked to end first.
async fn archive_all(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    for worker in &mut trial.workers {
        worker.stop().await?;
    }
    command(trial, "archive", "log archive", None).await?;
    command(trial, "verify", "log verify", None).await?;
    Ok(())
}

pub fn start_workers(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    for number in 0..trial.workers.len() {
        let name = format!("worker{number}");
        trial.workers[number] = trial.setting.start(&name, "work", None)?;
    }
    Ok(())
}

/// Puts what was trimmed back into the log, so that the whole can be examined:
/// what is archived must be what was there.
pub async fn put_together(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    archive_all(trial).await?;
    let archive = Archive::open(&archive_url(&trial.setting)?)?;
    // From now on nobody archives or trims.
    trial.setting.beside.clear();
    let mut log = redis(&trial.direct.log).await?;
    let mut trimmed = 0;
    let hot = state::events(&trial.direct.log).await?;
    for (partition, hot) in (0..).map(Partition).zip(hot) {
        let first = hot.first().map(|first| first.position);
        let mut all: Vec<Recorded> = Vec::new();
        for segment in archive.segments(partition).await? {
            let events = archive.events(&segment).await?;
            let gone = |recorded: &&Recorded| Some(recorded.position) < first;
            all.extend(events.iter().filter(gone).cloned());
        }
        trimmed += all.len();
        all.extend(hot);
        let mut pipeline = ::redis::pipe();
        let key = events_key(partition.0);
        pipeline.atomic().cmd("DEL").arg(&key).ignore();
        for recorded in &all {
            let add = pipeline
                .cmd("XADD")
                .arg(&key)
                .arg(recorded.position.entry_id());
            add.arg("e").arg(recorded.to_entry()?).ignore();
        }
        pipeline.query_async::<()>(&mut log).await?;
    }
    ensure!(trimmed > 0, "nothing was ever trimmed");
    start_workers(trial)?;
    state::until_settled(&trial.direct).await?;
    Ok(())
}
