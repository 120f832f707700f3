//! Prometheus metrics (text format 0.0.4), at an address of their own: how each
//! projection is doing, and what was answered. It refuses to tell of people.

use std::{
    collections::BTreeMap,
    fmt::Write,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use eventlog::Log;
use poem::{
    Response, Route,
    endpoint::{make, make_sync},
    http::StatusCode,
};
use readmodel::{
    DatabaseConnection, PgPool,
    progress::{self, Progress},
    timelines::Lists,
};
use tokio::{net::TcpListener, sync::watch, time::timeout};

use crate::{
    caller::Proxies,
    counted,
    operations::{ANSWER_MILLISECONDS_MAX, LookError, look},
    server::{accept_until, connections},
};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What metrics are told of.
#[derive(Clone)]
pub struct Measured {
    pub log: Log,
    pub database: DatabaseConnection,
    pub lists: Lists,
}

/// Serves `/metrics` until `stop` says so.
pub async fn serve_metrics(
    listener: TcpListener,
    measured: Measured,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let measured = Arc::new(measured);
    let metrics = make(move |_| {
        let measured = measured.clone();
        async move {
            let text = measured.text().await;
            Response::builder().content_type(CONTENT_TYPE).body(text)
        }
    });
    let elsewhere = make_sync(|_| StatusCode::NOT_FOUND);
    let endpoint = Route::new().at("/metrics", metrics).at("*", elsewhere);
    accept_until(listener, Arc::new(endpoint), Proxies::default(), stop).await;
    Ok(())
}

impl Measured {
    async fn text(&self) -> String {
        let patience = Duration::from_millis(ANSWER_MILLISECONDS_MAX);
        let pool = self.database.get_postgres_connection_pool();
        let (looked, heads, views) = tokio::join!(
            timeout(patience, look(&self.log, pool)),
            timeout(patience, self.log.heads()),
            timeout(patience, self.lists.answers()),
        );
        let log = heads.is_ok_and(|heads| heads.is_ok());
        // Without the log nothing is known of the database here.
        let database = match &looked {
            Ok(Ok(_)) => true,
            Ok(Err(LookError::Log(_))) => pool_answers(pool, patience).await,
            Ok(Err(LookError::Read(_))) | Err(_) => false,
        };
        let parts = [
            ("log", log),
            ("database", database),
            ("views", views.unwrap_or(false)),
        ];
        text(
            &parts,
            &looked.ok().and_then(Result::ok).unwrap_or_default(),
        )
    }
}

async fn pool_answers(pool: &PgPool, patience: Duration) -> bool {
    let looked = timeout(patience, progress::checkpoints(pool)).await;
    looked.is_ok_and(|looked| looked.is_ok())
}

/// The exposition.
fn text(parts: &[(&str, bool)], all: &[Progress]) -> String {
    let mut text = Exposition::default();
    text.family("headwater_up", "Whether a server that is needed answers.");
    for (part, up) in parts {
        text.sample(&[("part", part)], f64::from(u8::from(*up)));
    }
    type Value = fn(&Progress) -> f64;
    let families: [(&str, &str, Value); 7] = [
        (
            "headwater_projection_lag_events",
            "Events between a checkpoint and the head of its partition.",
            |progress| progress.lag_events as f64,
        ),
        (
            "headwater_projection_lag_seconds",
            "How long the next event has waited.",
            |progress| progress.lag_seconds,
        ),
        (
            "headwater_projection_events_per_second",
            "Events folded a second, now.",
            |progress| progress.checkpoint.rate,
        ),
        (
            "headwater_projection_position",
            "Sequence number of the checkpoint in its epoch.",
            |progress| progress.checkpoint.at.seq as f64,
        ),
        (
            "headwater_projection_well",
            "1 where nothing has to be mended.",
            |progress| f64::from(u8::from(progress.state.is_well())),
        ),
        (
            "headwater_dead_letters",
            "Events that wait because they, or one before them, cannot be folded.",
            |progress| progress.checkpoint.parked as f64,
        ),
        (
            "headwater_dead_letters_oldest_seconds",
            "How long the oldest of them waits.",
            |progress| progress.checkpoint.parked_seconds,
        ),
    ];
    for (name, help, value) in families {
        text.family(name, help);
        for progress in all {
            let labels = labels(progress);
            let labels: Vec<_> = labels.iter().map(|(k, v)| (*k, v.as_str())).collect();
            text.sample(&labels, value(progress));
        }
    }
    text.family("headwater_projection_state", "1 for the state it is in.");
    for progress in all {
        let labels = labels(progress);
        let mut labels: Vec<_> = labels.iter().map(|(k, v)| (*k, v.as_str())).collect();
        labels.push(("state", progress.state.name()));
        text.sample(&labels, 1.0);
    }
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed) as f64;
    text.family("headwater_connections", "Connections that are open.");
    text.sample(&[], count(&connections::OPEN));
    let refused = "Connections that were closed unheard, since there were too many.";
    text.family_of("counter", "headwater_connections_refused_total", refused);
    text.sample(&[], count(&connections::REFUSED));
    counted::tell(&mut text);
    text.0
}

fn labels(progress: &Progress) -> [(&'static str, String); 4] {
    let checkpoint = &progress.checkpoint;
    [
        ("projection", checkpoint.projection.clone()),
        ("generation", checkpoint.generation.to_string()),
        ("role", checkpoint.role.clone()),
        ("partition", checkpoint.at.partition.to_string()),
    ]
}

/// Text format 0.0.4. Label values are names of ours, which need no escaping.
#[derive(Default)]
pub(crate) struct Exposition(String, &'static str);

impl Exposition {
    fn family(&mut self, name: &'static str, help: &str) {
        self.family_of("gauge", name, help);
    }

    pub fn family_of(&mut self, kind: &str, name: &'static str, help: &str) {
        self.1 = name;
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.sample_of("", labels, value);
    }

    /// Of a family that has several sorts of samples.
    pub fn sample_of(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
        let name = self.1;
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        self.write(format_args!("{name}{suffix}{labels} {value}\n"));
    }

    #[cfg(test)]
    pub fn text(self) -> String {
        self.0
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // A string takes all that is written.
        let _ = self.0.write_fmt(text);
    }
}
