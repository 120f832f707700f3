//! Mutes: whose posts one does not want to come across.

use domain::{
    edges::{Connect, Disconnect},
    mutes::{MuteError, Mutes},
};
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::mutes;

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

pub struct MutesApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Blocks")]
impl MutesApi {
    /// Mute an account
    ///
    /// Its posts are gone from my timelines and from under what I read; I still find
    /// them where I look for them. Nobody is told. Muting it again changes nothing.
    #[oai(
        path = "/accounts/:account_id/mute",
        method = "put",
        operation_id = "muteAccount"
    )]
    async fn mute(
        &self,
        write: Write,
        account_id: Path<Named>,
    ) -> Result<Changed<Relationship>, Problem> {
        let target = write.named(&account_id.0).await?;
        let command = Connect::<Mutes>::new(write.account(), target);
        relationships::change(&write, &command, target).await
    }

    /// Unmute an account
    ///
    /// Its posts are where they were before. Where it is not muted, nothing changes.
    #[oai(
        path = "/accounts/:account_id/mute",
        method = "delete",
        operation_id = "unmuteAccount"
    )]
    async fn unmute(
        &self,
        write: Write,
        account_id: Path<Named>,
    ) -> Result<Changed<Relationship>, Problem> {
        let target = write.named(&account_id.0).await?;
        let command = Disconnect::<Mutes>::new(write.account(), target);
        relationships::change(&write, &command, target).await
    }

    /// Whom I mute, the last first
    ///
    /// A page at a time; the cursors neither repeat nor lose one.
    #[oai(
        path = "/accounts/me/mutes",
        method = "get",
        operation_id = "listMutes"
    )]
    async fn list(
        &self,
        read: Read<Authenticated>,
        known: IfNoneMatch,
        limit: Query<Limit>,
        cursor: Query<Option<String>>,
    ) -> Result<Found<AccountPage>, Problem> {
        let me = read.who.account;
        let scope = format!("mutes:{me}");
        let page = read.page(scope, limit.0, cursor.0, known).await?;
        let part = mutes::list(read.pool(), me, page.start, page.limit).await?;
        Ok(page.accounts(part))
    }
}

impl From<MuteError> for Problem {
    fn from(error: MuteError) -> Self {
        match error {
            MuteError::SelfMute => Code::SelfMute.into(),
            MuteError::AccountNotFound => Self::no_account(),
        }
    }
}
