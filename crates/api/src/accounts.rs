//! Accounts: registering, profiles, the pinned post.

use std::sync::Arc;

use domain::{
    accounts::{Bio, DisplayName, PinPost, UnpinPost, UpdateProfile},
    handles::Handle,
    posts::PostId,
};
use edge::{
    answers::{Changed, Created, Done, Found},
    body::Input,
    caller::Caller,
    identity::{Authenticated, Viewer},
    instant::{self, Instant},
    preconditions::{Idempotency, IfMatch, IfNoneMatch},
    request::RequestId,
};
use kernel::{AccountId, Uuid};
use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    types::{Example, MaybeUndefined},
};
use readmodel::accounts::{self, AccountRow};
use vault::{Email, Password, Purpose};

use crate::{
    emails,
    examples::ACCOUNT_ID,
    freshness::View,
    handlers::{Read, Version, Write},
    problem::{Fields, Problem},
    registration::{self, Wanted},
    services::Services,
    sessions::{self, Login, Session, SignIn},
    tags::Tag,
    throttle::Try,
};

/// Somebody who joins.
#[derive(Object)]
#[oai(deny_unknown_fields, example, skip_serializing_if_is_none)]
pub struct Registration {
    /// Letters a-z, digits and underscores; one is made up where none is given.
    #[oai(validator(min_length = 2, max_length = 30))]
    handle: Option<String>,
    /// Never shown to others. A name before the @ in ASCII, without quotes, and a domain,
    /// which is kept in the form of the domain name system (`xn--…`).
    #[oai(validator(max_length = 254))]
    email: String,
    /// 8 to 128 characters: code points, after they are composed (NFC) and every blank is
    /// a space (RFC 8265, OpaqueString). None that control, or cannot be seen.
    #[oai(validator(min_length = 8, max_length = 512))]
    password: String,
    /// One line with something to see; characters are code points.
    #[oai(validator(max_length = 50))]
    display_name: Option<String>,
}

impl Registration {
    fn read(&self) -> Result<Wanted, Problem> {
        let mut fields = Fields::default();
        let handle = self.handle.as_deref().map(str::parse::<Handle>);
        let handle = fields.take_at("/handle", handle.transpose());
        let email = fields.take_at("/email", self.email.parse::<Email>());
        let password = fields.take_at("/password", self.password.parse::<Password>());
        let name = self.display_name.as_deref().map(str::parse::<DisplayName>);
        let name = fields.take_at("/display_name", name.transpose());
        match (handle, email, password, name) {
            (Some(handle), Some(email), Some(password), Some(display_name)) => Ok(Wanted {
                handle,
                email,
                password,
                display_name,
            }),
            _ => Err(fields.problem()),
        }
    }
}

impl Example for Registration {
    fn example() -> Self {
        Self {
            handle: Some("ada".into()),
            email: "ada@example.org".into(),
            password: "correct horse battery".into(),
            display_name: Some("Ada".into()),
        }
    }
}

/// Who joined, signed in.
#[derive(Object)]
#[oai(example)]
pub struct Registered {
    id: Uuid,
    handle: String,
    session: Session,
}

impl Example for Registered {
    fn example() -> Self {
        let session = Session::example();
        Self {
            id: session.account_id,
            handle: "ada".into(),
            session,
        }
    }
}

/// Fields that are left out stay; null clears.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct ProfileChange {
    /// One line with something to see; characters are code points.
    #[oai(nullable, validator(max_length = 50))]
    display_name: MaybeUndefined<String>,
    /// Lines with something to see; characters are code points, and `\n` ends a line.
    #[oai(nullable, validator(max_length = 500))]
    bio: MaybeUndefined<String>,
    /// Only followers see what a private account publishes, earlier posts too, and
    /// who wants to follow it asks.
    #[oai(skip_serializing_if_is_none)]
    private: Option<bool>,
}

impl Example for ProfileChange {
    fn example() -> Self {
        Self {
            display_name: MaybeUndefined::Value("Ada".into()),
            bio: MaybeUndefined::Value("Engines.".into()),
            private: Some(false),
        }
    }
}

/// An account. One that blocks whoever looks, or is deactivated, is not found.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct Account {
    id: Uuid,
    handle: String,
    display_name: Option<String>,
    bio: Option<String>,
    pinned_post_id: Option<Uuid>,
    /// Whether only followers see what it publishes.
    private: bool,
    created_at: Instant,
    /// As many as the list has for a reader who blocks none of them and is blocked by
    /// none; deactivated accounts are in neither.
    followers_count: i64,
    /// As many as the list has for a reader who blocks none of them and is blocked by
    /// none; deactivated accounts are in neither.
    following_count: i64,
    /// Posts and replies that are not deleted, those for followers too: who may not see
    /// them finds fewer.
    posts_count: i64,
    /// The day of the account's last activity.
    last_active_on: String,
}

impl Example for Account {
    fn example() -> Self {
        Self {
            id: ACCOUNT_ID,
            handle: "ada".into(),
            display_name: Some("Ada".into()),
            bio: Some("Engines.".into()),
            pinned_post_id: None,
            private: false,
            created_at: instant::EXAMPLE,
            followers_count: 3,
            following_count: 2,
            posts_count: 1,
            last_active_on: "2026-11-20".into(),
        }
    }
}

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Self {
        Self {
            id: row.id.0,
            handle: row.handle,
            display_name: row.display_name,
            bio: row.bio,
            pinned_post_id: row.pinned_post_id,
            private: row.private,
            created_at: row.registered_at.into(),
            followers_count: row.counts.followers,
            following_count: row.counts.following,
            posts_count: row.counts.posts,
            last_active_on: row.active_on.to_offset_date_time().date().to_string(),
        }
    }
}

/// One's own account, with what others do not see.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct OwnAccount {
    #[oai(flatten)]
    account: Account,
    email: Option<String>,
    /// Whether a code that was sent to it came back.
    email_verified: bool,
}

impl Example for OwnAccount {
    fn example() -> Self {
        Self {
            account: Account::example(),
            email: Some("ada@example.org".into()),
            email_verified: true,
        }
    }
}

/// Accounts in the order that they were asked for.
#[derive(Object)]
#[oai(example)]
pub struct AccountBatch {
    items: Vec<Account>,
}

impl Example for AccountBatch {
    fn example() -> Self {
        Self {
            items: vec![Account::example()],
        }
    }
}

/// A page of accounts.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct AccountPage {
    pub items: Vec<Account>,
    /// Send it as `cursor` for the next page; missing on the last one.
    pub next_cursor: Option<String>,
}

impl Example for AccountPage {
    fn example() -> Self {
        Self {
            items: vec![Account::example()],
            next_cursor: None,
        }
    }
}

/// What is pinned.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct Pin {
    post_id: Uuid,
}

impl Example for Pin {
    fn example() -> Self {
        Self {
            post_id: ACCOUNT_ID,
        }
    }
}

pub struct AccountsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Accounts")]
impl AccountsApi {
    /// Register
    ///
    /// Handle and e-mail address are unique without regard to case. The answer
    /// holds a session: the new account is signed in. A code is sent to the address.
    /// Sent again with the same Idempotency-Key, it signs in, as anybody does: the
    /// password has to be the account's still.
    #[oai(path = "/accounts", method = "post", operation_id = "registerAccount")]
    async fn register(
        &self,
        services: Data<&Arc<Services>>,
        request_id: RequestId,
        caller: Caller,
        idempotency: Idempotency,
        body: Input<Registration>,
    ) -> Result<Created<Registered>, Problem> {
        let body = body.0;
        let wanted = body.read()?;
        let place = services.passwords.place()?;
        let mut attempt = Try::to_register(&services, &caller).await?;
        attempt.counts();
        let login = Login::Email(wanted.email.clone());
        let done =
            registration::register(&services, wanted, place, &idempotency, request_id.0).await;
        let ours = |problem: &Problem| problem.code().status().is_server_error();
        if done
            .as_ref()
            .map_or_else(ours, |(_, receipt)| receipt.again)
        {
            attempt.give_back().await;
        }
        let (handle, receipt) = done?;
        let account = AccountId(receipt.aggregate.id);
        if services.mailer.is_on() && !receipt.again {
            // Whoever does not get it asks for another one.
            let sent = emails::send(&services, account, Purpose::VerifyEmail).await;
            if let Err(problem) = sent {
                tracing::warn!(%problem, "a code could not be sent to who registered");
            }
        }
        let session = match receipt.again {
            // What was registered may have another password by now, or a second factor:
            // whoever sends it again signs in, as anybody does.
            true => {
                let shown = SignIn::with(&handle, body.password);
                let place = services.passwords.place()?;
                let who = (&login, Some(account));
                sessions::try_to_sign_in(&services, who, shown, place, &caller, request_id.0)
                    .await?
            }
            false => Session::begin(&services, account, &caller, None, false)
                .await?
                .ok_or_else(|| Problem::internal("a session needs no password"))?,
        };
        let registered = Registered {
            id: account.0,
            handle: handle.to_string(),
            session,
        };
        let location = format!("/v1/accounts/{account}");
        Ok(Created::new(&location, registered)
            .at(receipt.position)
            .version(receipt.version))
    }

    /// My account
    ///
    /// With the e-mail address, which nobody else sees.
    #[oai(path = "/accounts/me", method = "get", operation_id = "getMyAccount")]
    async fn get_me(
        &self,
        read: Read<Authenticated>,
        known: IfNoneMatch,
    ) -> Result<Found<OwnAccount>, Problem> {
        let me = read.who.account;
        let observed = read.observe_of(me.0).await?;
        let row = find(&read, me).await?;
        let credentials = read.services.vault.by_account(me).await?;
        let version = row.version;
        let own = OwnAccount {
            account: row.into(),
            email_verified: credentials.as_ref().is_some_and(|c| c.email_verified),
            email: credentials.and_then(|credentials| credentials.email),
        };
        Ok(Found::new(own)
            .as_of(observed.header(View::SOCIAL))
            .version(version, &known))
    }

    /// Change my profile
    ///
    /// Fields that are left out stay; null clears one. With `If-Match`, only where the
    /// profile is as it was read.
    #[oai(
        path = "/accounts/me",
        method = "patch",
        operation_id = "updateMyProfile"
    )]
    async fn update_me(
        &self,
        write: Write<IfMatch>,
        body: Input<ProfileChange>,
    ) -> Result<Changed<Version>, Problem> {
        let mut fields = Fields::default();
        let name = changed(body.0.display_name).map(|name| name.parse::<DisplayName>());
        let name = fields.take_at("/display_name", name.transpose());
        let bio = changed(body.0.bio).map(|bio| bio.parse::<Bio>());
        let bio = fields.take_at("/bio", bio.transpose());
        let (Some(display_name), Some(bio)) = (name, bio) else {
            return Err(fields.problem());
        };
        let command = UpdateProfile {
            account: write.account(),
            display_name,
            bio,
            private: body.0.private,
            expected_version: write.expected.0.clone(),
        };
        write.change(&command).await
    }

    /// Pin a post of mine
    ///
    /// In place of the one that was pinned before. It must be public and one's own.
    #[oai(
        path = "/accounts/me/pinned-post",
        method = "put",
        operation_id = "pinPost"
    )]
    async fn pin(&self, write: Write, body: Input<Pin>) -> Result<Done, Problem> {
        let command = PinPost {
            account: write.account(),
            post: PostId(body.0.post_id),
        };
        write.send(&command).await
    }

    /// Unpin
    ///
    /// Where nothing is pinned, nothing changes.
    #[oai(
        path = "/accounts/me/pinned-post",
        method = "delete",
        operation_id = "unpinPost"
    )]
    async fn unpin(&self, write: Write) -> Result<Done, Problem> {
        let command = UnpinPost {
            account: write.account(),
        };
        write.send(&command).await
    }

    /// Accounts by their ids
    ///
    /// In the order that was asked for; those that are not found are left out.
    #[oai(path = "/accounts", method = "get", operation_id = "listAccounts")]
    async fn batch(
        &self,
        read: Read<Viewer>,
        /// 1 to 100 ids with commas between; unknown ones are left out.
        ids: Query<String>,
    ) -> Result<Found<AccountBatch>, Problem> {
        let (observed, ids) = read.observe_batch(&ids.0, AccountId).await?;
        let rows = accounts::by_ids(read.pool(), read.who.account(), &ids).await?;
        let items = rows.into_iter().map(Account::from).collect();
        Ok(Found::new(AccountBatch { items }).as_of(observed.header(View::SOCIAL)))
    }

    /// An account
    ///
    /// With its counters. One that blocks whoever looks is not found.
    #[oai(
        path = "/accounts/:account_id",
        method = "get",
        operation_id = "getAccount"
    )]
    async fn get(
        &self,
        read: Read<Viewer>,
        known: IfNoneMatch,
        account_id: Path<Uuid>,
    ) -> Result<Found<Account>, Problem> {
        let observed = read.observe_of(account_id.0).await?;
        let row = find(&read, AccountId(account_id.0)).await?;
        let version = row.version;
        Ok(Found::new(Account::from(row))
            .as_of(observed.header(View::SOCIAL))
            .version(version, &known))
    }

    /// An account by its handle
    ///
    /// Without regard to case, blanks around it, or an `@` before it.
    #[oai(
        path = "/handles/:handle",
        method = "get",
        operation_id = "getAccountByHandle"
    )]
    async fn get_by_handle(
        &self,
        read: Read<Viewer>,
        known: IfNoneMatch,
        handle: Path<String>,
    ) -> Result<Found<Account>, Problem> {
        let observed = read.observe().await?;
        let missing = || Problem::not_found("account");
        let handle = Handle::written(&handle.0).map_err(|_| missing())?;
        let row = accounts::by_handle(read.pool(), read.who.account(), &handle).await?;
        let row = row.ok_or_else(missing)?;
        observed.refuse_parked(row.id.0)?;
        let version = row.version;
        Ok(Found::new(Account::from(row))
            .as_of(observed.header(View::SOCIAL))
            .version(version, &known))
    }
}

/// The account where the viewer finds it.
pub(crate) async fn find(
    read: &Read<impl Copy + Into<Viewer>>,
    account: AccountId,
) -> Result<AccountRow, Problem> {
    let row = accounts::by_id(read.pool(), read.viewer().account(), account).await?;
    row.ok_or_else(|| Problem::not_found("account"))
}

/// Null clears, which the domain writes as an empty text.
fn changed(field: MaybeUndefined<String>) -> Option<String> {
    match field {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(String::new()),
        MaybeUndefined::Value(text) => Some(text),
    }
}
