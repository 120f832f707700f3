//! Which sessions were ended, and which accounts barred, while access tokens of
//! them still count. Every process asks the vault each second, so that signing out is
//! final everywhere within seconds, and a request costs no query. One that has just begun
//! takes no token before it has asked. While the database is away nothing new is learned:
//! then only the tokens' 15 minutes bound them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::{AccountId, Timestamp};
use parking_lot::RwLock;
use tokio::sync::watch;
use uuid::Uuid;
use vault::{Vault, VaultError};

use crate::tokens::{ACCESS_TOKEN_SECONDS, Claims};

const LOOK: Duration = Duration::from_secs(1);
/// The time of an end is the beginning of its transaction, which may be seen so
/// much later.
const OVERLAP: Duration = Duration::from_secs(30);
const LOOK_SECONDS_MAX: u64 = 1;
/// Looks after which those that are over for long are deleted.
const LOOKS_PER_PURGE: u32 = 600;

/// Shared in `Checks`.
#[derive(Default)]
pub struct EndedSessions {
    ended: RwLock<HashMap<Uuid, Instant>>,
    /// Since when: tools have tokens of sessions that the vault does not know. Kept
    /// until the next look after a bar was lifted, so what begins after it counts.
    barred: RwLock<HashMap<AccountId, Timestamp>>,
    /// Whether the vault was not seen yet, and is looked at.
    unknown: watch::Sender<bool>,
}

impl EndedSessions {
    /// Within a runtime: follows the vault until nobody else holds it.
    pub fn start(vault: Vault) -> Arc<Self> {
        let ended = Arc::new(Self::default());
        ended.unknown.send_replace(true);
        let weak = Arc::downgrade(&ended);
        tokio::spawn(async move {
            let (mut known_until, mut looks) = (None, 0_u32);
            while let Some(ended) = weak.upgrade() {
                let began = Instant::now();
                match ended.look(&vault, known_until).await {
                    Ok(()) => known_until = Some(began),
                    Err(error) => {
                        tracing::warn!(%error, "cannot see which sessions were ended; tries again");
                    }
                }
                drop(ended);
                if looks.is_multiple_of(LOOKS_PER_PURGE) {
                    tokio::spawn(purge(vault.clone()));
                }
                looks = looks.wrapping_add(1);
                tokio::time::sleep(LOOK).await;
            }
        });
        ended
    }

    /// Whether it does not know yet what was ended before it began.
    pub fn is_unknown(&self) -> bool {
        *self.unknown.borrow()
    }

    /// Returns when it knows.
    pub async fn known(&self) {
        // The sender is here.
        let _ = self.unknown.subscribe().wait_for(|unknown| !unknown).await;
    }

    /// Whether a token that says this counts no more.
    pub fn has(&self, claims: &Claims) -> bool {
        let barred = self.barred.read().get(&claims.account).copied();
        let began = kernel::made_at(claims.session).unwrap_or_default();
        barred.is_some_and(|at| began <= at) || self.ended.read().contains_key(&claims.session)
    }

    /// For the process that ended them, at once.
    pub fn add(&self, sessions: impl IntoIterator<Item = Uuid>) {
        let now = Instant::now();
        let all = sessions.into_iter().map(|session| (session, now));
        self.ended.write().extend(all);
    }

    async fn look(&self, vault: &Vault, known_until: Option<Instant>) -> Result<(), VaultError> {
        let since = match known_until {
            Some(known_until) => known_until.elapsed() + OVERLAP,
            None => lifetime(),
        };
        let since = time::Duration::try_from(since).unwrap_or(time::Duration::HOUR);
        let patience = Duration::from_secs(LOOK_SECONDS_MAX);
        let looked = async {
            let ended = vault.sessions_ended(since).await?;
            let lifetime = time::Duration::try_from(lifetime()).unwrap_or(time::Duration::HOUR);
            Ok::<_, VaultError>((ended, vault.barred_lately(lifetime).await?))
        };
        let looked = tokio::time::timeout(patience, looked).await;
        let (found, barred) = looked.map_err(|_| VaultError::Slow)??;
        // All that count: a bar that was lifted is gone.
        let barred = barred.into_iter();
        *self.barred.write() = barred.map(|(account, at)| (account, at.into())).collect();
        if !found.is_empty() {
            let now = Instant::now();
            let mut all = self.ended.write();
            for session in found {
                all.entry(session).or_insert(now);
            }
            all.retain(|_, seen| seen.elapsed() < lifetime());
        }
        if self.is_unknown() {
            self.unknown.send_replace(false);
        }
        Ok(())
    }
}

/// It may take long, and nobody waits for it.
async fn purge(vault: Vault) {
    if let Err(error) = vault.purge().await {
        tracing::warn!(%error, "sessions that are over are left");
    }
}

/// How long an access token may count after its session has ended.
fn lifetime() -> Duration {
    Duration::from_secs(ACCESS_TOKEN_SECONDS.unsigned_abs()) + OVERLAP
}

#[cfg(test)]
mod tests {
    use kernel::{Route, Uuid, compose_id};

    use super::*;

    fn claims(account: AccountId, session: Uuid) -> Claims {
        Claims {
            account,
            session,
            expires_at_seconds: i64::MAX,
        }
    }

    #[test]
    fn a_bar_ends_what_began_before_it_and_nothing_that_begins_after_it_was_lifted() {
        let session = |milliseconds| compose_id(milliseconds, [7; 8], Route(0));
        let (ada, bob) = (AccountId(session(1)), AccountId(session(2)));
        let ended = EndedSessions::default();
        ended.barred.write().insert(ada, Timestamp(5_400));
        assert!(ended.has(&claims(ada, session(5_399))));
        assert!(ended.has(&claims(ada, session(5_400))));
        // A session whose id tells no time.
        assert!(ended.has(&claims(ada, Uuid::nil())));
        // In the same second, and before this process looked again.
        assert!(!ended.has(&claims(ada, session(5_401))));
        assert!(!ended.has(&claims(bob, session(5_399))));
    }
}
