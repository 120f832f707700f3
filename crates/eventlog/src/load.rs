//! Coalesced loads: one task collects what is waiting and sends it as one
//! pipeline, so that a hundred commands at once cost one round trip.

use redis::aio::ConnectionManager;
use tokio::sync::{mpsc, oneshot};

use crate::log::LogError;

const WAITING_MAX: usize = 4_096;
const LOADS_PER_CALL_MAX: usize = 256;
/// Calls under way at once: one is answered while the next is written.
const CALLS_MAX: usize = 2;

#[derive(Clone, Debug)]
pub(crate) enum Get {
    Field { key: Vec<u8>, field: Vec<u8> },
    Key(Vec<u8>),
}

struct Load {
    gets: Vec<Get>,
    reply: oneshot::Sender<Result<Vec<Option<Vec<u8>>>, LogError>>,
}

pub(crate) struct Loader {
    waiting: mpsc::Sender<Load>,
}

impl Loader {
    pub fn start(connection: ConnectionManager) -> Self {
        let (waiting, collected) = mpsc::channel(WAITING_MAX);
        tokio::spawn(collect(connection, collected));
        Self { waiting }
    }

    /// The values in the order of `gets`.
    pub async fn load(&self, gets: Vec<Get>) -> Result<Vec<Option<Vec<u8>>>, LogError> {
        let (reply, answer) = oneshot::channel();
        let gone = || LogError::Unavailable("the log is shutting down".into());
        let load = Load { gets, reply };
        self.waiting.send(load).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn collect(connection: ConnectionManager, mut collected: mpsc::Receiver<Load>) {
    let calls = std::sync::Arc::new(tokio::sync::Semaphore::new(CALLS_MAX));
    loop {
        let Ok(turn) = calls.clone().acquire_owned().await else {
            return;
        };
        let mut loads = Vec::with_capacity(LOADS_PER_CALL_MAX);
        if collected.recv_many(&mut loads, LOADS_PER_CALL_MAX).await == 0 {
            return;
        }
        let mut connection = connection.clone();
        tokio::spawn(async move {
            call(&mut connection, loads).await;
            drop(turn);
        });
    }
}

async fn call(connection: &mut ConnectionManager, loads: Vec<Load>) {
    let mut pipeline = redis::pipe();
    for get in loads.iter().flat_map(|load| &load.gets) {
        match get {
            Get::Field { key, field } => pipeline.cmd("HGET").arg(key).arg(field),
            Get::Key(key) => pipeline.cmd("GET").arg(key),
        };
    }
    let values: Result<Vec<Option<Vec<u8>>>, _> = pipeline.query_async(connection).await;
    match values {
        Ok(values) => {
            let mut values = values.into_iter();
            for load in loads {
                let own = values.by_ref().take(load.gets.len()).collect();
                // Whoever asked may have gone; nothing depends on the answer.
                let _ = load.reply.send(Ok(own));
            }
        }
        Err(error) => {
            let error = LogError::from(error);
            for load in loads {
                let _ = load.reply.send(Err(error.clone()));
            }
        }
    }
}
