//! Relationships: what I have done to others, and they to me. It refuses to tell
//! who blocks me: such an account is not found.

use edge::answers::Changed;
use eventlog::Receipt;
use kernel::{AccountId, Command, Uuid};
use poem_openapi::{Object, OpenApi, param::Query, types::Example};
use readmodel::relationships::{self, RelationshipRow};

use crate::{
    answers::Found,
    examples::ACCOUNT_ID,
    freshness::View,
    handlers::{Read, Version, Write},
    identity::Authenticated,
    problem::Problem,
    tags::Tag,
};

/// Between me and another account.
#[derive(Object)]
#[oai(example)]
pub struct Relationship {
    account_id: Uuid,
    #[oai(flatten)]
    between: AccountViewerState,
}

/// What is between the one who looks and an account.
#[derive(Object)]
pub struct AccountViewerState {
    /// I follow it.
    following: bool,
    /// It follows me.
    followed_by: bool,
    /// I asked to follow it, and wait.
    requested: bool,
    /// It asked to follow me, and waits.
    requested_by: bool,
    /// I block it.
    blocking: bool,
    /// I mute it.
    muting: bool,
}

impl Example for Relationship {
    fn example() -> Self {
        Self {
            account_id: ACCOUNT_ID,
            between: AccountViewerState::example(),
        }
    }
}

impl Example for AccountViewerState {
    fn example() -> Self {
        Self {
            following: true,
            followed_by: false,
            requested: false,
            requested_by: false,
            blocking: false,
            muting: false,
        }
    }
}

impl From<RelationshipRow> for Relationship {
    fn from(row: RelationshipRow) -> Self {
        Self {
            account_id: row.account.0,
            between: row.into(),
        }
    }
}

impl From<RelationshipRow> for AccountViewerState {
    fn from(row: RelationshipRow) -> Self {
        Self {
            following: row.following,
            followed_by: row.followed_by,
            requested: row.requested,
            requested_by: row.requested_by,
            blocking: row.blocking,
            muting: row.muting,
        }
    }
}

/// Sends a command between the account and `other`, and answers with what is between
/// them after it.
pub(crate) async fn change<C>(
    write: &Write,
    command: &C,
    other: AccountId,
) -> Result<Changed<Relationship>, Problem>
where
    C: Command,
    Problem: From<C::Error>,
{
    let receipt = write.execute(command).await?;
    Ok(changed(write, &[receipt], other).await)
}

/// Answers with what is between the account and `other` after a command, whose receipt
/// is the first, and what followed from it.
pub(crate) async fn changed(
    write: &Write,
    receipts: &[Receipt],
    other: AccountId,
) -> Changed<Relationship> {
    let relationship = match write.read_back(receipts).await {
        Some(read) => with(&read, other).await.ok(),
        None => None,
    };
    let changed = match relationship {
        Some(relationship) => Changed::new(relationship),
        None => Changed::short(None::<&Version>),
    };
    let first = receipts.first();
    changed
        .at(first.and_then(|receipt| receipt.position))
        .replayed(first.is_some_and(|receipt| receipt.again))
}

/// Nothing is between the reader and an account that is not found.
async fn with(read: &Read<Authenticated>, other: AccountId) -> Result<Relationship, Problem> {
    let mut rows = relationships::by_ids(read.pool(), read.who.account, &[other]).await?;
    rows.retain(|row| {
        let reader = Some(read.who.account);
        !read.withheld().account(reader, row.account)
    });
    let row = rows.pop().unwrap_or_else(|| RelationshipRow::none(other));
    Ok(row.into())
}

/// Relationships in the order of the accounts that were asked for.
#[derive(Object)]
#[oai(example)]
pub struct RelationshipBatch {
    items: Vec<Relationship>,
}

impl Example for RelationshipBatch {
    fn example() -> Self {
        Self {
            items: vec![Relationship::example()],
        }
    }
}

pub struct RelationshipsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Follows")]
impl RelationshipsApi {
    /// What is between me and others
    ///
    /// In the order that was asked for; accounts that are not found are left out.
    #[oai(
        path = "/relationships",
        method = "get",
        operation_id = "listRelationships"
    )]
    async fn batch(
        &self,
        read: Read<Authenticated>,
        /// 1 to 100 ids of accounts with commas between; those that are not found are
        /// left out.
        ids: Query<String>,
    ) -> Result<Found<RelationshipBatch>, Problem> {
        let (observed, ids) = read.observe_batch(&ids.0, AccountId).await?;
        let mut rows = relationships::by_ids(read.pool(), read.who.account, &ids).await?;
        rows.retain(|row| {
            !observed
                .withheld
                .account(Some(read.who.account), row.account)
        });
        let items = rows.into_iter().map(Relationship::from).collect();
        Ok(Found::new(RelationshipBatch { items }).as_of(observed.header(View::SOCIAL)))
    }
}
