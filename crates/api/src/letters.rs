//! What letters say, and how many one mailbox gets. An owner is told of each change of
//! what one signs in with. It refuses links: whoever finds one in a letter of ours has a
//! letter of somebody else.

use std::time::Duration;

use domain::accounts::Accounts;
use edge::{caller::Caller, identity::now, text};
use kernel::{AccountId, Timestamp};
use mail::{Letter, Purpose};
use vault::{Budget, CODE_MINUTES, Email, Spend, Whose};

use crate::{
    problem::{Code, Problem},
    services::Services,
};

/// In which letters to one mailbox are counted.
const WINDOW: Duration = Duration::from_secs(60 * 60);
/// Of a purpose, for what is sent because somebody asked. A share for each, so that whoever
/// floods a mailbox with one does not use up the others: in all it gets 20 in an hour.
const CODES_MAX: u32 = 5;
const NOTICES_MAX: u32 = 10;
/// Of an account in a day, of sign-ins from new devices: clients may not keep what they
/// are known by.
const NEW_DEVICES: Budget = Budget {
    points: 5,
    window: Duration::from_secs(24 * 60 * 60),
};
/// Of what a device says it is.
const DEVICE_CHARACTERS_MAX: usize = 100;

/// What became of what one signs in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Password,
    Reset,
    SecondFactorEnabled,
    SecondFactorRemoved,
    Address,
    NewDevice,
}

impl Change {
    fn subject(self) -> &'static str {
        match self {
            Self::Password => "Your password was changed",
            Self::Reset => "Your password was replaced",
            Self::SecondFactorEnabled => "A second factor was enabled",
            Self::SecondFactorRemoved => "Your second factor was removed",
            Self::Address => "Your e-mail address was changed",
            Self::NewDevice => "A new device signed in",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Password => "The password was changed by somebody who knew the one before.",
            Self::Reset => {
                "The password was replaced with a code that was sent to this address. Whoever was \
                 signed in is signed out."
            }
            Self::SecondFactorEnabled => {
                "Signing in asks for a code of an authenticator from now on. There are new recovery \
                 codes."
            }
            Self::SecondFactorRemoved => {
                "Signing in asks for no code of an authenticator any more. The recovery codes count \
                 no more."
            }
            Self::Address => "Letters of the account go to another address from now on.",
            Self::NewDevice => "Somebody signed in from a device that was not known before.",
        }
    }

    /// What who did not do it can do.
    fn advice(self) -> &'static str {
        match self {
            Self::Address => {
                "sign in, change the password, and set your address again. If you cannot sign in, \
                 write to the operators."
            }
            _ => {
                "ask for another password, which signs out everybody. Then look at the second \
                 factor. If you cannot, write to the operators."
            }
        }
    }
}

/// Tells the owner, where mail can be sent. What was changed stays so whether the letter
/// goes or not; the log says where it does not.
pub(crate) async fn tell(services: &Services, account: AccountId, change: Change, from: &Caller) {
    let credentials = services.vault.by_account(account).await;
    let credentials = match credentials {
        Ok(credentials) => credentials,
        Err(error) => return not_sent(account, change, &error.into()),
    };
    let Some(credentials) = credentials else {
        return;
    };
    // Who has not shown that an address is theirs may use that of a stranger.
    if change == Change::NewDevice && !credentials.email_verified {
        return;
    }
    if let Some(email) = credentials.email.and_then(|email| email.parse().ok()) {
        tell_at(services, account, change, from, &email).await;
    }
}

/// Tells it at this address, which may be one that the account had before.
pub(crate) async fn tell_at(
    services: &Services,
    account: AccountId,
    change: Change,
    from: &Caller,
    email: &Email,
) {
    if !services.mailer.is_on() {
        return;
    }
    if let Err(problem) = try_to_tell(services, account, change, from, email).await {
        not_sent(account, change, &problem);
    }
}

fn not_sent(account: AccountId, change: Change, problem: &Problem) {
    let cause = problem.cause().map(ToString::to_string);
    tracing::warn!(%account, ?change, %problem, cause, "the owner could not be told of a change");
}

async fn try_to_tell(
    services: &Services,
    account: AccountId,
    change: Change,
    from: &Caller,
    email: &Email,
) -> Result<(), Problem> {
    let place = services.mailer.place(Purpose::Notice)?;
    if change == Change::NewDevice {
        spend(
            services,
            "letters of new devices",
            NEW_DEVICES,
            account.to_string(),
        )
        .await?;
    }
    spend_of_mailbox(services, Purpose::Notice, email).await?;
    let who = Recipient::of(services, account).await?;
    let text = format!(
        "{}\n\nWhen: {}\nDevice: {}\n\nIf it was you, do nothing.\n\
         Was it not you? Then {}\n",
        change.what(),
        moment(now()),
        device(from.device.name()),
        change.advice(),
    );
    Ok(place.send(who.letter(email, change.subject(), &text))?)
}

/// Whose account a letter is about, as far as it says so.
pub(crate) struct Recipient {
    service: String,
    /// The first letter of the handle: the reader knows the rest.
    handle: Option<char>,
}

impl Recipient {
    pub async fn of(services: &Services, account: AccountId) -> Result<Self, Problem> {
        let state = services
            .log
            .state::<Accounts>(Accounts::id(account))
            .await?;
        let handle = state.state.handle;
        Ok(Self {
            service: services.issuer.clone(),
            handle: handle.and_then(|handle| handle.as_str().chars().next()),
        })
    }

    /// The letter with a code.
    pub fn code(&self, purpose: vault::Purpose, code: &str, to: &Email) -> Letter {
        let (subject, what) = match purpose {
            vault::Purpose::VerifyEmail => {
                ("Your code", "Enter it to show that this address is yours.")
            }
            vault::Purpose::ResetPassword => (
                "Another password",
                "Enter it to choose another password. Whoever is signed in is signed out then.",
            ),
        };
        let text = format!(
            "{code}\n\n{what}\nIt counts for {CODE_MINUTES} minutes.\n\n\
             If you did not ask for it, do nothing: nothing has changed.\n"
        );
        self.letter(to, subject, &text)
    }

    /// `text` comes first: a code is its first line.
    fn letter(&self, to: &Email, subject: &str, text: &str) -> Letter {
        let service = &self.service;
        let account = match self.handle {
            Some(first) => format!("the account {first}... at {service}"),
            None => format!("an account at {service}"),
        };
        Letter {
            to: to.as_str().to_owned(),
            subject: format!("{service}: {subject}"),
            text: format!(
                "{text}\nThis letter is about {account}. Nobody of {service} will ever ask you for a \
                 code or a password: tell them to nobody.\n"
            ),
        }
    }
}

/// One letter of what its mailbox may get; given back by whoever sends none.
pub(crate) async fn spend_of_mailbox(
    services: &Services,
    purpose: Purpose,
    email: &Email,
) -> Result<Spend, Problem> {
    let (name, points) = match purpose {
        Purpose::Verification => ("letters: verification", CODES_MAX),
        Purpose::Reset => ("letters: reset", CODES_MAX),
        Purpose::Notice => ("letters: notice", NOTICES_MAX),
    };
    let budget = Budget {
        points,
        window: WINDOW,
    };
    spend(services, name, budget, email.mailbox()).await
}

async fn spend(
    services: &Services,
    purpose: &'static str,
    budget: Budget,
    whose: String,
) -> Result<Spend, Problem> {
    let spend = Spend {
        budget,
        purpose,
        whose: Whose::Named(whose),
        points: 1,
    };
    let standings = services
        .limits
        .counted
        .spend(std::slice::from_ref(&spend))
        .await;
    match standings.first().filter(|standing| !standing.enough) {
        None => Ok(spend),
        Some(short) => {
            let seconds = short.enough_in.as_secs_f64().ceil().max(1.0) as u32;
            let detail = text!(
                "Try again later: so many letters were sent there lately that none is sent now.",
                "Versuchen Sie es später noch einmal: Dorthin gingen zuletzt so viele Briefe, dass jetzt keiner gesendet wird."
            );
            Err(Problem::new(Code::TooManyRequests, detail).retry_after(seconds))
        }
    }
}

/// No letter was sent for it.
pub(crate) async fn give_back(services: &Services, spent: Spend) {
    let back = Spend {
        points: -1,
        ..spent
    };
    services.limits.counted.spend(&[back]).await;
}

/// Such as `2026-01-31 12:00 UTC`.
fn moment(at: Timestamp) -> String {
    let text = at.to_string().replace('T', " ");
    format!("{} UTC", text.get(..16).unwrap_or(&text))
}

/// As it names itself, without what a reader of mail would make a link of.
fn device(name: Option<&str>) -> String {
    let name: Vec<char> = name.unwrap_or_default().chars().collect();
    let digit = |at: usize| name.get(at).is_some_and(char::is_ascii_digit);
    let kept = name.iter().enumerate().map(|(at, c)| match c {
        c if c.is_ascii_alphanumeric() || " ;,()-_".contains(*c) => *c,
        // Of versions.
        '.' if at > 0 && digit(at - 1) && digit(at + 1) => '.',
        '/' if digit(at + 1) => '/',
        _ => ' ',
    });
    let text: String = kept.take(DEVICE_CHARACTERS_MAX).collect();
    let words: Vec<_> = text.split_whitespace().collect();
    match words.is_empty() {
        true => "one that does not say what it is".into(),
        false => words.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_makes_no_link() {
        for (told, shown) in [
            (
                Some("Mozilla/5.0 (X11; Linux x86_64)"),
                "Mozilla/5.0 (X11; Linux x86_64)",
            ),
            (
                Some("see https://evil.example/x"),
                "see https evil example x",
            ),
            (
                Some("www.evil.example me@evil.example"),
                "www evil example me evil example",
            ),
            (
                Some("\u{202e}\u{1f980}"),
                "one that does not say what it is",
            ),
            (None, "one that does not say what it is"),
        ] {
            assert_eq!(device(told), shown);
        }
        assert_eq!(device(Some(&"x".repeat(500))).len(), DEVICE_CHARACTERS_MAX);
    }

    #[test]
    fn a_moment_is_told_in_minutes() {
        let at = Timestamp(20_000 * 24 * 60 * 60 * 1_000);
        assert_eq!(moment(at), "2024-10-04 00:00 UTC");
    }
}
