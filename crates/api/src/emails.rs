//! My e-mail address: showing that it is mine. It refuses to tell others
//! anything about addresses.

use std::sync::Arc;

use edge::{answers::Done, body::Input, caller::Caller, identity::Authenticated};
use kernel::AccountId;
use mail::{Letter, MailError};
use poem::web::Data;
use poem_openapi::{Object, OpenApi, types::Example};
use vault::{CODE_MINUTES, Drawn, Purpose, RESEND_SECONDS};

use crate::{
    problem::{Code, Problem},
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
            Sent::TooSoon => Err(Problem::new(
                Code::TooManyRequests,
                "A code was sent a moment ago. Look for it, or ask again in a minute.",
            )
            .retry_after(RESEND_SECONDS as u32)),
            Sent::NotNeeded => Err(Problem::new(
                Code::Conflict,
                "The address was verified before, or there is none.",
            )),
        }
    }

    /// Verify my e-mail address
    ///
    /// With the code that was sent to it. After five wrong ones another code is
    /// needed, and some minutes.
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
        let code = &body.0.one_time_code;
        if !services.vault.verify_email(me.account, code).await? {
            attempt.counts();
            return Err(wrong_code());
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
    Ok(match services.vault.draw_code(account, purpose).await? {
        Drawn::Code { code, email } => {
            services.mailer.send(letter(purpose, &code, email))?;
            Sent::Now
        }
        Drawn::TooSoon => Sent::TooSoon,
        Drawn::NotNeeded => Sent::NotNeeded,
    })
}

/// The same for everybody, before anything else is looked at.
pub(crate) fn refuse_without_mail(services: &Services) -> Result<(), Problem> {
    match services.mailer.is_on() {
        true => Ok(()),
        false => Err(MailError::Off.into()),
    }
}

pub(crate) fn wrong_code() -> Problem {
    let problem = Problem::new(Code::InvalidCode, "Correct the listed field.");
    problem.with_field("/one_time_code", "It is wrong, was used, or is too old.")
}

fn letter(purpose: Purpose, code: &str, to: String) -> Letter {
    let (subject, what) = match purpose {
        Purpose::VerifyEmail => ("Your code", "Enter it to show that this address is yours."),
        Purpose::ResetPassword => (
            "Another password",
            "Enter it to choose another password. Whoever is signed in is signed out then.",
        ),
    };
    let text = format!(
        "{code}\n\n{what}\nIt counts for {CODE_MINUTES} minutes.\n\n\
         If you did not ask for it, do nothing: nothing has changed.\n"
    );
    Letter {
        to,
        subject: subject.into(),
        text,
    }
}

impl From<MailError> for Problem {
    fn from(error: MailError) -> Self {
        match error {
            MailError::Full => Self::new(
                Code::Overloaded,
                "Too many letters wait to be sent. Try again shortly.",
            ),
            MailError::Address => Self::new(Code::Conflict, "Mail cannot be sent to this address."),
            MailError::Off | MailError::Settings(_) => {
                let detail = "This server sends no mail. Its operator can set MAIL_URL.";
                Self::new(Code::Unavailable, detail)
            }
        }
    }
}
