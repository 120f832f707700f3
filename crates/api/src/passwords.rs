//! My password. It refuses to change one for whoever only holds a token: they
//! must know the old one.

use std::sync::Arc;

use kernel::AccountId;
use poem::web::Data;
use poem_openapi::{Object, OpenApi, types::Example};
use vault::{Password, Verdict};

use crate::{
    answers::Done,
    body::Input,
    identity::Authenticated,
    problem::{Code, Problem},
    services::Services,
    system::Tag,
    throttle::Try,
};

/// The old password, and the new one.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct PasswordChange {
    #[oai(validator(min_length = 1, max_length = 128))]
    current_password: String,
    #[oai(validator(min_length = 8, max_length = 128))]
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

pub struct PasswordsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Sessions")]
impl PasswordsApi {
    /// Change my password
    ///
    /// Signs out everywhere else.
    #[oai(
        path = "/accounts/me/password",
        method = "put",
        operation_id = "changePassword"
    )]
    async fn change(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        body: Input<PasswordChange>,
    ) -> Result<Done, Problem> {
        let wrong = |field: &str, error: &str| Problem::invalid_field(format!("/{field}"), error);
        let new: Password = body
            .0
            .new_password
            .parse()
            .map_err(|error: vault::InvalidPassword| wrong("new_password", &error.to_string()))?;
        let attempt = Try::to_change_password(&services, me.account).await?;
        let right = look_at(&services, me.account, body.0.current_password).await;
        if !matches!(right, Ok(None)) {
            attempt.give_back().await;
        }
        let (old, _) =
            right?.ok_or_else(|| wrong("current_password", "It is not your password."))?;
        let hash = services.passwords.hash(new).await?;
        let changed = services
            .vault
            .change_password(me.account, &old, &hash, me.session)
            .await?;
        let ended = changed.ok_or_else(|| {
            Problem::new(
                Code::Conflict,
                "The password was changed at the same moment. Sign in with it.",
            )
        })?;
        services.ended.add(ended);
        Ok(Done::at(None))
    }
}

/// What `password` is of an account: none where it is wrong, or the stored hash
/// and, where that is an old one, today's. It takes as long where there is no such
/// account.
pub(crate) async fn look_at(
    services: &Services,
    account: AccountId,
    password: String,
) -> Result<Option<(String, Option<String>)>, Problem> {
    let credentials = services.vault.by_account(account).await?;
    let stored = credentials.and_then(|credentials| credentials.password_hash);
    let verdict = services.passwords.verify(password, stored.clone()).await?;
    Ok(match verdict {
        Verdict::Wrong => None,
        Verdict::Right => stored.map(|stored| (stored, None)),
        Verdict::RightButOld(new) => stored.map(|stored| (stored, Some(new))),
    })
}
