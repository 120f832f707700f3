//! What operators ask: how each projection is doing, over the API for those who
//! have the role. It refuses to tell of people: numbers and names of parts only.

use std::{sync::Arc, time::Duration};

use edge::{
    identity::{Privileged, now},
    text,
};
use eventlog::{Log, LogError};
use kernel::Positions;
use poem::web::Data;
use poem_openapi::{Object, OpenApi, payload::Json, types::Example};
use readmodel::{
    PgPool, ReadError,
    progress::{self, Progress},
};
use tokio::time::timeout;
use vault::{Role, Scope};

use crate::{
    problem::{Code, Problem},
    services::Services,
    tags::Tag,
};

pub(crate) const ANSWER_MILLISECONDS_MAX: u64 = 2_000;

#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Every checkpoint against the log. Checkpoints first: a head that is looked
/// up later is never behind them.
pub async fn look(log: &Log, pool: &PgPool) -> Result<Vec<Progress>, LookError> {
    let checkpoints = progress::checkpoints(pool).await?;
    let heads: Positions = log.heads().await?.into_iter().collect();
    let at: Vec<_> = checkpoints.iter().map(|checkpoint| checkpoint.at).collect();
    let waiting = log.waiting_since(&at).await?;
    let now = now();
    let all = checkpoints.into_iter().zip(waiting);
    Ok(all
        .map(|(checkpoint, since)| Progress::of(checkpoint, &heads, since, now))
        .collect())
}

/// One partition of a projection.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
struct ProjectionStatus {
    projection: String,
    generation: i32,
    /// live, building, kept or checking.
    role: String,
    partition: u16,
    /// live, catching up, rebuilding, paused, parked, stalled or diverged.
    state: String,
    /// Up to where it is folded, as `partition:epoch-seq`.
    position: String,
    /// Where the log ends.
    head: String,
    lag_events: u64,
    /// How long the next event has waited.
    lag_seconds: f64,
    events_per_second: f64,
    /// At the rate of now; missing where nothing moves.
    seconds_to_head: Option<f64>,
    /// The worker that holds the partition.
    owner: Option<String>,
    /// Events that could not be folded, or wait for one that could not.
    parked_events: u64,
    /// Why it is not well.
    trouble: Option<String>,
}

impl Example for ProjectionStatus {
    fn example() -> Self {
        Self {
            projection: "social".into(),
            generation: 1,
            role: "live".into(),
            partition: 3,
            state: "catching up".into(),
            position: "3:1-4700".into(),
            head: "3:1-4711".into(),
            lag_events: 11,
            lag_seconds: 2.5,
            events_per_second: 40.0,
            seconds_to_head: Some(0.3),
            owner: Some("host/4711".into()),
            parked_events: 0,
            trouble: None,
        }
    }
}

impl From<Progress> for ProjectionStatus {
    fn from(progress: Progress) -> Self {
        let checkpoint = progress.checkpoint;
        Self {
            projection: checkpoint.projection,
            generation: checkpoint.generation,
            role: checkpoint.role,
            partition: checkpoint.at.partition.0,
            state: progress.state.name().into(),
            position: checkpoint.at.to_string(),
            head: progress.head.to_string(),
            lag_events: progress.lag_events,
            lag_seconds: progress.lag_seconds,
            events_per_second: checkpoint.rate,
            seconds_to_head: progress.seconds_to_head,
            owner: checkpoint.owner,
            parked_events: u64::try_from(checkpoint.parked).unwrap_or_default(),
            trouble: progress.trouble,
        }
    }
}

/// Every partition of every projection.
#[derive(Object)]
#[oai(example)]
struct ProjectionStatuses {
    /// Of 64 partitions at most, of two projections, in three generations.
    #[oai(validator(max_items = 384))]
    items: Vec<ProjectionStatus>,
}

impl Example for ProjectionStatuses {
    fn example() -> Self {
        Self {
            items: vec![ProjectionStatus::example()],
        }
    }
}

pub struct OperationsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Operations")]
impl OperationsApi {
    /// How each projection is doing
    ///
    /// For accounts with the role operator (`headwater accounts grant`).
    #[oai(
        path = "/operations/projections",
        method = "get",
        operation_id = "listProjections"
    )]
    async fn projections(
        &self,
        services: Data<&Arc<Services>>,
        asks: Privileged,
    ) -> Result<Json<ProjectionStatuses>, Problem> {
        services
            .check(&asks, Role::Operator, Scope::OperationsRead)
            .await?;
        let patience = Duration::from_millis(ANSWER_MILLISECONDS_MAX);
        let looked = timeout(patience, look(&services.log, services.pool())).await;
        let away = text!(
            "Try again shortly: the log or the database does not answer.",
            "Versuchen Sie es gleich noch einmal: Das Log oder die Datenbank antwortet nicht."
        );
        let all = match looked {
            Ok(Ok(all)) => all,
            Ok(Err(error)) => return Err(Problem::new(Code::Unavailable, away).caused_by(error)),
            Err(_) => return Err(Problem::new(Code::Unavailable, away)),
        };
        let items = all.into_iter().map(ProjectionStatus::from).collect();
        Ok(Json(ProjectionStatuses { items }))
    }
}
