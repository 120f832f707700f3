//! Serving the features until the word to stop.

use std::{io, sync::Arc, time::Duration};

use edge::{
    assembly,
    contract::{self, ContractError},
    server::accept_until,
};
use poem::EndpointExt;
use tokio::{net::TcpListener, sync::watch, time::timeout};

use crate::{contract_rules::RULES, features, services::Services};

/// How long nobody is served while it is not known which sessions were ended.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Declares the features: their modules, and their parts of the contract, in its order.
macro_rules! registry {
    ($($part:ident { $($module:ident: $api:ident),+ $(,)? })+) => {
        $($(mod $module;)+)+

        $(type $part = ($($module::$api,)+);)+

        fn features() -> ($($part,)+ health::HealthApi) {
            ($(($($module::$api,)+),)+ health::HealthApi::default())
        }
    };
}
pub(crate) use registry;

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
