//! The registry of features, and serving them until the word to stop.

use std::{io, sync::Arc, time::Duration};

use edge::{
    assembly,
    contract::{self, ContractError},
    server::accept_until,
};
use poem::EndpointExt;
use tokio::{net::TcpListener, sync::watch, time::timeout};

use crate::{
    accounts::AccountsApi, blocks::BlocksApi, contract_rules::RULES, deactivation::DeactivationApi,
    emails::EmailsApi, follows::FollowsApi, health::HealthApi, likes::LikesApi, limits::LimitsApi,
    mutes::MutesApi, operations::OperationsApi, operators::OperatorsApi, passwords::PasswordsApi,
    posts::PostsApi, relationships::RelationshipsApi, second_factors::SecondFactorsApi,
    services::Services, sessions::SessionsApi, timelines::TimelinesApi,
};

/// How long nobody is served while it is not known which sessions were ended.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Whom there is, and how they sign in.
type Identity = (
    AccountsApi,
    DeactivationApi,
    SessionsApi,
    PasswordsApi,
    EmailsApi,
    SecondFactorsApi,
);
/// What they publish, and what they do to each other.
type Social = (
    PostsApi,
    LikesApi,
    FollowsApi,
    BlocksApi,
    MutesApi,
    RelationshipsApi,
    TimelinesApi,
);
/// How the server is.
type Operation = (OperationsApi, OperatorsApi, LimitsApi, HealthApi);

/// The registry of features.
fn features() -> (Identity, Social, Operation) {
    (
        (
            AccountsApi,
            DeactivationApi,
            SessionsApi,
            PasswordsApi,
            EmailsApi,
            SecondFactorsApi,
        ),
        (
            PostsApi,
            LikesApi,
            FollowsApi,
            BlocksApi,
            MutesApi,
            RelationshipsApi,
            TimelinesApi,
        ),
        (OperationsApi, OperatorsApi, LimitsApi, HealthApi::default()),
    )
}

/// The contract as it is committed: a function of types alone.
pub fn document() -> Result<String, ContractError> {
    contract::text(&assembly::document(features(), &RULES)?)
}

/// Serves until `stop` says so, then ends what is under way, and what was promised.
pub async fn serve(
    listener: TcpListener,
    services: Arc<Services>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    // Until then tokens are refused; who comes at once waits for that rather.
    tokio::select! {
        _ = timeout(FIRST_LOOK, services.ended.known()) => {}
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    }
    let layers = assembly::assemble(features(), &RULES).map_err(io::Error::other)?;
    let (edge, proxies) = (services.edge.clone(), services.edge.proxies.clone());
    let endpoint = layers.data(edge).data(services.clone());
    accept_until(listener, Arc::new(endpoint), proxies, stop).await;
    services.drain().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_says_what_a_client_needs() -> Result<(), ContractError> {
        let document = assembly::document(features(), &RULES)?;
        let complaints = contract::complaints(&document);
        assert!(complaints.is_empty(), "{complaints:#?}");
        assert!(document["paths"].as_object().is_some_and(|p| p.len() > 20));
        Ok(())
    }
}
