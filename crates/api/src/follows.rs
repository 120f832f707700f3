//! Follows: following, unfollowing, followers and followed, who asked to follow and
//! who is let in.

use std::sync::Arc;

use domain::follows::{
    AcceptFollower, FollowAccount, FollowError, RemoveFollower, UnfollowAccount,
};
use kernel::{AccountId, Uuid};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::{
    follows::{self, Side},
    visibility,
};

use crate::{
    accounts::{self, AccountPage},
    answers::{Done, Found},
    identity::{Authenticated, Viewer},
    pages::EdgePage,
    paging::{Here, Limit},
    preconditions::{Idempotency, MinPosition},
    problem::{Code, Problem},
    request::RequestId,
    services::Services,
    tags::Tag,
};

pub struct FollowsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Follows")]
impl FollowsApi {
    /// Follow an account
    ///
    /// Following it again changes nothing. Its posts appear in the home
    /// timeline, earlier ones too. A private account is asked first: until it
    /// answers, the relationship says `requested`.
    #[oai(
        path = "/accounts/:account_id/follow",
        method = "put",
        operation_id = "followAccount"
    )]
    async fn follow(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        account_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let command = FollowAccount {
            account: me.account,
            target: AccountId(account_id.0),
        };
        services.done(&command, me, request_id, &idempotency).await
    }

    /// Unfollow an account
    ///
    /// Takes its posts out of my home timeline, or a request back. Where there is
    /// neither, nothing changes.
    #[oai(
        path = "/accounts/:account_id/follow",
        method = "delete",
        operation_id = "unfollowAccount"
    )]
    async fn unfollow(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        account_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let command = UnfollowAccount {
            account: me.account,
            target: AccountId(account_id.0),
        };
        services.done(&command, me, request_id, &idempotency).await
    }

    /// Who asked to follow me, the last first
    ///
    /// They wait for `PUT /v1/accounts/me/followers/{account_id}`, or the same with
    /// `DELETE`.
    #[oai(
        path = "/accounts/me/follow-requests",
        method = "get",
        operation_id = "listFollowRequests"
    )]
    async fn requests(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        min_position: MinPosition,
        here: Here,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<AccountPage>, Problem> {
        let (viewer, scope) = (Viewer(Some(me)), format!("requests:{}", me.account));
        let cursor = cursor.0.as_deref();
        let page = EdgePage::begin(&services, viewer, &min_position, scope, limit.0, cursor);
        let page = page.await?;
        let rows = follows::requests(services.pool(), me.account, page.last, page.asked).await?;
        Ok(page.answer(&services, rows, &here))
    }

    /// Let a follower in
    ///
    /// Who asked to follow me does from now on. Where they follow already, nothing
    /// changes.
    #[oai(
        path = "/accounts/me/followers/:account_id",
        method = "put",
        operation_id = "acceptFollower"
    )]
    async fn accept(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        account_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let command = AcceptFollower {
            account: me.account,
            follower: AccountId(account_id.0),
        };
        services.done(&command, me, request_id, &idempotency).await
    }

    /// Remove a follower, or refuse who asked to be one
    ///
    /// Nobody is told. Where they do neither, nothing changes.
    #[oai(
        path = "/accounts/me/followers/:account_id",
        method = "delete",
        operation_id = "removeFollower"
    )]
    async fn remove(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        account_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let command = RemoveFollower {
            account: me.account,
            follower: AccountId(account_id.0),
        };
        services.done(&command, me, request_id, &idempotency).await
    }

    /// Who follows an account, the last first
    ///
    /// A page at a time; the cursor neither repeats nor loses one. A private account's
    /// list is for its followers.
    #[allow(clippy::too_many_arguments)]
    #[oai(
        path = "/accounts/:account_id/followers",
        method = "get",
        operation_id = "listFollowers"
    )]
    async fn followers(
        &self,
        services: Data<&Arc<Services>>,
        viewer: Viewer,
        min_position: MinPosition,
        here: Here,
        account_id: Path<Uuid>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<AccountPage>, Problem> {
        let asked = Asked {
            account: AccountId(account_id.0),
            side: Side::Followers,
            limit: limit.0,
            cursor: cursor.0,
        };
        list(&services, viewer, &min_position, &here, asked).await
    }

    /// Whom an account follows, the last first
    ///
    /// A page at a time; the cursor neither repeats nor loses one. A private account's
    /// list is for its followers.
    #[allow(clippy::too_many_arguments)]
    #[oai(
        path = "/accounts/:account_id/following",
        method = "get",
        operation_id = "listFollowing"
    )]
    async fn following(
        &self,
        services: Data<&Arc<Services>>,
        viewer: Viewer,
        min_position: MinPosition,
        here: Here,
        account_id: Path<Uuid>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<AccountPage>, Problem> {
        let asked = Asked {
            account: AccountId(account_id.0),
            side: Side::Following,
            limit: limit.0,
            cursor: cursor.0,
        };
        list(&services, viewer, &min_position, &here, asked).await
    }
}

struct Asked {
    account: AccountId,
    side: Side,
    limit: Limit,
    cursor: Option<String>,
}

async fn list(
    services: &Services,
    viewer: Viewer,
    min_position: &MinPosition,
    here: &Here,
    asked: Asked,
) -> Result<Found<AccountPage>, Problem> {
    let side = match asked.side {
        Side::Followers => "followers",
        Side::Following => "following",
    };
    let scope = format!("{side}:{}", asked.account);
    let cursor = asked.cursor.as_deref();
    let page = EdgePage::begin(services, viewer, min_position, scope, asked.limit, cursor);
    let page = page.await?;
    let account = accounts::find(services, viewer, asked.account).await?;
    if !visibility::may_list(services.pool(), viewer.account(), &account).await? {
        let detail = "Only its followers see this: ask to follow it.";
        return Err(Problem::new(Code::AccountPrivate, detail));
    }
    let rows = follows::list(
        services.pool(),
        viewer.account(),
        account.id,
        asked.side,
        page.last,
        page.asked,
    )
    .await?;
    Ok(page.answer(services, rows, here))
}

impl From<FollowError> for Problem {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::SelfFollow => Self::new(Code::Conflict, "Nobody can follow themselves."),
            FollowError::AccountNotFound => Self::not_found("account"),
            FollowError::TargetBlocked => {
                Self::new(Code::Conflict, "I block this account: unblock it first.")
            }
            FollowError::RequestNotFound => Self::not_found("request to follow"),
        }
    }
}
