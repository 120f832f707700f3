//! The log server loses its folder under load and comes back empty; and how a
//! lost log is made anew as the runbook says, from its archive or from a copy of
//! its disk. What was acknowledged and is in neither must have been told.
//! Not here: what must be seen meanwhile (see `lasting.rs`).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use archive::Archive;
use kernel::{Partition, Position};
use tokio::time::sleep;

use crate::{
    faults::{Fired, start_again},
    lane::redis,
    lasting::{self, Unfit},
    operators,
    plan::{Source, Target},
    state,
    trial::Trial,
};

const FOLDER: &str = "appendonlydir";
/// A worker seals every second.
const ARCHIVED_SECONDS_MAX: u64 = 15;
const TOLD_SECONDS_MAX: u64 = 15;
const POLL_MILLISECONDS: u64 = 50;

const GONE: Unfit = Unfit {
    state: "the log is gone",
    part: lasting::LOG,
    words: &["gone", "lost", "no log"],
};

pub async fn lose_folder(
    trial: &mut Trial<'_>,
    source: Source,
    down: Duration,
) -> anyhow::Result<Fired> {
    let folder = trial.lane.stack.log().options().directory.join(FOLDER);
    let kept = trial.folder.join("copy-of-the-disk");
    match source {
        Source::Archive => until_archived(trial).await?,
        Source::Copy => copy(&folder, &kept)?,
    }
    // What is written now is in no copy, and perhaps not in the archive.
    sleep(Duration::from_millis(trial.plan.before_milliseconds)).await;
    trial.lane.stack.log().kill().await?;
    let refusing = GONE.refuse(trial, true);
    fs::remove_dir_all(&folder)?;
    sleep(down).await;
    trial.lane.stack.log().restart().await?;
    lasting::look(trial, GONE, &refusing).await?;
    gone(trial).await?;
    match source {
        Source::Archive => restore_archive(trial).await,
        Source::Copy => put_copy_back(trial, &folder, &kept).await,
    }
}

/// Nothing makes the lost log anew.
pub async fn gone(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    lasting::nothing_begins(trial, GONE).await?;
    lasting::look_with_commands(trial).await?;
    let mut log = redis(&trial.direct.log).await?;
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("*").query_async(&mut log).await?;
    if let Some(key) = keys.first() {
        let count = keys.len();
        let complaint = format!("the lost log was made anew: {count} keys, such as {key}");
        trial.violations.push(complaint);
    }
    Ok(())
}

/// Waits until what is there now is archived.
pub async fn until_archived(trial: &Trial<'_>) -> anyhow::Result<()> {
    let heads = state::heads(&trial.direct.log).await?;
    let deadline = Instant::now() + Duration::from_secs(ARCHIVED_SECONDS_MAX);
    loop {
        let ends = archived(trial).await?;
        if heads
            .iter()
            .all(|(partition, head)| ends.get(partition) >= Some(head))
        {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "not archived in {ARCHIVED_SECONDS_MAX} s"
        );
        sleep(Duration::from_millis(POLL_MILLISECONDS)).await;
    }
}

async fn archived(trial: &Trial<'_>) -> anyhow::Result<BTreeMap<u16, Position>> {
    let archive = Archive::open(&operators::archive_url(&trial.setting)?)?;
    let mut ends = BTreeMap::new();
    for partition in 0..state::PARTITIONS {
        ends.insert(partition, archive.end(Partition(partition)).await?);
    }
    Ok(ends)
}

/// The runbook "Lose the log Redis", with an archive; the log is empty.
pub async fn restore_archive(trial: &mut Trial<'_>) -> anyhow::Result<Fired> {
    stop(trial).await?;
    operators::command(trial, "restore", "log restore --dry-run", None).await?;
    let ends = archived(trial).await?;
    operators::command(trial, "restore", "log restore", None).await?;
    let acknowledged = trial.load.lose(&ends);
    operators::start_workers(trial)?;
    start_again(trial, Target::Api).await?;
    let stale = rebuild_what_diverged(trial, &ends).await?;
    operators::command(trial, "verify", "log verify", None).await?;
    trial.restarted = Instant::now();
    Ok(Fired::yes(format!(
        "{acknowledged} acknowledged writes were lost and told, {stale} partitions had read more"
    )))
}

/// The runbook "Lose the log Redis", without an archive.
async fn put_copy_back(trial: &mut Trial<'_>, folder: &Path, kept: &Path) -> anyhow::Result<Fired> {
    stop(trial).await?;
    trial.lane.stack.log().stop().await?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::rename(kept, folder)?;
    trial.lane.stack.log().restart().await?;
    let ends = state::heads(&trial.direct.log).await?;
    let acknowledged = trial.load.lose(&ends);
    operators::start_workers(trial)?;
    let stale = rebuild_what_diverged(trial, &ends).await?;
    start_again(trial, Target::Api).await?;
    Ok(Fired::yes(format!(
        "{acknowledged} acknowledged writes were lost and told, {stale} partitions had read more"
    )))
}

async fn stop(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    for process in trial.workers.iter_mut().chain([&mut trial.api]) {
        let ended = process.stop().await?;
        if !ended.success() {
            let complaint = format!("{} was asked to end: {ended}", process.name());
            trial.violations.push(complaint);
        }
    }
    trial.load.refuse(None);
    Ok(())
}

/// Projections that have read what is lost are told, and made anew. Returns how
/// many partitions had.
async fn rebuild_what_diverged(
    trial: &mut Trial<'_>,
    ends: &BTreeMap<u16, Position>,
) -> anyhow::Result<usize> {
    let checkpoints = state::checkpoints(&trial.direct.database).await?;
    let beyond = checkpoints
        .social
        .iter()
        .filter(|(partition, at)| ends.get(partition) < Some(at));
    let stale = beyond.count();
    if stale == 0 {
        return Ok(0);
    }
    let deadline = Instant::now() + Duration::from_secs(TOLD_SECONDS_MAX);
    while lasting::doctor_mends(trial, "diverged").await?.is_none() {
        if Instant::now() > deadline {
            let complaint = format!(
                "doctor finds nothing diverged, though {stale} partitions have read what is lost"
            );
            trial.violations.push(complaint);
            break;
        }
        sleep(Duration::from_millis(POLL_MILLISECONDS)).await;
    }
    for projection in ["social", "timelines"] {
        let rebuild = format!("projections rebuild {projection} --rate max");
        operators::command(trial, "rebuild", &rebuild, None).await?;
    }
    for projection in ["social", "timelines"] {
        let drop = format!("projections drop {projection} --yes");
        operators::command(trial, "drop", &drop, None).await?;
    }
    Ok(stale)
}

fn copy(folder: &Path, to: &PathBuf) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(folder)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))
            .with_context(|| format!("{} cannot be copied", file.path().display()))?;
    }
    Ok(())
}
