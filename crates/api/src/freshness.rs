//! You read what you wrote: before a read, waits until the projection has what
//! the reader has written, or what they asked for. It refuses to answer with
//! older data in silence.

mod follower;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::Arc,
    time::Duration,
};

use edge::{language::Text, positions::SealedPositions, text};
use eventlog::Log;
use kernel::{AccountId, Partition, Positions, Uuid};
use parking_lot::{Mutex, RwLock};
use poem::http::HeaderValue;
use readmodel::{
    DatabaseConnection,
    checkpoints::Reached,
    hot::{Hot, Shown},
    withheld::Withheld,
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::AbortHandle,
    time::Instant,
};

use crate::{
    causes::READ_MODEL_AWAY,
    problem::{Code, Problem},
};

/// How long a read waits for a projection.
const WAIT_MILLISECONDS_MAX: u64 = 2_000;
/// How long a read waits for lists that the database can stand in for.
const WAIT_FOR_LISTS_MILLISECONDS_MAX: u64 = 250;
/// Reads that wait; where a projection stands still, they must not take every
/// place from those who need not wait.
const WAITING_MAX: usize = crate::admission::REQUESTS_AT_ONCE_MAX / 2;
/// How old the observed checkpoints may be where nobody waits.
const OBSERVED_MILLISECONDS_MAX: u64 = 100;
/// How long the log may take to say what the reader wrote.
const LOG_MILLISECONDS_MAX: u64 = 300;
/// How long a log that did not answer is not asked again.
const LOG_AWAY_MILLISECONDS: u64 = 1_000;
const BEHIND_RETRY_SECONDS: u32 = 2;
const PARKED_RETRY_SECONDS: u32 = 60;

/// What a read is answered from: a projection.
pub(crate) use readmodel::Projection as View;

/// How far the views were when somebody looked.
#[derive(Clone)]
pub(crate) struct Observed {
    /// By the projection's name.
    views: BTreeMap<String, Seen>,
    /// Whether the hot posts were told all that the social view has.
    pub told: bool,
    /// Authors that are not in the lists of the timelines view.
    pub pulled: Arc<BTreeSet<AccountId>>,
    /// What waits with events that could not be folded.
    parked: Arc<BTreeSet<Uuid>>,
    /// Of the database.
    life: Option<Uuid>,
    at: Instant,
    /// Why nobody could look, since then.
    failed: Option<Arc<str>>,
}

/// What a read is answered from: how far the views are, and what is left out of what they
/// have.
#[derive(Clone)]
pub(crate) struct Moment {
    observed: Arc<Observed>,
    pub withheld: Arc<Withheld>,
}

impl Deref for Moment {
    type Target = Observed;

    fn deref(&self) -> &Observed {
        &self.observed
    }
}

/// What the follower of the log knows to be withheld; none while it has not read all that
/// the log has.
type Withholding = Arc<RwLock<Option<Arc<Withheld>>>>;

#[derive(Clone, Default)]
struct Seen {
    reached: Reached,
    /// The positions as a header, sealed.
    as_of: Option<HeaderValue>,
}

impl Observed {
    fn nothing() -> Self {
        Self {
            views: Default::default(),
            told: false,
            pulled: Arc::default(),
            parked: Arc::default(),
            life: None,
            at: Instant::now(),
            failed: None,
        }
    }

    fn is_at(&self, before: &Self) -> bool {
        let mut both = self.views.values().zip(before.views.values());
        self.views.keys().eq(before.views.keys())
            && both.all(|(now, then)| now.reached.positions == then.reached.positions)
    }

    /// Whether what it tells is recent at `now`, and `view` has all that is wanted.
    fn shows(&self, view: View, wanted: &Positions, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.at);
        age <= Duration::from_millis(OBSERVED_MILLISECONDS_MAX)
            && self.failed.is_none()
            && self.has(view, wanted)
    }

    /// The generation of the view that is read.
    pub fn generation(&self, view: View) -> i32 {
        self.reached(view).map_or(1, |reached| reached.generation)
    }

    /// Whether `aggregate` is older here than it should be, and may be gone.
    pub fn is_parked(&self, aggregate: Uuid) -> bool {
        self.parked.contains(&aggregate)
    }

    /// An older state of `aggregate` is no answer.
    pub fn refuse_parked(&self, aggregate: Uuid) -> Result<(), Problem> {
        if !self.is_parked(aggregate) {
            return Ok(());
        }
        Err(Problem::from(Code::Parked).retry_after(PARKED_RETRY_SECONDS))
    }

    /// `As-Of`.
    pub fn header(&self, view: View) -> Option<HeaderValue> {
        self.views.get(view.name())?.as_of.clone()
    }

    /// Whether the view has all that is wanted; nothing is wanted of an empty log.
    fn has(&self, view: View, wanted: &Positions) -> bool {
        match self.reached(view) {
            Some(reached) => reached.positions.reach(wanted),
            None => Positions::default().reach(wanted),
        }
    }

    /// None where nothing of the view was folded yet.
    fn reached(&self, view: View) -> Option<&Reached> {
        Some(&self.views.get(view.name())?.reached)
    }
}

pub(crate) struct Freshness {
    log: Log,
    observed: watch::Receiver<Arc<Observed>>,
    withholding: Withholding,
    /// Somebody wants a newer look.
    asked: Arc<Notify>,
    log_away_until: Mutex<Option<Instant>>,
    waiting: Semaphore,
    follower: AbortHandle,
}

impl Drop for Freshness {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Freshness {
    /// Keeps `hot` told of what is folded.
    pub fn start<S: Shown + 'static>(
        log: Log,
        database: DatabaseConnection,
        hot: Arc<Hot<S>>,
        sealed: Arc<SealedPositions>,
    ) -> Self {
        let asked = Arc::new(Notify::new());
        let (observer, observed) = watch::channel(Arc::new(Observed::nothing()));
        let withholding = Withholding::default();
        let followed = follower::follow(
            (log.clone(), database, hot),
            sealed,
            asked.clone(),
            observer,
            withholding.clone(),
        );
        Self {
            log,
            observed,
            withholding,
            asked,
            log_away_until: Mutex::default(),
            waiting: Semaphore::new(WAITING_MAX),
            follower: tokio::spawn(followed).abort_handle(),
        }
    }

    /// What a read by `reader` must have seen: what they wrote last, and what
    /// they asked for.
    pub async fn wanted(
        &self,
        reader: Option<AccountId>,
        asked_for: &Positions,
    ) -> Result<Positions, Problem> {
        if reader.is_none() && asked_for.is_empty() {
            return Ok(Positions::default());
        }
        let known = self.log.partitions().count();
        if asked_for
            .iter()
            .any(|p| usize::from(p.partition.0) >= known)
        {
            return Err(Problem::unknown_position());
        }
        self.refuse_beyond(asked_for).await?;
        let mut wanted = asked_for.clone();
        if let Some(reader) = reader {
            let own = self.own_positions(reader).await;
            own.iter().for_each(|position| wanted.advance(*position));
        }
        Ok(wanted)
    }

    /// What the log does not have, nobody can wait for. A log that is away cannot
    /// tell.
    async fn refuse_beyond(&self, asked_for: &Positions) -> Result<(), Problem> {
        let reached = |observed: &Observed| observed.has(View::SOCIAL, asked_for);
        if reached(&self.observed.borrow()) {
            return Ok(());
        }
        let patience = Duration::from_millis(LOG_MILLISECONDS_MAX);
        let Ok(Ok(heads)) = tokio::time::timeout(patience, self.log.heads()).await else {
            return Ok(());
        };
        let heads: Positions = heads.into_iter().collect();
        let has = |position: &kernel::Position| {
            let head = heads.get(position.partition);
            head.is_some_and(|head| *position <= head)
        };
        match asked_for.iter().all(has) {
            true => Ok(()),
            false => Err(Problem::unknown_position()),
        }
    }

    /// Waits until the view has what the reader must see, and returns how far
    /// it is.
    pub async fn wait(
        &self,
        view: View,
        reader: Option<AccountId>,
        asked_for: &Positions,
    ) -> Result<Moment, Problem> {
        let wanted = self.wanted(reader, asked_for).await?;
        self.reach(view, &wanted).await
    }

    /// Waits for a look that begins after this.
    pub async fn look_again(&self) {
        let since = Instant::now();
        let mut looks = self.observed.clone();
        while looks.borrow_and_update().at <= since {
            self.asked.notify_one();
            if looks.changed().await.is_err() {
                return;
            }
        }
    }

    /// The moment of these looks, where they show what is wanted and it is known what is
    /// withheld.
    fn moment(
        &self,
        observed: &Arc<Observed>,
        view: View,
        wanted: &Positions,
        now: Instant,
    ) -> Option<Moment> {
        let shows = observed.shows(view, wanted, now);
        let withheld = shows.then(|| self.withholding.read().clone()).flatten()?;
        let observed = observed.clone();
        Some(Moment { observed, withheld })
    }

    pub async fn reach(&self, view: View, wanted: &Positions) -> Result<Moment, Problem> {
        let patience = Duration::from_millis(match view {
            View::TIMELINES => WAIT_FOR_LISTS_MILLISECONDS_MAX,
            _ => WAIT_MILLISECONDS_MAX,
        });
        let started = Instant::now();
        {
            let observed = self.observed.borrow();
            if let Some(moment) = self.moment(&observed, view, wanted, started) {
                return Ok(moment);
            }
        }
        let mut looks = self.observed.clone();
        let mut place = None;
        loop {
            let observed = looks.borrow_and_update().clone();
            let age = observed.at.saturating_duration_since(started);
            let looked = age > Duration::ZERO;
            if let Some(reason) = observed.failed.as_ref().filter(|_| looked) {
                return Err(
                    Problem::new(Code::Unavailable, READ_MODEL_AWAY).caused_by(reason.to_string())
                );
            }
            if let Some(moment) = self.moment(&observed, view, wanted, Instant::now()) {
                return Ok(moment);
            }
            let waited_for = |p: &&(Partition, String)| wanted.get(p.0).is_some();
            let reached = observed.reached(view);
            let stopped = reached.and_then(|reached| reached.stopped.iter().find(waited_for));
            if let Some((partition, reason)) = stopped
                && looked
            {
                tracing::warn!(
                    view = view.name(),
                    partition = partition.0,
                    reason,
                    "a read waits for what stands still"
                );
                return Err(behind(text!(
                    "Try again later: the read model stands still, and an operator must look.",
                    "Versuchen Sie es später noch einmal: Das Lesemodell steht, und die Betreiber müssen es ansehen."
                )));
            }
            if place.is_none() {
                let taken = self.waiting.try_acquire();
                let full = || {
                    behind(text!(
                        "Try again shortly: too many wait for the read model.",
                        "Versuchen Sie es gleich noch einmal: Zu viele warten auf das Lesemodell."
                    ))
                };
                place = Some(taken.map_err(|_| full())?);
            }
            self.asked.notify_one();
            let newer = tokio::time::timeout_at(started + patience, looks.changed()).await;
            if !matches!(newer, Ok(Ok(()))) {
                // A look that took all the time says that the database is away.
                return Err(match looks.borrow().at > started {
                    true => behind(text!(
                        "Try again shortly: the read model has not caught up yet.",
                        "Versuchen Sie es gleich noch einmal: Das Lesemodell hat noch nicht aufgeholt."
                    )),
                    false => Problem::new(Code::Unavailable, READ_MODEL_AWAY),
                });
            }
        }
    }

    /// What the reader wrote last; nothing where they wrote nothing, or where the
    /// log is away: `As-Of` then tells how far the answer is.
    async fn own_positions(&self, reader: AccountId) -> Positions {
        let away = *self.log_away_until.lock();
        if away.is_some_and(|until| Instant::now() < until) {
            return Positions::default();
        }
        let patience = Duration::from_millis(LOG_MILLISECONDS_MAX);
        match tokio::time::timeout(patience, self.log.last_positions(reader)).await {
            Ok(Ok(positions)) => positions,
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("the log does not answer; reads go on without it");
                let until = Instant::now() + Duration::from_millis(LOG_AWAY_MILLISECONDS);
                *self.log_away_until.lock() = Some(until);
                Positions::default()
            }
        }
    }
}

fn behind(detail: Text) -> Problem {
    Problem::new(Code::ProjectionBehind, detail).retry_after(BEHIND_RETRY_SECONDS)
}
