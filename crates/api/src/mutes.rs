//! Mutes: whose posts one does not want to come across.

use std::sync::Arc;

use domain::{
    edges::{Connect, Disconnect},
    mutes::{MuteError, Mutes},
};
use kernel::{AccountId, Uuid};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use readmodel::mutes;

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
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        account_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let command = Connect::<Mutes>::new(me.account, AccountId(account_id.0));
        services.done(&command, me, request_id, &idempotency).await
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
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        idempotency: Idempotency,
        account_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        let command = Disconnect::<Mutes>::new(me.account, AccountId(account_id.0));
        services.done(&command, me, request_id, &idempotency).await
    }

    /// Whom I mute, the last first
    ///
    /// A page at a time; the cursor neither repeats nor loses one.
    #[oai(
        path = "/accounts/me/mutes",
        method = "get",
        operation_id = "listMutes"
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
        let (viewer, scope) = (Viewer(Some(me)), format!("mutes:{}", me.account));
        let cursor = cursor.0.as_deref();
        let page = EdgePage::begin(&services, viewer, &min_position, scope, limit.0, cursor);
        let page = page.await?;
        let rows = mutes::list(services.pool(), me.account, page.last, page.asked).await?;
        Ok(page.answer(&services, rows, &here))
    }
}

impl From<MuteError> for Problem {
    fn from(error: MuteError) -> Self {
        match error {
            MuteError::SelfMute => Self::new(Code::Conflict, "Nobody can mute themselves."),
            MuteError::AccountNotFound => Self::not_found("account"),
        }
    }
}
