//! Listening and serving, until told to stop.

mod accept;
pub(crate) mod connections;
pub(crate) mod host;
mod socket;
mod taken;
pub(crate) mod unread;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use poem::{Endpoint, EndpointExt, Response};
use tokio::{net::TcpListener, sync::watch, time::timeout};

use self::connections::{Connections, Patience};
use crate::{
    accounts::AccountsApi, assembly, blocks::BlocksApi, caller::Proxies,
    deactivation::DeactivationApi, emails::EmailsApi, follows::FollowsApi, health::HealthApi,
    identity::Checks, likes::LikesApi, limits::LimitsApi, mutes::MutesApi,
    operations::OperationsApi, operators::OperatorsApi, passwords::PasswordsApi, posts::PostsApi,
    relationships::RelationshipsApi, second_factors::SecondFactorsApi, services::Services,
    sessions::SessionsApi, timelines::TimelinesApi,
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
pub fn document() -> Result<String, crate::contract::ContractError> {
    crate::contract::text(&assembly::document(features())?)
}

pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
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
    let checks = Arc::new(Checks {
        tokens: services.tokens.clone(),
        ended: services.ended.clone(),
        cursors: services.cursors.clone(),
    });
    let edge = assembly::assemble(features()).map_err(io::Error::other)?;
    let proxies = services.proxies.clone();
    let endpoint = edge.data(checks).data(services.clone());
    accept_until(listener, Arc::new(endpoint), proxies, stop).await;
    services.drain().await;
    Ok(())
}

/// The same for any endpoint.
pub async fn accept_until<E>(
    listener: TcpListener,
    endpoint: Arc<E>,
    proxies: Proxies,
    mut stop: watch::Receiver<bool>,
) where
    E: Endpoint<Output = Response> + 'static,
{
    let stopped = async move {
        // A sender that is gone has nobody left to serve for.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let connections = Connections::with(Patience::default(), proxies);
    accept::serve(listener, endpoint, stopped, Arc::new(connections)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_says_what_a_client_needs() -> Result<(), crate::contract::ContractError> {
        let document = assembly::document(features())?;
        let complaints = crate::contract::complaints(&document);
        assert!(complaints.is_empty(), "{complaints:#?}");
        assert!(document["paths"].as_object().is_some_and(|p| p.len() > 20));
        Ok(())
    }
}
