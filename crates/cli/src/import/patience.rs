//! How long an import waits for servers that do not answer, and what it says
//! meanwhile. One place decides for all lanes: nothing was done for so long.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

const LOOK_MILLISECONDS: u64 = 250;
/// Silence until the first word, and from one word to the next.
const SILENCE_SECONDS: u64 = 3;
const WORD_SECONDS: u64 = 10;
/// Once it shall stop: for what was begun.
const STOPPING_SECONDS_MAX: u64 = 10;

pub struct Patience {
    wait: Duration,
    begun: AtomicU64,
    done: AtomicU64,
    /// Why the last try failed.
    reason: Mutex<Option<String>>,
    failure: watch::Sender<Option<String>>,
    stopping: watch::Sender<bool>,
}

impl Patience {
    pub fn of(wait: Duration) -> Arc<Self> {
        let patience = Arc::new(Self {
            wait,
            begun: AtomicU64::new(0),
            done: AtomicU64::new(0),
            reason: Mutex::default(),
            failure: watch::Sender::new(None),
            stopping: watch::Sender::new(false),
        });
        tokio::spawn(look(patience.clone()));
        patience
    }

    pub fn begun(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    pub fn done(&self) {
        self.done.fetch_add(1, Relaxed);
    }

    /// Whether to try again, after a failure that a server is to blame for.
    pub fn hindered(&self, since: Instant, reason: String) -> bool {
        if since.elapsed() >= self.wait {
            self.fail(&reason);
        }
        *self.reason() = Some(reason);
        !self.has_failed()
    }

    /// Somebody waits for the end: from now on it is shorter.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub fn fail(&self, why: &str) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| why.to_owned());
            first
        });
    }

    pub fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    pub fn failures(&self) -> Failures {
        Failures(self.failure.subscribe())
    }

    fn reason(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an import cannot go on, once it cannot.
pub struct Failures(watch::Receiver<Option<String>>);

impl Failures {
    pub async fn next(&mut self) {
        // What it gives locks the value, for as long as it is kept.
        drop(self.0.wait_for(Option::is_some).await);
    }

    pub fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }
}

/// Until it has failed: says that it waits, that it goes on, or gives up.
async fn look(patience: Arc<Patience>) {
    let (mut seen, mut since) = (0, Instant::now());
    let mut said: Option<Instant> = None;
    while !patience.has_failed() {
        tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
        let done = patience.done.load(Relaxed);
        if done != seen || done == patience.begun.load(Relaxed) {
            (seen, since) = (done, Instant::now());
            patience.reason().take();
            if said.take().is_some() {
                eprintln!("the servers answer again: goes on");
            }
            continue;
        }
        let still = since.elapsed();
        let wait = match *patience.stopping.borrow() {
            true => patience.wait.min(Duration::from_secs(STOPPING_SECONDS_MAX)),
            false => patience.wait,
        };
        let reason = patience.reason().clone();
        let reason = reason.unwrap_or_else(|| "the servers take long".to_owned());
        if still >= wait {
            patience.fail(&reason);
        } else if still.as_secs() >= SILENCE_SECONDS
            && said.is_none_or(|said| said.elapsed().as_secs() >= WORD_SECONDS)
        {
            said = Some(Instant::now());
            let left = (wait - still).as_secs();
            eprintln!("{reason}: waits, {left} s at most, and goes on by itself");
        }
    }
}
