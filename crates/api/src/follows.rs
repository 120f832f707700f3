//! Follows: following, unfollowing, followers and followed.

use std::sync::Arc;

use domain::follows::{FollowAccount, FollowError, UnfollowAccount};
use kernel::{AccountId, Uuid};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::{
    accounts,
    follows::{self, Side},
};

use crate::{
    accounts::AccountPage,
    answers::{Done, Found},
    freshness::View,
    identity::{Authenticated, Viewer},
    pages,
    paging::{Here, Limit},
    preconditions::{Idempotency, MinPosition},
    problem::{Code, Problem},
    request::RequestId,
    services::Services,
    system::Tag,
};

pub struct FollowsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Follows")]
impl FollowsApi {
    /// Follow an account
    ///
    /// Following it again changes nothing. Its posts appear in the home
    /// timeline, earlier ones too.
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
        let receipt = services
            .execute(&command, me.account, request_id.0, &idempotency)
            .await?;
        Ok(Done::at(receipt.position))
    }

    /// Unfollow an account
    ///
    /// Takes its posts out of my home timeline. Where I do not follow it, nothing
    /// changes.
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
        let receipt = services
            .execute(&command, me.account, request_id.0, &idempotency)
            .await?;
        Ok(Done::at(receipt.position))
    }

    /// Who follows an account, the last first
    ///
    /// A page at a time; the cursor neither repeats nor loses one.
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
    /// A page at a time; the cursor neither repeats nor loses one.
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
    let after = pages::edge(&services.cursors, &scope, asked.cursor.as_deref())?;
    let observed = (services.freshness)
        .wait(View::Social, viewer.account(), &min_position.0)
        .await?;
    let account = accounts::by_id(services.pool(), asked.account).await?;
    let account = account.ok_or_else(|| Problem::not_found("account"))?.id;
    let limit = asked.limit;
    let rows = follows::list(
        services.pool(),
        account,
        asked.side,
        after,
        pages::asked(limit),
    )
    .await?;
    Ok(
        pages::accounts(&services.cursors, &scope, rows, limit, here)
            .as_of(observed.header(View::Social)),
    )
}

impl From<FollowError> for Problem {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::SelfFollow => Self::new(Code::Conflict, "Nobody can follow themselves."),
            FollowError::AccountNotFound => Self::not_found("account"),
        }
    }
}
