//! Sessions: signing in. It refuses to tell an unknown account from a wrong
//! password, in words or in time.

use std::sync::Arc;

use domain::{
    accounts::{Accounts, Standing},
    handles::{Handle, Handles},
};
use kernel::{AccountId, Uuid};
use poem::web::Data;
use poem_openapi::{Object, OpenApi};
use vault::{Email, Verdict};

use crate::{
    answers::Created,
    body::Input,
    problem::{Code, Problem},
    services::Services,
    system::Tag,
    tokens::ACCESS_TOKEN_SECONDS,
};

/// Who signs in.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct SignIn {
    /// A handle or an e-mail address.
    #[oai(validator(min_length = 1, max_length = 254))]
    login: String,
    #[oai(validator(min_length = 1, max_length = 128))]
    password: String,
}

impl poem_openapi::types::Example for SignIn {
    fn example() -> Self {
        Self {
            login: "ada".into(),
            password: "correct horse battery".into(),
        }
    }
}

/// What signing in gives.
#[derive(Object)]
#[oai(example)]
pub struct Session {
    pub account_id: Uuid,
    /// Send it as `Authorization: Bearer <access_token>`.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds.
    pub expires_in: i64,
}

impl poem_openapi::types::Example for Session {
    fn example() -> Self {
        Self::new(
            AccountId(Uuid::from_u128(0x0198_b5a2_8a5c_7d31_9b1f_3f4e_5d6c_7b8a)),
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTk4In0.c2lnbmF0dXJl".into(),
        )
    }
}

impl Session {
    fn new(account: AccountId, access_token: String) -> Self {
        Self {
            account_id: account.0,
            access_token,
            token_type: "Bearer".into(),
            expires_in: ACCESS_TOKEN_SECONDS,
        }
    }

    pub(crate) fn begin(services: &Services, account: AccountId) -> Result<Self, Problem> {
        Ok(Self::new(account, services.issue_token(account)?))
    }
}

pub struct SessionsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Sessions")]
impl SessionsApi {
    /// Sign in
    ///
    /// With a handle or an e-mail address. Nobody learns whether an account
    /// exists: an unknown one and a wrong password give the same answer.
    #[oai(path = "/sessions", method = "post", operation_id = "signIn")]
    async fn sign_in(
        &self,
        services: Data<&Arc<Services>>,
        body: Input<SignIn>,
    ) -> Result<Created<Session>, Problem> {
        let wrong = || {
            Problem::new(
                Code::InvalidCredentials,
                "Check the login and the password.",
            )
        };
        let account = find(&services, &body.0.login).await?;
        let id = account.unwrap_or(AccountId(Uuid::nil()));
        let credentials = services.vault.by_account(id).await?;
        let stored = credentials.and_then(|credentials| credentials.password_hash);
        let verdict = services.passwords.verify(body.0.password, stored).await?;
        if verdict == Verdict::Wrong {
            return Err(wrong());
        }
        let state = services.log.state::<Accounts>(Accounts::id(id)).await?;
        if state.state.standing != Standing::Registered {
            return Err(wrong());
        }
        if let Verdict::RightButOld(hash) = verdict {
            services.vault.replace_password_hash(id, hash).await?;
        }
        let session = Session::begin(&services, id)?;
        Ok(Created::new("/v1/accounts/me", session))
    }
}

async fn find(services: &Services, login: &str) -> Result<Option<AccountId>, Problem> {
    if let Ok(email) = login.parse::<Email>() {
        let credentials = services.vault.by_email(&email).await?;
        return Ok(credentials.map(|credentials| credentials.account));
    }
    let Ok(handle) = login.parse::<Handle>() else {
        return Ok(None);
    };
    let state = services.log.state::<Handles>(handle.aggregate()).await?;
    Ok(state.state.holder.map(|holder| holder.account))
}
