//! Rate limits: budgets of points that come back with time (GCRA), counted in
//! the views server for all processes at once, one script a request. Where that
//! server is away each process counts by itself, so that nothing stops and
//! nothing is unlimited. It refuses to know what the points are for.
//!
//! What every request spends is metered: a process takes a twentieth of a budget
//! at a time and spends it by itself, so that a request seldom waits for the
//! server. All together spend at most a twentieth more for each process; more than
//! twenty of them may refuse somebody while another has points left.

use std::{
    collections::HashMap,
    net::IpAddr,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use kernel::AccountId;
use parking_lot::Mutex;
use redis::{
    Client, ErrorKind, RedisResult, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use servers::Redis;
use sha2::Sha256;
use tokio::{sync::Mutex as Turn, time::timeout};

/// Tells this use of the secret from others.
const PURPOSE: &[u8] = b"headwater: limits\0";
const SPEND: &str = include_str!("limits.lua");
/// Requests wait for this, so it is short.
const RESPONSE_MILLISECONDS_MAX: u64 = 100;
const CONNECT_MILLISECONDS_MAX: u64 = 100;
/// After a failure it is left alone so long.
const AWAY_MILLISECONDS: u64 = 1_000;
/// Budgets that one process counts by itself; full ones are forgotten first.
const LOCAL_MAX: usize = 100_000;
/// Of a budget, what a process takes at a time.
const LEASE_SHARE: u32 = 20;
/// How long a refusal is remembered here at most.
const REFUSED_MAX: Duration = Duration::from_secs(1);

/// So many points, which come back evenly within a time; none: unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub points: u32,
    pub window: Duration,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a limit is points/seconds, such as 5/300, at most 1000000/1, or off")]
pub struct InvalidBudget;

impl FromStr for Budget {
    type Err = InvalidBudget;

    fn from_str(text: &str) -> Result<Self, InvalidBudget> {
        if text == "off" {
            return Ok(Self::NONE);
        }
        let (points, seconds) = text.split_once('/').ok_or(InvalidBudget)?;
        let points = points.parse().map_err(|_| InvalidBudget)?;
        let seconds: u32 = seconds.parse().map_err(|_| InvalidBudget)?;
        let budget = Self {
            points,
            window: Duration::from_secs(seconds.into()),
        };
        match points > 0 && budget.each() > 0 {
            true => Ok(budget),
            false => Err(InvalidBudget),
        }
    }
}

impl Budget {
    /// Nothing is limited.
    pub const NONE: Self = Self {
        points: 0,
        window: Duration::from_secs(1),
    };

    /// Microseconds that one point takes to come back.
    fn each(&self) -> i64 {
        self.whole() / i64::from(self.points.max(1))
    }

    fn whole(&self) -> i64 {
        i64::try_from(self.window.as_micros()).unwrap_or(i64::MAX)
    }

    fn remaining(&self, until_full: i64) -> u32 {
        let left = (self.whole() - until_full).max(0) / self.each().max(1);
        u32::try_from(left).unwrap_or(u32::MAX).min(self.points)
    }
}

/// Whose a budget is. Not to be printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Whose {
    Account(AccountId),
    Address(IpAddr),
    /// A login, or an address as text.
    Named(String),
}

/// Points of somebody's budget.
#[derive(Clone)]
pub struct Spend {
    pub budget: Budget,
    /// What the budget is for, and whose it is: kept as a hash.
    pub purpose: &'static str,
    pub whose: Whose,
    /// Negative: given back.
    pub points: i32,
}

/// How one budget stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether there were enough points in it. Only where all budgets have
    /// enough, any is spent.
    pub enough: bool,
    pub remaining: u32,
    /// Until it is full again.
    pub full_in: Duration,
    /// Until there are enough.
    pub enough_in: Duration,
}

impl Standing {
    const UNKNOWN: Self = Self {
        enough: true,
        remaining: 0,
        full_in: Duration::ZERO,
        enough_in: Duration::ZERO,
    };
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    client: Client,
    /// Made anew after a failure: the manager would keep for ever what only falls
    /// silent, and a greeting that was refused.
    manager: Mutex<ConnectionManager>,
    prefix: String,
    /// Makes keys of whose budgets they are.
    names: Hmac<Sha256>,
    script: Script,
    /// Milliseconds after `began` until which the server is left alone.
    away_until: AtomicU64,
    began: Instant,
    local: Mutex<HashMap<[u8; 16], i64>>,
    leases: Mutex<HashMap<(&'static str, Whose), Lease>>,
}

/// What this process took of a budget.
struct Lease {
    /// Points that it has not spent.
    left: i32,
    /// Of the budget, when it asked last, and for how many.
    standing: Standing,
    wanted: i32,
    at: Instant,
    /// Of those who find too few here one asks, and brings for the others too.
    turn: Arc<Turn<()>>,
}

impl Lease {
    fn new() -> Self {
        Self {
            left: 0,
            standing: Standing::UNKNOWN,
            wanted: 0,
            at: Instant::now(),
            turn: Arc::default(),
        }
    }

    /// What is known without asking; none where it must be asked.
    fn spend(&mut self, spend: &Spend) -> Option<Standing> {
        let age = self.at.elapsed();
        // Older ones have come back to the budget meanwhile.
        if self.left >= spend.points && age < spend.budget.window {
            self.left -= spend.points;
            return Some(self.told());
        }
        let refused = !self.standing.enough && spend.points >= self.wanted;
        let lately = age < self.standing.enough_in.min(REFUSED_MAX);
        (refused && lately).then_some(self.standing)
    }

    fn told(&self) -> Standing {
        let left = u32::try_from(self.left).unwrap_or_default();
        Standing {
            enough: true,
            remaining: self.standing.remaining.saturating_add(left),
            ..self.standing
        }
    }
}

impl Limits {
    /// On the views server; connects when first used. All processes have one secret, or
    /// each counts by itself.
    pub fn new(server: impl Into<Redis>, prefix: &str, secret: &[u8]) -> RedisResult<Self> {
        let client = server.into().client()?;
        let weak = |_| {
            (
                ErrorKind::InvalidClientConfig,
                "a secret of no use as a key",
            )
        };
        let mut names = Hmac::<Sha256>::new_from_slice(secret).map_err(weak)?;
        names.update(PURPOSE);
        Ok(Self(Arc::new(Inner {
            manager: Mutex::new(connect(&client)?),
            client,
            prefix: prefix.to_owned(),
            names,
            script: Script::new(SPEND),
            away_until: AtomicU64::new(0),
            began: Instant::now(),
            local: Mutex::default(),
            leases: Mutex::default(),
        })))
    }

    /// Spends all, or nothing where one budget has not enough.
    pub async fn spend(&self, spends: &[Spend]) -> Vec<Standing> {
        let now = self.0.began.elapsed().as_millis() as u64;
        if now >= self.0.away_until.load(Ordering::Relaxed) {
            match self.ask(spends).await {
                Ok(standings) => return standings,
                Err(error) => {
                    let until = now + AWAY_MILLISECONDS;
                    self.0.away_until.store(until, Ordering::Relaxed);
                    if let Ok(manager) = connect(&self.0.client) {
                        *self.0.manager.lock() = manager;
                    }
                    tracing::warn!(%error, "the views server does not count; counts here");
                }
            }
        }
        self.count_here(spends)
    }

    /// Spends what a process took before, or takes more.
    pub async fn meter(&self, spend: Spend) -> Standing {
        let key = (spend.purpose, spend.whose.clone());
        let looked = |lease: &mut Lease| lease.spend(&spend).ok_or_else(|| lease.turn.clone());
        let turn = match self.lease(&key, looked) {
            Ok(standing) => return standing,
            Err(turn) => turn,
        };
        // Not for ever: what the server is slow with, each then waits for alone.
        let patience = Duration::from_millis(RESPONSE_MILLISECONDS_MAX);
        let _turn = timeout(patience, turn.lock()).await;
        if let Some(standing) = self.lease(&key, |lease| lease.spend(&spend)) {
            return standing;
        }
        let share = i32::try_from(spend.budget.points / LEASE_SHARE).unwrap_or(i32::MAX);
        let (needed, mut taken) = (spend.points, share.max(spend.points));
        let mut standing = self.take(&spend, taken).await;
        if !standing.enough && taken > needed {
            taken = needed;
            standing = self.take(&spend, taken).await;
        }
        self.lease(&key, |lease| {
            if lease.at.elapsed() >= spend.budget.window {
                lease.left = 0;
            }
            (lease.standing, lease.wanted, lease.at) = (standing, taken, Instant::now());
            if !standing.enough {
                return standing;
            }
            lease.left = lease.left.saturating_add(taken - needed);
            lease.told()
        })
    }

    /// Gives back what was metered here, for whoever asks next.
    pub fn give_back(&self, spend: &Spend) {
        let key = (spend.purpose, spend.whose.clone());
        self.lease(&key, |lease| {
            lease.left = lease.left.saturating_add(spend.points)
        });
    }

    fn lease<T>(&self, key: &(&'static str, Whose), look: impl FnOnce(&mut Lease) -> T) -> T {
        let mut leases = self.0.leases.lock();
        if let Some(lease) = leases.get_mut(key) {
            return look(lease);
        }
        if leases.len() >= LOCAL_MAX {
            leases.retain(|_, lease| lease.at.elapsed() < REFUSED_MAX);
        }
        if leases.len() >= LOCAL_MAX {
            leases.clear();
        }
        look(leases.entry(key.clone()).or_insert_with(Lease::new))
    }

    async fn take(&self, spend: &Spend, points: i32) -> Standing {
        let spend = Spend {
            points,
            ..spend.clone()
        };
        let standings = self.spend(std::slice::from_ref(&spend)).await;
        // One for each.
        standings.first().copied().unwrap_or(Standing::UNKNOWN)
    }

    async fn ask(&self, spends: &[Spend]) -> RedisResult<Vec<Standing>> {
        let mut call = self.0.script.prepare_invoke();
        for spend in spends {
            let key = hex::encode(spend.key(&self.0.names));
            call.key(format!("{}:limit:{key}", self.0.prefix));
            call.arg(spend.points)
                .arg(spend.budget.each())
                .arg(spend.budget.whole());
        }
        let mut manager = self.0.manager.lock().clone();
        let answer: Vec<i64> = call.invoke_async(&mut manager).await?;
        let standings = spends.iter().zip(answer.chunks_exact(3));
        Ok(standings
            .map(|(spend, of)| spend.standing(of[0] == 1, of[1], of[2]))
            .collect())
    }

    /// The same as the script, for this process alone.
    fn count_here(&self, spends: &[Spend]) -> Vec<Standing> {
        let now = i64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        let mut local = self.0.local.lock();
        if local.len() + spends.len() > LOCAL_MAX {
            local.retain(|_, arrival| *arrival > now);
        }
        // All of them in use: whoever is not counted yet begins anew.
        if local.len() + spends.len() > LOCAL_MAX {
            local.clear();
        }
        count(&mut local, &self.0.names, spends, now)
    }
}

fn connect(client: &Client) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(Duration::from_millis(CONNECT_MILLISECONDS_MAX)))
        .set_response_timeout(Some(Duration::from_millis(RESPONSE_MILLISECONDS_MAX)));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn count(
    arrivals: &mut HashMap<[u8; 16], i64>,
    names: &Hmac<Sha256>,
    spends: &[Spend],
    now: i64,
) -> Vec<Standing> {
    let looked: Vec<_> = spends
        .iter()
        .map(|spend| {
            let (key, budget) = (spend.key(names), spend.budget);
            let mut arrival = arrivals.get(&key).copied().unwrap_or(now).max(now);
            if arrival > now + budget.whole() {
                arrival = now + budget.whole();
                arrivals.insert(key, arrival);
            }
            let later = (arrival + i64::from(spend.points) * budget.each()).max(now);
            let wait = later - now - budget.whole();
            let enough = wait <= 0 || spend.points <= 0;
            (key, arrival, later, enough, wait.max(0))
        })
        .collect();
    let all = looked.iter().all(|(_, _, _, enough, _)| *enough);
    let mut standings = Vec::with_capacity(spends.len());
    for (spend, (key, arrival, later, enough, wait)) in spends.iter().zip(looked) {
        let at = if all { later } else { arrival };
        if all && later > now {
            arrivals.insert(key, later);
        } else if all {
            arrivals.remove(&key);
        }
        standings.push(spend.standing(enough, at - now, wait));
    }
    standings
}

impl Spend {
    /// 128 bits: short, and nobody without the secret can try which address or login
    /// it is of.
    fn key(&self, names: &Hmac<Sha256>) -> [u8; 16] {
        let mut name = names.clone();
        name.update(self.purpose.as_bytes());
        name.update(&[0]);
        match &self.whose {
            Whose::Account(account) => name.update(account.0.as_bytes()),
            Whose::Address(address) => name.update(address.to_string().as_bytes()),
            Whose::Named(text) => name.update(text.as_bytes()),
        }
        let hash = name.finalize().into_bytes();
        let mut key = [0; 16];
        key.copy_from_slice(&hash[..16]);
        key
    }

    fn standing(&self, enough: bool, until_full: i64, wait: i64) -> Standing {
        let micros = |micros: i64| Duration::from_micros(micros.max(0).unsigned_abs());
        Standing {
            enough,
            remaining: self.budget.remaining(until_full),
            full_in: micros(until_full),
            enough_in: micros(wait),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use devservices::{Programs, RedisOptions, RedisRole, RedisServer};

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn spend(whose: &str, points: i32) -> Spend {
        Spend {
            budget: Budget {
                points: 5,
                window: Duration::from_secs(300),
            },
            purpose: "test",
            whose: Whose::Named(whose.into()),
            points,
        }
    }

    #[test]
    fn points_come_back_evenly_and_a_refusal_spends_none() {
        let mut local = HashMap::new();
        let names = Hmac::<Sha256>::new_from_slice(b"secret").unwrap();
        let mut at =
            |seconds: i64, spends: &[Spend]| count(&mut local, &names, spends, seconds * SECOND);
        for left in (0..5).rev() {
            let standing = at(0, &[spend("ada", 1)])[0];
            assert_eq!((standing.enough, standing.remaining), (true, left));
        }
        let refused = at(0, &[spend("ada", 1)])[0];
        assert_eq!((refused.enough, refused.remaining), (false, 0));
        assert_eq!(refused.enough_in, Duration::from_secs(60));
        assert_eq!(refused.full_in, Duration::from_secs(300));
        // One without points keeps the other from spending.
        let both = at(0, &[spend("bob", 1), spend("ada", 1)]);
        assert!(both[0].enough && !both[1].enough);
        assert_eq!(at(0, &[spend("bob", 5)])[0].remaining, 0);
        assert!(!at(59, &[spend("ada", 1)])[0].enough);
        assert!(at(60, &[spend("ada", 1)])[0].enough);
        // Given back, and never more than there was.
        assert_eq!(at(60, &[spend("ada", -1)])[0].remaining, 1);
        assert_eq!(at(60, &[spend("ada", -100)])[0].remaining, 5);
        assert_eq!(at(1_000, &[spend("bob", 0)])[0].remaining, 5);
        // A budget that was made smaller forgets what was above it.
        let mut longer = spend("eve", 5);
        longer.budget.window = Duration::from_secs(86_400);
        assert!(at(1_000, &[longer])[0].enough);
        assert!(!at(1_300, &[spend("eve", 1)])[0].enough);
        assert!(at(1_360, &[spend("eve", 1)])[0].enough);
    }

    #[test]
    fn a_budget_reads_as_points_and_seconds() {
        let five = spend("", 1).budget;
        assert_eq!("5/300".parse(), Ok(five));
        assert_eq!("off".parse(), Ok(Budget::NONE));
        for wrong in [
            "",
            "5",
            "0/300",
            "5/0",
            "-1/3",
            "5/300s",
            "5/99999999999",
            "1000001/1",
        ] {
            assert_eq!(wrong.parse::<Budget>(), Err(InvalidBudget), "{wrong}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_asked_cannot_be_looked_up_without_the_secret() {
        use sha2::Digest;

        let programs = Programs::find().unwrap();
        let options = RedisOptions::throwaway(&programs, RedisRole::Views).unwrap();
        let server = RedisServer::start(options).await.unwrap();
        let spend = Spend {
            whose: Whose::Address("203.0.113.7".parse().unwrap()),
            ..spend("", 1)
        };
        let mut connection = redis::Client::open(server.url())
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap();
        let mut seen = Vec::new();
        for (secret, count) in [(&b"secret"[..], 1), (&b"secret"[..], 1), (&b"other"[..], 2)] {
            let limits = Limits::new(server.url(), "t", secret).unwrap();
            limits.spend(std::slice::from_ref(&spend)).await;
            seen = redis::cmd("KEYS")
                .arg("t:limit:*")
                .query_async::<Vec<String>>(&mut connection)
                .await
                .unwrap();
            assert_eq!(seen.len(), count, "all with the secret count together");
        }
        // What anybody can make of an address.
        let plain = Sha256::digest(b"test\x00203.0.113.7");
        let unkeyed = <Hmac<Sha256> as KeyInit>::new(&Default::default());
        for guess in [hex::encode(&plain[..16]), hex::encode(spend.key(&unkeyed))] {
            assert!(!seen.contains(&format!("t:limit:{guess}")));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_processes_count_together_and_alone_where_the_server_is_away() {
        let programs = Programs::find().unwrap();
        let options = RedisOptions::throwaway(&programs, RedisRole::Views).unwrap();
        let mut server = RedisServer::start(options).await.unwrap();
        let (one, other) = (
            Limits::new(server.url(), "t", b"secret").unwrap(),
            Limits::new(server.url(), "t", b"secret").unwrap(),
        );
        let racing = (0..40).map(|number| {
            let limits = [&one, &other][number % 2].clone();
            tokio::spawn(async move { limits.spend(&[spend("ada", 1)]).await[0].enough })
        });
        let mut let_in = 0;
        for race in racing.collect::<Vec<_>>() {
            let_in += u32::from(race.await.unwrap());
        }
        assert_eq!(let_in, 5);
        let standing = other.spend(&[spend("ada", 1)]).await[0];
        assert!(standing.enough_in > Duration::from_secs(50));
        assert_eq!(one.spend(&[spend("ada", -1)]).await[0].remaining, 1);
        let both = other.spend(&[spend("bob", 1), spend("ada", 2)]).await;
        assert!(both[0].enough && !both[1].enough);
        assert_eq!(one.spend(&[spend("bob", 5)]).await[0].remaining, 0);

        // A twentieth at a time, and at most that more for each process.
        let metered = |whose: &str| Spend {
            budget: Budget {
                points: 100,
                window: Duration::from_secs(3_000),
            },
            ..spend(whose, 1)
        };
        let first = one.meter(metered("zoe")).await;
        assert_eq!((first.enough, first.remaining), (true, 99));
        assert_eq!(
            other
                .spend(&[Spend {
                    points: 0,
                    ..metered("zoe")
                }])
                .await[0]
                .remaining,
            95
        );
        let mut let_in = 1;
        for number in 0..300 {
            let limits = [&one, &other][number % 2];
            let_in += u32::from(limits.meter(metered("zoe")).await.enough);
        }
        assert!((100..=110).contains(&let_in), "{let_in}");
        assert!(one.meter(metered("zoe")).await.enough_in > Duration::from_secs(1));
        // At once, too: nobody is refused while points are in hand, nor are more taken.
        let at_once = (0..120).map(|_| {
            let one = one.clone();
            tokio::spawn(async move { one.meter(metered("max")).await.enough })
        });
        let mut let_in = Vec::new();
        for asked in at_once.collect::<Vec<_>>() {
            let_in.push(asked.await.unwrap());
        }
        let count = let_in.iter().filter(|enough| **enough).count();
        assert!((100..=105).contains(&count), "{count}");

        server.kill().await.unwrap();
        for left in (0..5).rev() {
            assert_eq!(one.spend(&[spend("ada", 1)]).await[0].remaining, left);
        }
        assert!(!one.spend(&[spend("ada", 1)]).await[0].enough);
        // Both go back to it by themselves.
        server.restart().await.unwrap();
        let began = Instant::now();
        while one.spend(&[spend("eve", 0)]).await[0].remaining == 5 {
            other.spend(&[spend("eve", 1)]).await;
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "each counts alone"
            );
            tokio::task::yield_now().await;
        }
    }
}
