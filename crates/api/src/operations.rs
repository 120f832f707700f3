//! What operators ask: how each projection is doing, over the API for those who
//! have the role, and as Prometheus metrics (text format 0.0.4, at an address of
//! its own). It refuses to tell of people: numbers and names of parts only.

use std::{collections::BTreeMap, fmt::Write, io, sync::Arc, time::Duration};

use eventlog::{Log, LogError};
use kernel::Positions;
use poem::{
    Response, Route,
    endpoint::{make, make_sync},
    http::StatusCode,
    web::Data,
};
use poem_openapi::{Object, OpenApi, payload::Json, types::Example};
use readmodel::{
    DatabaseConnection, PgPool, ReadError,
    progress::{self, Progress},
    timelines::Lists,
};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use vault::{Role, Scope};

use crate::{
    identity::{Privileged, now},
    problem::{Code, Problem},
    server::accept_until,
    services::Services,
    system::Tag,
};

const ANSWER_MILLISECONDS_MAX: u64 = 2_000;
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

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
        asks.check(&services, Role::Operator, Scope::OperationsRead)
            .await?;
        let patience = Duration::from_millis(ANSWER_MILLISECONDS_MAX);
        let looked = timeout(patience, look(&services.log, services.pool())).await;
        let away = "The log or the database does not answer.";
        let all = match looked {
            Ok(Ok(all)) => all,
            Ok(Err(error)) => return Err(Problem::new(Code::Unavailable, away).caused_by(error)),
            Err(_) => return Err(Problem::new(Code::Unavailable, away)),
        };
        let items = all.into_iter().map(ProjectionStatus::from).collect();
        Ok(Json(ProjectionStatuses { items }))
    }
}

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
    accept_until(listener, Arc::new(endpoint), stop).await;
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

/// Text format 0.0.4: a gauge a family. Label values are names of ours, which
/// need no escaping.
#[derive(Default)]
struct Exposition(String, &'static str);

impl Exposition {
    fn family(&mut self, name: &'static str, help: &str) {
        self.1 = name;
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
        let name = self.1;
        self.write(format_args!("{name}{{{}}} {value}\n", labels.join(",")));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // A string takes all that is written.
        let _ = self.0.write_fmt(text);
    }
}
