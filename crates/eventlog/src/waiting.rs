//! Connections for reads that wait: each owns one while it waits. It refuses
//! to lend out a connection whose read was given up half-way, because the
//! server would keep the next reader waiting behind it.

use std::time::Duration;

use bb8_redis::bb8::{ManageConnection, Pool};
use redis::{Client, FromRedisValue, Pipeline, RedisError, aio::MultiplexedConnection};
use servers::Redis;

use crate::{
    connection::{CONNECT_MILLISECONDS_MAX, RESPONSE_MILLISECONDS_MAX},
    log::LogError,
};

/// One a partition, some for tails.
const CONNECTIONS_MAX: u32 = 64;

pub(crate) struct Waiting(Pool<Manager>);

impl Waiting {
    pub fn new(server: &Redis) -> Result<Self, LogError> {
        let client = server.client()?;
        let pool = Pool::builder()
            .max_size(CONNECTIONS_MAX)
            .connection_timeout(Duration::from_millis(2 * CONNECT_MILLISECONDS_MAX))
            .build_unchecked(Manager { client });
        Ok(Self(pool))
    }

    /// What `pipeline` begins with may wait for up to `patience` in the server.
    pub async fn query<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
        patience: Duration,
    ) -> Result<T, LogError> {
        let connection = self.0.get().await;
        let mut own = connection.map_err(|error| LogError::Unavailable(error.to_string()))?;
        let answer = Duration::from_millis(RESPONSE_MILLISECONDS_MAX);
        own.connection.set_response_timeout(patience + answer);
        own.busy = true;
        let answer = pipeline.query_async(&mut own.connection).await?;
        own.busy = false;
        Ok(answer)
    }
}

struct Manager {
    client: Client,
}

struct Own {
    connection: MultiplexedConnection,
    /// Whether a read may still wait in the server.
    busy: bool,
}

impl ManageConnection for Manager {
    type Connection = Own;
    type Error = RedisError;

    async fn connect(&self) -> Result<Own, RedisError> {
        let connection = self.client.get_multiplexed_async_connection().await?;
        let busy = false;
        Ok(Own { connection, busy })
    }

    async fn is_valid(&self, own: &mut Own) -> Result<(), RedisError> {
        let answer = Duration::from_millis(CONNECT_MILLISECONDS_MAX);
        own.connection.set_response_timeout(answer);
        redis::cmd("PING").query_async(&mut own.connection).await
    }

    fn has_broken(&self, own: &mut Own) -> bool {
        own.busy
    }
}
