//! The connections that all but waiting reads share. Each is made again at the next
//! use where it was cut or fell silent, and is judged before anything goes through it:
//! the server behind it may be another one, or set otherwise, than before. A write is
//! never sent twice here: only what changes nothing is tried again.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError,
    RedisResult, aio::MultiplexedConnection,
};
use tokio::time::timeout;

use crate::{
    fitness::{Judge, Verdict},
    log::LogError,
};
use servers::Redis;

/// How long one answer of the server may take, its fsync included.
pub(crate) const RESPONSE_MILLISECONDS_MAX: u64 = 2_000;
pub(crate) const CONNECT_MILLISECONDS_MAX: u64 = 1_000;
/// Until a new connection is there and judged.
const OPEN_MILLISECONDS_MAX: u64 = 2_000;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Inner>);

struct Inner {
    client: Client,
    judge: Option<Judge>,
    current: RwLock<Current>,
}

type Opening = Shared<BoxFuture<'static, Result<Open, LogError>>>;

#[derive(Clone)]
struct Current {
    generation: u64,
    /// Shared by all who wait for it.
    opening: Opening,
}

#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    verdict: Arc<RwLock<Verdict>>,
}

impl Open {
    fn verdict(&self) -> Verdict {
        let verdict = self.verdict.read();
        verdict.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Connection {
    /// To a server that is looked at, whatever it is.
    pub async fn open(server: &Redis) -> Result<Self, LogError> {
        Self::open_as(server.client()?, None).await
    }

    /// The same server again, through a connection that is judged whenever it is made.
    pub async fn judged(&self, judge: &Judge) -> Result<Self, LogError> {
        Self::open_as(self.0.client.clone(), Some(judge.clone())).await
    }

    async fn open_as(client: Client, judge: Option<Judge>) -> Result<Self, LogError> {
        let opening = opening(client.clone(), judge.clone());
        opening.clone().await?;
        let generation = 0;
        let current = RwLock::new(Current {
            generation,
            opening,
        });
        Ok(Self(Arc::new(Inner {
            client,
            judge,
            current,
        })))
    }

    /// For what may write. An error of the connection says nothing about what was
    /// under way.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LogError> {
        let (generation, mut open) = self.ready().await?;
        open.verdict().check_written()?;
        let answer = command.query_async(&mut open.connection).await;
        self.give_up_if_useless(generation, &answer);
        Ok(answer?)
    }

    /// For reads: again at once where the connection was cut.
    pub async fn read<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, LogError> {
        let answer = self.read_once(pipeline).await?;
        let cut = answer
            .as_ref()
            .is_err_and(RedisError::is_connection_dropped);
        let answer = match cut {
            true => self.read_once(pipeline).await?,
            false => answer,
        };
        Ok(answer?)
    }

    async fn read_once<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
    ) -> Result<RedisResult<T>, LogError> {
        let (generation, mut open) = self.ready().await?;
        open.verdict().check_read()?;
        let answer = pipeline.query_async(&mut open.connection).await;
        self.give_up_if_useless(generation, &answer);
        Ok(answer)
    }

    /// What is behind it now.
    pub async fn judge(&self) -> Result<Verdict, LogError> {
        let (generation, mut open) = self.ready().await?;
        let Some(judge) = &self.0.judge else {
            return Ok(Verdict::default());
        };
        match judge.look(&mut open.connection).await {
            Ok(verdict) => {
                let known = open.verdict.write();
                *known.unwrap_or_else(PoisonError::into_inner) = verdict.clone();
                Ok(verdict)
            }
            Err(error) => {
                let error: RedisResult<()> = Err(error);
                self.give_up_if_useless(generation, &error);
                error.map(|()| Verdict::default()).map_err(LogError::from)
            }
        }
    }

    /// What was seen last; nothing where there is no connection now.
    pub fn known(&self) -> Verdict {
        let current = self.0.current.read();
        let current = current.unwrap_or_else(PoisonError::into_inner);
        match current.opening.peek() {
            Some(Ok(open)) => open.verdict(),
            Some(Err(_)) | None => Verdict::default(),
        }
    }

    async fn ready(&self) -> Result<(u64, Open), LogError> {
        let current = self.0.current.read();
        let current = current.unwrap_or_else(PoisonError::into_inner).clone();
        match current.opening.await {
            Ok(open) => Ok((current.generation, open)),
            Err(error) => {
                // The next one tries anew.
                self.renew(current.generation);
                Err(error)
            }
        }
    }

    /// Also one that only falls silent (a host that is gone, a router that forgot us).
    fn give_up_if_useless<T>(&self, generation: u64, answer: &RedisResult<T>) {
        let useless = |error: &RedisError| {
            error.is_unrecoverable_error()
                || error.is_timeout()
                || matches!(
                    error.kind(),
                    ErrorKind::Parse | ErrorKind::AuthenticationFailed
                )
        };
        if answer.as_ref().is_err_and(useless) {
            tracing::warn!("the connection to the log server is of no more use; connecting anew");
            self.renew(generation);
        }
    }

    fn renew(&self, generation: u64) {
        let current = self.0.current.write();
        let mut current = current.unwrap_or_else(PoisonError::into_inner);
        if current.generation == generation {
            *current = Current {
                generation: generation + 1,
                opening: opening(self.0.client.clone(), self.0.judge.clone()),
            };
        }
    }
}

/// Begins when it is first waited for, and goes on though those who wait give up.
fn opening(client: Client, judge: Option<Judge>) -> Opening {
    let open = async move {
        let patience = Duration::from_millis(OPEN_MILLISECONDS_MAX);
        let late = |_| LogError::Unavailable("no connection in time".into());
        let mut connection = timeout(patience, connect(&client)).await.map_err(late)??;
        let verdict = match &judge {
            None => Verdict::default(),
            Some(judge) => timeout(patience, judge.look(&mut connection))
                .await
                .map_err(late)??,
        };
        let verdict = Arc::new(RwLock::new(verdict));
        Ok(Open {
            connection,
            verdict,
        })
    };
    let opened = async move {
        let broken = |_| LogError::Unavailable("connecting broke off".into());
        tokio::spawn(open).await.map_err(broken)?
    };
    opened.boxed().shared()
}

async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_millis(CONNECT_MILLISECONDS_MAX)))
        .set_response_timeout(Some(Duration::from_millis(RESPONSE_MILLISECONDS_MAX)));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}
