//! How each projection is doing, for metrics; the edge adds what was answered. It
//! refuses to tell of people.

use std::time::Duration;

use edge::{exposition::Exposition, metrics::Measure};
use eventlog::Log;
use readmodel::{
    DatabaseConnection, PgPool,
    progress::{self, Progress},
    timelines::Lists,
};
use tokio::time::timeout;

use crate::{
    operations::{ANSWER_MILLISECONDS_MAX, LookError, look},
    refusals,
};

/// What metrics are told of.
#[derive(Clone)]
pub struct Measured {
    pub log: Log,
    pub database: DatabaseConnection,
    pub lists: Lists,
}

impl Measure for Measured {
    async fn measure(&self) -> Exposition {
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
        told(
            &parts,
            &looked.ok().and_then(Result::ok).unwrap_or_default(),
        )
    }
}

async fn pool_answers(pool: &PgPool, patience: Duration) -> bool {
    let looked = timeout(patience, progress::checkpoints(pool)).await;
    looked.is_ok_and(|looked| looked.is_ok())
}

fn told(parts: &[(&str, bool)], all: &[Progress]) -> Exposition {
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
    refusals::measure(&mut text);
    text
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
