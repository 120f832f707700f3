//! What goes wrong in a trial, and how everything is started again. Each fault
//! says whether it fired. It refuses to judge the product.

use std::time::{Duration, Instant};

use anyhow::Context;
use rand::seq::IndexedRandom;
use rustix::process::{Pid, Signal};
use sea_orm::sqlx::{self, Connection, Row};
use tokio::time::sleep;

use crate::{
    backup, disk,
    lane::{connect, create, redis, with_database},
    lost, operators,
    plan::{Fault, Target},
    read_only, torn,
    trial::Trial,
    unfit,
};

/// How long the load goes on for a crash point to be reached.
const CRASH_SECONDS_MAX: u64 = 5;
const DISTURBED_MILLISECONDS: u64 = 700;
/// Longer than a lease, 5 s, and a round of its renewal.
const STOPPED_MILLISECONDS: u64 = 6_500;
const MIGRATE_SECONDS_MAX: u64 = 10;
const POLL_MILLISECONDS: u64 = 5;
/// Wipes of the views in one trial, while readers fill them.
const WIPES: u32 = 4;

pub struct Fired {
    pub fired: bool,
    pub note: String,
}

impl Fired {
    pub fn yes(note: impl Into<String>) -> Self {
        Self {
            fired: true,
            note: note.into(),
        }
    }
}

pub async fn inject(trial: &mut Trial<'_>) -> anyhow::Result<Fired> {
    let before = Duration::from_millis(trial.plan.before_milliseconds);
    let down = Duration::from_millis(trial.plan.down_milliseconds);
    if !matches!(trial.plan.fault, Fault::Crash { .. }) {
        sleep(before).await;
    }
    match trial.plan.fault.clone() {
        Fault::Crash { target, point, .. } => crash(trial, target, point, down).await,
        Fault::CrashInShutdown { target, point } => {
            process(trial, target).signal(Signal::TERM);
            crash(trial, target, point, down).await
        }
        Fault::Kill { target } => kill(trial, target, down).await,
        Fault::Restart => restart(trial, down).await,
        Fault::Migrate => migrate(trial).await,
        Fault::Proxy { .. } => disturb(trial).await,
        Fault::Stop => {
            trial.workers[0].signal(Signal::STOP);
            sleep(Duration::from_millis(STOPPED_MILLISECONDS)).await;
            trial.workers[0].signal(Signal::CONT);
            trial.restarted = Instant::now();
            Ok(Fired::yes(format!("{STOPPED_MILLISECONDS} ms")))
        }
        Fault::TornLog => torn::tear(trial).await,
        Fault::WipeViews => wipe(trial, down).await,
        Fault::Restore { running } => backup::restore(trial, running).await,
        Fault::FullDisk { target } => disk::fill(trial, target, down).await,
        Fault::Rebuild {
            projection,
            point,
            count,
        } => operators::rebuild(trial, projection, point, count).await,
        Fault::LoseLog { count } => operators::lose_log(trial, count, down).await,
        Fault::LoseFolder { source } => lost::lose_folder(trial, source, down).await,
        Fault::WeakLog {
            setting,
            value,
            running,
        } => unfit::weaken(trial, (setting, value), running, down).await,
        Fault::Replica { of } => unfit::demote(trial, of, down).await,
        Fault::ReadOnly { by } => read_only::make(trial, by, down).await,
    }
}

fn process<'t>(trial: &'t mut Trial<'_>, target: Target) -> &'t mut crate::product::Process {
    match target {
        Target::Api => &mut trial.api,
        _ => &mut trial.workers[0],
    }
}

/// Starts a dead process again, as whatever keeps it running would.
pub async fn start_again(trial: &mut Trial<'_>, target: Target) -> anyhow::Result<()> {
    trial.restarted = Instant::now();
    match target {
        Target::Api => trial.api = trial.setting.start("api", "serve", None)?,
        _ => {
            if trial.workers.len() == 1 && !trial.plan.leases_expire {
                // As `up` does, which knows that no worker is left.
                let mut database = connect(&trial.direct.database).await?;
                sqlx::query("DELETE FROM projections.leases")
                    .execute(&mut database)
                    .await?;
                sqlx::query("DELETE FROM projections.workers")
                    .execute(&mut database)
                    .await?;
                database.close().await?;
            }
            trial.workers[0] = trial.setting.start("worker0", "work", None)?;
        }
    }
    Ok(())
}

async fn crash(
    trial: &mut Trial<'_>,
    target: Target,
    point: &str,
    down: Duration,
) -> anyhow::Result<Fired> {
    let deadline = Instant::now() + Duration::from_secs(CRASH_SECONDS_MAX);
    let dying = process(trial, target);
    while dying.ended().is_none() {
        if Instant::now() > deadline {
            let note = format!("{point} was not reached in {CRASH_SECONDS_MAX} s");
            // It must not be reached later, when nobody waits for it.
            dying.kill().await?;
            start_again(trial, target).await?;
            return Ok(Fired { fired: false, note });
        }
        sleep(Duration::from_millis(POLL_MILLISECONDS)).await;
    }
    let fired = dying.crashed_at(point);
    let note = match fired {
        true => point.to_owned(),
        false => format!("it ended by itself: {}", dying.last_lines()),
    };
    if !fired {
        trial.violations.push(note.clone());
    }
    sleep(down).await;
    start_again(trial, target).await?;
    Ok(Fired { fired, note })
}

async fn kill(trial: &mut Trial<'_>, target: Target, down: Duration) -> anyhow::Result<Fired> {
    let stack = &mut trial.lane.stack;
    match target {
        Target::Api | Target::Worker => {
            process(trial, target).kill().await?;
            sleep(down).await;
            start_again(trial, target).await?;
        }
        Target::Log => {
            stack.log().kill().await?;
            sleep(down).await;
            stack.log().restart().await?;
            trial.restarted = Instant::now();
        }
        Target::Views => {
            stack.views().kill().await?;
            sleep(down).await;
            stack.views().restart().await?;
            trial.restarted = Instant::now();
        }
        Target::Postgres => {
            stack.postgres().kill().await?;
            sleep(down).await;
            stack.postgres().restart().await?;
            trial.restarted = Instant::now();
        }
        Target::Backend => return kill_backend(trial).await,
    }
    Ok(Fired::yes(format!("down for {} ms", down.as_millis())))
}

/// The postmaster ends all other backends and recovers.
async fn kill_backend(trial: &mut Trial<'_>) -> anyhow::Result<Fired> {
    let mut database = connect(&trial.direct.database).await?;
    let rows = sqlx::query(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
         AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
    )
    .fetch_all(&mut database)
    .await?;
    let pids = rows.iter().map(|row| row.try_get::<i32, _>("pid"));
    let pids = pids.collect::<Result<Vec<_>, _>>()?;
    let mut random = trial.plan.random(trial.seed, 2);
    let pid = pids
        .choose(&mut random)
        .context("the product has no backend")?;
    let victim = Pid::from_raw(*pid).context("a pid")?;
    rustix::process::kill_process(victim, Signal::KILL)?;
    trial.restarted = Instant::now();
    Ok(Fired::yes(format!("one of {} backends", pids.len())))
}

async fn restart(trial: &mut Trial<'_>, down: Duration) -> anyhow::Result<Fired> {
    for target in [Target::Worker, Target::Api] {
        let ended = process(trial, target).stop().await?;
        if !ended.success() {
            let name = process(trial, target).name().to_owned();
            trial
                .violations
                .push(format!("{name} was asked to end: {ended}"));
        }
        sleep(down).await;
        start_again(trial, target).await?;
    }
    Ok(Fired::yes("worker and API"))
}

/// A migration dies half-way, on an empty database and on the one in use; the
/// next one ends well, and gives the same tables.
async fn migrate(trial: &mut Trial<'_>) -> anyhow::Result<Fired> {
    let fresh = with_database(&trial.direct.database, "fresh")?;
    let mut admin = connect(trial.lane.stack.postgres().url()).await?;
    create(&mut admin, "fresh", None).await?;
    let mut fired = true;
    for database in [fresh.clone(), trial.direct.database.clone()] {
        let mut setting = trial.setting.clone();
        setting.addresses.database = database;
        let patience = Duration::from_secs(MIGRATE_SECONDS_MAX);
        let mut dying = setting.start("migrate", "migrate", Some("migrate.middle:1"))?;
        dying.wait(patience).await?;
        fired &= dying.crashed_at("migrate.middle");
        let mut again = setting.start("migrate", "migrate", None)?;
        let ended = again.wait(patience).await?;
        if !ended.success() {
            let lines = again.last_lines();
            trial
                .violations
                .push(format!("the migration cannot be repeated: {lines}"));
        }
    }
    let (wanted, found) = (
        backup::shape(&trial.direct.database).await?,
        backup::shape(&fresh).await?,
    );
    if wanted != found {
        trial.violations.push(format!(
            "the migrated tables differ: {wanted} against {found}"
        ));
    }
    admin.close().await?;
    trial.restarted = Instant::now();
    Ok(Fired {
        fired,
        note: "on an empty database and on the one in use".into(),
    })
}

async fn disturb(trial: &mut Trial<'_>) -> anyhow::Result<Fired> {
    let proxy = trial.proxy.as_ref().context("a proxy")?;
    proxy.disturb(true);
    sleep(Duration::from_millis(DISTURBED_MILLISECONDS)).await;
    proxy.disturb(false);
    let count = proxy.disturbed();
    trial.restarted = Instant::now();
    Ok(Fired {
        fired: count > 0,
        note: format!("{count} times"),
    })
}

/// The lists are gone, and the functions with them.
async fn wipe(trial: &mut Trial<'_>, pause: Duration) -> anyhow::Result<Fired> {
    let mut views = redis(&trial.direct.views).await?;
    let mut keys = 0;
    for _ in 0..WIPES {
        keys += redis::cmd("DBSIZE").query_async::<u64>(&mut views).await?;
        redis::cmd("FLUSHALL").query_async::<()>(&mut views).await?;
        redis::cmd("FUNCTION")
            .arg("FLUSH")
            .query_async::<()>(&mut views)
            .await?;
        sleep(pause / WIPES).await;
    }
    trial.restarted = Instant::now();
    Ok(Fired {
        fired: keys > 0,
        note: format!("{keys} keys in {WIPES} wipes"),
    })
}
