//! My e-mail address: showing that it is mine, and setting another one. It refuses to
//! tell others anything about addresses.

use std::sync::Arc;

use edge::{
    answers::Done, body::Input, caller::Caller, identity::Authenticated, text,
    trace_context::TraceContext,
};
use kernel::AccountId;
use mail::MailError;
use poem::web::Data;
use poem_openapi::{Object, OpenApi, types::Example};
use vault::{Drawn, Email, InvalidEmail, Purpose, RESEND_SECONDS, Verified};

use crate::{
    explained::Explained,
    letters::{self, Change, Recipient},
    passwords,
    problem::{Code, FieldCode, Problem},
    second_factors,
    services::Services,
    tags::Tag,
    throttle::Try,
};

/// What a letter said.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct EmailVerification {
    /// As it was sent; case and hyphens do not matter.
    #[oai(validator(min_length = 6, max_length = 32))]
    one_time_code: String,
}

impl Example for EmailVerification {
    fn example() -> Self {
        Self {
            one_time_code: "K7QF2-9XMPD".into(),
        }
    }
}

/// Another address, and what shows that I am the one who wants it.
#[derive(Object)]
#[oai(deny_unknown_fields, example, skip_serializing_if_is_none)]
pub struct EmailChange {
    #[oai(validator(max_length = 254))]
    email: String,
    #[oai(validator(min_length = 1, max_length = 512))]
    current_password: String,
    /// Of the second factor, where I have one: what the authenticator shows, or a recovery
    /// code.
    #[oai(validator(min_length = 6, max_length = 32))]
    one_time_code: Option<String>,
}

impl Example for EmailChange {
    fn example() -> Self {
        Self {
            email: "ada.lovelace@example.org".into(),
            current_password: "correct horse battery".into(),
            one_time_code: None,
        }
    }
}

pub struct EmailsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Accounts")]
impl EmailsApi {
    /// Send me a code
    ///
    /// To my e-mail address, to show that it is mine. It counts for ten minutes, and
    /// once; the next one can be asked for after a minute. Registering sends one too.
    #[oai(
        path = "/accounts/me/email/codes",
        method = "post",
        operation_id = "sendEmailCode"
    )]
    async fn send_code(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        caller: Caller,
    ) -> Result<Done, Problem> {
        refuse_without_mail(&services)?;
        Try::to_use_codes(&services, &caller).await?.counts();
        match send(&services, me.account, Purpose::VerifyEmail).await? {
            Sent::Now => Ok(Done::at(None)),
            Sent::TooSoon => Err(too_soon()),
            Sent::NotNeeded => Err(Code::EmailVerified.into()),
        }
    }

    /// Set another e-mail address
    ///
    /// Sends a code to it, and changes nothing yet: verifying it with the code makes it mine
    /// in place of the one before, which gets a letter about that. With the password, and a
    /// code of the second factor where there is one.
    #[oai(
        path = "/accounts/me/email",
        method = "put",
        operation_id = "changeEmail"
    )]
    async fn change(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        caller: Caller,
        body: Input<EmailChange>,
    ) -> Result<Done, Problem> {
        let wrong = |error: InvalidEmail| Problem::invalid_field("/email", error.explained());
        let email: Email = body.0.email.parse().map_err(wrong)?;
        refuse_without_mail(&services)?;
        Try::to_use_codes(&services, &caller).await?.counts();
        passwords::show(&services, me, &caller, body.0.current_password).await?;
        second_factors::show_if_enabled(&services, me, body.0.one_time_code.as_deref()).await?;
        let credentials = services.vault.by_account(me.account).await?;
        let verified = credentials.filter(|credentials| credentials.email_verified);
        let verified = verified.and_then(|credentials| credentials.email?.parse::<Email>().ok());
        if verified.is_some_and(|verified| verified.as_str() == email.as_str()) {
            return Err(Code::EmailVerified.into());
        }
        match send_to(&services, me.account, Purpose::VerifyEmail, Some(email)).await? {
            Sent::Now => Ok(Done::at(None)),
            Sent::TooSoon | Sent::NotNeeded => Err(too_soon()),
        }
    }

    /// Verify my e-mail address
    ///
    /// With the code that was sent to it: it is the account's address from now on. After
    /// five wrong ones another code is needed, and some minutes.
    #[oai(
        path = "/accounts/me/email/verification",
        method = "put",
        operation_id = "verifyEmail"
    )]
    async fn verify(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        caller: Caller,
        body: Input<EmailVerification>,
    ) -> Result<Done, Problem> {
        let mut attempt = Try::to_use_codes(&services, &caller).await?;
        let services = Arc::clone(&services);
        // Though the client goes away: whose address it was is told.
        let verified = TraceContext::spawn(async move {
            let code = &body.0.one_time_code;
            let verified = services.vault.verify_email(me.account, code).await?;
            if let Verified::Done {
                before: Some(before),
            } = &verified
            {
                tracing::info!(account = %me.account, "the e-mail address was changed");
                let change = Change::Address;
                letters::tell_at(&services, me.account, change, &caller, before).await;
                letters::tell(&services, me.account, change, &caller).await;
            }
            Ok::<_, Problem>(verified)
        });
        match verified.await.map_err(Problem::internal)?? {
            Verified::Done { .. } => {}
            Verified::Taken => {
                let detail = text!(
                    "Set another address: somebody has verified this one meanwhile.",
                    "Setzen Sie eine andere Adresse: Diese hat inzwischen jemand bestätigt."
                );
                return Err(Problem::new(Code::EmailTaken, detail));
            }
            Verified::Wrong => {
                attempt.counts();
                return Err(wrong_code());
            }
        }
        attempt.give_back().await;
        Ok(Done::at(None))
    }
}

pub(crate) enum Sent {
    Now,
    TooSoon,
    NotNeeded,
}

/// Sends the account a code of this purpose.
pub(crate) async fn send(
    services: &Services,
    account: AccountId,
    purpose: Purpose,
) -> Result<Sent, Problem> {
    send_to(services, account, purpose, None).await
}

/// Sends it to an address that the account wants. What could keep the letter from going is
/// asked first: a code that is drawn is sent.
async fn send_to(
    services: &Services,
    account: AccountId,
    purpose: Purpose,
    wanted: Option<Email>,
) -> Result<Sent, Problem> {
    let letter = match purpose {
        Purpose::VerifyEmail => mail::Purpose::Verification,
        Purpose::ResetPassword => mail::Purpose::Reset,
    };
    let place = services.mailer.place(letter)?;
    let email = match wanted {
        Some(wanted) => Some(wanted),
        None => services.vault.code_address(account, purpose).await?,
    };
    let Some(email) = email else {
        return Ok(Sent::NotNeeded);
    };
    let who = Recipient::of(services, account).await?;
    let spent = letters::spend_of_mailbox(services, letter, &email).await?;
    match services.vault.draw_code(account, purpose, &email).await? {
        Drawn::Code(code) => {
            place.send(who.code(purpose, &code, &email))?;
            Ok(Sent::Now)
        }
        Drawn::TooSoon => {
            letters::give_back(services, spent).await;
            Ok(Sent::TooSoon)
        }
    }
}

fn too_soon() -> Problem {
    let detail = text!(
        "Look for the code that was sent a moment ago, or ask again in a minute.",
        "Suchen Sie den Code, der gerade gesendet wurde, oder fordern Sie in einer Minute einen neuen an."
    );
    Problem::new(Code::TooManyRequests, detail).retry_after(RESEND_SECONDS as u32)
}

/// The same for everybody, before anything else is looked at.
pub(crate) fn refuse_without_mail(services: &Services) -> Result<(), Problem> {
    match services.mailer.is_on() {
        true => Ok(()),
        false => Err(MailError::Off.into()),
    }
}

pub(crate) fn wrong_code() -> Problem {
    let detail = text!(
        "Enter another code: this one is wrong, was used, or is too old.",
        "Geben Sie einen anderen Code ein: Dieser ist falsch, verwendet oder zu alt."
    );
    let wrong = FieldCode::Incorrect.saying(detail);
    Problem::from(Code::InvalidCode).with_field("/one_time_code", wrong)
}

impl From<MailError> for Problem {
    fn from(error: MailError) -> Self {
        match error {
            MailError::Full => Self::new(
                Code::Overloaded,
                text!(
                    "Try again shortly: too many letters wait to be sent.",
                    "Versuchen Sie es gleich noch einmal: Zu viele Briefe warten."
                ),
            ),
            MailError::Address => Code::UndeliverableEmail.into(),
            MailError::Off | MailError::Settings(_) => {
                let detail = text!(
                    "Ask the operators to set MAIL_URL: this server sends no mail.",
                    "Bitten Sie die Betreiber, MAIL_URL zu setzen: Dieser Server sendet keine Post."
                );
                Self::new(Code::Unavailable, detail)
            }
        }
    }
}
