//! Blocks: whom one wants to have nothing to do with. A block ends the follows
//! between the two, which are edges of their own: each step may be repeated, and
//! a block is lifted only when there is none left.

use std::sync::Arc;

use domain::{
    blocks::{BlockError, Blocks},
    edges::{Connect, Disconnect},
    follows::SeverFollow,
};
use kernel::{AccountId, Uuid};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::blocks;

use crate::{
    accounts::AccountPage,
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

pub struct BlocksApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Blocks")]
impl BlocksApi {
    /// Block an account
    ///
    /// From now on neither sees what the other publishes, and it does not find me.
    /// Follows between us, and requests to follow, are ended. Nobody is told. Blocking
    /// it again changes nothing.
    #[oai(
        path = "/accounts/:account_id/block",
        method = "put",
        operation_id = "blockAccount"
    )]
    async fn block(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        account_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let target = AccountId(account_id.0);
        let command = Connect::<Blocks>::new(me.account, target);
        let receipt = services
            .execute(&command, me.account, request_id.0, &idempotency)
            .await?;
        let is_new = receipt.appended && !receipt.again;
        sever(&services, me.account, target, is_new, request_id.0).await?;
        Ok(Done::at(receipt.position))
    }

    /// Unblock an account
    ///
    /// Nobody follows anybody by it. Where it is not blocked, nothing changes.
    #[oai(
        path = "/accounts/:account_id/block",
        method = "delete",
        operation_id = "unblockAccount"
    )]
    async fn unblock(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        account_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let target = AccountId(account_id.0);
        if services.blocks(me.account, target).await? {
            sever(&services, me.account, target, false, request_id.0).await?;
        }
        let command = Disconnect::<Blocks>::new(me.account, target);
        services.done(&command, me, request_id, &idempotency).await
    }

    /// Whom I block, the last first
    ///
    /// A page at a time; the cursor neither repeats nor loses one. Of those that block me
    /// too, the name alone.
    #[oai(
        path = "/accounts/me/blocks",
        method = "get",
        operation_id = "listBlocks"
    )]
    async fn list(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        min_position: MinPosition,
        here: Here,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<AccountPage>, Problem> {
        let (viewer, scope) = (Viewer(Some(me)), format!("blocks:{}", me.account));
        let cursor = cursor.0.as_deref();
        let page = EdgePage::begin(&services, viewer, &min_position, scope, limit.0, cursor);
        let page = page.await?;
        let rows = blocks::list(services.pool(), me.account, page.last, page.asked).await?;
        Ok(page.answer(&services, rows, &here))
    }
}

/// Ends what either has of following the other.
async fn sever(
    services: &Services,
    account: AccountId,
    target: AccountId,
    fence: bool,
    correlation: Uuid,
) -> Result<(), Problem> {
    let edge = |follower, followed| SeverFollow {
        follower,
        followed,
        fence,
    };
    let (mine, theirs) = (edge(account, target), edge(target, account));
    tokio::try_join!(
        services.execute_step(&mine, account, correlation),
        services.execute_step(&theirs, account, correlation),
    )?;
    Ok(())
}

impl From<BlockError> for Problem {
    fn from(error: BlockError) -> Self {
        match error {
            BlockError::SelfBlock => Self::new(Code::Conflict, "Nobody can block themselves."),
            BlockError::AccountNotFound => Self::not_found("account"),
        }
    }
}
