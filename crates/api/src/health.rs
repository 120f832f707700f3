//! Readiness: whether each server that requests need answers, and how far the
//! read model is behind the log.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use edge::{system::Tag, text};
use eventlog::LogError;
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
    standing::trouble,
};

const ANSWER_MILLISECONDS_MAX: u64 = 1_000;
const DETAIL_CHARACTERS_MAX: usize = 300;
/// How old an answer may be: it is never refused, and costs queries.
const OLD_MILLISECONDS_MAX: u128 = 500;

/// What requests need.
#[derive(Clone, Object)]
#[oai(example, skip_serializing_if_is_none)]
struct Readiness {
    /// Whether reads and writes are both answered, from projections that have read what
    /// the log has. Where it is false, `troubles` say why.
    ready: bool,
    /// Whether the log server answers and takes writes. Reads work without it, writes do
    /// not.
    log: bool,
    /// Pages of home are slower without it.
    views: bool,
    /// Whether it takes writes. Reads work where it does not, writes do not.
    database: bool,
    /// Empty where it is ready.
    #[oai(validator(max_items = 8))]
    troubles: Vec<Trouble>,
    /// Events that the read model has not folded yet; missing without the log.
    lag_events: Option<u64>,
    /// What reads are answered from; empty without the log.
    projections: Vec<ProjectionReadiness>,
}

/// What keeps it from being ready, as `headwater doctor` tells it.
#[derive(Clone, Object)]
#[oai(example)]
struct Trouble {
    /// log, database or projections.
    part: String,
    detail: String,
}

impl Trouble {
    fn new(part: &str, detail: impl ToString) -> Self {
        Self {
            part: part.into(),
            detail: detail
                .to_string()
                .chars()
                .take(DETAIL_CHARACTERS_MAX)
                .collect(),
        }
    }
}

impl Example for Trouble {
    fn example() -> Self {
        Self::new(
            "log",
            "the log server is not safe: appendfsync is everysec and must be always",
        )
    }
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
            ready: true,
            log: true,
            views: true,
            database: true,
            troubles: Vec::new(),
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
    /// 503 where the database does not answer, since nothing can be read then. Where reads
    /// are answered and writes are not, it is 200 and `ready` is false. The servers are
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
        seen.map(Json).ok_or_else(|| {
            let detail = text!(
                "Try again shortly: the database does not answer.",
                "Versuchen Sie es gleich noch einmal: Die Datenbank antwortet nicht."
            );
            Problem::new(Code::Unavailable, detail)
        })
    }
}

impl Readiness {
    /// None where the database does not answer.
    async fn look(services: &Services) -> Option<Self> {
        let patience = Duration::from_millis(ANSWER_MILLISECONDS_MAX);
        let folded = checkpoints::live(services.pool(), Projection::SOCIAL);
        let (folded, looked, heads, views, fit, held) = tokio::join!(
            tokio::time::timeout(patience, folded),
            tokio::time::timeout(patience, look(&services.log, services.pool())),
            tokio::time::timeout(patience, services.log.heads()),
            tokio::time::timeout(patience, services.lists.answers()),
            tokio::time::timeout(patience, services.log.check_server()),
            tokio::time::timeout(patience, trouble(&services.log, services.pool())),
        );
        let held = held.ok()?.ok()?;
        let folded = folded.ok()?.ok()?;
        let heads = heads.ok().and_then(Result::ok);
        let fit = fit.unwrap_or_else(|_| Err(LogError::Unavailable("no answer in time".into())));
        let projections = match looked {
            Ok(Ok(all)) => ProjectionReadiness::all(&all),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        let diverged = |one: &&ProjectionReadiness| one.state == State::Diverged.name();
        let diverged = projections.iter().filter(diverged).map(|one| {
            let detail = format!(
                "{} is diverged: it has read what the log does not have",
                one.name
            );
            Trouble::new("projections", detail)
        });
        let mut troubles: Vec<_> = diverged.collect();
        troubles.extend(held.iter().map(|why| Trouble::new("database", why)));
        troubles.extend(fit.as_ref().err().map(|why| Trouble::new("log", why)));
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
            ready: troubles.is_empty() && heads.is_some(),
            log: heads.is_some() && fit.is_ok(),
            views: views.unwrap_or(false),
            database: held.is_none(),
            troubles,
            lag_events: lag,
            projections,
        })
    }
}
