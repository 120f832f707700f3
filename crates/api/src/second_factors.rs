//! My second factor: an authenticator whose codes are asked for at sign-in. It
//! refuses to add or to remove one for whoever only holds a token: they must
//! know the password.

use std::sync::Arc;

use edge::{
    answers::{Changed, Done, Found},
    body::Input,
    caller::Caller,
    identity::{Authenticated, now},
    text,
    trace_context::TraceContext,
};
use kernel::Uuid;
use poem::web::Data;
use poem_openapi::{Object, OpenApi, types::Example};
use readmodel::accounts;
use vault::Enabled;

use crate::{
    emails::wrong_code,
    letters::{self, Change},
    passwords,
    problem::{Code, Problem},
    services::Services,
    tags::Tag,
    throttle::Try,
};

/// Whether a second factor is asked for.
#[derive(Object)]
#[oai(example)]
pub struct SecondFactor {
    enabled: bool,
    /// Each signs in once, in place of the authenticator.
    recovery_codes_left: i64,
}

impl Example for SecondFactor {
    fn example() -> Self {
        Self {
            enabled: true,
            recovery_codes_left: 10,
        }
    }
}

/// My password.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct NewAuthenticator {
    #[oai(validator(min_length = 1, max_length = 512))]
    current_password: String,
}

impl Example for NewAuthenticator {
    fn example() -> Self {
        Self {
            current_password: "correct horse battery".into(),
        }
    }
}

/// What the authenticator is told; it is not asked for yet.
#[derive(Object)]
#[oai(example)]
pub struct AuthenticatorSecret {
    /// In base32, to be typed.
    secret: String,
    /// Show it as a QR code.
    otpauth_uri: String,
}

impl Example for AuthenticatorSecret {
    fn example() -> Self {
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".to_owned();
        Self {
            otpauth_uri: format!("otpauth://totp/headwater:ada?secret={secret}&issuer=headwater"),
            secret,
        }
    }
}

/// What the authenticator shows.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct AuthenticatorCode {
    #[oai(validator(min_length = 6, max_length = 32))]
    one_time_code: String,
}

impl Example for AuthenticatorCode {
    fn example() -> Self {
        Self {
            one_time_code: "287082".into(),
        }
    }
}

/// Keep them where the authenticator is not: they are shown once.
#[derive(Object)]
#[oai(example)]
pub struct RecoveryCodes {
    recovery_codes: Vec<String>,
}

impl Example for RecoveryCodes {
    fn example() -> Self {
        Self {
            recovery_codes: vec!["K7QF29-XMPD3Z-8Y2TW4-QJ6RB5".into()],
        }
    }
}

/// My password, and what the authenticator shows or a recovery code.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct SecondFactorRemoval {
    #[oai(validator(min_length = 1, max_length = 512))]
    current_password: String,
    #[oai(validator(min_length = 6, max_length = 32))]
    one_time_code: String,
}

impl Example for SecondFactorRemoval {
    fn example() -> Self {
        Self {
            current_password: "correct horse battery".into(),
            one_time_code: "287082".into(),
        }
    }
}

pub struct SecondFactorsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Sessions")]
impl SecondFactorsApi {
    /// My second factor
    ///
    /// Whether signing in asks for a code, and how many recovery codes are left.
    #[oai(
        path = "/accounts/me/second-factor",
        method = "get",
        operation_id = "getSecondFactor"
    )]
    async fn get(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
    ) -> Result<Found<SecondFactor>, Problem> {
        let state = services.vault.second_factor(me.account).await?;
        Ok(Found::new(SecondFactor {
            enabled: state.enabled,
            recovery_codes_left: state.recovery_codes_left,
        }))
    }

    /// Add an authenticator
    ///
    /// Any that knows TOTP (RFC 6238). Nothing is asked for at sign-in before it is
    /// enabled with one of its codes.
    #[oai(
        path = "/accounts/me/second-factor",
        method = "post",
        operation_id = "addSecondFactor"
    )]
    async fn add(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        caller: Caller,
        body: Input<NewAuthenticator>,
    ) -> Result<Changed<AuthenticatorSecret>, Problem> {
        let shown = passwords::show(&services, me, &caller, body.0.current_password).await?;
        let row = accounts::by_id(services.pool(), Some(me.account), me.account).await?;
        let name = row.map_or_else(|| me.account.to_string(), |row| row.handle);
        let drawn = services
            .vault
            .draw_second_factor(me.account, &shown, &services.issuer, &name)
            .await?;
        let new = drawn.ok_or_else(|| {
            let detail = text!(
                "Remove the second factor before you add another one; or, where there is none, \
                 show the new password: it was changed at the same moment.",
                "Entfernen Sie den zweiten Faktor, bevor Sie einen anderen hinzufügen; oder zeigen \
                 Sie, wo keiner ist, das neue Passwort: Es wurde im selben Augenblick geändert."
            );
            Problem::new(Code::SecondFactorExists, detail)
        })?;
        Ok(Changed::new(AuthenticatorSecret {
            secret: new.secret,
            otpauth_uri: new.uri,
        }))
    }

    /// Enable my authenticator
    ///
    /// With a code that it shows. From now on signing in asks for one. Signs out
    /// everywhere else, and the owner gets a letter. The account's e-mail address must be verified.
    #[oai(
        path = "/accounts/me/second-factor",
        method = "put",
        operation_id = "enableSecondFactor"
    )]
    async fn enable(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        caller: Caller,
        body: Input<AuthenticatorCode>,
    ) -> Result<Changed<RecoveryCodes>, Problem> {
        let mut attempt = Try::to_show_second_factor(&services, me.session).await?;
        let services = Arc::clone(&services);
        // Though the client goes away: the owner is told.
        let enabled = TraceContext::spawn(async move {
            let code = &body.0.one_time_code;
            let enabled = services
                .vault
                .enable_second_factor(me.account, code, seconds(), me.session)
                .await?;
            if let Enabled::Done { ended, .. } = &enabled {
                changed(&services, me, ended, Change::SecondFactorEnabled, &caller).await;
            }
            Ok::<_, Problem>(enabled)
        });
        let recovery_codes = match enabled.await.map_err(Problem::internal)?? {
            Enabled::Done { recovery_codes, .. } => recovery_codes,
            Enabled::Wrong => {
                attempt.counts();
                return Err(wrong_code());
            }
            Enabled::Unverified => {
                return Err(Code::EmailUnverified.into());
            }
        };
        attempt.give_back().await;
        Ok(Changed::new(RecoveryCodes { recovery_codes }))
    }

    /// Remove my second factor
    ///
    /// With the password, and a code of the authenticator or a recovery code. Signs out
    /// everywhere else, and the owner gets a letter.
    #[oai(
        path = "/accounts/me/second-factor/removal",
        method = "post",
        operation_id = "removeSecondFactor"
    )]
    async fn remove(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        caller: Caller,
        body: Input<SecondFactorRemoval>,
    ) -> Result<Done, Problem> {
        let password = body.0.current_password;
        passwords::show(&services, me, &caller, password).await?;
        let mut attempt = Try::to_show_second_factor(&services, me.session).await?;
        let (services, code) = (Arc::clone(&services), body.0.one_time_code);
        // Though the client goes away: the owner is told.
        let removed = TraceContext::spawn(async move {
            let removed = services
                .vault
                .remove_second_factor(me.account, &code, seconds(), me.session)
                .await?;
            if let Some(ended) = &removed {
                changed(&services, me, ended, Change::SecondFactorRemoved, &caller).await;
            }
            Ok::<_, Problem>(removed.is_some())
        });
        if !removed.await.map_err(Problem::internal)?? {
            attempt.counts();
            return Err(wrong_code());
        }
        attempt.give_back().await;
        Ok(Done::at(None))
    }
}

/// By the clock that codes are made with.
pub(crate) fn seconds() -> u64 {
    u64::try_from(now().0 / 1_000).unwrap_or_default()
}

/// Whoever signed in with less than is asked for now signs in again.
async fn changed(
    services: &Services,
    me: Authenticated,
    ended: &[Uuid],
    change: Change,
    caller: &Caller,
) {
    services.ended.add(ended.iter().copied());
    tracing::info!(account = %me.account, "the second factor was changed");
    letters::tell(services, me.account, change, caller).await;
}

/// Refuses whoever is signed in and does not show the second factor, where there is one.
pub(crate) async fn show_if_enabled(
    services: &Services,
    me: Authenticated,
    code: Option<&str>,
) -> Result<(), Problem> {
    if !services.vault.second_factor(me.account).await?.enabled {
        return Ok(());
    }
    let code = code.ok_or_else(required)?;
    let mut attempt = Try::to_show_second_factor(services, me.session).await?;
    if !(services
        .vault
        .check_second_factor(me.account, code, seconds()))
    .await?
    {
        attempt.counts();
        return Err(wrong_code());
    }
    attempt.give_back().await;
    Ok(())
}

pub(crate) fn required() -> Problem {
    Code::SecondFactorRequired.into()
}
