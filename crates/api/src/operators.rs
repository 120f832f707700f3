//! What operators do to accounts. It is recorded in the log before it is done, by
//! name. It refuses services: whoever does this is somebody.

use std::sync::Arc;

use domain::{
    accounts::{Accounts, Standing},
    operations::{OperatorActed, RecordOperation},
};
use edge::{
    answers::Done,
    identity::{Authenticated, now},
    request::RequestId,
    text,
};
use kernel::{AccountId, Route, Uuid, compose_id};
use poem::web::Data;
use poem_openapi::{OpenApi, param::Path};
use vault::Role;

use crate::{
    problem::{Code, Problem},
    services::{Services, random},
    tags::Tag,
};

pub struct OperatorsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Operations")]
impl OperatorsApi {
    /// Sign an account out
    ///
    /// All its sessions are ended: their tokens stop counting, at once here, and
    /// within seconds wherever else the API is served. For accounts with the role
    /// operator; it is recorded in the log.
    #[oai(
        path = "/operations/accounts/:account_id/sessions",
        method = "delete",
        operation_id = "endAccountSessions"
    )]
    async fn end_sessions(
        &self,
        services: Data<&Arc<Services>>,
        me: Authenticated,
        request_id: RequestId,
        account_id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        check(&services, me).await?;
        let account = AccountId(account_id.0);
        let state = services
            .log
            .state::<Accounts>(Accounts::id(account))
            .await?;
        match state.state.standing {
            Standing::Registered | Standing::Deactivated => {}
            Standing::Unknown | Standing::Abandoned => return Err(Problem::no_account()),
        }
        record(&services, me, "accounts sign-out", account, request_id).await?;
        let ended = services.vault.end_all_sessions(account).await?;
        services.ended.add(ended);
        Ok(Done::at(None))
    }
}

async fn check(services: &Services, me: Authenticated) -> Result<(), Problem> {
    if services.vault.has_role(me.account, Role::Operator).await? {
        return Ok(());
    }
    let detail = text!(
        "Ask the operators: this needs the role {0}.",
        "Fragen Sie die Betreiber: Dies braucht die Rolle {0}."
    );
    let detail = detail.with([Role::Operator.name().into()]);
    Err(Problem::new(Code::Forbidden, detail))
}

/// Appends `OperatorActed`, as the command line does.
async fn record(
    services: &Services,
    me: Authenticated,
    action: &str,
    target: AccountId,
    request_id: RequestId,
) -> Result<(), Problem> {
    let milliseconds = u64::try_from(now().0).unwrap_or_default();
    let command = RecordOperation {
        // Route 0: all of them are in one partition, in order.
        operation: compose_id(milliseconds, random()?, Route(0)),
        acted: OperatorActed {
            operator: me.account.0.to_string(),
            action: action.to_owned(),
            target: target.0.to_string(),
            reason: None,
        },
    };
    let recorded = services.execute_once(&command, me.account, request_id.0, None);
    recorded.await?;
    Ok(())
}
