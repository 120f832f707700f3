//! Starts and stops the loops of the partitions that this process holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use eventlog::{Gap, History, Log, LogError};
use kernel::{CodecError, Partition, Position, SealError, Sealer, Spans, Uuid, crash};
use readmodel::{
    Generation, Projection, Projections, ReadError, TableProjection,
    checkpoints::{self, Standing},
    generations::{self, Plan, Role},
    timelines::Lists,
};
use sea_orm::{DatabaseConnection, sqlx::PgPool};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    fanning::{self, Fanning},
    folding::{self, Folding},
    front::Front,
    leases, reading,
    spans::Telling,
};

const SHARE_MILLISECONDS: u64 = 1_000;
const TAIL_MILLISECONDS: u64 = 500;
/// A batch of so many says that events come quickly.
const BUSY_EVENTS: usize = 6;
const GATHER_MILLISECONDS_MIN: u64 = 25;
const GATHER_MILLISECONDS_MAX: u64 = 100;
/// How long the checkpoint of timelines rests over events that ask nothing of them:
/// no read waits for it.
const REST_MILLISECONDS: u64 = 50;
/// How often a loop that has nothing to do looks whether the database still
/// knows what was done: one that crashed forgets its last moments.
const VERIFY_MILLISECONDS: u64 = 1_000;
const RETRY_MILLISECONDS_MIN: u64 = 100;
const RETRY_MILLISECONDS_MAX: u64 = 5_000;

/// What the engine works with; cheap to clone.
#[derive(Clone)]
pub struct Parts {
    pub log: Log,
    /// The log, and what it no longer has.
    pub history: History,
    pub database: DatabaseConnection,
    pub sealer: Arc<dyn Sealer>,
    pub lists: Lists,
    pub projections: Projections,
    /// Followers up to which an author's posts are pushed.
    pub push_followers_max: i64,
}

impl Parts {
    pub(crate) fn pool(&self) -> &PgPool {
        self.database.get_postgres_connection_pool()
    }

    pub(crate) fn tables(
        &self,
        projection: Projection,
    ) -> Result<&Arc<dyn TableProjection>, ReadError> {
        let tables = self.projections.tables(projection);
        tables.ok_or(ReadError::NoTables(projection.name()))
    }

    pub(crate) async fn plan(&self) -> Result<Plan, ReadError> {
        generations::plan(self.pool(), &self.projections).await
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    #[error(transparent)]
    Log(LogError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("{0}")]
    Gap(#[from] Gap),
    #[error("the event at {position} cannot be read: {source}")]
    Unreadable {
        position: Position,
        source: CodecError,
    },
    #[error(
        "the checkpoint is at {at}, but the log ends at {head}: it has lost what was read; restore it, or rebuild the projection"
    )]
    Ahead { at: Position, head: Position },
    #[error(
        "the log has another event at {at} than was read: it was put back from an old copy, and has lost what was read; rebuild the projection"
    )]
    Replaced { at: Position },
}

impl From<LogError> for WorkError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Gap(gap) => Self::Gap(gap),
            error => Self::Log(error),
        }
    }
}

impl WorkError {
    /// Whether it will be the same the next time, so that a person must look.
    pub(crate) fn stops(&self) -> bool {
        match self {
            Self::Gap(_)
            | Self::Unreadable { .. }
            | Self::Ahead { .. }
            | Self::Replaced { .. }
            | Self::Log(LogError::Damaged(_))
            | Self::Seal(SealError::Damaged(_)) => true,
            Self::Read(error) => error.lasts(),
            Self::Log(_) | Self::Seal(_) => false,
        }
    }

    /// Whether it is about an event alone, which can wait while others go on.
    pub(crate) fn parks(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Seal(SealError::Damaged(_)) => true,
            Self::Read(error) => error.blames_values(),
            Self::Gap(_)
            | Self::Ahead { .. }
            | Self::Replaced { .. }
            | Self::Log(_)
            | Self::Seal(_) => false,
        }
    }

    /// Whether the projection has read what the log does not have.
    fn diverged(&self) -> bool {
        matches!(
            self,
            Self::Gap(Gap::Diverged { .. }) | Self::Ahead { .. } | Self::Replaced { .. }
        )
    }
}

/// A worker of this process.
pub struct Engine {
    parts: Parts,
    owner: Uuid,
    name: String,
    telling: Telling,
}

impl Engine {
    /// `owner` tells this process from all others.
    pub fn new(parts: Parts, owner: Uuid) -> Self {
        Self {
            parts,
            owner,
            name: String::new(),
            telling: Telling::default(),
        }
    }

    /// What operators are told of this process.
    #[must_use]
    pub fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Where it is told what was folded.
    #[must_use]
    pub fn recorded(self, spans: Option<Arc<dyn Spans>>) -> Self {
        let telling = Telling::new(spans);
        Self { telling, ..self }
    }

    /// Works until `stop` says so or nobody is left to say it, then ends what
    /// is under way and gives its leases back.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let partitions = self.parts.log.partitions().count() as u16;
        let mut running: BTreeMap<Partition, Work> = BTreeMap::new();
        let swapped = Arc::new(Notify::new());
        let mut loops = JoinSet::new();
        while !*stop.borrow() {
            let shared = tokio::select! {
                shared = self.share(partitions) => shared,
                () = told(stop.clone()) => break,
            };
            let (held, plan) = match shared {
                Ok(shared) => shared,
                Err(error) => {
                    tracing::warn!(%error, "leases cannot be renewed; the work pauses");
                    Default::default()
                }
            };
            running.retain(|partition, work| {
                let keep = held.contains(partition);
                if !keep {
                    tracing::info!(partition = partition.0, "lets a partition go");
                    work.end();
                }
                keep
            });
            for partition in held {
                let work = running.entry(partition).or_insert_with(|| {
                    tracing::info!(partition = partition.0, "takes a partition");
                    Work::new(partition, swapped.clone())
                });
                work.follow(&self.parts, &self.telling, &plan, &mut loops);
            }
            while let Some(ended) = loops.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!(%error, "the loops of a partition broke off");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(SHARE_MILLISECONDS)) => {}
                () = swapped.notified() => {}
                () = told(stop.clone()) => break,
            }
        }
        running.values_mut().for_each(Work::end);
        while loops.join_next().await.is_some() {}
        crash::point("shutdown.worked");
        if let Err(error) = readmodel::leases::leave(self.parts.pool(), self.owner).await {
            tracing::warn!(%error, "leases are left to expire");
        }
    }

    /// What this worker holds, and what there is to work on.
    async fn share(&self, partitions: u16) -> Result<(BTreeSet<Partition>, Plan), ReadError> {
        let held = leases::share(&self.parts, self.owner, &self.name, partitions).await?;
        Ok((held, self.parts.plan().await?))
    }

    /// Folds and fans out until all that workers keep are at the head of every
    /// partition. For tests and commands that have no other worker beside them.
    pub async fn drain(&self) -> Result<(), WorkError> {
        let plan = self.parts.plan().await?;
        let partitions = self.parts.log.partitions();
        let drained = partitions.map(|partition| drain(&self.parts, &plan, partition));
        futures_util::future::try_join_all(drained).await?;
        Ok(())
    }
}

/// The loops of one partition.
struct Work {
    partition: Partition,
    /// How far the live tables are, for the fan-out.
    folded: watch::Sender<Front>,
    /// A loop has seen that its generation is not live any more.
    swapped: Arc<Notify>,
    running: BTreeMap<Generation, watch::Sender<bool>>,
}

impl Work {
    fn new(partition: Partition, swapped: Arc<Notify>) -> Self {
        Self {
            swapped,
            partition,
            folded: watch::channel(Front::at(Log::beginning(partition))).0,
            running: BTreeMap::new(),
        }
    }

    fn end(&mut self) {
        for end in self.running.values() {
            end.send_replace(true);
        }
        self.running.clear();
    }

    /// Ends the loops of what is not in the plan any more, and begins those of
    /// what is new.
    fn follow(&mut self, parts: &Parts, telling: &Telling, plan: &Plan, loops: &mut JoinSet<()>) {
        let worked: BTreeSet<_> = plan.worked().collect();
        self.running.retain(|generation, end| {
            let keep = worked.contains(generation) && !end.is_closed();
            if !keep {
                end.send_replace(true);
            }
            keep
        });
        for generation in worked {
            let (partition, folded) = (self.partition, self.folded.clone());
            let swapped = self.swapped.clone();
            self.running.entry(generation).or_insert_with(|| {
                let (end, ended) = watch::channel(false);
                let (parts, telling) = (parts.clone(), telling.clone());
                loops.spawn(async move {
                    let work = work(
                        &parts, &telling, generation, partition, &folded, &swapped, &ended,
                    );
                    work.await;
                });
                end
            });
        }
    }
}

/// Waits until a receiver is told to end, or nobody is left to tell it.
async fn told(mut end: watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await;
}

async fn drain(parts: &Parts, plan: &Plan, partition: Partition) -> Result<(), WorkError> {
    let (tables, lists): (Vec<_>, Vec<_>) = plan
        .worked()
        .partition(|generation| generation.projection.has_tables());
    let followed = plan.of(Projection::FOLLOWED, Role::Live);
    let mut folded = None;
    for generation in tables {
        let (mut folding, standing) = Folding::begin(parts, generation, partition).await?;
        let mut at = standing.at;
        loop {
            let events = reading::read(parts, at, folding::BATCH_EVENTS_MAX).await?;
            let Some(folded) = folding.fold(parts, at, &events).await? else {
                break;
            };
            at = folded.standing.at;
        }
        if followed.is_some_and(|live| live.generation == generation) {
            folded = Some(at);
        }
    }
    let Some(folded) = folded else { return Ok(()) };
    for generation in lists {
        let (fanning, standing) = Fanning::begin(parts, generation, partition).await?;
        fanning.fan_out_to(parts, standing.at, folded).await?;
    }
    Ok(())
}

/// The loop of one generation in one partition, until `ended`.
async fn work(
    parts: &Parts,
    telling: &Telling,
    generation: Generation,
    partition: Partition,
    folded: &watch::Sender<Front>,
    swapped: &Notify,
    ended: &watch::Receiver<bool>,
) {
    if generation.projection.has_tables() {
        let run = || {
            fold_until(
                parts, telling, generation, partition, folded, swapped, ended,
            )
        };
        again(parts, generation, partition, ended, run).await;
    } else {
        let behind = folded.subscribe();
        let run = || fan_out_until(parts, telling, generation, partition, &behind, ended);
        again(parts, generation, partition, ended, run).await;
    }
}

/// Runs a loop until it ends well; after an error again from its checkpoint,
/// later and later. What needs a person is written down for them.
async fn again<F: Future<Output = Result<(), WorkError>>>(
    parts: &Parts,
    generation: Generation,
    partition: Partition,
    ended: &watch::Receiver<bool>,
    run: impl Fn() -> F,
) {
    let mut delay = RETRY_MILLISECONDS_MIN;
    loop {
        let started = Instant::now();
        let Err(error) = run().await else { return };
        if started.elapsed() > Duration::from_millis(2 * RETRY_MILLISECONDS_MAX) {
            delay = RETRY_MILLISECONDS_MIN;
        }
        if error.stops() {
            delay = RETRY_MILLISECONDS_MAX;
            tracing::error!(partition = partition.0, %generation, %error, "stands still");
            let reason = error.to_string();
            let diverged = error.diverged();
            let noted = checkpoints::stop(parts.pool(), generation, partition, &reason, diverged);
            let noted = noted.await;
            if let Err(error) = noted {
                tracing::error!(%error, "cannot write down why a partition stands still");
            }
        } else {
            if matches!(error, WorkError::Read(ReadError::CheckpointMoved)) {
                // Somebody else does the work, and may leave it any moment.
                delay = RETRY_MILLISECONDS_MIN;
            }
            tracing::warn!(partition = partition.0, %generation, %error, "tries again");
        }
        let pause = Duration::from_millis(delay);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = told(ended.clone()) => return,
        }
        delay = (delay * 2).min(RETRY_MILLISECONDS_MAX);
    }
}

/// A batch that is begun is ended; waiting for events is given up.
async fn fold_until(
    parts: &Parts,
    telling: &Telling,
    generation: Generation,
    partition: Partition,
    folded: &watch::Sender<Front>,
    swapped: &Notify,
    ended: &watch::Receiver<bool>,
) -> Result<(), WorkError> {
    let (mut folding, mut standing) = Folding::begin(parts, generation, partition).await?;
    let patience = Duration::from_millis(TAIL_MILLISECONDS);
    let mut verified = Instant::now();
    let mut front = Front::at(standing.at);
    loop {
        let at = standing.at;
        if standing.live && generation.projection == Projection::FOLLOWED {
            folded.send_replace(front.clone());
        }
        let events = tokio::select! {
            biased;
            () = told(ended.clone()) => return Ok(()),
            events = reading::tail(parts, at, folding::BATCH_EVENTS_MAX, patience) => events?,
        };
        // A full batch says that there is more already.
        let gathered = events.len();
        let busy = (BUSY_EVENTS..folding::BATCH_EVENTS_MAX).contains(&gathered);
        let started = SystemTime::now();
        if let Some(moved) = folding.fold(parts, at, &events).await? {
            telling.tell("fold", generation, started, &events, &moved);
            let moved = moved.standing;
            // Its checkpoint was compared with what the database has.
            verified = Instant::now();
            if standing.live && !moved.live {
                swapped.notify_one();
            }
            front = Front::new(at, moved.at, events);
            standing = moved;
        } else if verified.elapsed() > Duration::from_millis(VERIFY_MILLISECONDS) {
            standing = verify(parts, generation, at).await?;
            verified = Instant::now();
        }
        if busy {
            tokio::time::sleep(gathering(gathered)).await;
        }
    }
}

/// A transaction costs about the same for one event and for fifty: where they
/// come quickly, let some gather. The root makes the time follow the rate, not
/// the time that was taken before.
fn gathering(events: usize) -> Duration {
    let times = (events as f64 / BUSY_EVENTS as f64).sqrt();
    let milliseconds = (GATHER_MILLISECONDS_MIN as f64 * times) as u64;
    Duration::from_millis(milliseconds.min(GATHER_MILLISECONDS_MAX))
}

/// Given up wherever it is: whoever goes on repeats the batch, which changes
/// nothing.
async fn fan_out_until(
    parts: &Parts,
    telling: &Telling,
    generation: Generation,
    partition: Partition,
    folded: &watch::Receiver<Front>,
    ended: &watch::Receiver<bool>,
) -> Result<(), WorkError> {
    tokio::select! {
        biased;
        () = told(ended.clone()) => Ok(()),
        failed = fan_out_after(parts, telling, generation, partition, folded.clone()) => failed,
    }
}

/// Follows the live fold, which outlives it.
async fn fan_out_after(
    parts: &Parts,
    telling: &Telling,
    generation: Generation,
    partition: Partition,
    mut folded: watch::Receiver<Front>,
) -> Result<(), WorkError> {
    let (fanning, standing) = Fanning::begin(parts, generation, partition).await?;
    let mut at = standing.at;
    // Up to where it is known that events ask nothing of the timelines.
    let mut looked = at;
    let mut hand = Front::at(at);
    let (mut verified, mut moved) = (Instant::now(), Instant::now());
    loop {
        let front = folded.borrow_and_update().clone();
        if at < front.at {
            let rest = Duration::from_millis(REST_MILLISECONDS).saturating_sub(moved.elapsed());
            if !rest.is_zero() && !front.asks_after(at.max(looked)) {
                // The checkpoint takes along what comes meanwhile.
                looked = front.at;
                match tokio::time::timeout(rest, folded.changed()).await {
                    Ok(Err(_)) => return Ok(()),
                    Ok(Ok(())) | Err(_) => continue,
                }
            }
            if hand.after(at).is_none() {
                hand = match front.after(at) {
                    Some(_) => front,
                    None => fanning::read_folded(parts, at, front.at).await?,
                };
            }
            let events = fanning::batch(hand.after(at).unwrap_or_default());
            let started = SystemTime::now();
            if let Some(fanned) = fanning.fan_out(parts, at, events).await? {
                telling.tell("fan out", generation, started, events, &fanned);
                at = fanned.standing.at;
            }
            (verified, moved) = (Instant::now(), Instant::now());
            continue;
        }
        if verified.elapsed() > Duration::from_millis(VERIFY_MILLISECONDS) {
            verify(parts, generation, at).await?;
            verified = Instant::now();
        }
        // An idle fold says where it is again and again.
        if folded.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Fails where the database has another checkpoint than `at`.
async fn verify(
    parts: &Parts,
    generation: Generation,
    at: Position,
) -> Result<Standing, ReadError> {
    let standing = checkpoints::load(parts.pool(), generation, at.partition).await?;
    match standing.at == at {
        true => Ok(standing),
        false => Err(ReadError::CheckpointMoved),
    }
}
