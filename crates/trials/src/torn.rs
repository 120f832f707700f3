//! The log's append-only file is cut at many offsets of its tail. Redis starts
//! on each cut file with the options that `up` uses; what came whole before the
//! cut is there, and of the call that was cut nothing is. The product works on
//! some of them, its folds made anew.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use devservices::{Programs, RedisOptions, RedisRole, RedisServer};
use futures_util::{StreamExt, stream};
use rand::{RngExt, seq::IndexedRandom};
use sea_orm::sqlx::Connection;

use crate::{
    aof::{self, Kept, Place, Unit},
    backup,
    client::{Client, Request},
    faults::{Fired, start_again},
    lane::{connect, create, redis, with_database},
    plan::Target,
    product::Addresses,
    state,
    trial::{Trial, examine},
};

/// Offsets that one trial cuts at.
const CUTS: usize = 200;
const TAIL_BYTES: usize = 48 * 1_024;
const AT_ONCE_MAX: usize = 4;
/// Cut files that the product is started on.
const WORKED_ON: usize = 2;
const COMPACT_SECONDS_MAX: u64 = 10;
const FOLDER: &str = "appendonlydir";
const POSTS_AFTER: usize = 6;

/// What a server on a file cut at `offset` must say.
struct Expected {
    offset: usize,
    heads: BTreeMap<u16, String>,
    /// None: not there, or with another value than the second one.
    places: HashMap<Place, (Option<Vec<u8>>, Vec<u8>)>,
}

/// Begins a new file, so that it holds what comes from now on.
pub async fn compact(url: &str) -> anyhow::Result<()> {
    let mut log = redis(url).await?;
    redis::cmd("BGREWRITEAOF")
        .query_async::<()>(&mut log)
        .await?;
    let deadline = Instant::now() + Duration::from_secs(COMPACT_SECONDS_MAX);
    loop {
        let info: String = redis::cmd("INFO")
            .arg("persistence")
            .query_async(&mut log)
            .await?;
        let idle = ["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
        if idle.iter().all(|line| info.contains(line)) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "the log is not rewritten in time"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub async fn tear(trial: &mut Trial<'_>) -> anyhow::Result<Fired> {
    trial.end_load().await?;
    trial.api.kill().await?;
    for worker in &mut trial.workers {
        worker.kill().await?;
    }
    let source = trial.lane.stack.log().options().directory.join(FOLDER);
    let (name, bytes) = growing(&source)?;
    let units = aof::parse(&bytes).context("the append-only file cannot be read")?;
    let live = state::heads(&trial.direct.log).await?;
    let mut random = trial.plan.random(trial.seed, 3);
    let mut offsets = BTreeSet::new();
    let tail = bytes.len().saturating_sub(TAIL_BYTES);
    ensure!(bytes.len() - tail > CUTS, "too little was written to cut");
    for unit in units.iter().filter(|unit| unit.end > tail) {
        // Just before, at and behind the end of a call.
        if offsets.len() < CUTS / 2 && random.random_range(0..3) == 0 {
            offsets.extend([unit.end - 1, unit.end, (unit.end + 1).min(bytes.len())]);
        }
    }
    while offsets.len() < CUTS {
        offsets.insert(random.random_range(tail..=bytes.len()));
    }
    let expected = expected(&units, &offsets, &live);
    let all: Vec<usize> = offsets.into_iter().collect();
    let worked_on: Vec<usize> = all.sample(&mut random, WORKED_ON).copied().collect();

    let programs = trial.lane.programs.clone();
    let checks = expected.into_iter().map(|expected| {
        let folder = trial.folder.join(format!("cut-{}", expected.offset));
        let cut = &bytes[..expected.offset];
        check(&programs, &source, &name, cut, folder, expected)
    });
    let mut checks = stream::iter(checks).buffer_unordered(AT_ONCE_MAX);
    let mut found = Vec::new();
    while let Some(checked) = checks.next().await {
        found.extend(checked?);
    }
    drop(checks);
    trial.violations.append(&mut found);
    for offset in worked_on {
        let folder = trial.folder.join(format!("worked-on-{offset}"));
        copy(&source, &name, &bytes[..offset], &folder)?;
        if let Err(error) = work_on(trial, folder).await {
            trial
                .violations
                .push(format!("on a log cut at {offset}: {error:#}"));
        }
    }
    let workers = trial.workers.len();
    start_again(trial, Target::Api).await?;
    start_again(trial, Target::Worker).await?;
    for number in 1..workers {
        let name = format!("worker{number}");
        trial.workers[number] = trial.setting.start(&name, "work", None)?;
    }
    Ok(Fired::yes(format!(
        "{CUTS} cuts in the last {} of {} bytes",
        bytes.len() - tail,
        bytes.len()
    )))
}

/// The file that grows, by the manifest.
fn growing(folder: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let manifest = fs::read_to_string(folder.join("appendonly.aof.manifest"))?;
    let line = manifest.lines().rfind(|line| line.ends_with("type i"));
    let name = line.and_then(|line| line.split_whitespace().nth(1));
    let name = name.context("no growing file in the manifest")?;
    Ok((name.to_owned(), fs::read(folder.join(name))?))
}

fn copy(source: &Path, name: &str, bytes: &[u8], to: &Path) -> anyhow::Result<()> {
    let folder = to.join(FOLDER);
    fs::create_dir_all(&folder)?;
    for file in fs::read_dir(source)? {
        let file = file?;
        if file.file_name() != name {
            fs::copy(file.path(), folder.join(file.file_name()))?;
        }
    }
    Ok(fs::write(folder.join(name), bytes)?)
}

fn expected(
    units: &[Unit],
    offsets: &BTreeSet<usize>,
    live: &BTreeMap<u16, kernel::Position>,
) -> Vec<Expected> {
    let mut base = BTreeMap::new();
    for (partition, head) in live {
        let key = state::events_key(*partition).into_bytes();
        let first = units
            .iter()
            .flat_map(|unit| &unit.commands)
            .filter_map(|c| aof::entry(c));
        let first = first.into_iter().find(|(stream, _)| *stream == key);
        let first = first.and_then(|(_, id)| format!("{partition}:{id}").parse().ok());
        let before =
            first.map(|first: kernel::Position| format!("{}-{}", first.epoch, first.seq - 1));
        base.insert(*partition, before.unwrap_or_else(|| head.entry_id()));
    }
    let (mut kept, mut next) = (Kept::default(), 0);
    let of = |offset: &usize| {
        while units.get(next).is_some_and(|unit| unit.end <= *offset) {
            kept.apply(&units[next]);
            next += 1;
        }
        let heads = base.iter().map(|(partition, base)| {
            let key = state::events_key(*partition).into_bytes();
            (*partition, kept.heads.get(&key).unwrap_or(base).clone())
        });
        let near = units[next.saturating_sub(3)..units.len().min(next + 1)].iter();
        let places = near
            .flat_map(|unit| &unit.commands)
            .flat_map(|c| aof::values(c));
        Expected {
            offset: *offset,
            heads: heads.collect(),
            places: places
                .map(|(place, torn)| {
                    let value = kept.values.get(&place).cloned();
                    (place, (value, torn))
                })
                .collect(),
        }
    };
    offsets.iter().map(of).collect()
}

async fn check(
    programs: &Programs,
    source: &Path,
    name: &str,
    bytes: &[u8],
    folder: PathBuf,
    expected: Expected,
) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    copy(source, name, bytes, &folder)?;
    let options = RedisOptions::new(programs, RedisRole::Log, folder.clone());
    let offset = expected.offset;
    let mut server = match RedisServer::start(options).await {
        Ok(server) => server,
        Err(error) => return Ok(vec![format!("no start on a log cut at {offset}: {error}")]),
    };
    let mut log = redis(server.url()).await?;
    for (partition, wanted) in &expected.heads {
        let key = state::events_key(*partition);
        let length: u64 = redis::cmd("XLEN").arg(&key).query_async(&mut log).await?;
        let last: Vec<(String, Vec<Vec<u8>>)> = redis::cmd("XREVRANGE")
            .arg(&key)
            .arg(&["+", "-", "COUNT", "1"])
            .query_async(&mut log)
            .await?;
        let last = last.first().map_or("", |(id, _)| id.as_str());
        let gapless = wanted.ends_with(&format!("-{}", length.wrapping_sub(1)));
        if last != wanted || !gapless {
            found.push(format!(
                "cut at {offset}: partition {partition} ends at {last} with {length} entries, not at {wanted}"
            ));
        }
    }
    for ((key, field), (wanted, torn)) in expected.places {
        let mut command = redis::cmd(if field.is_some() { "HGET" } else { "GET" });
        command.arg(&key).arg(field.as_ref());
        let value: Option<Vec<u8>> = command.query_async(&mut log).await?;
        let right = match &wanted {
            Some(wanted) => value.as_ref() == Some(wanted),
            // What only the cut call wrote.
            None => value.as_ref() != Some(&torn),
        };
        if !right {
            let key = String::from_utf8_lossy(&key).into_owned();
            found.push(format!("cut at {offset}: half a call is left at {key}"));
        }
    }
    server.stop().await?;
    if found.is_empty() {
        fs::remove_dir_all(&folder)?;
    }
    Ok(found)
}

/// Starts the product on a cut log, with empty folds and the vault as it is,
/// writes to it, and asks the oracle.
async fn work_on(trial: &mut Trial<'_>, folder: PathBuf) -> anyhow::Result<()> {
    let options = RedisOptions::new(&trial.lane.programs, RedisRole::Log, folder.clone());
    let mut server = RedisServer::start(options).await?;
    let mut admin = connect(trial.lane.stack.postgres().url()).await?;
    create(&mut admin, "torn", Some("trial")).await?;
    let mut views = redis(&trial.direct.views).await?;
    redis::cmd("FLUSHALL").query_async::<()>(&mut views).await?;
    let addresses = Addresses {
        database: with_database(&trial.direct.database, "torn")?,
        log: server.url().to_owned(),
        views: trial.direct.views.clone(),
    };
    backup::forget(&addresses.database).await?;
    let mut setting = trial.setting.clone();
    setting.addresses = addresses.clone();
    let mut api = setting.start("api-torn", "serve", None)?;
    let mut worker = setting.start("worker-torn", "work", None)?;
    let client = Client::new(setting.port)?;
    client.until_ready(&mut api).await?;
    for (number, (_, token)) in trial.load.accounts.iter().take(POSTS_AFTER).enumerate() {
        let request = Request {
            method: "POST".into(),
            path: "/v1/posts".into(),
            body: Some(format!("{{\"text\":\"after the cut {number}\"}}")),
            key: Some(format!("after-{number}")),
            token: Some(token.clone()),
        };
        let answer = client.send(&request).await;
        ensure!(answer.status == 201, "a post is refused: {answer:?}");
    }
    state::until_settled(&addresses).await?;
    let verdict = examine(&addresses, &setting, trial.seed, None).await?;
    trial.violations.extend(verdict.violations);
    for process in [&mut api, &mut worker] {
        let ended = process.stop().await?;
        ensure!(ended.success(), "{} ended with {ended}", process.name());
    }
    admin.close().await?;
    server.stop().await?;
    // The lists are of another log than the trial's.
    redis::cmd("FLUSHALL").query_async::<()>(&mut views).await?;
    Ok(fs::remove_dir_all(&folder)?)
}
