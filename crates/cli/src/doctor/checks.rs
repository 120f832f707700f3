//! What is looked at, part by part. Each part is looked at though others do not
//! answer.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    time::{Duration, SystemTime},
};

use eventlog::{Info, Log, ServerFinding};
use readmodel::{
    Projection, Projections,
    progress::{Progress, State},
};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use rustix::fs::statvfs;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use servers::{Redis, Trouble};
use tokio::time::timeout;
use vault::Vault;

use super::Finding;
use crate::{
    node::{connect_database, find_log, history, log_settings, master_keys, open_archive},
    origin::{self, Loss, Seen},
    settings::Settings,
};

const ANSWER_SECONDS_MAX: u64 = 5;
/// Of what there is; above it, somebody should act.
const FULL_SHARE: f64 = 0.8;
const FREE_BYTES_MIN: u64 = 1 << 30;
/// Expiry, leases and tokens take clocks to be closer than this.
const SKEW_SECONDS_MAX: f64 = 1.0;
const POSTGRES_VERSION_MIN: i64 = 140_000;
/// Whether Linux shares processors by session (sched(7), "The autogroup feature").
const AUTOGROUP: &str = "/proc/sys/kernel/sched_autogroup_enabled";

const LOG: &str = "log server";
const VIEWS: &str = "views server";
const DATABASE: &str = "database";
const PROCESSORS: &str = "processors";
const WORKERS: &str = "workers";
const PROJECTIONS: &str = "projections";
const DEAD_LETTERS: &str = "dead letters";
const ARCHIVE: &str = "archive";
const VAULT: &str = "vault";

pub async fn all(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let log = redis(LOG, settings, "REDIS_LOG_URL", &mut findings).await;
    let views = redis(VIEWS, settings, "REDIS_VIEWS_URL", &mut findings).await;
    if let (Some(log), Some(views)) = (&log, &views)
        && log == views
    {
        findings.push(Finding::problem(
            VIEWS,
            "it is the log server: what is evicted or wiped here would be the log",
            "start a second Redis, and set REDIS_VIEWS_URL to it",
        ));
    }
    let database = database(settings, &mut findings).await;
    if let Some(database) = &database {
        match in_time(look_at_database(database)).await {
            Ok(seen) => findings.extend(seen),
            Err(error) => findings.push(unreadable(DATABASE, error)),
        }
    }
    if let (Some(_), Some(database)) = (log, &database) {
        match in_time(look_at_projections(settings, database)).await {
            Ok(seen) => findings.extend(seen),
            Err(error) => findings.push(unreadable(PROJECTIONS, error)),
        }
    }
    findings
}

async fn in_time<T, E: std::fmt::Display>(
    looking: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout(Duration::from_secs(ANSWER_SECONDS_MAX), looking).await {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err(format!("no answer in {ANSWER_SECONDS_MAX} s")),
    }
}

/// Looked at before it is connected to: what is in the way is said by itself.
async fn database(settings: &Settings, findings: &mut Vec<Finding>) -> Option<DatabaseConnection> {
    let seen = match readmodel::look(&settings.database).await {
        Ok(seen) => seen,
        Err(trouble) => {
            findings.push(Finding::problem(DATABASE, trouble.seen, trouble.mend));
            return None;
        }
    };
    let usable = seen.unfit.is_empty();
    let of = |trouble: Trouble| Finding::problem(DATABASE, trouble.seen, trouble.mend);
    findings.extend(seen.unfit.into_iter().map(of));
    if !usable {
        return None;
    }
    let lacking = seen.lacking.into_iter();
    findings.extend(lacking.map(|lack| Finding::notice(DATABASE, lack.seen, lack.mend)));
    let room = &seen.room;
    if room.taken as f64 > room.most as f64 * FULL_SHARE {
        let (taken, most, limit) = (room.taken, room.most, room.limit);
        findings.push(Finding::notice(
            DATABASE,
            format!("{taken} of {most} connections are taken, or claimed by processes ({limit})"),
            "lower DATABASE_CONNECTIONS, or raise that limit",
        ));
    }
    match in_time(connect_database(settings)).await {
        Ok(database) => Some(database),
        Err(error) => {
            let mend = "start it, or correct DATABASE_URL (see `headwater config`)";
            findings.push(Finding::problem(DATABASE, error, mend));
            None
        }
    }
}

fn unreadable(part: &'static str, error: String) -> Finding {
    let mend = "what is named; where a table or column is missing: headwater migrate";
    Finding::problem(part, error, mend)
}

/// The server's own name of its run, where it answers.
async fn redis(
    part: &'static str,
    settings: &Settings,
    setting: &str,
    findings: &mut Vec<Finding>,
) -> Option<String> {
    let server = match part {
        LOG => &settings.redis_log,
        _ => &settings.redis_views,
    };
    let looked = async {
        let config = ConnectionManagerConfig::new().set_number_of_retries(0);
        let client = server.client()?;
        let mut connection = ConnectionManager::new_with_config(client, config).await?;
        look_at_redis(part, server, settings, &mut connection).await
    };
    match in_time(looked).await {
        Ok((run, seen)) => {
            findings.extend(seen);
            Some(run)
        }
        Err(error) => {
            findings.push(match server.trouble().await {
                Some(trouble) => Finding::problem(part, trouble.seen, trouble.mend),
                None => {
                    let mend = format!("start it, or correct {setting} (see `headwater config`)");
                    Finding::problem(part, error, mend)
                }
            });
            None
        }
    }
}

async fn look_at_redis(
    part: &'static str,
    server: &Redis,
    settings: &Settings,
    connection: &mut ConnectionManager,
) -> anyhow::Result<(String, Vec<Finding>)> {
    let mut findings = Vec::new();
    let info: String = redis::cmd("INFO").query_async(connection).await?;
    let info = Info::parse(&info);
    let of = |name: &str| info.of(name);
    let number = |name: &str| of(name).parse::<f64>().unwrap_or_default();
    if part == LOG {
        let has_log = Log::find(&log_settings(settings)).await?.is_some();
        for finding in eventlog::inspect(connection).await? {
            findings.push(unfit(&finding, settings.log_allow_unsafe, has_log));
        }
        if of("aof_last_bgrewrite_status") == "err" {
            findings.push(Finding::notice(
                part,
                "it could not compact its file, which grows until it can",
                "free space on its disk, then: redis-cli BGREWRITEAOF",
            ));
        }
    }
    let (used, limit) = (number("used_memory"), number("maxmemory"));
    let memory = match limit > 0.0 {
        true => format!("{} of {} used", mebibytes(used), mebibytes(limit)),
        false => format!("{} used", mebibytes(used)),
    };
    if limit > 0.0 && used > limit * FULL_SHARE && of("maxmemory_policy") == "noeviction" {
        findings.push(Finding::problem(
            part,
            match part {
                LOG => format!(
                    "{memory}: above {:.0} % what clients write is refused, and when it is full, \
                     all writes are",
                    eventlog::MEMORY_SHARE_MAX * 100.0
                ),
                _ => format!("{memory}: when it is full, writes are refused"),
            },
            match part {
                LOG => {
                    "with an archive: headwater log archive, then headwater log trim --keep 1000, \
                     and lower ARCHIVE_HOT_EVENTS or ARCHIVE_HOT_BYTES; or raise its maxmemory"
                }
                _ => "raise its maxmemory, or give it a bigger machine",
            },
        ));
    }
    if part == LOG && limit == 0.0 {
        findings.push(Finding::notice(
            part,
            format!("{memory}, without a limit: the log can take all memory of its machine"),
            "redis-cli CONFIG SET maxmemory to three quarters of that memory, then CONFIG REWRITE",
        ));
    }
    let time: (u64, u64) = redis::cmd("TIME").query_async(connection).await?;
    findings.extend(skew(part, time.0 as f64 + time.1 as f64 / 1e6));
    let folder: Result<HashMap<String, String>, _> = redis::cmd("CONFIG")
        .arg("GET")
        .arg("dir")
        .query_async(connection)
        .await;
    let folder = folder.unwrap_or_default().remove("dir");
    if server.is_here() {
        findings.extend(disk(part, folder.as_deref().map(Path::new)));
    }
    if findings.is_empty() {
        let (name, version) = info.server();
        findings.push(Finding::well(part, format!("{name} {version}, {memory}")));
    }
    Ok((of("run_id").to_owned(), findings))
}

/// What LOG_ALLOW_UNSAFE lets through is known to who has set it.
fn unfit(finding: &ServerFinding, allow_unsafe: bool, has_log: bool) -> Finding {
    let allowed = allow_unsafe && finding.can_be_allowed();
    let mend = match finding {
        // A server that has loaded nothing would replace its files by that.
        ServerFinding::Setting {
            name: name @ "appendonly",
            wanted,
            ..
        } if !has_log => {
            format!("put {name} {wanted} into its configuration file, and start it again")
        }
        ServerFinding::Setting { name, wanted, .. } => {
            format!("redis-cli CONFIG SET {name} {wanted}, then CONFIG REWRITE")
        }
        ServerFinding::SettingsHidden if allowed => {
            "make sure of them where it is managed".to_owned()
        }
        ServerFinding::SettingsHidden => {
            "make sure of them where it is managed, then set LOG_ALLOW_UNSAFE=true".to_owned()
        }
        ServerFinding::TooOld(_) => "upgrade it to 7.0 or newer".to_owned(),
        ServerFinding::Replica => "set REDIS_LOG_URL to the primary".to_owned(),
        ServerFinding::FailsOver(_) => {
            "run the log on one server whose disk is kept; restore it instead".to_owned()
        }
        ServerFinding::RefusesWrites(_) => {
            "free space on its disk, or correct that setting; start it again if it has ended"
                .to_owned()
        }
    };
    let refused = "writes are refused";
    match finding {
        _ if allowed => Finding::notice(
            LOG,
            format!("{finding}: acknowledged writes could be lost, which LOG_ALLOW_UNSAFE allows"),
            mend,
        ),
        ServerFinding::Replica | ServerFinding::RefusesWrites(_) | ServerFinding::TooOld(_) => {
            Finding::problem(LOG, format!("{finding}: {refused}"), mend)
        }
        ServerFinding::Setting { .. }
        | ServerFinding::SettingsHidden
        | ServerFinding::FailsOver(_) => {
            let seen = format!("{finding}: acknowledged writes could be lost, so {refused}");
            Finding::problem(LOG, seen, mend)
        }
    }
}

fn disk(part: &'static str, folder: Option<&Path>) -> Option<Finding> {
    let folder = folder?;
    let seen = statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
    let (free, all) = (bytes(seen.f_bavail), bytes(seen.f_blocks));
    let full = (all - free.min(all)) as f64 > all as f64 * FULL_SHARE;
    (full && free < 10 * FREE_BYTES_MIN || free < FREE_BYTES_MIN).then(|| {
        let free = mebibytes(free as f64);
        let seen = format!("{free} are free where it keeps {}", folder.display());
        Finding::problem(part, seen, "free space there, or move it to a bigger disk")
    })
}

fn skew(part: &'static str, seconds: f64) -> Option<Finding> {
    let own = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let skew = seconds - own.unwrap_or_default().as_secs_f64();
    (skew.abs() > SKEW_SECONDS_MAX).then(|| {
        let seen = format!("its clock is {skew:+.1} s from this machine's");
        Finding::problem(
            part,
            seen,
            "keep both clocks by NTP: timedatectl set-ntp true",
        )
    })
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.0} MiB", bytes / f64::from(1 << 20))
}

async fn look_at_database(database: &DatabaseConnection) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let pool = database.get_postgres_connection_pool();
    if let Some(why) = readmodel::database::read_only(pool).await? {
        findings.push(Finding::problem(
            DATABASE,
            format!("it takes no writes, {why}: nothing is folded, and writes are refused"),
            "set DATABASE_URL to the primary; where it is one: ALTER SYSTEM RESET \
             default_transaction_read_only; SELECT pg_reload_conf(); (or ALTER DATABASE or ALTER \
             ROLE … RESET it, where that has set it)",
        ));
    }
    let row = one(
        database,
        "SELECT current_setting('server_version') AS version,
             current_setting('server_version_num')::int8 AS number,
             current_setting('fsync') AS fsync,
             current_setting('synchronous_commit') AS committed,
             current_setting('max_connections')::int8 AS connections_max,
             (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
                 AS connections,
             extract(epoch FROM clock_timestamp())::float8 AS time,
             CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE')
                 THEN current_setting('data_directory') END AS folder,
             inet_server_addr() IS NULL OR inet_server_addr() <<= '127.0.0.0/8'
                 OR inet_server_addr() = '::1' AS here,
             pg_size_pretty(pg_database_size(current_database())) AS size",
    )
    .await?;
    let text = |name: &str| row.try_get::<String>("", name);
    let (version, number) = (text("version")?, row.try_get::<i64>("", "number")?);
    if number < POSTGRES_VERSION_MIN {
        let seen = format!("PostgreSQL {version} is older than 14");
        findings.push(Finding::problem(DATABASE, seen, "upgrade it"));
    }
    for (name, value) in [
        ("fsync", text("fsync")?),
        ("synchronous_commit", text("committed")?),
    ] {
        if value == "off" {
            let seen = format!("{name} is off: a crash loses accounts that were registered");
            let mend = format!("ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();");
            findings.push(Finding::problem(DATABASE, seen, mend));
        }
    }
    let connections: i64 = row.try_get("", "connections")?;
    let limit: i64 = row.try_get("", "connections_max")?;
    findings.extend(skew(DATABASE, row.try_get("", "time")?));
    let folder: Option<String> = row.try_get("", "folder")?;
    if row.try_get("", "here")? {
        findings.extend(disk(DATABASE, folder.as_deref().map(Path::new)));
    }
    let missing = migrations::missing(database, &Projections::default()).await?;
    if !missing.is_empty() {
        let seen = format!("it lacks what this release needs: {}", missing.join(", "));
        findings.push(Finding::problem(DATABASE, seen, "headwater migrate"));
    }
    if findings.is_empty() {
        let size = text("size")?;
        let seen = format!("PostgreSQL {version}, {size}, {connections} of {limit} connections");
        findings.push(Finding::well(DATABASE, seen));
    }
    if row.try_get("", "here")? {
        findings.extend(processors(std::fs::read_to_string(AUTOGROUP).ok()));
    }
    Ok(findings)
}

/// Each process of PostgreSQL begins a session, and waits for a processor as one: up
/// to a second beside threads that hash passwords. Within a control group that has
/// shares of its own, as containers do, it is not so; from here that is not seen.
fn processors(autogroup: Option<String>) -> Option<Finding> {
    (autogroup.as_deref().map(str::trim) == Some("1")).then(|| {
        Finding::notice(
            PROCESSORS,
            "Linux shares them by session: unless it runs in a container, PostgreSQL answers up to \
             a second late while all are busy",
            "sysctl -w kernel.sched_autogroup_enabled=0, and put it into /etc/sysctl.d",
        )
    })
}

async fn one(database: &DatabaseConnection, sql: &str) -> Result<sea_orm::QueryResult, DbErr> {
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let row = database.query_one_raw(statement).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("no row".into()))
}

async fn look_at_projections(
    settings: &Settings,
    database: &DatabaseConnection,
) -> anyhow::Result<Vec<Finding>> {
    let vault = Vault::new(database.clone(), master_keys(settings));
    let pool = database.get_postgres_connection_pool();
    let seen = origin::look(settings, pool, &vault).await?;
    let none_yet = Finding::notice(
        LOG,
        "there is no log in it yet",
        "headwater serve, or work, makes it",
    );
    let log = match seen {
        Seen::There => find_log(settings).await?,
        Seen::NeverMade(_) => None,
        Seen::Lost(Loss { seen, mend }) => return Ok(vec![Finding::problem(LOG, seen, mend)]),
    };
    let Some(log) = log else {
        return Ok(vec![none_yet]);
    };
    let all = api::look(&log, database.get_postgres_connection_pool()).await?;
    let mut findings = vec![look_at_vault(&vault).await?];
    let owners: BTreeSet<_> = all
        .iter()
        .filter_map(|p| p.checkpoint.owner.as_deref())
        .collect();
    match owners.len() {
        0 => findings.push(Finding::problem(
            WORKERS,
            "none holds a partition: nothing that is written will be seen",
            "headwater work",
        )),
        count => findings.push(Finding::well(WORKERS, format!("{count} at work"))),
    }
    let waiting: i64 = all.iter().map(|progress| progress.checkpoint.parked).sum();
    if waiting > 0 {
        let seen = format!("{waiting} events could not be folded, or wait for one that could not");
        findings.push(Finding::problem(
            DEAD_LETTERS,
            seen,
            "headwater dead-letters list",
        ));
    }
    findings.push(look_at_archive(settings, &log).await);
    let held = |progress: &&Progress| progress.checkpoint.owner.is_some() || !owners.is_empty();
    let ill: Vec<_> = all
        .iter()
        .filter(|p| !p.state.is_well() && p.state != State::Parked)
        .filter(held)
        .collect();
    for progress in &ill {
        let (name, partition) = (&progress.checkpoint.projection, progress.head.partition);
        let trouble = progress.trouble.as_deref().unwrap_or_default();
        let seen = format!("{name} {partition} is {}: {trouble}", progress.state.name());
        let mend = match progress.state {
            State::Diverged => {
                &format!("headwater projections rebuild {name}, after restoring what can be")
            }
            State::Paused => &format!("headwater projections resume {name}"),
            _ if progress.checkpoint.owner.is_none() => "start more workers: headwater work",
            _ => "look at the worker's own output; it tries again every few seconds",
        };
        findings.push(Finding::problem(PROJECTIONS, seen, mend));
    }
    for projection in Projections::default().names() {
        let missing = not_begun(projection, &all);
        // All that there is may be missing: then no worker has run yet.
        if missing > 0 && !owners.is_empty() {
            let name = projection.name();
            let seen = format!("{name} has not begun in {missing} partitions");
            let mend = "look at the worker's own output; it begins within seconds";
            findings.push(Finding::problem(PROJECTIONS, seen, mend));
        }
    }
    if ill.is_empty() {
        let lag: u64 = all.iter().map(|progress| progress.lag_events).sum();
        let behind = all.iter().map(|progress| progress.lag_seconds);
        let behind = behind.fold(0.0, f64::max);
        let seen = format!("{lag} events behind, {behind:.1} s");
        findings.push(Finding::well(PROJECTIONS, seen));
    }
    Ok(findings)
}

/// Partitions that others have begun and the live generation of `projection` has not.
fn not_begun(projection: Projection, all: &[Progress]) -> usize {
    let partition = |progress: &Progress| progress.checkpoint.at.partition;
    let begun = all.iter().filter(|progress| {
        let checkpoint = &progress.checkpoint;
        checkpoint.role == "live" && checkpoint.projection == projection.name()
    });
    let begun: BTreeSet<_> = begun.map(partition).collect();
    let known: BTreeSet<_> = all.iter().map(partition).collect();
    known.difference(&begun).count()
}

/// Whether what the vault keeps wrapped opens, and is wrapped by the secret of today.
async fn look_at_vault(vault: &Vault) -> anyhow::Result<Finding> {
    if let Err(error) = vault.check_master_keys().await {
        let mend = "set VAULT_SECRET, or VAULT_SECRETS_ACCEPTED, to the secret before it";
        return Ok(Finding::problem(VAULT, error.to_string(), mend));
    }
    Ok(match vault.wrapped_before().await? {
        0 => Finding::well(VAULT, "all is wrapped with VAULT_SECRET"),
        count => Finding::notice(
            VAULT,
            format!("{count} keys are wrapped with a secret before VAULT_SECRET"),
            "headwater vault wrap",
        ),
    })
}

/// Whether what is not in Redis any more can be read, and how much is only there.
async fn look_at_archive(settings: &Settings, log: &eventlog::Log) -> Finding {
    let looked = async {
        let opened = open_archive(settings)?;
        // Which is only in the archive, and whether it is.
        if let Some(gap) = history(log, opened.clone()).missing().await? {
            let mend = match opened {
                Some(_) => {
                    "see that ARCHIVE_URL names the archive of this log, then: headwater log verify"
                }
                None => "set ARCHIVE_URL to the archive of this log, for all processes",
            };
            return Ok(Finding::problem(ARCHIVE, gap.to_string(), mend));
        }
        let Some(archive) = opened else {
            return Ok(Finding::notice(
                ARCHIVE,
                "there is none: the log server keeps every event in memory, and its loss is final",
                "set ARCHIVE_URL, such as file:///var/lib/headwater/archive",
            ));
        };
        let folder = kernel::folder_of(&settings.archive_url).transpose()?;
        if let Some(finding) = disk(ARCHIVE, folder.as_deref()) {
            return Ok(finding);
        }
        let (mut waiting, mut segments) = (0, 0);
        for head in log.heads().await? {
            let all = archive.segments(head.partition).await?;
            segments += all.len();
            let end = archive.end(head.partition).await?;
            waiting += match head.epoch == end.epoch {
                true => head.seq.saturating_sub(end.seq),
                false => head.seq + 1,
            };
        }
        let seen = format!("{segments} segments, {waiting} events are not in it yet");
        let most =
            settings.archive_hot_events.saturating_mul(2) * u64::from(settings.log_partitions);
        anyhow::Ok(match waiting > most {
            true => Finding::problem(
                ARCHIVE,
                seen,
                "see that `headwater work` runs with ARCHIVE_URL, and what it says",
            ),
            false => Finding::well(ARCHIVE, seen),
        })
    };
    match in_time(looked).await {
        Ok(finding) => finding,
        Err(error) => Finding::problem(ARCHIVE, error, "correct ARCHIVE_URL, or mend the store"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn clocks_may_differ_by_a_second() {
        let own = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let own = own.unwrap_or_default().as_secs_f64();
        assert!(skew(LOG, own).is_none());
        let late = skew(LOG, own - 7.0).map(|finding| (finding.grade, finding.seen));
        let (grade, seen) = late.unwrap_or((Grade::Well, String::new()));
        assert_eq!(grade, Grade::Problem);
        assert!(seen.contains("-7.0 s"), "{seen}");
    }
}
