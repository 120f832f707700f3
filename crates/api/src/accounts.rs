//! Accounts: registering, profiles, the pinned post.

mod shapes;

use std::sync::Arc;

use domain::{
    accounts::{Bio, DisplayName, PinPost, UnpinPost, UpdateProfile},
    handles::Handle,
    posts::PostId,
};
use edge::{
    answers::{Changed, Created, Found},
    body::Input,
    caller::Caller,
    identity::{Authenticated, Viewer},
    preconditions::{Idempotency, IfMatch, IfNoneMatch, UnauthenticatedIdempotency},
    request::RequestId,
    trace_context::TraceContext,
};
use eventlog::Receipt;
use kernel::{AccountId, Uuid};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
    types::MaybeUndefined,
};
use readmodel::{
    accounts::{self, AccountRow},
    follows, visibility,
};
use vault::Purpose;

use crate::{
    emails,
    freshness::View,
    handlers::{Read, Version, Write},
    logins::Login,
    named::Named,
    passwords,
    posts::{self, Post},
    problem::{Fields, Problem},
    registration,
    services::Services,
    sessions::{self, Session, SignIn},
    tags::Tag,
    throttle::Try,
};

pub use shapes::{Account, AccountPage};
use shapes::{
    AccountBatch, AccountInclude, OwnAccount, Pin, ProfileChange, Registered, Registration,
};

/// Requests to follow that are counted for the one who is asked.
const REQUESTS_COUNTED_MAX: u32 = 100;

pub struct AccountsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Accounts")]
impl AccountsApi {
    /// Register
    ///
    /// Handle and e-mail address are unique without regard to case. The answer
    /// holds a session: the new account is signed in. A code is sent to the address. Until
    /// it is verified, whoever registers with it next has it, and this account has none.
    /// Sent again with the same Idempotency-Key, it signs in, as anybody does: the
    /// password has to be the account's still.
    #[oai(path = "/accounts", method = "post", operation_id = "registerAccount")]
    async fn register(
        &self,
        services: Data<&Arc<Services>>,
        request_id: RequestId,
        caller: Caller,
        idempotency: UnauthenticatedIdempotency,
        body: Input<Registration>,
    ) -> Result<Created<Registered>, Problem> {
        let services = Arc::clone(&services);
        // A client that goes away does not choose where it stops.
        let done = TraceContext::spawn(async move {
            register(&services, &caller, request_id.0, &idempotency.0, body.0).await
        });
        done.await.map_err(Problem::internal)?
    }

    /// My account
    ///
    /// With the e-mail address, which nobody else sees.
    #[oai(path = "/accounts/me", method = "get", operation_id = "getMyAccount")]
    async fn get_me(
        &self,
        read: Read<Authenticated>,
        known: IfNoneMatch,
        /// What is wanted besides.
        include: Query<Option<AccountInclude>>,
    ) -> Result<Found<OwnAccount>, Problem> {
        let observed = read.observe_of(read.who.account.0).await?;
        let (own, version) = own(&read, include.0).await?;
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
    ) -> Result<Changed<OwnAccount>, Problem> {
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
        let receipt = write.execute_once(&command).await?;
        let short = Some(Version::from(&receipt));
        Ok(changed_own(&write, &receipt, short).await)
    }

    /// Pin a post of mine
    ///
    /// In place of the one that was pinned before. It must be public and one's own.
    #[oai(
        path = "/accounts/me/pinned-post",
        method = "put",
        operation_id = "pinPost"
    )]
    async fn pin(&self, write: Write, body: Input<Pin>) -> Result<Changed<OwnAccount>, Problem> {
        let command = PinPost {
            account: write.account(),
            post: PostId(body.0.post_id),
        };
        let receipt = write.execute(&command).await?;
        Ok(changed_own(&write, &receipt, None).await)
    }

    /// Unpin
    ///
    /// Where nothing is pinned, nothing changes.
    #[oai(
        path = "/accounts/me/pinned-post",
        method = "delete",
        operation_id = "unpinPost"
    )]
    async fn unpin(&self, write: Write) -> Result<Changed<OwnAccount>, Problem> {
        let command = UnpinPost {
            account: write.account(),
        };
        let receipt = write.execute(&command).await?;
        Ok(changed_own(&write, &receipt, None).await)
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
        let rows = rows
            .into_iter()
            .filter_map(|row| without_withheld(&read, row));
        let viewer = read.viewer();
        let items = rows.map(|row| Account::of(row, viewer)).collect();
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
        account_id: Path<Named>,
        /// What is wanted besides.
        include: Query<Option<AccountInclude>>,
    ) -> Result<Found<Account>, Problem> {
        let account = read.named(&account_id.0).await?;
        let observed = read.observe_of(account.0).await?;
        let row = find(&read, account).await?;
        let version = version_for(read.viewer(), &row);
        let pinned = included(&read, &row, include.0).await?;
        Ok(
            Found::new(Account::of(row, read.viewer()).with_pinned(pinned))
                .as_of(observed.header(View::SOCIAL))
                .version(version, &known),
        )
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
        /// What is wanted besides.
        include: Query<Option<AccountInclude>>,
    ) -> Result<Found<Account>, Problem> {
        let observed = read.observe().await?;
        let missing = || Problem::no_account();
        let handle = Handle::written(&handle.0).map_err(|_| missing())?;
        let row = accounts::by_handle(read.pool(), read.who.account(), &handle).await?;
        let row = row
            .and_then(|row| without_withheld(&read, row))
            .ok_or_else(missing)?;
        observed.refuse_parked(row.id.0)?;
        let version = version_for(read.viewer(), &row);
        let pinned = included(&read, &row, include.0).await?;
        Ok(
            Found::new(Account::of(row, read.viewer()).with_pinned(pinned))
                .as_of(observed.header(View::SOCIAL))
                .version(version, &known),
        )
    }
}

/// One's own account, and its version.
async fn own(
    read: &Read<Authenticated>,
    include: Option<AccountInclude>,
) -> Result<(OwnAccount, u64), Problem> {
    let me = read.who.account;
    let row = find(read, me).await?;
    let credentials = read.services.vault.by_account(me).await?;
    let requests = follows::count_requests(read.pool(), me, REQUESTS_COUNTED_MAX).await?;
    let pinned = included(read, &row, include).await?;
    let version = row.version;
    let own = OwnAccount {
        account: Account::of(row, read.viewer()).with_pinned(pinned),
        follow_requests_count: requests,
        email_verified: credentials.as_ref().is_some_and(|c| c.email_verified),
        email: credentials.and_then(|credentials| credentials.email),
    };
    Ok((own, version))
}

/// The pinned post, where it is wanted and the reader sees it.
async fn included(
    read: &Read<impl Copy + Into<Viewer>>,
    row: &AccountRow,
    include: Option<AccountInclude>,
) -> Result<Option<Post>, Problem> {
    let (Some(AccountInclude::PinnedPost), Some(post)) = (include, row.pinned_post_id) else {
        return Ok(None);
    };
    let (observed, post) = (read.observe().await?, PostId(post));
    let mut posts = posts::available(read, &observed, &[post]).await?;
    Ok(posts.remove(&post))
}

/// Answers with one's own account after a change, or with `short`.
async fn changed_own<E>(
    write: &Write<E>,
    receipt: &Receipt,
    short: Option<Version>,
) -> Changed<OwnAccount> {
    let own = match write.read_back(&[*receipt]).await {
        Some(read) => own(&read, None).await.ok(),
        None => None,
    };
    let changed = match own {
        Some((own, _)) => Changed::new(own),
        None => Changed::short(short.as_ref()),
    };
    changed
        .at(receipt.position)
        .version(receipt.version)
        .replayed(receipt.again)
}

/// In its tag: others than the owner learn of what they see alone, which the rest of the
/// tag stands for, and not that something hidden changed.
fn version_for(viewer: Viewer, row: &AccountRow) -> u64 {
    match viewer.account() == Some(row.id) {
        true => row.version,
        false => 0,
    }
}

async fn register(
    services: &Arc<Services>,
    caller: &Caller,
    request_id: Uuid,
    idempotency: &Idempotency,
    body: Registration,
) -> Result<Created<Registered>, Problem> {
    let wanted = body.read()?;
    let place = passwords::place(services, caller).await?;
    let mut attempt = Try::to_register(services, caller).await?;
    attempt.counts();
    let login = Login::Email(wanted.email.clone());
    let done = registration::register(services, wanted, place, idempotency, request_id).await;
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
        let sent = emails::send(services, account, Purpose::VerifyEmail).await;
        if let Err(problem) = sent {
            tracing::warn!(%problem, "a code could not be sent to who registered");
        }
    }
    let session = match receipt.again {
        // What was registered may have another password by now, or a second factor:
        // whoever sends it again signs in, as anybody does.
        true => {
            let shown = SignIn::with(&handle, body.password);
            let place = passwords::place(services, caller).await?;
            let who = (&login, Some(account));
            sessions::try_to_sign_in(services, who, shown, place, caller, request_id).await?
        }
        false => Session::begin(services, account, caller, None, false)
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
        .version(receipt.version)
        .replayed(receipt.again))
}

/// The account where the viewer finds it.
pub(crate) async fn find(
    read: &Read<impl Copy + Into<Viewer>>,
    account: AccountId,
) -> Result<AccountRow, Problem> {
    let row = accounts::by_id(read.pool(), read.viewer().account(), account).await?;
    let row = row.and_then(|row| without_withheld(read, row));
    row.ok_or_else(Problem::no_account)
}

/// The account as it is in the log, as far as that takes something away.
fn without_withheld(
    read: &Read<impl Copy + Into<Viewer>>,
    mut row: AccountRow,
) -> Option<AccountRow> {
    let (withheld, viewer) = (read.withheld(), read.viewer().account());
    if withheld.is_empty() {
        return Some(row);
    }
    let is_own = viewer == Some(row.id);
    row.private |= withheld.public(row.id);
    let is_closed =
        row.private && !is_own && (withheld.public(row.id) || withheld.follow(viewer, row.id));
    let is_pinned = |post: &Uuid| !is_closed && !withheld.deleted(PostId(*post));
    row.pinned_post_id = row.pinned_post_id.filter(is_pinned);
    row.active_on = row.active_on.filter(|_| !is_closed);
    (!withheld.account(viewer, row.id)).then_some(row)
}

/// Whether the viewer sees what the account shares with followers.
pub(crate) async fn is_close(read: &Read<Viewer>, account: AccountId) -> Result<bool, Problem> {
    let viewer = read.viewer().account();
    if read.withheld().follow(viewer, account) {
        return Ok(false);
    }
    Ok(visibility::is_close(read.pool(), viewer, account).await?)
}

/// Null clears, which the domain writes as an empty text.
fn changed(field: MaybeUndefined<String>) -> Option<String> {
    match field {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(String::new()),
        MaybeUndefined::Value(text) => Some(text),
    }
}
