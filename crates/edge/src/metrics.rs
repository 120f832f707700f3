//! Serves metrics at an address of their own: what the caller measures, the connections
//! that are open, and what was answered. It refuses to tell of people.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use poem::{
    Response, Route,
    endpoint::{make, make_sync},
    http::StatusCode,
};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    caller::Proxies,
    counted,
    exposition::Exposition,
    server::{accept_until, connections},
};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is measured besides what the edge counts.
pub trait Measure: Send + Sync + 'static {
    fn measure(&self) -> impl Future<Output = Exposition> + Send;
}

/// Serves `/metrics` until `stop` says so.
pub async fn serve_metrics(
    listener: TcpListener,
    measured: impl Measure,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let measured = Arc::new(measured);
    let metrics = make(move |_| {
        let measured = measured.clone();
        async move {
            let mut text = measured.measure().await;
            tell(&mut text);
            let text = text.text();
            Response::builder().content_type(CONTENT_TYPE).body(text)
        }
    });
    let elsewhere = make_sync(|_| StatusCode::NOT_FOUND);
    let endpoint = Route::new().at("/metrics", metrics).at("*", elsewhere);
    accept_until(listener, Arc::new(endpoint), Proxies::default(), stop).await;
    Ok(())
}

fn tell(text: &mut Exposition) {
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed) as f64;
    text.family("headwater_connections", "Connections that are open.");
    text.sample(&[], count(&connections::OPEN));
    let refused = "Connections that were closed unheard, since there were too many.";
    text.family_of("counter", "headwater_connections_refused_total", refused);
    text.sample(&[], count(&connections::REFUSED));
    counted::tell(text);
}
