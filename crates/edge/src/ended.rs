//! Which sessions were ended while access tokens of them still count. Every process
//! asks the vault each second, so that signing out is final everywhere within seconds,
//! and a request costs no query. One that has just begun takes no token before it has
//! asked. While the database is away nothing new is learned: then only the tokens' 15
//! minutes bound them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

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

/// Shared in `EdgeServices`.
#[derive(Default)]
pub struct EndedSessions {
    ended: RwLock<HashMap<Uuid, Instant>>,
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
        self.ended.read().contains_key(&claims.session)
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
        let looked = tokio::time::timeout(patience, vault.sessions_ended(since)).await;
        let found = looked.map_err(|_| VaultError::Slow)??;
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
