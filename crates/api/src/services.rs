//! What handlers work with, shared as `Arc<Services>` in the requests' data.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use domain::{
    blocks::Blocks,
    posts::{PostId, Posts},
};
use edge::{
    caller::Proxies,
    cors::Origins,
    ended::EndedSessions,
    identity::{Privileged, now},
    paging::{CursorSecretError, Cursors},
    preconditions::Idempotency,
    pseudonyms::Pseudonyms,
    services::EdgeServices,
    text,
    tokens::{TokenSettings, TokenSettingsError, Tokens},
    trace_context::TraceContext,
};
use eventlog::{IdempotencyKey, Intent, Log, Receipt};
use kernel::{AccountId, Command, Sealer, Spans, Uuid};
use mail::Mailer;
use quick_cache::sync::Cache;
use readmodel::{
    DatabaseConnection, PgPool,
    hot::{Hot, Reading},
    timelines::Lists,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use vault::{BreachedPasswords, PasswordHashes, Role, Scope, Vault};

use crate::{
    appending::Appending,
    freshness::{Freshness, Moment},
    limits::Limiting,
    problem::{Code, Problem},
    shown::ShownPost,
    standing::Standing,
};

/// Things that are done after their answer was sent.
const BACKGROUND_MAX: usize = 64;
/// How long all of it has after the word to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// Reads without an account that go on at once: one for so many connections of the pool.
const ANONYMOUS_SHARE: usize = 4;
/// How long another one waits.
const ANONYMOUS_WAIT: Duration = Duration::from_secs(1);
/// Posts whose authors are kept; about 60 bytes each.
const AUTHORS_MAX: usize = 65_536;

pub struct Services {
    pub(crate) log: Log,
    pub(crate) database: DatabaseConnection,
    pub(crate) sealer: Arc<dyn Sealer>,
    pub(crate) vault: Vault,
    pub(crate) lists: Lists,
    pub passwords: PasswordHashes,
    pub(crate) breached: Option<BreachedPasswords>,
    pub(crate) mailer: Mailer,
    /// What is done after the answer, at most so much at once.
    pub(crate) background: Arc<Semaphore>,
    /// Places of those who read without an account.
    anonymous: Arc<Semaphore>,
    /// Who we are to authenticators.
    pub(crate) issuer: String,
    pub(crate) freshness: Freshness,
    pub(crate) hot: Arc<Hot<ShownPost>>,
    pub(crate) edge: Arc<EdgeServices>,
    pub tokens: Arc<Tokens>,
    pub(crate) ended: Arc<EndedSessions>,
    pub(crate) limits: Limiting,
    /// Holds writes back where the database would not take them.
    _standing: Standing,
    /// Of posts that somebody liked here lately.
    authors: Cache<PostId, AccountId>,
    pub(crate) cursors: Arc<Cursors>,
    pub(crate) pseudonyms: Pseudonyms,
}

#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    #[error(transparent)]
    Tokens(#[from] TokenSettingsError),
    #[error(transparent)]
    Cursors(#[from] CursorSecretError),
}

/// The rooms that the API is built on.
pub struct Rooms {
    pub log: Log,
    pub database: DatabaseConnection,
    pub sealer: Arc<dyn Sealer>,
    pub vault: Vault,
    pub lists: Lists,
    pub passwords: PasswordHashes,
    /// Passwords that nobody may choose, beside the common ones.
    pub breached: Option<BreachedPasswords>,
    pub mailer: Mailer,
    pub limits: Limiting,
    /// Who may say for whom they ask.
    pub proxies: Proxies,
    /// Whose pages may call from a browser.
    pub origins: Origins,
    /// Where traces are recorded; none: nowhere.
    pub spans: Option<Arc<dyn Spans>>,
}

impl Services {
    /// Within a runtime, since it begins to follow what is folded.
    pub fn new(
        rooms: Rooms,
        tokens: TokenSettings,
        cursor_secret: &str,
    ) -> Result<Self, ServicesError> {
        let hot = Arc::new(Hot::default());
        let pool = rooms.database.get_postgres_connection_pool();
        let connections = pool.options().get_max_connections() as usize;
        let anonymous = (connections / ANONYMOUS_SHARE).max(1);
        let issuer = tokens.issuer.clone();
        let edge = EdgeServices {
            metering: Some(rooms.limits.metering()),
            proxies: rooms.proxies,
            origins: rooms.origins,
            spans: rooms.spans,
            ..EdgeServices::new(
                Arc::new(Tokens::new(tokens)?),
                // Not behind those who sign in.
                EndedSessions::start(rooms.vault.of(rooms.database.clone())),
                cursor_secret.as_bytes(),
            )?
        };
        Ok(Self {
            freshness: Freshness::start(
                rooms.log.clone(),
                rooms.database.clone(),
                hot.clone(),
                edge.positions.clone(),
            ),
            hot,
            _standing: Standing::start(rooms.log.clone(), rooms.database.clone()),
            log: rooms.log,
            database: rooms.database,
            sealer: rooms.sealer,
            vault: rooms.vault,
            lists: rooms.lists,
            passwords: rooms.passwords,
            breached: rooms.breached,
            mailer: rooms.mailer,
            background: Arc::new(Semaphore::new(BACKGROUND_MAX)),
            anonymous: Arc::new(Semaphore::new(anonymous)),
            issuer,
            limits: rooms.limits,
            authors: Cache::new(AUTHORS_MAX),
            tokens: edge.tokens.clone(),
            ended: edge.ended.clone(),
            cursors: edge.cursors.clone(),
            pseudonyms: Pseudonyms::new(cursor_secret.as_bytes()),
            edge: Arc::new(edge),
        })
    }

    /// Waits for what goes on after its answer, and for letters: who asked was told that
    /// they are on their way.
    pub(crate) async fn drain(&self) {
        let began = Instant::now();
        let places = u32::try_from(BACKGROUND_MAX).unwrap_or(u32::MAX);
        let _ = timeout(DRAIN, self.background.acquire_many(places)).await;
        let left = self
            .mailer
            .drain(DRAIN.saturating_sub(began.elapsed()))
            .await;
        if left > 0 {
            tracing::error!(left, "letters could not be sent in time and are dropped");
        }
    }

    pub(crate) fn session_token(
        &self,
        account: AccountId,
        session: Uuid,
    ) -> Result<String, Problem> {
        Ok(self.tokens.issue(account, session, now())?)
    }

    /// A place among those who read without an account: they have a share of the pool
    /// together, so that they never keep accounts from it.
    pub(crate) async fn anonymous_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = timeout(ANONYMOUS_WAIT, self.anonymous.clone().acquire_owned()).await;
        let place = place.ok().and_then(Result::ok);
        place.ok_or_else(|| {
            let detail = text!(
                "Try again shortly, or sign in: too many read without an account at the moment.",
                "Versuchen Sie es gleich noch einmal, oder melden Sie sich an: Gerade lesen zu viele ohne Konto."
            );
            Problem::new(Code::Overloaded, detail)
        })
    }

    /// Returns when reads see all that is folded and fanned out by now. Nobody
    /// has to: they do so within moments, and at once where one asks for a
    /// position.
    pub async fn look_again(&self) {
        self.freshness.look_again().await;
    }

    /// Forgets what is kept in process of posts and readers: the next reads ask the tables.
    pub fn forget_cached(&self) {
        self.hot.forget();
    }

    /// Refuses an account without `role`, and a service without `scope`.
    pub(crate) async fn check(
        &self,
        asks: &Privileged,
        role: Role,
        scope: Scope,
    ) -> Result<(), Problem> {
        let may = match asks {
            Privileged::Account(me) => self.vault.has_role(me.account, role).await?,
            Privileged::Service(token) => {
                let may = self.vault.service_may(token, scope).await?;
                let detail = text!(
                    "Ask the operators for another token: the service's expired or was revoked.",
                    "Bitten Sie die Betreiber um ein anderes Token: Das des Dienstes ist abgelaufen oder widerrufen."
                );
                may.ok_or_else(|| Problem::new(Code::InvalidToken, detail))?
            }
        };
        if may {
            return Ok(());
        }
        let (role, scope) = (role.name(), scope.name());
        let detail = text!(
            "Ask the operators: this needs the role {0} or a token with the scope {1}.",
            "Fragen Sie die Betreiber: Dies braucht die Rolle {0} oder ein Token mit dem Scope {1}."
        );
        let detail = detail.with([role.into(), scope.into()]);
        Err(Problem::new(Code::Forbidden, detail))
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.database.get_postgres_connection_pool()
    }

    /// What is kept of posts and readers, as far as what was observed allows.
    pub(crate) fn reading(&self, moment: &Moment) -> Reading<'_, ShownPost> {
        let (told, withheld) = (moment.told, moment.withheld.clone());
        self.hot.reading(self.pool(), told, withheld)
    }

    /// Who wrote `post`, which never changes, wherever that is known first. What is
    /// decided on is read again.
    pub(crate) async fn author(&self, post: PostId) -> Result<Option<AccountId>, Problem> {
        let known = self.authors.get(&post);
        if let Some(author) = known.or_else(|| self.hot.author(post)) {
            return Ok(Some(author));
        }
        let author = self.log.state::<Posts>(Posts::id(post)).await?.state.author;
        if let Some(author) = author {
            self.authors.insert(post, author);
        }
        Ok(author)
    }

    /// Whether `account` blocks `target`, as the log has it.
    pub(crate) async fn blocks(
        &self,
        account: AccountId,
        target: AccountId,
    ) -> Result<bool, Problem> {
        let block = self.log.state::<Blocks>(Blocks::id(account, target));
        Ok(block.await?.state.0)
    }

    /// Sends a command that does the same however often it is sent.
    pub(crate) async fn execute<C>(
        &self,
        command: &C,
        actor: AccountId,
        correlation: Uuid,
        idempotency: &Idempotency,
    ) -> Result<Receipt, Problem>
    where
        C: Command,
        Problem: From<C::Error>,
    {
        let intent = intent(actor, correlation, idempotency.of(actor));
        self.append(command, intent).await
    }

    /// Sends a command of a process that may be repeated whole: no key tells
    /// two commands of one request on one aggregate apart.
    pub(crate) async fn execute_step<C>(
        &self,
        command: &C,
        actor: AccountId,
        correlation: Uuid,
    ) -> Result<Receipt, Problem>
    where
        C: Command,
        Problem: From<C::Error>,
    {
        let intent = intent(actor, correlation, None);
        self.append(command, intent).await
    }

    /// Sends a command that must not be done twice: where the client gave no
    /// key, one of ours lets us send it again after a lost answer.
    pub(crate) async fn execute_once<C>(
        &self,
        command: &C,
        actor: AccountId,
        correlation: Uuid,
        key: Option<IdempotencyKey>,
    ) -> Result<Receipt, Problem>
    where
        C: Command,
        Problem: From<C::Error>,
    {
        let key = key.unwrap_or_else(|| IdempotencyKey::internal(correlation));
        let intent = intent(actor, correlation, Some(key));
        self.append(command, intent).await
    }

    /// What is appended follows from its append where that is recorded here, else
    /// from the request.
    async fn append<C>(&self, command: &C, mut intent: Intent) -> Result<Receipt, Problem>
    where
        C: Command,
        Problem: From<C::Error>,
    {
        self.log.check_room()?;
        let request = TraceContext::recorded();
        let told = request.zip(self.edge.spans.as_ref());
        let told = told.map(|(request, spans)| (Appending::begin(request), spans));
        intent.trace = match &told {
            Some((appending, _)) => Some(appending.context),
            None => request.map(|request| request.span()),
        };
        let receipt = self.log.execute(command, &intent, self.sealer.as_ref());
        let receipt: Result<Receipt, Problem> = receipt.await.map_err(Into::into);
        if let Some((appending, spans)) = told {
            spans.record(appending.end(&receipt));
        }
        receipt
    }
}

fn intent(actor: AccountId, correlation: Uuid, key: Option<IdempotencyKey>) -> Intent {
    Intent {
        actor,
        now: now(),
        correlation,
        causation: None,
        key,
        trace: None,
    }
}

/// A new id of an aggregate that `maker` makes: it goes where the maker is, and
/// after those that were answered before.
pub(crate) fn new_id(maker: AccountId) -> Result<Uuid, Problem> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    Ok(kernel::compose_fine_id(since, random()?, maker.route()))
}

pub(crate) fn random_id() -> Result<Uuid, Problem> {
    Ok(Uuid::from_bytes(random()?))
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Problem::internal(error.to_string()))?;
    Ok(bytes)
}
