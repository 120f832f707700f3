//! Follows: following, unfollowing, followers and followed, who asked to follow and
//! who is let in.

use domain::follows::{
    AcceptFollower, FollowAccount, FollowError, RemoveFollower, SeverFollow, UnfollowAccount,
};
use edge::trace_context::TraceContext;
use kernel::AccountId;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::follows::{self, Side};

use crate::{
    accounts::{self, AccountPage},
    answers::{Changed, Found},
    handlers::{Read, Write},
    identity::{Authenticated, Viewer},
    named::Named,
    paging::Limit,
    preconditions::IfNoneMatch,
    problem::{Code, Problem},
    relationships::{self, Relationship},
    tags::Tag,
};

/// To its end, whether or not whoever asked waits for it.
async fn follow(write: Write, target: AccountId) -> Result<Changed<Relationship>, Problem> {
    let account = write.account();
    let receipt = write.execute(&FollowAccount { account, target }).await?;
    let mut receipts = vec![receipt];
    // A block may have been appended since this was decided.
    if receipt.appended {
        let sever = SeverFollow {
            follower: account,
            followed: target,
        };
        let (services, request) = (&write.services, write.request.0);
        receipts.push(services.execute_step(&sever, account, request).await?);
    }
    Ok(relationships::changed(&write, &receipts, target).await)
}

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
        write: Write,
        account_id: Path<Named>,
    ) -> Result<Changed<Relationship>, Problem> {
        let target = write.named(&account_id.0).await?;
        let followed = follow(write, target);
        TraceContext::spawn(followed)
            .await
            .map_err(Problem::internal)?
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
        write: Write,
        account_id: Path<Named>,
    ) -> Result<Changed<Relationship>, Problem> {
        let target = write.named(&account_id.0).await?;
        let command = UnfollowAccount {
            account: write.account(),
            target,
        };
        relationships::change(&write, &command, target).await
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
        read: Read<Authenticated>,
        known: IfNoneMatch,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<AccountPage>, Problem> {
        let me = read.who.account;
        let scope = format!("requests:{me}");
        let page = read.page(scope, limit.0, cursor.0, known).await?;
        let part = follows::requests(read.pool(), me, page.start, page.limit).await?;
        Ok(page.accounts(part))
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
        write: Write,
        account_id: Path<Named>,
    ) -> Result<Changed<Relationship>, Problem> {
        let follower = write.named(&account_id.0).await?;
        let command = AcceptFollower {
            account: write.account(),
            follower,
        };
        relationships::change(&write, &command, follower).await
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
        write: Write,
        account_id: Path<Named>,
    ) -> Result<Changed<Relationship>, Problem> {
        let follower = write.named(&account_id.0).await?;
        let command = RemoveFollower {
            account: write.account(),
            follower,
        };
        relationships::change(&write, &command, follower).await
    }

    /// Who follows an account, the last first
    ///
    /// A page at a time; the cursors neither repeat nor lose one. A private account's
    /// list is for its followers.
    #[oai(
        path = "/accounts/:account_id/followers",
        method = "get",
        operation_id = "listFollowers"
    )]
    async fn followers(
        &self,
        read: Read<Viewer>,
        known: IfNoneMatch,
        account_id: Path<Named>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<AccountPage>, Problem> {
        let asked = Asked {
            account: account_id.0,
            side: Side::Followers,
            limit: limit.0,
            cursor: cursor.0,
            known,
        };
        list(&read, asked).await
    }

    /// Whom an account follows, the last first
    ///
    /// A page at a time; the cursors neither repeat nor lose one. A private account's
    /// list is for its followers.
    #[oai(
        path = "/accounts/:account_id/following",
        method = "get",
        operation_id = "listFollowing"
    )]
    async fn following(
        &self,
        read: Read<Viewer>,
        known: IfNoneMatch,
        account_id: Path<Named>,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<AccountPage>, Problem> {
        let asked = Asked {
            account: account_id.0,
            side: Side::Following,
            limit: limit.0,
            cursor: cursor.0,
            known,
        };
        list(&read, asked).await
    }
}

struct Asked {
    account: Named,
    side: Side,
    limit: Limit,
    cursor: Option<String>,
    known: IfNoneMatch,
}

async fn list(read: &Read<Viewer>, asked: Asked) -> Result<Found<AccountPage>, Problem> {
    let Asked { account, side, .. } = asked;
    let name = match side {
        Side::Followers => "followers",
        Side::Following => "following",
    };
    let scope = format!("{name}:{account}");
    let page = read.page(scope, asked.limit, asked.cursor, asked.known);
    let page = page.await?;
    let (pool, viewer) = (read.pool(), read.who.account());
    let account = read.named(&account).await?;
    let account = accounts::find(read, account).await?;
    if account.private && !accounts::is_close(read, account.id).await? {
        return Err(Code::AccountPrivate.into());
    }
    let part = follows::list(pool, viewer, account.id, side, page.start, page.limit);
    Ok(page.accounts(part.await?))
}

impl From<FollowError> for Problem {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::SelfFollow => Code::SelfFollow.into(),
            FollowError::AccountNotFound => Self::no_account(),
            FollowError::TargetBlocked => Code::AccountBlocked.into(),
            FollowError::RequestNotFound => Self::no_follow_request(),
        }
    }
}
