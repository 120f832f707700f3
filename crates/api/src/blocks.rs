//! Blocks: whom one wants to have nothing to do with. A block ends the follows
//! between the two, which are edges of their own: each step may be repeated, and
//! a block is lifted only when there is none left.

use domain::{
    blocks::{BlockError, Blocks},
    edges::{Connect, Disconnect},
    follows::SeverFollow,
};
use edge::trace_context::TraceContext;
use eventlog::Receipt;
use kernel::AccountId;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::blocks;

use crate::{
    accounts::AccountPage,
    answers::{Changed, Found},
    handlers::{Read, Write},
    identity::Authenticated,
    named::Named,
    paging::Limit,
    preconditions::IfNoneMatch,
    problem::{Code, Problem},
    relationships::{self, Relationship},
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
        write: Write,
        account_id: Path<Named>,
    ) -> Result<Changed<Relationship>, Problem> {
        let target = write.named(&account_id.0).await?;
        let blocked = block(write, target);
        TraceContext::spawn(blocked)
            .await
            .map_err(Problem::internal)?
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
        write: Write,
        account_id: Path<Named>,
    ) -> Result<Changed<Relationship>, Problem> {
        let target = write.named(&account_id.0).await?;
        if write.services.blocks(write.account(), target).await? {
            sever(&write, target).await?;
        }
        let command = Disconnect::<Blocks>::new(write.account(), target);
        relationships::change(&write, &command, target).await
    }

    /// Whom I block, the last first
    ///
    /// A page at a time; the cursors neither repeat nor lose one. Of those that block me
    /// too, the name alone.
    #[oai(
        path = "/accounts/me/blocks",
        method = "get",
        operation_id = "listBlocks"
    )]
    async fn list(
        &self,
        read: Read<Authenticated>,
        known: IfNoneMatch,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<AccountPage>, Problem> {
        let me = read.who.account;
        let scope = format!("blocks:{me}");
        let page = read.page(scope, limit.0, cursor.0, known).await?;
        let part = blocks::list(read.pool(), me, page.start, page.limit).await?;
        Ok(page.accounts(part))
    }
}

/// To its end, whether or not whoever asked waits for it.
async fn block(write: Write, target: AccountId) -> Result<Changed<Relationship>, Problem> {
    let command = Connect::<Blocks>::new(write.account(), target);
    let receipt = write.execute(&command).await?;
    let (mine, theirs) = sever(&write, target).await?;
    Ok(relationships::changed(&write, &[receipt, mine, theirs], target).await)
}

/// Ends what either has of following the other, where one blocks the other.
/// Ends the follows between the two.
async fn sever(write: &Write, target: AccountId) -> Result<(Receipt, Receipt), Problem> {
    let (account, services) = (write.account(), &write.services);
    let edge = |follower, followed| SeverFollow { follower, followed };
    let (mine, theirs) = (edge(account, target), edge(target, account));
    tokio::try_join!(
        services.execute_step(&mine, account, write.request.0),
        services.execute_step(&theirs, account, write.request.0),
    )
}

impl From<BlockError> for Problem {
    fn from(error: BlockError) -> Self {
        match error {
            BlockError::SelfBlock => Code::SelfBlock.into(),
            BlockError::AccountNotFound => Self::no_account(),
        }
    }
}
