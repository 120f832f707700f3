//! What a trial does, drawn from its seed and number: the same two give the
//! same plan. It refuses to do anything itself.

use std::collections::BTreeSet;

use rand::{Rng, RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// A process or server of the trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Api,
    Worker,
    Log,
    Views,
    Postgres,
    /// One of PostgreSQL's backends.
    Backend,
}

/// What a proxy does to each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disturbance {
    Delay { milliseconds_max: u64 },
    Cut { bytes_max: u64 },
    Reset { bytes_max: u64 },
}

/// What a log that was lost is made anew from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Archive,
    /// A copy of its disk, taken a while before.
    Copy,
}

/// What the log server becomes a replica of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Primary {
    /// A replica of its own, which takes over. Nothing is lost.
    Copy,
    /// An empty server: the log is wiped.
    Empty,
    /// A server that is not there. It starts so, and may be written to.
    Missing,
}

/// How PostgreSQL is made read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadOnly {
    /// For all; sessions are ended.
    System,
    /// For all; sessions go on.
    Reload,
    /// For all, with a restart.
    Restart,
    /// For our database; sessions are ended.
    Database,
    /// For our role; sessions are ended.
    Role,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A product process dies at a named point.
    Crash {
        target: Target,
        point: &'static str,
        count: u32,
    },
    /// The same, after the word to stop.
    CrashInShutdown {
        target: Target,
        point: &'static str,
    },
    Kill {
        target: Target,
    },
    /// All product processes end and start in good order, one after another.
    Restart,
    Migrate,
    Proxy {
        target: Target,
        disturbance: Disturbance,
    },
    /// A worker sleeps for longer than its lease.
    Stop,
    TornLog,
    WipeViews,
    Restore {
        running: bool,
    },
    FullDisk {
        target: Target,
    },
    /// A rebuild dies at a point, is begun again, swaps, and is rolled back.
    Rebuild {
        projection: &'static str,
        point: &'static str,
        count: u32,
    },
    /// All is archived, the log is lost, and its restoring dies half-way.
    LoseLog {
        count: u32,
    },
    /// The log server loses its folder under load, and comes back empty.
    LoseFolder {
        source: Source,
    },
    /// The log server comes back with a setting that could lose writes.
    WeakLog {
        setting: &'static str,
        value: &'static str,
        /// Corrected while it runs, not by another restart.
        running: bool,
    },
    /// The log server becomes a replica.
    Replica {
        of: Primary,
    },
    /// PostgreSQL becomes read-only.
    ReadOnly {
        by: ReadOnly,
    },
}

/// One trial.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub number: u64,
    pub fault: Fault,
    pub workers: usize,
    pub clients: usize,
    /// Between the operations of one client.
    pub pace_milliseconds: u64,
    /// The load before the fault, and after all runs again.
    pub before_milliseconds: u64,
    pub down_milliseconds: u64,
    pub after_milliseconds: u64,
    pub push_followers_max: u32,
    /// Of a hundred operations.
    pub registrations: u32,
    /// Whether leases of a dead worker are waited for, or cleared.
    pub leases_expire: bool,
}

impl Fault {
    /// For tables: faults of one name belong together.
    pub fn name(&self) -> String {
        let word = |target: &Target| lower(target);
        match self {
            Self::Crash { target, point, .. } | Self::CrashInShutdown { target, point } => {
                format!("crash {} at {point}", word(target))
            }
            Self::Kill { target } => format!("kill {}", word(target)),
            Self::Restart => "restart".into(),
            Self::Migrate => "crash migration".into(),
            Self::Proxy {
                target,
                disturbance,
            } => {
                let how = match disturbance {
                    Disturbance::Delay { .. } => "delay",
                    Disturbance::Cut { .. } => "cut",
                    Disturbance::Reset { .. } => "reset",
                };
                format!("{how} {} connections", word(target))
            }
            Self::Stop => "stop worker past its lease".into(),
            Self::TornLog => "tear the log's tail".into(),
            Self::WipeViews => "wipe views".into(),
            Self::Restore { running: true } => "restore tables, running".into(),
            Self::Restore { running: false } => "restore tables, stopped".into(),
            Self::FullDisk { target } => format!("full disk of {}", word(target)),
            Self::Rebuild {
                projection, point, ..
            } => format!("crash rebuild of {projection} at {point}"),
            Self::LoseLog { .. } => "lose the log, crash its restoring".into(),
            Self::LoseFolder { source } => {
                format!("lose the log's folder, restore its {}", lower(source))
            }
            Self::WeakLog { setting, value, .. } => {
                format!("log comes back with {setting} {value}")
            }
            Self::Replica { of } => format!("log becomes a replica, primary: {}", lower(of)),
            Self::ReadOnly { by } => format!("PostgreSQL becomes read-only by {}", lower(by)),
        }
    }

    pub fn loses_log(&self) -> bool {
        matches!(self, Self::LoseLog { .. }) || self.loses_acknowledged()
    }

    /// Whether writes that were acknowledged are lost, which must be told.
    pub fn loses_acknowledged(&self) -> bool {
        let wiped = Primary::Empty;
        matches!(self, Self::LoseFolder { .. }) || *self == Self::Replica { of: wiped }
    }

    /// Whether the log server answers as if nothing were in the log, for a while.
    pub fn empties_log(&self) -> bool {
        let unread = matches!(self, Self::WeakLog { setting, .. } if *setting == "appendonly");
        unread || self.loses_log()
    }

    /// Whether a server answers, and must not be worked with.
    pub fn unfit(&self) -> bool {
        matches!(
            self,
            Self::LoseFolder { .. }
                | Self::WeakLog { .. }
                | Self::Replica { .. }
                | Self::ReadOnly { .. }
        )
    }

    /// Whether the worker archives, and trims what it has archived.
    pub fn archives(&self) -> bool {
        match self {
            Self::Crash { point, .. } => point.starts_with("archive."),
            Self::LoseLog { .. } => true,
            Self::LoseFolder { source } => *source == Source::Archive,
            Self::Replica { of } => *of == Primary::Empty,
            _ => false,
        }
    }

    /// Whether the API's clients may see broken connections.
    pub fn breaks_connections(&self) -> bool {
        match self {
            Self::Crash { target, .. }
            | Self::CrashInShutdown { target, .. }
            | Self::Kill { target }
            | Self::Proxy { target, .. } => *target == Target::Api,
            Self::Restart | Self::TornLog | Self::Restore { running: false } => true,
            _ => self.loses_log(),
        }
    }
}

fn lower(what: &impl std::fmt::Debug) -> String {
    format!("{what:?}").to_lowercase()
}

/// Kinds of faults in a round; as many trials have each as often as it stands
/// here.
pub const ROUND: u64 = 48;

impl Plan {
    pub fn draw(seed: u64, number: u64) -> Self {
        let mut random =
            ChaCha8Rng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let fault = fault(number, &mut random);
        let slow = matches!(fault, Fault::Stop);
        Self {
            number,
            workers: match fault {
                Fault::Stop => 2,
                // Another one might be the archiver.
                _ if fault.archives() => 1,
                _ => *[1, 1, 2].choose(&mut random).unwrap_or(&1),
            },
            clients: random.random_range(8..=24),
            pace_milliseconds: if slow { 60 } else { random.random_range(0..4) },
            before_milliseconds: match fault {
                // There must be something to disturb or to lose.
                Fault::WipeViews => random.random_range(900..1_400),
                Fault::Proxy { .. } => random.random_range(300..600),
                _ => random.random_range(50..600),
            },
            down_milliseconds: random.random_range(0..300),
            after_milliseconds: random.random_range(150..400),
            push_followers_max: match fault {
                // Where all is pulled, nothing is pushed.
                Fault::Crash {
                    point: "fan_out.chunk",
                    ..
                } => 5_000,
                _ => *[0, 4, 4, 5_000, 5_000].choose(&mut random).unwrap_or(&4),
            },
            registrations: match fault {
                // An address whose registration was lost is told as taken for minutes.
                _ if fault.loses_acknowledged() => 0,
                Fault::Crash { point, .. } if point.starts_with("register.") => 8,
                _ => 2,
            },
            leases_expire: random.random_range(0..4) == 0,
            fault,
        }
    }

    /// For what is drawn while the trial runs.
    pub fn random(&self, seed: u64, stream: u64) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ self.number.rotate_left(32));
        random.set_stream(stream + 1);
        random
    }
}

/// Rounds after which every variant of a fault has come.
const ROUNDS_MAX: u64 = 60;

/// The numbers of `count` trials from `first` on whose fault's name has `text`.
pub fn with_fault(seed: u64, text: &str, first: u64, count: u64) -> anyhow::Result<Vec<u64>> {
    let has = |n: &u64| Plan::draw(seed, *n).fault.name().contains(text);
    anyhow::ensure!(
        (first..first + ROUNDS_MAX * ROUND).any(|n| has(&n)),
        "no fault's name has {text:?}; they are:\n  {}",
        names(seed).into_iter().collect::<Vec<_>>().join("\n  ")
    );
    Ok((first..).filter(has).take(count as usize).collect())
}

fn names(seed: u64) -> BTreeSet<String> {
    let all = (0..ROUNDS_MAX * ROUND).map(|n| Plan::draw(seed, n).fault.name());
    all.collect()
}

/// Settings of a log server that could lose what it has acknowledged.
const WEAK: [(&str, &str); 5] = [
    ("appendfsync", "everysec"),
    ("maxmemory-policy", "allkeys-lru"),
    ("appendonly", "no"),
    ("no-appendfsync-on-rewrite", "yes"),
    ("appendfsync", "no"),
];

fn fault(number: u64, random: &mut ChaCha8Rng) -> Fault {
    use Target::{Api, Backend, Log, Postgres, Views, Worker};
    let crash = |target, point, count| Fault::Crash {
        target,
        point,
        count,
    };
    let kill = |target| Fault::Kill { target };
    let turn = number / ROUND;
    match number % ROUND {
        0 => crash(Api, "append.before", random.random_range(1..150)),
        1 => Fault::LoseFolder {
            source: [Source::Archive, Source::Copy][(turn % 2) as usize],
        },
        2 => crash(Api, "append.after", random.random_range(1..150)),
        3 => {
            let (setting, value) = WEAK[(turn as usize) % WEAK.len()];
            Fault::WeakLog {
                setting,
                value,
                // One that appends nothing has loaded nothing: it must read its file.
                running: setting != "appendonly" && turn.is_multiple_of(2),
            }
        }
        4 => crash(Api, "register.reserved", random.random_range(1..3)),
        5 => crash(Api, "register.admitted", random.random_range(1..3)),
        6 => crash(Api, "timeline.fill", random.random_range(1..12)),
        7 | 8 => crash(Worker, "fold.rows", random.random_range(1..25)),
        9 => crash(Worker, "fold.committed", random.random_range(1..25)),
        10 => crash(Worker, "lease.renew", random.random_range(2..3)),
        11 | 44 => crash(Worker, "fan_out.chunk", random.random_range(1..25)),
        12 => Fault::Replica {
            of: [Primary::Copy, Primary::Empty, Primary::Missing][(turn % 3) as usize],
        },
        13 => crash(Worker, "fan_out.pushed", random.random_range(1..15)),
        14 => Fault::Migrate,
        15 => Fault::CrashInShutdown {
            target: Api,
            point: ["shutdown.begun", "shutdown.served"][(turn % 2) as usize],
        },
        16 => Fault::CrashInShutdown {
            target: Worker,
            point: ["shutdown.begun", "shutdown.worked"][(turn % 2) as usize],
        },
        17 => Fault::Restart,
        18 | 45 => kill(Api),
        19 => Fault::ReadOnly {
            by: [
                ReadOnly::Database,
                ReadOnly::System,
                ReadOnly::Restart,
                ReadOnly::Role,
                ReadOnly::Reload,
            ][(turn % 5) as usize],
        },
        20 | 21 => kill(Worker),
        22..=24 => kill(Log),
        25 | 26 => kill(Views),
        27 | 28 => kill(Postgres),
        29 => kill(Backend),
        30 | 31 => proxied(Log, random),
        32 => proxied(Views, random),
        33 => proxied(Postgres, random),
        34 => proxied(Api, random),
        35 => Fault::Stop,
        36 => Fault::TornLog,
        37 => Fault::WipeViews,
        38 => Fault::Restore {
            running: turn % 2 == 1,
        },
        39 => Fault::FullDisk {
            target: [Log, Postgres, Views][(turn % 3) as usize],
        },
        40 => Fault::Rebuild {
            projection: "social",
            point: ["swap.before", "swap.after", "fold.rows", "fold.committed"]
                [(turn % 4) as usize],
            count: match turn % 4 {
                0 | 1 => 1,
                _ => random.random_range(1..9),
            },
        },
        41 => Fault::Rebuild {
            projection: "timelines",
            point: [
                "timeline.fill",
                "swap.before",
                "fan_out.pushed",
                "swap.after",
            ][(turn % 4) as usize],
            count: match turn % 4 {
                0 => random.random_range(1..6),
                _ => 1,
            },
        },
        42 => {
            let points = [
                "archive.segment",
                "archive.manifest",
                "archive.published",
                "archive.trim",
            ];
            let point = points[(turn % 4) as usize];
            crash(Worker, point, random.random_range(1..9))
        }
        43 => Fault::LoseLog {
            count: random.random_range(1..8),
        },
        46 => crash(Api, "append.before", random.random_range(1..150)),
        _ => crash(Api, "append.after", random.random_range(1..150)),
    }
}

fn proxied(target: Target, random: &mut impl Rng) -> Fault {
    let bytes_max = 1 << random.random_range(6..14);
    let disturbance = match random.random_range(0..3) {
        0 => Disturbance::Delay {
            milliseconds_max: random.random_range(2..60),
        },
        1 => Disturbance::Cut { bytes_max },
        _ => Disturbance::Reset { bytes_max },
    };
    Fault::Proxy {
        target,
        disturbance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_number_give_the_same_plan_and_a_round_has_every_kind() {
        let text = |seed, number| format!("{:?}", Plan::draw(seed, number));
        assert_eq!(text(7, 3), text(7, 3));
        assert_ne!(text(7, 3), text(8, 3));
        let names: BTreeSet<_> = (0..6 * ROUND)
            .map(|n| Plan::draw(1, n).fault.name())
            .collect();
        assert!(names.len() >= 50, "{names:#?}");
    }

    #[test]
    fn the_short_form_has_every_unfit_server() {
        let unfit = (0..40).map(|n| Plan::draw(40, n).fault);
        assert_eq!(unfit.filter(Fault::unfit).count(), 4);
    }

    #[test]
    fn every_crash_point_has_trials() {
        let planned: BTreeSet<_> = (0..4 * ROUND)
            .filter_map(|n| match Plan::draw(1, n).fault {
                Fault::Crash { point, .. }
                | Fault::CrashInShutdown { point, .. }
                | Fault::Rebuild { point, .. } => Some(point),
                Fault::LoseLog { .. } => Some("restore.partition"),
                Fault::Migrate => Some("migrate.middle"),
                _ => None,
            })
            .collect();
        assert_eq!(planned, BTreeSet::from(kernel::crash::POINTS));
    }
}
