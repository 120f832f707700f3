//! How many connections a server has left, and how many of them a process takes.
//! Each names its connections by what it may take in all, so that who comes later
//! does not count on what is only not taken yet.

use std::collections::BTreeMap;

use servers::Trouble;

/// For operators' commands, and for what looks at the database by itself.
const KEPT_FOR_OPERATORS: i64 = 5;
/// A process of the other role, at its smallest.
const KEPT_FOR_ANOTHER: i64 = 5;
/// A command leaves one for the next.
const KEPT_FOR_THE_NEXT: i64 = 1;
/// Locks that must not come back to a pool.
const LOCKS: i64 = 1;
const NAME: &str = "headwater ";
const CLAIM: &str = " up to ";

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessRole {
    /// It serves and works, alone.
    All,
    /// It serves, or it works: the other has its own.
    Half,
    /// An operator's command.
    Command,
}

/// One open connection.
pub(super) struct Holder {
    pub name: String,
    pub of_role: bool,
    pub of_database: bool,
}

/// Of connections; a negative one is none.
pub(super) struct Limit {
    name: &'static str,
    most: i64,
    counts: fn(&Holder) -> bool,
}

impl Limit {
    /// Without those that are reserved.
    pub fn server(most: i64) -> Self {
        let name = "max_connections, without those that are reserved";
        let counts = |_: &Holder| true;
        Self { name, most, counts }
    }

    pub fn role(most: i64) -> Self {
        let name = "the role's CONNECTION LIMIT";
        let counts = |holder: &Holder| holder.of_role;
        Self { name, most, counts }
    }

    pub fn database(most: i64) -> Self {
        let name = "the database's CONNECTION LIMIT";
        let counts = |holder: &Holder| holder.of_database;
        Self { name, most, counts }
    }
}

/// What the tightest limit leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The limit, and which it is.
    pub most: i64,
    pub limit: &'static str,
    /// What is open or claimed by others.
    pub taken: i64,
}

/// How many connections a process takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub wanted: u32,
    pub given: u32,
}

impl Share {
    /// What the pools of a process may have, by what they want.
    pub fn of(self, wanted: u32) -> u32 {
        if self.given >= self.wanted {
            return wanted;
        }
        let part = u64::from(wanted) * u64::from(self.given) / u64::from(self.wanted.max(1));
        u32::try_from(part).unwrap_or(wanted).max(2)
    }
}

impl Room {
    pub(super) fn of(limits: &[Limit], holders: &[Holder]) -> Self {
        let rooms = limits.iter().filter(|limit| limit.most >= 0).map(|limit| {
            let counted = holders.iter().filter(|holder| (limit.counts)(holder));
            Self {
                most: limit.most,
                limit: limit.name,
                taken: taken(counted.map(|holder| holder.name.as_str())),
            }
        });
        let tightest = rooms.min_by_key(Self::left);
        tightest.unwrap_or(Self {
            most: i64::from(u32::MAX),
            limit: "none",
            taken: 0,
        })
    }

    pub fn left(&self) -> i64 {
        self.most - self.taken
    }

    /// `wanted`: of all pools of the process; with less than `least` it would wait for
    /// itself.
    pub fn share(&self, role: ProcessRole, wanted: u32, least: u32) -> Result<Share, Trouble> {
        let kept = match role {
            ProcessRole::All => KEPT_FOR_OPERATORS,
            ProcessRole::Half => KEPT_FOR_OPERATORS + KEPT_FOR_ANOTHER,
            ProcessRole::Command => KEPT_FOR_THE_NEXT,
        };
        let least = i64::from(least.min(wanted));
        let left = self.left() - LOCKS;
        if left < least {
            return Err(Trouble::new(
                format!(
                    "PostgreSQL has {} connections left of {} ({}), and {} are needed at least",
                    self.left().max(0),
                    self.most,
                    self.limit,
                    least + LOCKS
                ),
                "end what holds them (SELECT * FROM pg_stat_activity), lower DATABASE_CONNECTIONS \
                 of other processes, or raise that limit",
            ));
        }
        let given = i64::from(wanted).min((left - kept).max(least));
        Ok(Share {
            wanted,
            given: u32::try_from(given).unwrap_or(wanted),
        })
    }
}

/// How a process names its connections.
pub fn claim(what: &str, process: u32, share: Share) -> String {
    let all = i64::from(share.given) + LOCKS;
    format!("{NAME}{what} {process}{CLAIM}{all}")
}

/// Connections that are open, or that a process has claimed.
fn taken<'a>(names: impl Iterator<Item = &'a str>) -> i64 {
    let mut open: BTreeMap<&str, i64> = BTreeMap::new();
    for name in names {
        *open.entry(name).or_default() += 1;
    }
    let all = open.into_iter().map(|(name, open)| {
        let claim = name
            .strip_prefix(NAME)
            .and_then(|name| name.rsplit_once(CLAIM));
        let claimed = claim.and_then(|(_, claimed)| claimed.parse().ok());
        claimed
            .unwrap_or(0)
            .clamp(open, i64::from(u16::MAX).max(open))
    });
    all.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(most: i64, taken: i64) -> Room {
        let limit = "max_connections";
        Room { most, limit, taken }
    }

    fn given(room: &Room, role: ProcessRole, wanted: u32) -> Option<u32> {
        let least = if role == ProcessRole::Command { 4 } else { 6 };
        room.share(role, wanted, least)
            .ok()
            .map(|share| share.given)
    }

    #[test]
    fn a_large_server_gives_what_is_wanted() {
        assert_eq!(given(&room(97, 0), ProcessRole::Half, 40), Some(40));
        assert_eq!(given(&room(97, 41), ProcessRole::Half, 32), Some(32));
        assert_eq!(given(&room(97, 74), ProcessRole::Command, 4), Some(4));
    }

    #[test]
    fn a_small_server_is_shared_and_operators_have_a_place() {
        let mut taken = 0;
        for (wanted, least) in [(40, 6), (32, 4)] {
            let share = room(17, taken).share(ProcessRole::Half, wanted, least);
            let given = share.map_or(0, |share| share.given);
            assert!(given >= least, "{taken}: {given}");
            taken += i64::from(given) + LOCKS;
        }
        assert_eq!(given(&room(17, taken), ProcessRole::Half, 40), None);
        assert_eq!(given(&room(17, taken), ProcessRole::Command, 32), Some(4));
        assert_eq!(given(&room(17, 0), ProcessRole::All, 40), Some(11));
    }

    #[test]
    fn what_a_process_may_take_counts_as_taken() {
        let share = |given| Share { wanted: 40, given };
        let serve = claim("serve", 7, share(30));
        let names = [serve.as_str(), &serve, "psql", "psql", "headwater tail", ""];
        assert_eq!(taken(names.into_iter()), 31 + 2 + 1 + 1);
    }

    #[test]
    fn the_tightest_limit_counts() {
        let holder = |name: &str, of_role, of_database| Holder {
            name: name.to_owned(),
            of_role,
            of_database,
        };
        let holders = [holder("a", true, false), holder("b", true, true)];
        let limits = [Limit::server(97), Limit::role(10), Limit::database(-1)];
        let found = Room::of(&limits, &holders);
        assert_eq!((found.most, found.taken), (10, 2));
        let limits = [Limit::server(97), Limit::role(10), Limit::database(3)];
        assert_eq!(Room::of(&limits, &holders).left(), 2);
    }
}
