//! Readiness: whether each server that requests need answers, and how far the
//! read model is behind the log.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use poem::web::Data;
use poem_openapi::{Object, OpenApi, payload::Json, types::Example};
use readmodel::{
    Projection, checkpoints,
    progress::{Progress, State},
};
use tokio::sync::Mutex;

use crate::{
    operations::look,
    problem::{Code, Problem},
    services::Services,
    system::Tag,
};

const ANSWER_MILLISECONDS_MAX: u64 = 1_000;
/// How old an answer may be: it is never refused, and costs queries.
const OLD_MILLISECONDS_MAX: u128 = 500;

/// What requests need.
#[derive(Clone, Object)]
#[oai(example, skip_serializing_if_is_none)]
struct Readiness {
    /// Reads work without the log, writes do not.
    log: bool,
    /// Pages of home are slower without it.
    views: bool,
    database: bool,
    /// Events that the read model has not folded yet; missing without the log.
    lag_events: Option<u64>,
    /// What reads are answered from; empty without the log.
    projections: Vec<ProjectionReadiness>,
}

/// One projection, as its worst partition is.
#[derive(Clone, Object)]
#[oai(example)]
struct ProjectionReadiness {
    name: String,
    /// live, catching up, paused, parked, stalled or diverged.
    state: String,
    /// Of all partitions.
    lag_events: u64,
    /// How long the next event has waited.
    lag_seconds: f64,
}

impl Example for ProjectionReadiness {
    fn example() -> Self {
        Self {
            name: "social".into(),
            state: "live".into(),
            lag_events: 0,
            lag_seconds: 0.0,
        }
    }
}

impl ProjectionReadiness {
    /// Of what is live, by name.
    fn all(all: &[Progress]) -> Vec<Self> {
        let mut found: BTreeMap<&str, (Self, State)> = BTreeMap::new();
        for progress in all.iter().filter(|one| one.checkpoint.role == "live") {
            let name = progress.checkpoint.projection.as_str();
            let fresh = || Self {
                name: name.to_owned(),
                state: State::Live.name().to_owned(),
                lag_events: 0,
                lag_seconds: 0.0,
            };
            let (one, worst) = found.entry(name).or_insert_with(|| (fresh(), State::Live));
            if progress.state > *worst {
                *worst = progress.state;
                one.state = progress.state.name().to_owned();
            }
            one.lag_events += progress.lag_events;
            one.lag_seconds = one.lag_seconds.max(progress.lag_seconds);
        }
        found.into_values().map(|(one, _)| one).collect()
    }
}

impl Example for Readiness {
    fn example() -> Self {
        Self {
            log: true,
            views: true,
            database: true,
            lag_events: Some(0),
            projections: vec![ProjectionReadiness::example()],
        }
    }
}

/// With what was seen last, and when: none where the database did not answer.
#[derive(Default)]
pub struct HealthApi(Mutex<Option<(Instant, Option<Readiness>)>>);

#[OpenApi(tag = "Tag::System")]
impl HealthApi {
    /// Whether requests can be answered
    ///
    /// 503 where the database does not answer; the other parts are told. The servers are
    /// asked twice a second at most, however often this is.
    #[oai(path = "/health/ready", method = "get", operation_id = "getReadiness")]
    async fn ready(&self, services: Data<&Arc<Services>>) -> Result<Json<Readiness>, Problem> {
        // Whoever asks meanwhile waits for the same answer.
        let mut last = self.0.lock().await;
        let young = last
            .take()
            .filter(|(at, _)| at.elapsed().as_millis() < OLD_MILLISECONDS_MAX);
        let (at, seen) = match young {
            Some(young) => young,
            None => {
                let seen = Readiness::look(&services).await;
                (Instant::now(), seen)
            }
        };
        *last = Some((at, seen.clone()));
        seen.map(Json)
            .ok_or_else(|| Problem::new(Code::Unavailable, "The database does not answer."))
    }
}

impl Readiness {
    /// None where the database does not answer.
    async fn look(services: &Services) -> Option<Self> {
        let patience = Duration::from_millis(ANSWER_MILLISECONDS_MAX);
        let folded = checkpoints::live(services.pool(), Projection::Social);
        let (folded, looked, heads, views) = tokio::join!(
            tokio::time::timeout(patience, folded),
            tokio::time::timeout(patience, look(&services.log, services.pool())),
            tokio::time::timeout(patience, services.log.heads()),
            tokio::time::timeout(patience, services.lists.answers()),
        );
        let folded = folded.ok()?.ok()?;
        let heads = heads.ok().and_then(Result::ok);
        let lag = heads.as_ref().map(|heads| {
            let behind = heads
                .iter()
                .map(|head| match folded.positions.get(head.partition) {
                    Some(at) if at.epoch == head.epoch => head.seq.saturating_sub(at.seq),
                    _ => head.seq + 1,
                });
            behind.sum()
        });
        Some(Self {
            log: heads.is_some(),
            views: views.unwrap_or(false),
            database: true,
            lag_events: lag,
            projections: match looked {
                Ok(Ok(all)) => ProjectionReadiness::all(&all),
                Ok(Err(_)) | Err(_) => Vec::new(),
            },
        })
    }
}
