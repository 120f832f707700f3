//! Sends operations concurrently, in causal order: those of one user one after
//! another, and each after what it speaks of. A lane waits for earlier lines
//! only, so that lanes can't wait for each other in a circle.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
};

use super::{
    activity::{Ids, NameTaken, Operation},
    commands::{self, Meant, Refusal},
    patience::{Failures, Patience},
    summary::{Place, Summary},
};
use crate::{node::Node, stop};

const LANES: usize = 4_096;
/// Operations that are read and not done: what is read before a server that went
/// away is known to be away, and what is finished before an import ends.
const UNDER_WAY_MAX: usize = 8_192;
const TRY_DELAY_MILLISECONDS: u64 = 50;
const TRY_DELAY_MILLISECONDS_MAX: u64 = 1_000;
/// For what is under way when a server is given up: its own deadlines are shorter.
const FAILED_SECONDS_MAX: u64 = 10;

/// Whether what a line makes is there yet: not decided, made, or refused.
type Made = watch::Receiver<Option<bool>>;

struct Task {
    place: Place,
    meant: Meant,
    after: Vec<Made>,
    made: Option<watch::Sender<Option<bool>>>,
    /// Given back when it is done.
    _permit: Option<OwnedSemaphorePermit>,
}

pub struct Lanes {
    ids: Ids,
    /// By user and by post.
    made: HashMap<(bool, String), Made>,
    /// Bounded by the permits.
    lanes: Vec<mpsc::UnboundedSender<Task>>,
    permits: Arc<Semaphore>,
    workers: JoinSet<()>,
    patience: Arc<Patience>,
    summary: Arc<Summary>,
}

impl Lanes {
    pub fn start(node: Node, source: String, wait: Duration) -> Self {
        let summary = Arc::new(Summary::default());
        let patience = Patience::of(wait);
        let mut workers = JoinSet::new();
        let lanes = (0..LANES).map(|_| {
            let (lane, tasks) = mpsc::unbounded_channel();
            workers.spawn(work(node.clone(), tasks, patience.clone(), summary.clone()));
            lane
        });
        Self {
            ids: Ids::new(source),
            made: HashMap::new(),
            lanes: lanes.collect(),
            permits: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
            workers,
            patience,
            summary,
        }
    }

    pub fn failures(&self) -> Failures {
        self.patience.failures()
    }

    /// How many lines could not be read, where no other could.
    pub fn refuse_line(&self, place: Place, reason: &str) -> Option<u64> {
        self.summary.unreadable(place, reason)
    }

    /// Waits for a place among those under way. Where that is given up, nothing
    /// was sent.
    pub async fn send(&mut self, place: Place, operation: Operation) {
        let permit = self.permits.clone().acquire_owned().await.ok();
        let line = place.all;
        let (user, mut target, mut post, mut parent) =
            (operation.user().to_owned(), None, None, None);
        let (mut after, mut made) = (Vec::new(), None);
        let (known, account) = match &operation {
            Operation::Register { user } => {
                made = Some((false, user.clone()));
                (true, Some(self.ids.register(user, line)))
            }
            _ => (false, self.ids.account(&user)),
        };
        if !known {
            after.extend(self.made.get(&(false, user.clone())).cloned());
        }
        let mut waits_for = |key| after.extend(self.made.get(&key).cloned());
        match &operation {
            Operation::Register { .. } => {}
            Operation::Follow { target: name, .. } => {
                target = self.ids.account(name);
                waits_for((false, name.clone()));
            }
            Operation::Post { id, .. } | Operation::Reply { id, .. } => {
                if let Operation::Reply { to, .. } = &operation {
                    parent = self.ids.post(to);
                    waits_for((true, to.clone()));
                }
                post = match self.ids.publish(&operation, id, line) {
                    Ok(post) => post,
                    Err(NameTaken) => {
                        let why = "another line has this id, and says something else";
                        self.summary.refused(operation.kind(), place, why);
                        return;
                    }
                };
                made = Some((true, id.clone()));
            }
            Operation::Like { post: name, .. } => {
                post = self.ids.post(name);
                waits_for((true, name.clone()));
            }
        }
        let made = made.map(|key| {
            let (sender, receiver) = watch::channel(None);
            self.made.entry(key).or_insert(receiver);
            sender
        });
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        let lane = (hasher.finish() % LANES as u64) as usize;
        let correlation = self.ids.correlation(line);
        let task = Task {
            place,
            meant: Meant {
                operation,
                account,
                target,
                post,
                parent,
                correlation,
            },
            after,
            made,
            _permit: permit,
        };
        self.patience.begun();
        // A lane that ended has left its reason.
        let _ = self.lanes[lane].send(task);
    }

    /// Waits for all that was sent, or for its failure; not as long once it is
    /// stopped.
    pub async fn finish(
        mut self,
        mut stopped: watch::Receiver<bool>,
    ) -> (Arc<Summary>, Option<String>) {
        self.lanes.clear();
        let mut failed = self.patience.failures();
        let workers = &mut self.workers;
        let mut all = std::pin::pin!(async { while workers.join_next().await.is_some() {} });
        let mut stopping = false;
        loop {
            tokio::select! {
                () = &mut all => break,
                () = failed.next() => {
                    let patience = Duration::from_secs(FAILED_SECONDS_MAX);
                    let _ = tokio::time::timeout(patience, all).await;
                    break;
                }
                () = stop::asked(&mut stopped), if !stopping => {
                    self.patience.stop();
                    stopping = true;
                }
            }
        }
        let failure = failed.reason();
        (self.summary, failure)
    }
}

async fn work(
    node: Node,
    mut tasks: mpsc::UnboundedReceiver<Task>,
    patience: Arc<Patience>,
    summary: Arc<Summary>,
) {
    while let Some(mut task) = tasks.recv().await {
        for made in &mut task.after {
            let _ = made.wait_for(Option::is_some).await;
        }
        if patience.has_failed() {
            return;
        }
        let outcome = patiently(&node, &task.meant, &patience).await;
        if let Some(made) = &task.made {
            made.send_replace(Some(outcome.is_ok()));
        }
        let (kind, place) = (task.meant.operation.kind(), task.place);
        match outcome {
            Ok(appended) => summary.accepted(kind, appended),
            Err(Refusal::Refused(reason)) => summary.refused(kind, place, &reason),
            Err(Refusal::Elsewhere(reason)) => summary.elsewhere(kind, place, &reason),
            Err(Refusal::Away(reason) | Refusal::Broken(reason)) => {
                patience.fail(&reason);
                return;
            }
        }
        patience.done();
    }
}

/// Tries again, later and later, while a server is away.
async fn patiently(node: &Node, meant: &Meant, patience: &Patience) -> Result<bool, Refusal> {
    let since = Instant::now();
    let mut delay = TRY_DELAY_MILLISECONDS;
    loop {
        match commands::send(node, meant).await {
            Err(Refusal::Away(reason)) if patience.hindered(since, reason.clone()) => {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                if patience.has_failed() {
                    return Err(Refusal::Away(reason));
                }
                delay = (delay * 2).min(TRY_DELAY_MILLISECONDS_MAX);
            }
            outcome => return outcome,
        }
    }
}
