//! Listening and accepting, until the word to stop.

mod accept;
pub(crate) mod connections;
pub(crate) mod host;
mod socket;
mod taken;
pub(crate) mod unread;

use std::{io, net::SocketAddr, sync::Arc};

use poem::{Endpoint, Response};
use tokio::{net::TcpListener, sync::watch};

use self::connections::{Connections, Patience};
use crate::caller::Proxies;

pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves `endpoint` until `stop` says so, then ends what is under way.
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
