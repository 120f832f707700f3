//! My password. It refuses to change one for whoever only holds a token: they
//! must know the old one, or read the mail of the account. Who asks for a code
//! does not learn whether there is an account.

use std::sync::Arc;

use domain::{accounts::Accounts, handles::Handle};
use edge::{
    answers::{Changed, Done},
    body::Input,
    caller::Caller,
    identity::Authenticated,
    request::RequestId,
    text,
    trace_context::TraceContext,
};
use kernel::{AccountId, Uuid};
use poem::web::Data;
use poem_openapi::{Object, OpenApi, types::Example};
use vault::{Email, InvalidEmail, InvalidPassword, Password, Place, Purpose, Reset, Verdict};

use crate::{
    emails::{self, wrong_code},
    explained::Explained,
    letters::{self, Change},
    logins::Login,
    problem::{Code, FieldCode, Fields, Problem},
    refusals,
    services::Services,
    sessions::DEVICE_TOKEN,
    tags::Tag,
    throttle::Try,
};

const PRODUCT: &str = "headwater";

/// The old password, and the new one.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct PasswordChange {
    #[oai(validator(min_length = 1, max_length = 512))]
    current_password: String,
    /// 8 to 128 characters: code points, after they are composed (NFC) and every blank is
    /// a space (RFC 8265, OpaqueString). None that control, or cannot be seen.
    /// Not one that many have or that leaked, and more than the service's name, the
    /// handle or the e-mail address.
    #[oai(validator(min_length = 8, max_length = 512))]
    new_password: String,
}

impl Example for PasswordChange {
    fn example() -> Self {
        Self {
            current_password: "correct horse battery".into(),
            new_password: "staple correct horse".into(),
        }
    }
}

/// Whose password is forgotten.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct ForgottenPassword {
    #[oai(validator(max_length = 254))]
    email: String,
}

impl Example for ForgottenPassword {
    fn example() -> Self {
        Self {
            email: "ada@example.org".into(),
        }
    }
}

/// The code that was sent to the address, and another password.
#[derive(Object)]
#[oai(deny_unknown_fields, example, skip_serializing_if_is_none)]
pub struct PasswordReset {
    #[oai(validator(max_length = 254))]
    email: String,
    #[oai(validator(min_length = 6, max_length = 32))]
    one_time_code: String,
    /// 8 to 128 characters: code points, after they are composed (NFC) and every blank is
    /// a space (RFC 8265, OpaqueString). None that control, or cannot be seen.
    /// Not one that many have or that leaked, and more than the service's name, the
    /// handle or the e-mail address.
    #[oai(validator(min_length = 8, max_length = 512))]
    new_password: String,
    /// What the device is known by, if it was signed in from before: then it is heard
    /// however many guess the code. One that is not known counts as none.
    #[oai(validator(min_length = 1, max_length = 128))]
    device_token: Option<String>,
}

/// The password is another one.
#[derive(Object)]
#[oai(example)]
pub struct PasswordReplaced {
    /// What the device is known by from now on: send it when you sign in.
    device_token: String,
}

impl Example for PasswordReplaced {
    fn example() -> Self {
        Self {
            device_token: DEVICE_TOKEN.into(),
        }
    }
}

impl Example for PasswordReset {
    fn example() -> Self {
        Self {
            email: "ada@example.org".into(),
            one_time_code: "K7QF2-9XMPD".into(),
            new_password: "staple correct horse".into(),
            device_token: None,
        }
    }
}

pub struct PasswordsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Sessions")]
impl PasswordsApi {
    /// Change my password
    ///
    /// Signs out everywhere else, and no other device is known any more. The owner gets a
    /// letter.
    #[oai(
        path = "/accounts/me/password",
        method = "put",
        operation_id = "changePassword"
    )]
    async fn change(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        caller: Caller,
        body: Input<PasswordChange>,
    ) -> Result<Done, Problem> {
        let new = new_password(&body.0.new_password)?;
        // For the new one: who shows the old one takes another.
        let place = place(&services, &caller).await?;
        let old = show(&services, me, &caller, body.0.current_password).await?;
        let context = Context::of_account(&services, me.account).await?;
        context.check(&services, &new).await?;
        let hash = services.passwords.hash(new, place).await?;
        let services = Arc::clone(&services);
        // Though the client goes away: the owner is told.
        let changed = TraceContext::spawn(async move {
            let changed = services
                .vault
                .change_password(me.account, &old, &hash, me.session)
                .await?;
            let ended = changed.ok_or_else(|| Problem::from(Code::PasswordChanged))?;
            services.ended.add(ended);
            tracing::info!(account = %me.account, "the password was changed");
            letters::tell(&services, me.account, Change::Password, &caller).await;
            Ok::<_, Problem>(Done::at(None))
        });
        changed.await.map_err(Problem::internal)?
    }

    /// Ask for another password
    ///
    /// Sends a code to the address, if it is an account's. The answer is the same
    /// whether it is or not, and so is its time. While a code counts, which is ten minutes,
    /// no other one is sent.
    #[oai(
        path = "/password-resets",
        method = "post",
        operation_id = "requestPasswordReset"
    )]
    async fn request_reset(
        &self,
        services: Data<&Arc<Services>>,
        request_id: RequestId,
        caller: Caller,
        body: Input<ForgottenPassword>,
    ) -> Result<Done, Problem> {
        emails::refuse_without_mail(&services)?;
        let email = address(&body.0.email)?;
        let tried = Try::to_use_codes(&services, &caller).await;
        let login = Login::Email(email.clone()).to_string();
        let tried = refusals::told(&services, &caller, Some(&login), request_id.0, tried);
        tried?.counts();
        let place = services.background.clone().try_acquire_owned();
        let place = place.map_err(|_| {
            let detail = text!(
                "Try again shortly: too many ask for a code at once.",
                "Versuchen Sie es gleich noch einmal: Zu viele fordern zugleich einen Code an."
            );
            Problem::new(Code::Overloaded, detail)
        })?;
        let services = Arc::clone(&services);
        // Nobody waits for it: the answer must not tell what was found.
        tokio::spawn(async move {
            let _place = place;
            if let Err(problem) = send_reset_code(&services, &email).await {
                let cause = problem.cause().map(ToString::to_string);
                tracing::warn!(%problem, cause, "a code for a reset could not be sent");
            }
        });
        Ok(Done::at(None))
    }

    /// Choose another password
    ///
    /// With the code that was sent to the address. Signs out everywhere. Where the address
    /// was not verified before, it is now, and what was set up until then is gone: a second
    /// factor and its recovery codes too.
    #[oai(
        path = "/password-resets/completion",
        method = "post",
        operation_id = "resetPassword"
    )]
    async fn reset(
        &self,
        services: Data<&Arc<Services>>,
        request_id: RequestId,
        caller: Caller,
        body: Input<PasswordReset>,
    ) -> Result<Changed<PasswordReplaced>, Problem> {
        let login = body
            .0
            .email
            .parse()
            .ok()
            .map(|email| Login::Email(email).to_string());
        let replaced = replace(&services, &caller, body.0).await;
        let login = login.as_deref();
        refusals::told(&services, &caller, login, request_id.0, replaced).map(Changed::new)
    }
}

async fn replace(
    services: &Arc<Services>,
    caller: &Caller,
    body: PasswordReset,
) -> Result<PasswordReplaced, Problem> {
    let place = place(services, caller).await?;
    let mut fields = Fields::default();
    let email = fields.take(address(&body.email));
    let new = fields.take(new_password(&body.new_password));
    let (Some(email), Some(new)) = (email, new) else {
        return Err(fields.problem());
    };
    let mut attempt = Try::to_use_codes(services, caller).await?;
    // Whose the address is, only the code's reader may learn: it is all done
    // whether there is an account or not.
    let holder = services.vault.by_email(&email).await?;
    let holder = holder.map_or(AccountId(Uuid::nil()), |holder| holder.account);
    let mut context = Context::of_account(services, holder).await?;
    context.email = Some(email.clone());
    let fits = context.check(services, &new).await;
    let hash = services.passwords.hash(new, place).await?;
    let shown = body.device_token.and_then(|token| token.parse().ok());
    let device = caller.device.clone().showing(shown);
    let (services, caller, fitting) = (services.clone(), caller.clone(), fits.is_ok());
    // Though the client goes away: the owner is told.
    let reset = TraceContext::spawn(async move {
        let hash = fitting.then_some(hash.as_str());
        let reset = services
            .vault
            .reset_password(&email, &body.one_time_code, hash, &device)
            .await?;
        if let Reset::Done { account, ended, .. } = &reset {
            services.ended.add(ended.iter().copied());
            tracing::info!(%account, "a password was replaced by a mailed code");
            letters::tell(&services, *account, Change::Reset, &caller).await;
        }
        Ok::<_, Problem>(reset)
    });
    match reset.await.map_err(Problem::internal)?? {
        Reset::Done { device, .. } => {
            attempt.give_back().await;
            Ok(PasswordReplaced {
                device_token: device.reveal(),
            })
        }
        Reset::NotTaken => {
            attempt.give_back().await;
            Err(fits.err().unwrap_or_else(wrong_code))
        }
        Reset::Wrong => {
            attempt.counts();
            Err(wrong_code())
        }
    }
}

/// What whoever guesses a password tries first.
pub(crate) struct Context {
    pub service: String,
    pub handle: Option<Handle>,
    pub email: Option<Email>,
    /// Of the body, where the password stands.
    pub pointer: &'static str,
}

impl Context {
    /// Of an account that chooses another password.
    async fn of_account(services: &Services, account: AccountId) -> Result<Self, Problem> {
        let state = services
            .log
            .state::<Accounts>(Accounts::id(account))
            .await?;
        let credentials = services.vault.by_account(account).await?;
        let email = credentials.and_then(|credentials| credentials.email);
        Ok(Self {
            service: services.issuer.clone(),
            handle: state.state.handle,
            email: email.and_then(|email| email.parse().ok()),
            pointer: "/new_password",
        })
    }

    pub(crate) async fn check(
        &self,
        services: &Services,
        password: &Password,
    ) -> Result<(), Problem> {
        let handle = self.handle.as_ref().map_or("", Handle::as_str);
        let name = self.email.as_ref().map_or("", Email::local_part);
        let wrong =
            |error: InvalidPassword| Problem::invalid_field(self.pointer, error.explained());
        // Always: how long it takes must not tell what the context is.
        let leaked = match &services.breached {
            Some(list) => list.has(password).await?,
            None => false,
        };
        let context = [PRODUCT, &self.service, handle, name];
        password.check_context(&context).map_err(wrong)?;
        match leaked {
            true => Err(wrong(InvalidPassword::Breached)),
            false => Ok(()),
        }
    }
}

async fn send_reset_code(services: &Services, email: &Email) -> Result<(), Problem> {
    if let Some(credentials) = services.vault.by_email(email).await? {
        emails::send(services, credentials.account, Purpose::ResetPassword).await?;
    }
    Ok(())
}

fn new_password(text: &str) -> Result<Password, Problem> {
    let wrong = |error: InvalidPassword| Problem::invalid_field("/new_password", error.explained());
    text.parse().map_err(wrong)
}

fn address(text: &str) -> Result<Email, Problem> {
    let wrong = |error: InvalidEmail| Problem::invalid_field("/email", error.explained());
    text.parse().map_err(wrong)
}

/// A place among those whose passwords are hashed, which the address pays for whatever
/// comes of it.
pub(crate) async fn place(services: &Services, caller: &Caller) -> Result<Place, Problem> {
    let place = services.passwords.place(&caller.household)?;
    Try::to_hash(services, caller).await?;
    Ok(place)
}

/// The stored hash of who knows the password; wrong ones are counted.
pub(crate) async fn show(
    services: &Services,
    me: Authenticated,
    caller: &Caller,
    password: String,
) -> Result<String, Problem> {
    let place = place(services, caller).await?;
    let mut attempt = Try::to_show_password(services, me.session).await?;
    let Some((stored, _)) = look_at(services, me.account, password, place).await? else {
        attempt.counts();
        let problem = Problem::from(Code::WrongPassword);
        return Err(problem.with_field("/current_password", FieldCode::Incorrect));
    };
    attempt.give_back().await;
    Ok(stored)
}

/// The stored hash of who knows the password, made as hashes are made today.
pub(crate) async fn verified(
    services: &Services,
    account: AccountId,
    caller: &Caller,
    password: String,
    place: Place,
) -> Result<Option<String>, Problem> {
    let (old, new) = match look_at(services, account, password.clone(), place).await? {
        None => return Ok(None),
        Some((stored, None)) => return Ok(Some(stored)),
        Some((old, Some(new))) => (old, new),
    };
    if (services.vault.replace_password_hash(account, &old, &new)).await? {
        return Ok(Some(new));
    }
    // Somebody else did so first, or changed the password: which is to be seen.
    let place = services.passwords.place(&caller.household)?;
    let again = look_at(services, account, password, place).await?;
    Ok(again.map(|(stored, _)| stored))
}

/// What `password` is of an account: none where it is wrong, or the stored hash
/// and, where that is an old one, today's. It takes as long where there is no such
/// account.
pub(crate) async fn look_at(
    services: &Services,
    account: AccountId,
    password: String,
    place: Place,
) -> Result<Option<(String, Option<String>)>, Problem> {
    let credentials = services.vault.by_account(account).await?;
    let stored = credentials.and_then(|credentials| credentials.password_hash);
    let verdict = services
        .passwords
        .verify(password, stored.clone(), place)
        .await?;
    Ok(match verdict {
        Verdict::Wrong => None,
        Verdict::Right => stored.map(|stored| (stored, None)),
        Verdict::RightButOld(new) => stored.map(|stored| (stored, Some(new))),
    })
}
