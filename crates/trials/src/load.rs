//! The load: clients that write and read as people do, each write under an
//! idempotency key. It keeps a book of every command and of what was answered,
//! and complains about answers that the contract does not allow.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use kernel::{Position, Uuid};
use parking_lot::Mutex;
use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    client::{Answer, Client, READ_SECONDS_MAX, Request, WRITE_SECONDS_MAX},
    journal::{Acknowledged, Journal, Line},
    workload::{Operation, Posts, draw},
};

const COMPLAINTS_MAX: usize = 12;
const STEP_ASIDE_MILLISECONDS: u64 = 25;
/// After the restart a command has an answer for good by then.
const RESEND_SECONDS_MAX: u64 = 12;
const REPEATED_MAX: usize = 48;
/// The API takes 1,000 connections from one address.
const RESENT_AT_ONCE_MAX: usize = 64;
/// Between the operations of a client while nothing is taken for long.
const REFUSED_MILLISECONDS: u64 = 250;
/// What a write may be refused with by the state that it meets.
const REFUSALS: [&str; 7] = [
    "not_found",
    "not_author",
    "not_repostable",
    "self_follow",
    "account_blocked",
    "too_many_folders",
    "version_mismatch",
];
const UNAVAILABLE: [&str; 4] = [
    "unavailable",
    "overloaded",
    "projection_behind",
    "deadline_exceeded",
];

/// What was answered for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub status: u16,
    pub position: Option<String>,
    pub id: Option<Uuid>,
}

#[derive(Clone, Debug)]
pub struct Command {
    pub request: Request,
    pub account: Option<Uuid>,
    /// None while nobody knows.
    pub outcome: Option<Outcome>,
}

pub struct Load {
    pub accounts: Vec<(Uuid, String)>,
    /// Of a hundred operations.
    pub registrations: u32,
    pub posts: Mutex<Posts>,
    pub commands: Mutex<Vec<Command>>,
    pub reads: AtomicU64,
    /// Requests without an answer, and the first reason.
    pub broken: Mutex<(u64, String)>,
    /// Acknowledgements that were lost with a log.
    pub lost: Mutex<HashSet<Acknowledged>>,
    refusing: Mutex<Option<Arc<Refusing>>>,
    complaints: Mutex<BTreeSet<String>>,
    journal: Journal,
    ended: AtomicBool,
}

/// Why no write may be acknowledged for a while, and what is answered meanwhile.
#[derive(Debug, Default)]
pub struct Refusing {
    /// Such as "the log is gone".
    pub state: &'static str,
    /// A refusal that gives the reason has one of them.
    pub words: &'static [&'static str],
    /// Whether an acknowledgement is a complaint.
    pub strictly: AtomicBool,
    pub refused: AtomicU64,
    /// Of these, with the reason.
    pub named: AtomicU64,
    /// Of those without it, the last.
    pub unnamed: Mutex<String>,
}

enum Verdict {
    Done,
    Refused,
    Unknown,
}

impl Load {
    pub fn new(accounts: Vec<(Uuid, String)>, registrations: u32, journal: Journal) -> Self {
        Self {
            accounts,
            registrations,
            posts: Mutex::default(),
            commands: Mutex::default(),
            reads: AtomicU64::new(0),
            broken: Mutex::default(),
            lost: Mutex::default(),
            refusing: Mutex::default(),
            complaints: Mutex::default(),
            journal,
            ended: AtomicBool::new(false),
        }
    }

    pub fn complain(&self, complaint: impl Into<String>) {
        let mut complaints = self.complaints.lock();
        if complaints.len() < COMPLAINTS_MAX {
            complaints.insert(complaint.into());
        }
    }

    pub fn complaints(&self) -> Vec<String> {
        self.complaints.lock().iter().cloned().collect()
    }

    /// From now on no write that is sent may be acknowledged; None: any may.
    pub fn refuse(&self, refusing: Option<Arc<Refusing>>) {
        *self.refusing.lock() = refusing;
    }

    fn note_refusal(&self, refusing: &Arc<Refusing>, request: &Request, answer: &Answer) {
        let now = self.refusing.lock().clone();
        if !now.is_some_and(|now| Arc::ptr_eq(&now, refusing)) {
            // It ended while this was under way.
            return;
        }
        let state = refusing.state;
        match answer.status {
            200..=299 if refusing.strictly.load(Ordering::SeqCst) => {
                let Request { method, path, .. } = request;
                let path = template(path);
                self.complain(format!("{method} {path}: {} while {state}", answer.status));
            }
            503 => {
                refusing.refused.fetch_add(1, Ordering::SeqCst);
                match refusing.words.iter().any(|word| answer.body.contains(word)) {
                    true => drop(refusing.named.fetch_add(1, Ordering::SeqCst)),
                    false => refusing.unnamed.lock().clone_from(&answer.body),
                }
            }
            _ => {}
        }
    }

    /// Takes back what was acknowledged beyond these ends of a log that was made
    /// anew: such commands have no answer any more. Returns how many there were.
    pub fn lose(&self, ends: &BTreeMap<u16, Position>) -> usize {
        let (mut commands, mut lost) = (self.commands.lock(), self.lost.lock());
        for command in commands.iter_mut() {
            let outcome = command.outcome.as_ref().filter(|o| o.status < 300);
            let Some(text) = outcome.and_then(|outcome| outcome.position.clone()) else {
                continue;
            };
            let beyond = text.parse::<Position>().is_ok_and(|position| {
                let end = ends.get(&position.partition.0);
                end.is_none_or(|end| position > *end)
            });
            if beyond {
                lost.insert((command.request.key.clone().unwrap_or_default(), text));
                command.outcome = None;
            }
        }
        lost.len()
    }

    /// Lets all clients end after what they are doing.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    pub fn start(
        self: &Arc<Self>,
        port: u16,
        clients: usize,
        pace: Duration,
        random: impl Fn(u64) -> ChaCha8Rng,
    ) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
        let mut running = JoinSet::new();
        for who in 0..clients {
            let (load, client) = (self.clone(), Client::new(port)?);
            running.spawn(load.run(client, who, pace, random(who as u64)));
        }
        Ok(running)
    }

    async fn run(
        self: Arc<Self>,
        client: Client,
        who: usize,
        pace: Duration,
        mut random: ChaCha8Rng,
    ) -> anyhow::Result<()> {
        let mut turn = 0;
        while !self.ended.load(Ordering::SeqCst) {
            let operation = draw(&self, who, turn, &mut random);
            turn += 1;
            let known = match operation {
                Operation::Write { request, account } => {
                    self.write(&client, request, account).await?
                }
                Operation::Read(request) => self.read(&client, &request).await,
            };
            if !known {
                let pause = match self.refusing.lock().is_some() {
                    true => REFUSED_MILLISECONDS,
                    false => random.random_range(1..STEP_ASIDE_MILLISECONDS),
                };
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            tokio::time::sleep(pace).await;
        }
        Ok(())
    }

    /// Whether there was an answer for good.
    async fn write(
        &self,
        client: &Client,
        request: Request,
        account: Option<Uuid>,
    ) -> anyhow::Result<bool> {
        let index = {
            let mut commands = self.commands.lock();
            commands.push(Command {
                request: request.clone(),
                account,
                outcome: None,
            });
            commands.len() - 1
        };
        self.send(client, index, &request).await
    }

    async fn send(&self, client: &Client, index: usize, request: &Request) -> anyhow::Result<bool> {
        let refusing = self.refusing.lock().clone();
        let answer = client.send(request).await;
        if let Some(refusing) = refusing {
            self.note_refusal(&refusing, request, &answer);
        }
        let verdict = self.judge(request, &answer, WRITE_SECONDS_MAX);
        if matches!(verdict, Verdict::Unknown) {
            return Ok(false);
        }
        let account = self.commands.lock()[index].account;
        if matches!(verdict, Verdict::Done) {
            let line = Line {
                key: request.key.as_deref().unwrap_or_default(),
                // Who registers is the one who acts.
                account: account.or(answer.id),
                method: &request.method,
                path: &request.path,
                status: answer.status,
                position: answer.position.as_deref(),
            };
            self.journal.write(&line).await?;
            self.read_back(client, request, &answer).await;
        }
        self.posts.lock().note(request, &answer, account);
        self.commands.lock()[index].outcome = Some(Outcome {
            status: answer.status,
            position: answer.position,
            id: answer.id,
        });
        Ok(true)
    }

    /// What one has published one reads at once: either it is there, or the
    /// answer says that it is not so far.
    async fn read_back(&self, client: &Client, request: &Request, answer: &Answer) {
        let (Some(id), Some(position), "/v1/posts") =
            (answer.id, &answer.position, request.path.as_str())
        else {
            return;
        };
        let read = Request {
            method: "GET".into(),
            path: format!("/v1/posts/{id}"),
            token: request.token.clone(),
            ..Request::default()
        };
        let found = client.send(&read).await;
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.judge(&read, &found, READ_SECONDS_MAX);
        let wanted = position.parse::<kernel::Position>().ok();
        let as_of = found.as_of.as_deref().unwrap_or_default();
        let reached = as_of
            .split(',')
            .filter_map(|p| p.trim().parse::<kernel::Position>().ok());
        let covers = |at: kernel::Position| {
            wanted.is_some_and(|wanted| at.partition == wanted.partition && at >= wanted)
        };
        if found.status == 404 && reached.into_iter().any(covers) {
            self.complain("a post that was just published is not found by its author");
        }
    }

    async fn read(&self, client: &Client, request: &Request) -> bool {
        let answer = client.send(request).await;
        self.reads.fetch_add(1, Ordering::Relaxed);
        !matches!(
            self.judge(request, &answer, READ_SECONDS_MAX),
            Verdict::Unknown
        )
    }

    /// Whether the contract allows this answer, and what it means.
    fn judge(&self, request: &Request, answer: &Answer, seconds_max: u64) -> Verdict {
        let Request { method, path, .. } = request;
        let path = template(path);
        if answer.took > Duration::from_secs(seconds_max) {
            self.complain(format!("{method} {path} took {:?}", answer.took));
        }
        match answer.status {
            0 => {
                let mut broken = self.broken.lock();
                broken.0 += 1;
                if broken.1.is_empty() {
                    broken.1.clone_from(&answer.broken);
                }
                Verdict::Unknown
            }
            200..=299 | 304 => Verdict::Done,
            503 if UNAVAILABLE.contains(&answer.code.as_str()) && answer.retry_after => {
                Verdict::Unknown
            }
            400..=499 if REFUSALS.contains(&answer.code.as_str()) && path != "/v1/accounts" => {
                Verdict::Refused
            }
            // The post that is replied to was deleted meanwhile.
            422 if answer.body.contains("\"/reply_to_id\"") => Verdict::Refused,
            status => {
                self.complain(format!("{method} {path}: {status} {}", answer.body));
                match status {
                    400..=499 => Verdict::Refused,
                    _ => Verdict::Unknown,
                }
            }
        }
    }

    /// After the restart: what has no answer is sent again with the same key
    /// until it has one, and what was done is done no second time. Returns how
    /// many of each there were. `had_effects`: of what was done only what is
    /// sure to have had events, since receipts of others are lost with a log.
    pub async fn send_again(
        self: &Arc<Self>,
        port: u16,
        random: &mut ChaCha8Rng,
        had_effects: bool,
    ) -> anyhow::Result<(u64, u64)> {
        let commands = self.commands.lock().clone();
        let (mut unknown, mut known) = (Vec::new(), Vec::new());
        for (index, command) in commands.into_iter().enumerate() {
            match &command.outcome {
                None => unknown.push((index, command)),
                Some(outcome) if outcome.status < 300 => known.push((index, command)),
                Some(_) => {}
            }
        }
        if had_effects {
            let makes = |command: &Command| command.request.method == "POST";
            known.retain(|(_, command)| makes(command));
        }
        known.shuffle(random);
        known.truncate(REPEATED_MAX);
        let counts = (unknown.len() as u64, known.len() as u64);
        let client = Client::new(port)?;
        let at_once = Arc::new(Semaphore::new(RESENT_AT_ONCE_MAX));
        let mut running = JoinSet::new();
        for (index, command) in unknown {
            let (load, client, at_once) = (self.clone(), client.clone(), at_once.clone());
            running.spawn(async move {
                let _turn = at_once.acquire().await?;
                load.insist(&client, index, &command.request).await
            });
        }
        for (_, command) in known {
            let (load, client, at_once) = (self.clone(), client.clone(), at_once.clone());
            running.spawn(async move {
                let _turn = at_once.acquire().await?;
                load.repeat(&client, command).await
            });
        }
        while let Some(done) = running.join_next().await {
            done??;
        }
        Ok(counts)
    }

    async fn insist(&self, client: &Client, index: usize, request: &Request) -> anyhow::Result<()> {
        let sending = async {
            while !self.send(client, index, request).await? {
                tokio::time::sleep(Duration::from_millis(STEP_ASIDE_MILLISECONDS)).await;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(Duration::from_secs(RESEND_SECONDS_MAX), sending).await {
            Ok(done) => done,
            Err(_) => {
                let Request { method, path, .. } = request;
                let path = template(path);
                self.complain(format!("{method} {path} has no answer after the restart"));
                Ok(())
            }
        }
    }

    async fn repeat(&self, client: &Client, command: Command) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(RESEND_SECONDS_MAX);
        loop {
            let answer = client.send(&command.request).await;
            let verdict = self.judge(&command.request, &answer, WRITE_SECONDS_MAX);
            if matches!(verdict, Verdict::Unknown) && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(STEP_ASIDE_MILLISECONDS)).await;
                continue;
            }
            let again = Outcome {
                status: answer.status,
                position: answer.position,
                id: answer.id,
            };
            if command.outcome.as_ref() != Some(&again) {
                let Request { method, path, .. } = &command.request;
                self.complain(format!(
                    "{method} {}: the same key gave {:?} and then {again:?} {}",
                    template(path),
                    command.outcome,
                    answer.body
                ));
            }
            return Ok(());
        }
    }
}

/// A path with its ids left out, so that complaints of one kind are one.
fn template(path: &str) -> String {
    let segment = |segment: &str| match segment.parse::<Uuid>() {
        Ok(_) => "…".to_owned(),
        Err(_) => segment.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}
