//! What makes a Redis server fit to be the log: every acknowledged write is
//! fsynced, nothing is evicted, and no failover happens behind our back.

use std::{collections::HashMap, fmt};

use redis::aio::ConnectionManager;

use crate::log::LogError;

const VERSION_MIN: (u32, u32) = (7, 0);

/// One thing that could lose acknowledged writes, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFinding {
    Setting {
        name: &'static str,
        wanted: &'static str,
        found: String,
    },
    SettingsHidden,
    TooOld(String),
    Replica,
    FailsOver(&'static str),
}

impl fmt::Display for ServerFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting {
                name,
                wanted,
                found,
            } => write!(f, "{name} is {found} and must be {wanted}"),
            Self::SettingsHidden => {
                f.write_str("its settings cannot be read (CONFIG GET is refused)")
            }
            Self::TooOld(version) => write!(f, "Redis {version} is older than 7.0"),
            Self::Replica => f.write_str("it is a replica; give the address of the primary"),
            Self::FailsOver(how) => write!(f, "it fails over by itself ({how})"),
        }
    }
}

const SETTINGS: [(&str, &str); 4] = [
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("no-appendfsync-on-rewrite", "no"),
    ("maxmemory-policy", "noeviction"),
];

/// All findings at once; none where the server is fit.
pub async fn inspect(connection: &mut ConnectionManager) -> Result<Vec<ServerFinding>, LogError> {
    let mut findings = Vec::new();
    let names = SETTINGS.map(|(name, _)| name);
    let settings: Result<HashMap<String, String>, _> = redis::cmd("CONFIG")
        .arg("GET")
        .arg(&names)
        .query_async(connection)
        .await;
    match settings {
        Ok(settings) => findings.extend(SETTINGS.iter().filter_map(|(name, wanted)| {
            let found = settings.get(*name).map_or("unknown", String::as_str);
            (found != *wanted).then(|| ServerFinding::Setting {
                name,
                wanted,
                found: found.to_owned(),
            })
        })),
        Err(error) if error.code().is_some() => findings.push(ServerFinding::SettingsHidden),
        Err(error) => return Err(error.into()),
    }

    let info: String = redis::cmd("INFO").query_async(connection).await?;
    let info: HashMap<&str, &str> = info.lines().filter_map(|l| l.split_once(':')).collect();
    let of = |name| info.get(name).copied().unwrap_or_default();
    let valkey = of("server_name") == "valkey";
    let version = of("redis_version");
    let mut numbers = version.split('.').map(|n| n.parse().unwrap_or(0));
    let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if !valkey && number < VERSION_MIN {
        findings.push(ServerFinding::TooOld(version.to_owned()));
    }
    if of("role") == "slave" {
        findings.push(ServerFinding::Replica);
    }
    if of("cluster_enabled") == "1" && of("connected_slaves") != "0" {
        findings.push(ServerFinding::FailsOver("Redis Cluster with replicas"));
    }
    let watched: (String, u64) = redis::cmd("PUBSUB")
        .arg("NUMSUB")
        .arg("__sentinel__:hello")
        .query_async(connection)
        .await?;
    if watched.1 > 0 {
        findings.push(ServerFinding::FailsOver("Sentinel"));
    }
    Ok(findings)
}
