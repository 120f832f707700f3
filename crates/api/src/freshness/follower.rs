//! Follows the views: looks how far they are when somebody asks, and tells the
//! hot posts which events were folded since. The log says what the events
//! touch, the checkpoints say when they are folded; a touch is told between the
//! two, so that no entry outlives the row that it was read from. It refuses to
//! run ahead without bounds: a view that stands still leaves the hot posts
//! unused, not growing. What events withdraw from readers is withheld until it is folded.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{Event, posts::PostId, withdrawals::Withdrawal};
use edge::positions::SealedPositions;
use eventlog::{History, Log, LogError};
use kernel::{Partition, Position, Positions, Recorded};
use parking_lot::Mutex;
use readmodel::{
    DatabaseConnection, ReadError,
    checkpoints::{self, Look, Reached},
    dead_letters,
    hot::{Hot, Shown},
    posts,
    touches::{Touch, touches},
    withheld::Withheld,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Observed, Seen, View, Withholding};

/// How often one process looks while somebody waits.
const LOOK_MILLISECONDS: u64 = 2;
/// How long a look may take.
const LOOK_MILLISECONDS_MAX: u64 = 2_000;
/// Touches that wait for their event to be folded.
const TOUCHES_MAX: usize = 65_536;
/// Posts that are told one by one of the accounts that were deactivated or are back;
/// where more count what those did, all that is kept in process is read again.
const COUNTED_POSTS_MAX: u32 = 10_000;
const READ_EVENTS_MAX: usize = 1_000;
/// Where events come quickly, a read takes some at once.
const GATHER_MILLISECONDS: u64 = 2;
const TAIL_MILLISECONDS: u64 = 1_000;
const PAUSE_MILLISECONDS: u64 = 500;
/// How often one looks while nobody waits, but events are on their way to the
/// views; less and less often where they do not arrive.
const PAUSE_MILLISECONDS_MIN: u64 = 10;
const PAUSE_MILLISECONDS_MAX: u64 = 1_000;
/// How long a look waits for events that are folded but not read here yet.
const CATCH_UP_MILLISECONDS: u64 = 4;

/// What the hot posts are put together from.
const TOUCHED: &[View] = &[View::SOCIAL, View::TIMELINES];

/// Events that were read, and what they touch, until they are folded.
#[derive(Default)]
struct Ahead {
    /// Read up to here. Changed by the reader, and by `restart`.
    read: BTreeMap<Partition, Position>,
    /// By view: until its event is folded, or fanned out.
    touches: BTreeMap<View, BTreeMap<Partition, VecDeque<(Position, Touch)>>>,
    waiting: usize,
    /// Until its event is folded.
    withdrawn: BTreeMap<Partition, VecDeque<(Position, Withdrawal)>>,
    /// What is withdrawn is known up to here; beyond `read` after a restart.
    known: BTreeMap<Partition, Position>,
    /// Nothing that is in the log is unknown, as far as the log can tell.
    is_at_head: bool,
    /// Goes up with every restart: what was read for an earlier one is void.
    run: u64,
    /// What comes next is not in the log any more: the reader waits for a restart.
    trimmed: bool,
}

struct Follower<S> {
    log: History,
    partitions: Vec<Partition>,
    database: DatabaseConnection,
    hot: Arc<Hot<S>>,
    sealed: Arc<SealedPositions>,
    /// How often it looked.
    looks: AtomicU64,
    ahead: Mutex<Ahead>,
    withholding: Withholding,
    /// The reader has read something, or may go on.
    moved: Notify,
}

/// Looks when `asked`, for as long as anybody observes.
pub(super) async fn follow<S: Shown>(
    (log, database, hot): (Log, DatabaseConnection, Arc<Hot<S>>),
    sealed: Arc<SealedPositions>,
    asked: Arc<Notify>,
    observer: watch::Sender<Arc<Observed>>,
    withholding: Withholding,
) {
    let follower = Follower {
        partitions: log.partitions().collect(),
        log: History::of(log),
        database,
        hot,
        sealed,
        looks: AtomicU64::new(0),
        ahead: Mutex::default(),
        withholding,
        moved: Notify::new(),
    };
    tokio::join!(follower.look_when(&asked, &observer), follower.read());
}

impl<S: Shown> Follower<S> {
    async fn look_when(&self, asked: &Notify, observer: &watch::Sender<Arc<Observed>>) {
        let mut known = Observed::nothing();
        let mut pause = PAUSE_MILLISECONDS_MIN;
        loop {
            // Where something happened, nobody needs to ask: what is kept would
            // be as old as the last look.
            let moved = self.moved.notified();
            let behind = self.is_ahead_of(&known);
            tokio::select! {
                () = asked.notified() => {}
                () = sleep(Duration::from_millis(pause)), if behind => {}
                () = moved, if !behind => {
                    pause = PAUSE_MILLISECONDS_MIN;
                    continue;
                }
            }
            let at = Instant::now();
            let before = known.clone();
            let patience = Duration::from_millis(LOOK_MILLISECONDS_MAX);
            let looked = timeout(patience, self.look(&known)).await;
            known = match looked {
                Ok(Ok(observed)) => observed,
                Ok(Err(error)) => failed(known, &error.to_string()),
                Err(_) => {
                    // It may have been given up with touches in its hands.
                    self.hot.forget();
                    failed(known, "no answer in time")
                }
            };
            known.at = at;
            pause = match known.is_at(&before) {
                true => (pause * 2).min(PAUSE_MILLISECONDS_MAX),
                false => PAUSE_MILLISECONDS_MIN,
            };
            if observer.send(Arc::new(known.clone())).is_err() {
                return;
            }
            sleep_until(at + Duration::from_millis(LOOK_MILLISECONDS)).await;
        }
    }

    /// Whether events were read that a view has not got.
    fn is_ahead_of(&self, known: &Observed) -> bool {
        let ahead = self.ahead.lock();
        TOUCHED.iter().any(|view| {
            let reached = known.reached(*view).map(|reached| &reached.positions);
            let has = |at: &Position| reached.and_then(|reached| reached.get(at.partition));
            ahead
                .read
                .values()
                .any(|at| has(at).is_none_or(|has| has < *at))
        })
    }

    async fn look(&self, known: &Observed) -> Result<Observed, ReadError> {
        let pool = self.database.get_postgres_connection_pool();
        let Look {
            projections,
            pulled,
            life,
        } = checkpoints::look(pool).await?;
        let mut observed = Observed::nothing();
        observed.pulled = Arc::new(pulled);
        observed.life = life;
        let number = self.looks.fetch_add(1, Ordering::Relaxed);
        let seen = |reached: Reached| {
            let is_anywhere = !reached.positions.is_empty();
            let as_of = is_anywhere.then(|| self.sealed.all(&reached.positions, number));
            Seen {
                as_of: as_of.flatten(),
                reached,
            }
        };
        let nothing = Reached::default();
        let before = known.reached(View::SOCIAL).unwrap_or(&nothing);
        let reached = |view: View| projections.get(view.name()).unwrap_or(&nothing);
        let (social, fanned_out) = (reached(View::SOCIAL), reached(View::TIMELINES));
        let (folded, fanned_out) = (&social.positions, &fanned_out.positions);
        let same = |then: &Observed| {
            (then.life, before.generation, before.parked)
                == (life, social.generation, social.parked)
        };
        // Few ever wait; they are looked up when their number changes.
        observed.parked = match (social.parked, same(known)) {
            (0, _) => Arc::default(),
            (_, true) => known.parked.clone(),
            (_, false) => dead_letters::hidden(pool, View::SOCIAL).await?.into(),
        };
        // Rows that were read after a crash may be older than those before it,
        // though their events are soon folded again. Those of another generation
        // may differ.
        let other = known.generation(View::SOCIAL) != social.generation;
        let trimmed = self.ahead.lock().trimmed;
        let is_back = life != known.life || !folded.reach(&before.positions);
        if is_back || other || trimmed {
            self.restart(folded, fanned_out, is_back);
            observed.told = true;
        } else {
            observed.told = self.tell(folded, fanned_out).await?;
        }
        let views = projections.into_iter();
        observed.views = views.map(|(name, reached)| (name, seen(reached))).collect();
        Ok(observed)
    }

    /// Tells the hot posts what was folded, and whether that is all.
    async fn tell(&self, folded: &Positions, fanned_out: &Positions) -> Result<bool, ReadError> {
        let caught_up = || {
            let ahead = self.ahead.lock();
            let reached = |at: &Position| ahead.read.get(&at.partition).is_some_and(|r| r >= at);
            folded.iter().all(reached)
        };
        let mut all = caught_up();
        if !all {
            let patience = Duration::from_millis(CATCH_UP_MILLISECONDS);
            let catching_up = async {
                loop {
                    let moved = self.moved.notified();
                    if caught_up() {
                        return;
                    }
                    moved.await;
                }
            };
            all = timeout(patience, catching_up).await.is_ok();
        }
        let mut touched = self.take_touches(View::TIMELINES, fanned_out);
        touched.extend(self.take_touches(View::SOCIAL, folded));
        match self.posts_behind(&touched).await {
            Ok(Some(posts)) => self.hot.touch(posts.into_iter().map(Touch::Post)),
            Ok(None) => self.hot.forget(),
            Err(error) => {
                // They are taken already, so all must be told.
                self.hot.forget();
                return Err(error);
            }
        }
        self.hot.touch(touched);
        self.release(folded);
        Ok(all)
    }

    /// What is folded need not be withheld any more.
    fn release(&self, folded: &Positions) {
        let mut ahead = self.ahead.lock();
        let mut released = 0;
        for at in folded.iter() {
            if let Some(withdrawn) = ahead.withdrawn.get_mut(&at.partition) {
                let count = withdrawn.partition_point(|(position, _)| position <= at);
                released += withdrawn.drain(..count).len();
            }
        }
        if released > 0 {
            self.withhold(&ahead);
        }
    }

    /// Tells reads what is withheld from now on.
    fn withhold(&self, ahead: &Ahead) {
        let withdrawn = || ahead.withdrawn.values().flatten();
        let withheld = || -> Withheld { withdrawn().map(|(_, what)| *what).collect() };
        *self.withholding.write() = ahead.is_at_head.then(withheld).map(Arc::new);
    }

    /// The posts that touches mean and do not name; none where they are too many.
    async fn posts_behind(&self, touched: &[Touch]) -> Result<Option<Vec<PostId>>, ReadError> {
        let pool = self.database.get_postgres_connection_pool();
        let (mut replies, mut moved) = (Vec::new(), Vec::new());
        for touch in touched {
            match touch {
                Touch::ParentOf(reply) => replies.push(*reply),
                Touch::CountedBy(account) => moved.push(*account),
                _ => {}
            }
        }
        let mut found = Vec::new();
        if !replies.is_empty() {
            found = posts::parents(pool, &replies).await?;
        }
        if !moved.is_empty() {
            let counting = posts::counting(pool, &moved, COUNTED_POSTS_MAX + 1).await?;
            if counting.len() > COUNTED_POSTS_MAX as usize {
                return Ok(None);
            }
            found.extend(counting);
        }
        Ok(Some(found))
    }

    fn take_touches(&self, view: View, reached: &Positions) -> Vec<Touch> {
        let mut ahead = self.ahead.lock();
        let mut taken = Vec::new();
        for at in reached.iter() {
            let waiting = ahead.touches.get_mut(&view);
            let Some(waiting) = waiting.and_then(|waiting| waiting.get_mut(&at.partition)) else {
                continue;
            };
            let count = waiting.partition_point(|(position, _)| position <= at);
            taken.extend(waiting.drain(..count).map(|(_, touch)| touch));
        }
        let full = ahead.waiting >= TOUCHES_MAX;
        ahead.waiting -= taken.len();
        if full && ahead.waiting < TOUCHES_MAX {
            self.moved.notify_waiters();
        }
        taken
    }

    /// Reads on from where both views are, with nothing known but what is withdrawn; not
    /// even that where the database `is_back` at an earlier moment.
    fn restart(&self, folded: &Positions, fanned_out: &Positions, is_back: bool) {
        let mut ahead = self.ahead.lock();
        let run = ahead.run + 1;
        let begin = self.partitions.iter().map(|&partition| {
            let reached = folded.get(partition).min(fanned_out.get(partition));
            let beginning = || Log::beginning(partition);
            (partition, reached.unwrap_or_else(beginning))
        });
        let before = std::mem::take(&mut *ahead);
        *ahead = Ahead {
            read: begin.collect(),
            run,
            ..match is_back {
                true => Ahead::default(),
                false => Ahead {
                    touches: BTreeMap::new(),
                    waiting: 0,
                    trimmed: false,
                    ..before
                },
            }
        };
        self.hot.forget();
        self.withhold(&ahead);
        drop(ahead);
        self.release(folded);
        self.moved.notify_waiters();
    }

    /// Reads the log for as long as it is asked to.
    async fn read(&self) {
        loop {
            let moved = self.moved.notified();
            let (from, run, rests, is_at_head) = {
                let mut ahead = self.ahead.lock();
                let from: Vec<Position> = ahead.read.values().copied().collect();
                let rests = ahead.waiting >= TOUCHES_MAX || ahead.trimmed;
                if rests && ahead.is_at_head {
                    ahead.is_at_head = false;
                    self.withhold(&ahead);
                }
                (from, ahead.run, rests, ahead.is_at_head)
            };
            if from.is_empty() || rests {
                moved.await;
                continue;
            }
            let patience = Duration::from_millis(match is_at_head {
                true => TAIL_MILLISECONDS,
                false => GATHER_MILLISECONDS,
            });
            match self.log.tail(&from, READ_EVENTS_MAX, patience).await {
                Ok(events) => {
                    if self.take(run, &events, is_all(&events)) {
                        self.moved.notify_waiters();
                        sleep(Duration::from_millis(GATHER_MILLISECONDS)).await;
                    }
                }
                Err(error @ LogError::Gap(_)) => {
                    tracing::debug!(%error, "the hot posts begin anew where the views are");
                    self.ahead.lock().give_up(run);
                    // Only those that are folded are trimmed: a restart is beyond them.
                    sleep(Duration::from_millis(PAUSE_MILLISECONDS)).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "the hot posts are not told; reads go on without them");
                    // A log that is away takes nothing, and reads do not need it.
                    self.take(run, &[], true);
                    sleep(Duration::from_millis(PAUSE_MILLISECONDS)).await;
                }
            }
        }
    }
}

impl<S: Shown> Follower<S> {
    /// Takes in what was read, and whether that is all there is now; says whether it was
    /// anything.
    fn take(&self, run: u64, events: &[Recorded], is_all: bool) -> bool {
        let mut ahead = self.ahead.lock();
        if ahead.run != run {
            return false;
        }
        let mut withdraws = false;
        for recorded in events {
            withdraws |= ahead.take(recorded);
        }
        if withdraws || ahead.is_at_head != is_all {
            ahead.is_at_head = is_all;
            self.withhold(&ahead);
        }
        !events.is_empty()
    }
}

impl Ahead {
    /// Nothing more is read until a restart, which may have come already.
    fn give_up(&mut self, run: u64) {
        self.trimmed = self.run == run;
    }

    /// An event that cannot be read stops the fold, and so touches nothing. Says whether
    /// it withdraws something.
    fn take(&mut self, recorded: &Recorded) -> bool {
        let (position, envelope) = (recorded.position, &recorded.envelope);
        self.read.insert(position.partition, position);
        let Ok(event) = Event::decode(envelope) else {
            return false;
        };
        let is_new = (self.known.get(&position.partition)).is_none_or(|known| position > *known);
        let withdrawal = Withdrawal::of(envelope.aggregate, &event).filter(|_| is_new);
        if is_new {
            self.known.insert(position.partition, position);
        }
        if let Some(withdrawal) = withdrawal {
            let withdrawn = self.withdrawn.entry(position.partition).or_default();
            withdrawn.push_back((position, withdrawal));
        }
        for touch in touches(envelope.aggregate, &event) {
            let view = match touch {
                Touch::FannedOut(_) => View::TIMELINES,
                _ => View::SOCIAL,
            };
            let waiting = self.touches.entry(view).or_default();
            let waiting = waiting.entry(position.partition).or_default();
            waiting.push_back((position, touch));
            self.waiting += 1;
        }
        withdrawal.is_some()
    }
}

/// Whether a read of at most `READ_EVENTS_MAX` events a partition left none unread.
fn is_all(events: &[Recorded]) -> bool {
    let mut counts: BTreeMap<Partition, usize> = BTreeMap::new();
    for recorded in events {
        *counts.entry(recorded.position.partition).or_default() += 1;
    }
    counts.values().all(|count| *count < READ_EVENTS_MAX)
}

fn failed(known: Observed, reason: &str) -> Observed {
    Observed {
        failed: Some(reason.into()),
        ..known
    }
}
