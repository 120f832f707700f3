//! Registering: three writes in three places (the handle, the vault, the
//! account), each of which may be the last one of a process that dies. Every
//! step can be repeated by the same attempt, which is the same key with the same body;
//! what a dead attempt holds is taken over after a time, once its account can no longer be
//! registered.

use domain::{
    accounts::{
        AbandonRegistration, AccountError, Accounts, DisplayName, RegisterAccount, Standing,
    },
    handles::{Handle, HandleError, Handles, Holder, ReleaseHandle, ReserveHandle},
};
use edge::{
    identity::now,
    preconditions::{self, Idempotency},
};
use eventlog::{IdempotencyKey, Receipt};
use kernel::{AccountId, Route, Timestamp, Uuid, compose_id, crash};
use vault::{Email, NewCredentials, Password, Place, VaultError};

use crate::{
    passwords::Context,
    problem::{Code, FieldCode, Problem},
    services::{Services, random, random_id},
};

/// A registration that has not ended by then is dead.
const REGISTRATION_SECONDS_MAX: i64 = 120;
const EMAIL_TRIES_MAX: u32 = 3;

pub(crate) struct Wanted {
    pub handle: Option<Handle>,
    pub email: Email,
    pub password: Password,
    pub display_name: Option<DisplayName>,
}

/// One try to register, by one client.
struct Attempt {
    /// Its first half is the key's, so that another body under the same key is told; the
    /// second one is of key and body.
    id: Uuid,
    /// Of its accounts: the key's alone, so that a key is used once whatever the body.
    route: Route,
    key: Option<IdempotencyKey>,
    correlation: Uuid,
}

pub(crate) async fn register(
    services: &Services,
    wanted: Wanted,
    place: Place,
    idempotency: &Idempotency,
    correlation: Uuid,
) -> Result<(Handle, Receipt), Problem> {
    let attempt = Attempt::begin(idempotency, correlation)?;
    if let Some(done) = attempt.done_before(services).await? {
        return Ok(done);
    }
    if wanted.handle.as_ref().is_some_and(Handle::is_reserved) {
        return Err(HandleError::HandleTaken.into());
    }
    let context = Context {
        service: services.issuer.clone(),
        handle: wanted.handle.clone(),
        email: Some(wanted.email.clone()),
        pointer: "/password",
    };
    context.check(services, &wanted.password).await?;
    let password_hash = services.passwords.hash(wanted.password, place).await?;
    let handle = match wanted.handle {
        Some(handle) => handle,
        None => attempt.made_up_handle()?,
    };
    let account = attempt.reserve(services, &handle, &wanted.email).await?;
    crash::point("register.reserved");
    let credentials = NewCredentials {
        account,
        attempt: attempt.id,
        email: Some(wanted.email),
        password_hash: Some(password_hash),
    };
    if let Err(problem) = attempt.admit(services, credentials).await {
        let release = ReleaseHandle { handle, account };
        if problem.code() == Code::EmailTaken {
            let released = services.execute_step(&release, account, correlation).await;
            if let Err(error) = released {
                tracing::warn!(%error, "a handle stays reserved until it is taken over");
            }
        }
        return Err(problem);
    }
    crash::point("register.admitted");
    let command = RegisterAccount {
        account,
        handle: handle.clone(),
        display_name: wanted.display_name,
    };
    let keyed = attempt.key.is_some();
    let mut receipt = services
        .execute_once(&command, account, correlation, attempt.key)
        .await?;
    // Without a key it is the first time, though the log may have been asked twice.
    receipt.again &= keyed;
    Ok((handle, receipt))
}

impl Attempt {
    fn begin(idempotency: &Idempotency, correlation: Uuid) -> Result<Self, Problem> {
        // Nobody is signed in: keys are scoped by nobody.
        let key = idempotency.of(AccountId(Uuid::nil()));
        let (id, route) = match &key {
            Some(key) => {
                let of_key = Uuid::from_u128(key.hash);
                let of_body = Uuid::new_v5(&of_key, &key.fingerprint.to_be_bytes());
                let (first, second) = (of_key.as_u64_pair().0, of_body.as_u64_pair().1);
                (Uuid::from_u64_pair(first, second), Route::of(of_key))
            }
            None => {
                let id = random_id()?;
                (id, Route::of(id))
            }
        };
        Ok(Self {
            id,
            route,
            key,
            correlation,
        })
    }

    /// What the same key answered before.
    async fn done_before(&self, services: &Services) -> Result<Option<(Handle, Receipt)>, Problem> {
        let Some(key) = &self.key else {
            return Ok(None);
        };
        // A receipt is where the account is.
        let of_key = Uuid::from_u128(key.hash);
        let receipt = match services.log.receipt(of_key, key).await? {
            None => return Ok(None),
            Some(Ok(receipt)) => receipt,
            Some(Err(_)) => return Err(key_reused()),
        };
        let state = services.log.state::<Accounts>(receipt.aggregate).await?;
        let handle = state.state.handle;
        let handle = handle.ok_or_else(|| Problem::internal("an account without a handle"))?;
        Ok(Some((handle, receipt)))
    }

    /// The same key makes up the same handle, so that another body meets it.
    fn made_up_handle(&self) -> Result<Handle, Problem> {
        let made_up = format!("user_{:016x}", self.id.as_u64_pair().0);
        made_up.parse().map_err(Problem::internal)
    }

    /// Takes the handle, and returns the account that it is taken for: that of
    /// an earlier try of the same attempt, or a new one.
    /// Where it is plain that the registration will be refused, nothing is written.
    async fn reserve(
        &self,
        services: &Services,
        handle: &Handle,
        email: &Email,
    ) -> Result<AccountId, Problem> {
        let now = now();
        let state = services.log.state::<Handles>(handle.aggregate()).await?;
        let mut abandoned = None;
        if let Some(holder) = state.state.holder {
            if self.began(&holder)? {
                return Ok(holder.account);
            }
            check_address(services, email).await?;
            if !self
                .abandon(services, holder.account, holder.reserved_at)
                .await?
            {
                return Err(HandleError::HandleTaken.into());
            }
            abandoned = Some(holder.account);
        } else {
            check_address(services, email).await?;
        }
        let milliseconds = u64::try_from(now.0).unwrap_or_default();
        let account = AccountId(compose_id(milliseconds, random()?, self.route));
        let command = ReserveHandle {
            handle: handle.clone(),
            account,
            attempt: self.id,
            now,
            abandoned,
        };
        let reserved = services
            .execute_step(&command, account, self.correlation)
            .await;
        match reserved {
            Ok(_) => Ok(account),
            // The same attempt may have been sent twice at once.
            Err(problem) if problem.code() == Code::HandleTaken => {
                let state = services.log.state::<Handles>(handle.aggregate()).await?;
                match state.state.holder {
                    Some(holder) if self.began(&holder)? => Ok(holder.account),
                    _ => Err(problem),
                }
            }
            Err(problem) => Err(problem),
        }
    }

    /// Whether an earlier try of this attempt reserved the handle; refused where it was
    /// the same key with another body.
    fn began(&self, holder: &Holder) -> Result<bool, Problem> {
        let of_key = |id: Uuid| id.as_u64_pair().0;
        match holder.attempt == self.id {
            true => Ok(true),
            false if self.key.is_some() && of_key(holder.attempt) == of_key(self.id) => {
                Err(key_reused())
            }
            false => Ok(false),
        }
    }

    async fn admit(&self, services: &Services, wanted: NewCredentials) -> Result<(), Problem> {
        for _ in 1..EMAIL_TRIES_MAX {
            let holder = match services.vault.admit(wanted.clone(), random()?).await {
                Err(VaultError::EmailTaken(holder)) => holder,
                admitted => return Ok(admitted?),
            };
            let Some(credentials) = services.vault.by_account(holder).await? else {
                continue;
            };
            let since = credentials.created_at.unix_timestamp() * 1_000;
            if !self.abandon(services, holder, Timestamp(since)).await? {
                return Err(VaultError::EmailTaken(holder).into());
            }
            services.vault.dismiss(holder).await?;
        }
        Ok(services.vault.admit(wanted, random()?).await?)
    }

    /// Whether `holder`'s registration is dead; from now on it stays so.
    async fn abandon(
        &self,
        services: &Services,
        holder: AccountId,
        since: Timestamp,
    ) -> Result<bool, Problem> {
        let state = services.log.state::<Accounts>(Accounts::id(holder)).await?;
        match state.state.standing {
            Standing::Registered | Standing::Deactivated => Ok(false),
            Standing::Abandoned => Ok(true),
            Standing::Unknown if now().0 - since.0 < REGISTRATION_SECONDS_MAX * 1_000 => Ok(false),
            Standing::Unknown => {
                let command = AbandonRegistration { account: holder };
                let done = services
                    .execute_step(&command, holder, self.correlation)
                    .await;
                match done {
                    Ok(_) => Ok(true),
                    // It ended well in the last moment.
                    Err(problem) if problem.code() == Code::Conflict => Ok(false),
                    Err(problem) => Err(problem),
                }
            }
        }
    }
}

/// Refused where an account that is registered has verified the address. One that comes
/// to be verified later is found when it is admitted.
async fn check_address(services: &Services, email: &Email) -> Result<(), Problem> {
    let holder = services.vault.by_email(email).await?;
    let Some(holder) = holder.filter(|holder| holder.email_verified) else {
        return Ok(());
    };
    let id = Accounts::id(holder.account);
    let state = services.log.state::<Accounts>(id).await?;
    match state.state.standing {
        Standing::Registered | Standing::Deactivated => {
            Err(VaultError::EmailTaken(holder.account).into())
        }
        Standing::Abandoned | Standing::Unknown => Ok(()),
    }
}

fn key_reused() -> Problem {
    Code::IdempotencyKeyReused.into()
}

impl From<HandleError> for Problem {
    fn from(error: HandleError) -> Self {
        match error {
            HandleError::HandleTaken => {
                Self::from(Code::HandleTaken).with_field("/handle", FieldCode::Taken)
            }
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::RegistrationAbandoned => Code::RegistrationExpired.into(),
            AccountError::AccountExists => Code::Conflict.into(),
            AccountError::AccountNotFound => Self::no_account(),
            AccountError::VersionMismatch(version) => {
                preconditions::version_mismatch(version).into()
            }
            AccountError::PostNotOwn => Code::NotPinnable.into(),
        }
    }
}
