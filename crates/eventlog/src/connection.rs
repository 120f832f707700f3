//! The connection that all but waiting reads share. It mends itself: one that
//! was cut is made again at the next use, one that fell silent is given up. It
//! refuses to send a write twice: only what surely was not sent, or changes
//! nothing, is tried again here.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

/// How long one answer of the server may take, its fsync included.
pub(crate) const RESPONSE_MILLISECONDS_MAX: u64 = 2_000;
pub(crate) const CONNECT_MILLISECONDS_MAX: u64 = 1_000;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Inner>);

struct Inner {
    client: Client,
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    generation: u64,
    manager: ConnectionManager,
}

impl Connection {
    pub async fn open(url: &str) -> RedisResult<Self> {
        let client = Client::open(url)?;
        let manager = ConnectionManager::new_with_config(client.clone(), config()).await?;
        let generation = 0;
        let current = RwLock::new(Current {
            generation,
            manager,
        });
        Ok(Self(Arc::new(Inner { client, current })))
    }

    pub fn manager(&self) -> ConnectionManager {
        self.current().manager
    }

    /// An error of the connection says nothing about what was under way.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let Current {
            generation,
            mut manager,
        } = self.current();
        let mut answer = command.query_async(&mut manager).await;
        // The answer of an attempt to connect, which may be an old one: this
        // command was not sent.
        if is(&answer, redis::RedisError::is_connection_refusal) {
            answer = command.query_async(&mut manager).await;
        }
        self.give_up_if_useless(generation, &answer);
        answer
    }

    /// For reads: again at once where the connection was cut.
    pub async fn read<T: FromRedisValue>(&self, pipeline: &Pipeline) -> RedisResult<T> {
        let Current {
            generation,
            mut manager,
        } = self.current();
        let mut answer = pipeline.query_async(&mut manager).await;
        if is(&answer, redis::RedisError::is_connection_dropped) {
            answer = pipeline.query_async(&mut manager).await;
        }
        self.give_up_if_useless(generation, &answer);
        answer
    }

    fn current(&self) -> Current {
        let current = self.0.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The manager mends what was cut, but keeps for ever what only falls
    /// silent (a host that is gone, a router that forgot us), and what an
    /// attempt to connect left when its greeting was cut half-way or refused.
    fn give_up_if_useless<T>(&self, generation: u64, answer: &RedisResult<T>) {
        let greeting = |error: &redis::RedisError| {
            matches!(
                error.kind(),
                ErrorKind::Parse | ErrorKind::AuthenticationFailed
            )
        };
        if !answer
            .as_ref()
            .is_err_and(|error| error.is_timeout() || greeting(error))
        {
            return;
        }
        let current = self.0.current.write();
        let mut current = current.unwrap_or_else(PoisonError::into_inner);
        if current.generation != generation {
            return;
        }
        tracing::warn!("the connection to the log server is of no more use; connecting anew");
        match ConnectionManager::new_lazy_with_config(self.0.client.clone(), config()) {
            Ok(manager) => {
                *current = Current {
                    generation: generation + 1,
                    manager,
                }
            }
            Err(error) => tracing::error!(%error, "cannot connect anew"),
        }
    }
}

/// No retries while connecting: whoever waits is told at once, and decides.
fn config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(Duration::from_millis(CONNECT_MILLISECONDS_MAX)))
        .set_response_timeout(Some(Duration::from_millis(RESPONSE_MILLISECONDS_MAX)))
}

fn is<T>(answer: &RedisResult<T>, what: fn(&redis::RedisError) -> bool) -> bool {
    answer.as_ref().is_err_and(what)
}
