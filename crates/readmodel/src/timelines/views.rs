//! The connection to the views server. It mends itself: one that was cut is
//! made again at the next use, one that is of no more use is given up. It
//! refuses to ask twice.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use servers::Redis;

const CONNECT_MILLISECONDS_MAX: u64 = 250;
const RESPONSE_MILLISECONDS_MAX: u64 = 1_000;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Views {
    client: Client,
    current: Arc<RwLock<(u64, ConnectionManager)>>,
}

impl Views {
    /// Connects when first used.
    pub fn new(server: &Redis) -> RedisResult<Self> {
        let client = server.client()?;
        let manager = connect(&client)?;
        let current = Arc::new(RwLock::new((0, manager)));
        Ok(Self { client, current })
    }

    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let (generation, mut manager) = {
            let current = self.current.read();
            current.unwrap_or_else(PoisonError::into_inner).clone()
        };
        let answer = command.query_async(&mut manager).await;
        if answer.as_ref().is_err_and(is_of_no_use) {
            self.give_up(generation);
        }
        answer
    }

    fn give_up(&self, generation: u64) {
        let current = self.current.write();
        let mut current = current.unwrap_or_else(PoisonError::into_inner);
        if current.0 != generation {
            return;
        }
        match connect(&self.client) {
            Ok(manager) => *current = (generation + 1, manager),
            Err(error) => tracing::error!(%error, "cannot connect anew to the views server"),
        }
    }
}

fn connect(client: &Client) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(Duration::from_millis(CONNECT_MILLISECONDS_MAX)))
        .set_response_timeout(Some(Duration::from_millis(RESPONSE_MILLISECONDS_MAX)));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

/// The manager mends what was cut, but keeps for ever what only falls silent,
/// and what an attempt to connect left when its greeting was cut half-way or
/// refused.
fn is_of_no_use(error: &RedisError) -> bool {
    let greeting = matches!(
        error.kind(),
        ErrorKind::Parse | ErrorKind::AuthenticationFailed
    );
    greeting || error.is_timeout()
}
