//! Which sessions were ended, and which accounts barred, while access tokens of
//! them still count. Every process asks the vault each second, so that signing out is final everywhere
//! within seconds, and a request costs no query. While the database is away
//! nothing new is learned: then only the tokens' 15 minutes bound them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::AccountId;
use parking_lot::RwLock;
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

/// Shared as `Arc<EndedSessions>` in the requests' data.
#[derive(Default)]
pub struct EndedSessions {
    ended: RwLock<HashMap<Uuid, Instant>>,
    /// When, in seconds: tools have tokens of no session.
    barred: RwLock<HashMap<AccountId, i64>>,
}

impl EndedSessions {
    /// Within a runtime: follows the vault until nobody else holds it.
    pub fn start(vault: Vault) -> Arc<Self> {
        let ended = Arc::new(Self::default());
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
                if looks.is_multiple_of(LOOKS_PER_PURGE)
                    && let Err(error) = vault.purge_sessions().await
                {
                    tracing::warn!(%error, "sessions that are over are left");
                }
                looks = looks.wrapping_add(1);
                tokio::time::sleep(LOOK).await;
            }
        });
        ended
    }

    /// Whether a token that says this counts no more.
    pub fn has(&self, claims: &Claims) -> bool {
        let barred = self.barred.read().get(&claims.account).copied();
        barred.is_some_and(|at| claims.issued_at_seconds <= at)
            || self.ended.read().contains_key(&claims.session)
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
        *self.barred.write() = barred
            .map(|(account, at)| (account, at.unix_timestamp()))
            .collect();
        if !found.is_empty() {
            let now = Instant::now();
            let mut all = self.ended.write();
            for session in found {
                all.entry(session).or_insert(now);
            }
            all.retain(|_, seen| seen.elapsed() < lifetime());
        }
        Ok(())
    }
}

/// How long an access token may count after its session has ended.
fn lifetime() -> Duration {
    Duration::from_secs(ACCESS_TOKEN_SECONDS.unsigned_abs()) + OVERLAP
}
