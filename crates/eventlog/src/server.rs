//! What makes a Redis server fit to be the log: every acknowledged write is
//! fsynced, nothing is evicted, and no failover happens behind our back.

use std::{collections::HashMap, fmt};

use redis::{RedisResult, aio::ConnectionLike};

const VERSION_MIN: (u32, u32) = (7, 0);
/// Of its maxmemory, what clients may fill: the rest is for operators, for what archives,
/// and for what is restored.
pub const MEMORY_SHARE_MAX: f64 = 0.8;

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
    RefusesWrites(&'static str),
}

impl ServerFinding {
    /// Whether LOG_ALLOW_UNSAFE lets writes through all the same. What is written to a
    /// replica is overwritten, if it is taken at all.
    pub fn can_be_allowed(&self) -> bool {
        match self {
            Self::Setting { .. } | Self::SettingsHidden | Self::FailsOver(_) => true,
            Self::TooOld(_) | Self::Replica | Self::RefusesWrites(_) => false,
        }
    }
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
            Self::TooOld(server) => write!(f, "{server} is older than Redis 7.0"),
            Self::Replica => f.write_str("it is a replica; give the address of the primary"),
            Self::FailsOver(how) => write!(f, "it fails over by itself ({how})"),
            Self::RefusesWrites(why) => write!(f, "it refuses all writes: {why}"),
        }
    }
}

const SETTINGS: [(&str, &str); 4] = [
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("no-appendfsync-on-rewrite", "no"),
    ("maxmemory-policy", "noeviction"),
];

/// What would make it refuse all writes.
const REFUSING: [&str; 3] = [
    "min-replicas-to-write",
    "stop-writes-on-bgsave-error",
    "save",
];

/// All findings at once; none where the server is fit.
pub async fn inspect(connection: &mut impl ConnectionLike) -> RedisResult<Vec<ServerFinding>> {
    Ok(look(connection).await?.0)
}

/// The same, and what the server says of itself.
pub(crate) async fn look(
    connection: &mut impl ConnectionLike,
) -> RedisResult<(Vec<ServerFinding>, Info)> {
    let mut looked = redis::pipe();
    looked.ignore_errors();
    let config = looked.cmd("CONFIG").arg("GET");
    SETTINGS.iter().for_each(|(name, _)| {
        config.arg(name);
    });
    config.arg(&REFUSING);
    looked.cmd("INFO");
    looked.cmd("PUBSUB").arg("NUMSUB").arg("__sentinel__:hello");
    type Looked = (
        RedisResult<HashMap<String, String>>,
        RedisResult<String>,
        RedisResult<(String, u64)>,
    );
    let (settings, info, watched): Looked = looked.query_async(connection).await?;
    let settings = match settings {
        Ok(settings) => Some(settings),
        Err(error) if error.code().is_some() => None,
        Err(error) => return Err(error),
    };
    let mut findings = unfit_settings(settings.as_ref());
    let info = Info::parse(&info?);
    findings.extend(info.findings());
    findings.extend(refusing(settings.unwrap_or_default(), &info));
    // A managed server may not tell.
    if watched.is_ok_and(|(_, watching)| watching > 0) {
        findings.push(ServerFinding::FailsOver("Sentinel"));
    }
    Ok((findings, info))
}

fn unfit_settings(settings: Option<&HashMap<String, String>>) -> Vec<ServerFinding> {
    let Some(settings) = settings else {
        return vec![ServerFinding::SettingsHidden];
    };
    let unfit = SETTINGS.iter().filter_map(|(name, wanted)| {
        let found = settings.get(*name).map_or("unknown", String::as_str);
        (found != *wanted).then(|| ServerFinding::Setting {
            name,
            wanted,
            found: found.to_owned(),
        })
    });
    unfit.collect()
}

/// Why a server whose data are safe takes no writes.
fn refusing(settings: HashMap<String, String>, info: &Info) -> Option<ServerFinding> {
    let set = |name: &str| settings.get(name).map(String::as_str).unwrap_or_default();
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    if info.of("aof_last_write_status") == "err" {
        return Some(ServerFinding::RefusesWrites(
            "it cannot write its log to the disk",
        ));
    }
    if info.of("rdb_last_bgsave_status") == "err"
        && set("stop-writes-on-bgsave-error") == "yes"
        && !set("save").is_empty()
    {
        return Some(ServerFinding::RefusesWrites(
            "its last snapshot failed, and stop-writes-on-bgsave-error is yes",
        ));
    }
    let wanted = number(set("min-replicas-to-write"));
    (number(info.of("min_slaves_good_slaves")) < wanted).then_some(ServerFinding::RefusesWrites(
        "it has fewer replicas than min-replicas-to-write",
    ))
}

/// What a server says of itself.
pub struct Info(HashMap<String, String>);

/// The fields that tell the version of what answers like Redis.
const OTHERS: [(&str, &str); 4] = [
    ("valkey_version", "Valkey"),
    ("redict_version", "Redict"),
    ("keydb_version", "KeyDB"),
    ("dragonfly_version", "Dragonfly"),
];

impl Info {
    /// Reads the answer to `INFO`.
    pub fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        let owned = pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Self(owned.collect())
    }

    /// Empty where it does not say.
    pub fn of(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Whether so little memory is left that clients may write no more. Never without a
    /// limit.
    pub fn is_crowded(&self) -> bool {
        let number = |name: &str| self.of(name).parse::<f64>().unwrap_or_default();
        let most = number("maxmemory");
        most > 0.0 && number("used_memory") > most * MEMORY_SHARE_MAX
    }

    /// The server's own name, and its version.
    pub fn server(&self) -> (&'static str, &str) {
        let other = OTHERS.iter().find(|(field, _)| !self.of(field).is_empty());
        match other {
            Some((field, name)) => (name, self.of(field)),
            None => ("Redis", self.of("redis_version")),
        }
    }

    fn findings(&self) -> Vec<ServerFinding> {
        let mut findings = Vec::new();
        let version = self.of("redis_version");
        let mut numbers = version.split('.').map(|n| n.parse().unwrap_or(0));
        let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let (name, own) = self.server();
        if name != "Valkey" && number < VERSION_MIN {
            findings.push(ServerFinding::TooOld(format!("{name} {own}")));
        }
        if self.of("role") == "slave" {
            findings.push(ServerFinding::Replica);
        }
        if self.of("cluster_enabled") == "1" && self.of("connected_slaves") != "0" {
            findings.push(ServerFinding::FailsOver("a cluster with replicas"));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_its_own_name_and_version() {
        for (text, named) in [
            ("redis_version:7.0.15\r\n", ("Redis", "7.0.15")),
            (
                "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.3\r\n",
                ("Valkey", "8.1.3"),
            ),
            (
                "redis_version:7.4.0\r\ndragonfly_version:df-v1.31.0\r\n",
                ("Dragonfly", "df-v1.31.0"),
            ),
        ] {
            assert_eq!(Info::parse(text).server(), named);
        }
    }

    #[test]
    fn clients_fill_four_fifths_of_the_memory() {
        let crowded = |used: u64, most: u64| {
            Info::parse(&format!("used_memory:{used}\r\nmaxmemory:{most}\r\n")).is_crowded()
        };
        assert!(!crowded(80, 100) && crowded(81, 100));
        assert!(!crowded(1 << 40, 0), "it has no limit");
    }

    #[test]
    fn what_is_too_old_is_named_as_what_it_is() {
        let of = |text: &str| Info::parse(text).findings();
        let old = of("redis_version:6.2.14\r\nrole:master\r\n");
        assert_eq!(old, [ServerFinding::TooOld("Redis 6.2.14".into())]);
        let forked = of("redis_version:6.3.4\r\nkeydb_version:6.3.4\r\n");
        assert_eq!(forked, [ServerFinding::TooOld("KeyDB 6.3.4".into())]);
        assert_eq!(of("redis_version:7.0.0\r\nrole:master\r\n"), []);
    }

    #[test]
    fn a_server_that_refuses_writes_says_why() {
        let set = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
            let owned = pairs.iter();
            owned
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect()
        };
        let why = |settings: &[(&str, &str)], info: &str| {
            let finding = refusing(set(settings), &Info::parse(info))?;
            Some(finding.to_string())
        };
        assert_eq!(why(&[("min-replicas-to-write", "0")], "role:master"), None);
        let few = why(
            &[("min-replicas-to-write", "1")],
            "min_slaves_good_slaves:0",
        );
        assert!(few.is_some_and(|why| why.contains("min-replicas-to-write")));
        let full = why(&[], "aof_last_write_status:err");
        assert!(full.is_some_and(|why| why.contains("disk")));
        let stops = ("stop-writes-on-bgsave-error", "yes");
        let failed = "rdb_last_bgsave_status:err";
        assert!(why(&[stops, ("save", "3600 1")], failed).is_some());
        assert_eq!(why(&[stops, ("save", "")], failed), None);
    }
}
