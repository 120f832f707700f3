//! Sends operations concurrently, in causal order: those of one user one after
//! another, and each after what it speaks of. A lane waits for earlier lines
//! only, so that lanes can't wait for each other in a circle.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use domain::{
    accounts::RegisterAccount,
    follows::FollowAccount,
    handles::{Handle, ReserveHandle},
    likes::LikePost,
    posts::{PostId, PublishPost, Text, Visibility},
};
use eventlog::{ExecuteError, Intent};
use kernel::{AccountId, Command, Uuid};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use vault::{NewCredentials, VaultError};

use super::{
    activity::{Ids, Operation},
    summary::Summary,
};
use crate::node::{Node, now};

const LANES: usize = 4_096;
const LANE_OPERATIONS_MAX: usize = 256;
/// Tries while a server is away, about half a minute.
const TRIES_MAX: u32 = 12;
const TRY_DELAY_MILLISECONDS_MAX: u64 = 4_000;

/// Whether what a line makes is there yet: not decided, made, or refused.
type Made = watch::Receiver<Option<bool>>;

struct Task {
    line: u64,
    operation: Operation,
    account: Option<AccountId>,
    /// The account that is followed.
    target: Option<AccountId>,
    /// The post that is made or liked, and the one replied to.
    post: Option<PostId>,
    parent: Option<PostId>,
    correlation: Uuid,
    after: Vec<Made>,
    made: Option<watch::Sender<Option<bool>>>,
}

pub struct Lanes {
    ids: Ids,
    /// By user and by post.
    made: HashMap<(bool, String), Made>,
    lanes: Vec<mpsc::Sender<Task>>,
    workers: JoinSet<()>,
    summary: Arc<Summary>,
}

impl Lanes {
    pub fn start(node: Node, source: String) -> Self {
        let summary = Arc::new(Summary::default());
        let mut workers = JoinSet::new();
        let lanes = (0..LANES).map(|_| {
            let (lane, tasks) = mpsc::channel(LANE_OPERATIONS_MAX);
            workers.spawn(work(node.clone(), tasks, summary.clone()));
            lane
        });
        Self {
            ids: Ids::new(source),
            made: HashMap::new(),
            lanes: lanes.collect(),
            workers,
            summary,
        }
    }

    pub fn failed(&self) -> Option<String> {
        self.summary.failure()
    }

    pub fn refuse_line(&self, line: u64, reason: &str) {
        self.summary.unreadable(line, reason);
    }

    pub async fn send(&mut self, line: u64, operation: Operation) {
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
            Operation::Post { id, .. } => {
                post = self.ids.publish(&user, id, line);
                made = Some((true, id.clone()));
            }
            Operation::Reply { id, to, .. } => {
                parent = self.ids.post(to);
                waits_for((true, to.clone()));
                post = self.ids.publish(&user, id, line);
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
        let task = Task {
            line,
            correlation: self.ids.correlation(line),
            operation,
            account,
            target,
            post,
            parent,
            after,
            made,
        };
        // A lane that ended has left its reason in the summary.
        let _ = self.lanes[lane].send(task).await;
    }

    /// Waits for all that was sent.
    pub async fn finish(mut self) -> Arc<Summary> {
        self.lanes.clear();
        while self.workers.join_next().await.is_some() {}
        self.summary
    }
}

async fn work(node: Node, mut tasks: mpsc::Receiver<Task>, summary: Arc<Summary>) {
    while let Some(mut task) = tasks.recv().await {
        for made in &mut task.after {
            let _ = made.wait_for(Option::is_some).await;
        }
        let outcome = patiently(&node, &task).await;
        if let Some(made) = &task.made {
            made.send_replace(Some(outcome.is_ok()));
        }
        match outcome {
            Ok(appended) => summary.accepted(task.operation.kind(), appended),
            Err(Refusal::Refused(reason)) => {
                summary.refused(task.operation.kind(), task.line, reason);
            }
            Err(Refusal::Unavailable(reason)) => {
                summary.fail(format!("line {}: {reason}", task.line));
                return;
            }
        }
        if summary.failure().is_some() {
            return;
        }
    }
}

enum Refusal {
    Refused(String),
    Unavailable(String),
}

/// Tries again, later and later, while a server is away.
async fn patiently(node: &Node, task: &Task) -> Result<bool, Refusal> {
    let mut delay = 50;
    for _ in 1..TRIES_MAX {
        match send(node, task).await {
            Err(Refusal::Unavailable(_)) => {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                delay = (delay * 2).min(TRY_DELAY_MILLISECONDS_MAX);
            }
            outcome => return outcome,
        }
    }
    send(node, task).await
}

/// Whether it had an effect: a second run has none.
async fn send(node: &Node, task: &Task) -> Result<bool, Refusal> {
    let unknown = |what: &str| Refusal::Refused(format!("{what} does not stand before it"));
    let account = task.account.ok_or_else(|| unknown("the account"))?;
    match &task.operation {
        Operation::Register { user } => register(node, account, user, task.correlation).await,
        Operation::Follow { .. } => {
            let target = task.target.ok_or_else(|| unknown("who is followed"))?;
            execute(
                node,
                account,
                task.correlation,
                &FollowAccount { account, target },
            )
            .await
        }
        Operation::Like { .. } => {
            let post = task.post.ok_or_else(|| unknown("the post"))?;
            execute(
                node,
                account,
                task.correlation,
                &LikePost {
                    account,
                    post,
                    likely_author: None,
                },
            )
            .await
        }
        Operation::Post { text, .. } | Operation::Reply { text, .. } => {
            let is_reply = matches!(task.operation, Operation::Reply { .. });
            if is_reply && task.parent.is_none() {
                return Err(unknown("the post that is replied to"));
            }
            let text: Text = text.parse().map_err(refused)?;
            let publish = PublishPost {
                post: task.post.ok_or_else(|| unknown("the account"))?,
                author: account,
                text,
                language: None,
                metadata: None,
                visibility: Visibility::Public,
                reply_to: task.parent,
            };
            execute(node, account, task.correlation, &publish).await
        }
    }
}

async fn register(
    node: &Node,
    account: AccountId,
    user: &str,
    correlation: Uuid,
) -> Result<bool, Refusal> {
    let handle: Handle = user.parse().map_err(refused)?;
    let reserve = ReserveHandle {
        handle: handle.clone(),
        account,
        attempt: account.0,
        now: now(),
        abandoned: None,
    };
    execute(node, account, correlation, &reserve).await?;
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(refused)?;
    let credentials = NewCredentials {
        account,
        email: None,
        password_hash: None,
    };
    node.vault
        .admit(credentials, key)
        .await
        .map_err(|error| match error {
            VaultError::EmailTaken(_) => refused(error),
            _ => Refusal::Unavailable(error.to_string()),
        })?;
    let command = RegisterAccount {
        account,
        handle,
        display_name: None,
    };
    execute(node, account, correlation, &command).await
}

async fn execute<C: Command>(
    node: &Node,
    actor: AccountId,
    correlation: Uuid,
    command: &C,
) -> Result<bool, Refusal> {
    let intent = Intent {
        actor,
        now: now(),
        correlation,
        causation: None,
        key: None,
        trace: None,
    };
    match node
        .log
        .execute(command, &intent, node.sealer.as_ref())
        .await
    {
        Ok(receipt) => Ok(receipt.appended),
        Err(ExecuteError::Refused(error)) => Err(refused(error)),
        Err(ExecuteError::Log(error)) if error.is_of_the_server() => {
            Err(Refusal::Unavailable(error.to_string()))
        }
        Err(error @ (ExecuteError::Seal(_) | ExecuteError::Contended)) => {
            Err(Refusal::Unavailable(error.to_string()))
        }
        Err(error) => Err(refused(error)),
    }
}

fn refused(error: impl ToString) -> Refusal {
    Refusal::Refused(error.to_string())
}
