//! Leaving for a time: everything stays, and nobody sees it until one signs in
//! again. It refuses whoever only holds a token.

use std::sync::Arc;

use domain::accounts::DeactivateAccount;
use edge::{
    answers::Done, body::Input, caller::Caller, identity::Authenticated, request::RequestId,
    trace_context::TraceContext,
};
use kernel::Uuid;
use poem::web::Data;
use poem_openapi::{Object, OpenApi, types::Example};

use crate::{passwords, problem::Problem, services::Services, tags::Tag};

/// Who leaves.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct Deactivation {
    #[oai(validator(min_length = 1, max_length = 512))]
    current_password: String,
}

impl Example for Deactivation {
    fn example() -> Self {
        Self {
            current_password: "correct horse battery".into(),
        }
    }
}

pub struct DeactivationApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Accounts")]
impl DeactivationApi {
    /// Deactivate my account
    ///
    /// It and all that it published are hidden from everybody, and every session is
    /// ended. Signing in again brings it back as it was.
    #[oai(
        path = "/accounts/me/deactivation",
        method = "put",
        operation_id = "deactivateAccount"
    )]
    async fn deactivate(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        caller: Caller,
        body: Input<Deactivation>,
    ) -> Result<Done, Problem> {
        passwords::show(&services, me, &caller, body.0.current_password).await?;
        let services = Arc::clone(&services);
        let done =
            TraceContext::spawn(async move { deactivate(&services, me, request_id.0).await });
        done.await.map_err(Problem::internal)?
    }
}

/// Sessions end before it and after it: wherever a process dies, what is left is at most
/// the session that asks, which can ask again, and what signed in meanwhile.
async fn deactivate(
    services: &Services,
    me: Authenticated,
    request_id: Uuid,
) -> Result<Done, Problem> {
    let others = services.vault.end_other_sessions(me.account, me.session);
    let others = match others.await? {
        Some(others) => others,
        // The one that asks was ended a moment ago; the password was shown all the same.
        None => services.vault.end_all_sessions(me.account).await?,
    };
    services.ended.add(others);
    let command = DeactivateAccount {
        account: me.account,
    };
    let receipt = services
        .execute_step(&command, me.account, request_id)
        .await?;
    let all = services.vault.end_all_sessions(me.account).await?;
    services.ended.add(all.into_iter().chain([me.session]));
    tracing::info!(account = %me.account, "the account was deactivated");
    Ok(Done::at(receipt.position))
}
