//! Servers, and connections to them.

use std::{
    future::Future,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use devservices::{Programs, RedisOptions, RedisRole, RedisServer};
use eventlog::{Log, LogKey, LogSettings};
use redis::aio::MultiplexedConnection;
use tokio::sync::OnceCell;

pub const DEADLINE: Duration = Duration::from_secs(20);

pub fn options() -> RedisOptions {
    let programs = Programs::find().expect("Redis is needed for this test");
    RedisOptions::throwaway(&programs, RedisRole::Log).unwrap()
}

pub fn key() -> LogKey {
    LogKey::new(b"a secret of tests")
}

/// A server that a test may kill or spoil.
pub async fn own_server() -> RedisServer {
    RedisServer::start(options()).await.unwrap()
}

/// Settings for a log of its own in the server that all tests share.
pub async fn settings() -> LogSettings {
    static SERVER: OnceCell<RedisServer> = OnceCell::const_new();
    static LOGS: AtomicU32 = AtomicU32::new(0);
    let server = SERVER.get_or_init(own_server).await;
    LogSettings {
        prefix: format!("t{}", LOGS.fetch_add(1, Ordering::Relaxed)),
        partitions: 4,
        ..LogSettings::new(server.url(), key())
    }
}

/// A new log. It lives in the test's own runtime.
pub async fn log() -> Log {
    Log::create(&settings().await).await.unwrap()
}

pub async fn log_of(server: &RedisServer) -> Log {
    Log::create(&LogSettings::new(server.url(), key()))
        .await
        .unwrap()
}

pub async fn raw(server: impl Into<servers::Redis>) -> MultiplexedConnection {
    let client = server.into().client().unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// One command in words.
pub async fn ask<T: redis::FromRedisValue>(
    connection: &mut MultiplexedConnection,
    words: &str,
) -> T {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query_async(connection).await.unwrap()
}

pub async fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(
            begun.elapsed() < DEADLINE,
            "{what}: not within {DEADLINE:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
