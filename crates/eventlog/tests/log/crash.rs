//! The server is killed, frozen, or forgets our functions.

use std::{
    collections::HashMap,
    process::Command as Program,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use devservices::RedisServer;
use eventlog::{COMMAND_MILLISECONDS_MAX, ExecuteError, IdempotencyKey, Intent, Log, LogError};
use futures_util::future::join_all;
use kernel::{AccountId, AggregateId, Uuid};

use super::{
    counter::{Increment, NoSealer, by, count, counter, events},
    setting::{ask, eventually, log_of, own_server, raw},
};

const TASKS: usize = 48;
const COUNTERS: usize = 12;

/// By correlation, which every try of one command shares.
fn keyed(account: AccountId) -> Intent {
    let intent = by(account);
    let key = intent.correlation.to_string();
    let key = IdempotencyKey::given(account, "POST", "/", &key, b"");
    Intent {
        key: Some(key),
        ..intent
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_with_every_acknowledged_event_once() {
    // Given: many tasks that append until something fails.
    let mut server = own_server().await;
    let log = log_of(&server).await;
    let counters: Vec<_> = (0..COUNTERS as u16).map(counter).collect();
    let acknowledged_count = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (log, (account, counter)) = (log.clone(), counters[task % COUNTERS]);
            let acknowledged_count = acknowledged_count.clone();
            tokio::spawn(async move {
                let mut acknowledged: Vec<Uuid> = Vec::new();
                loop {
                    let intent = keyed(account);
                    let begun = Instant::now();
                    match log.execute(&Increment(counter), &intent, &NoSealer).await {
                        Ok(_) => acknowledged.push(intent.correlation),
                        Err(error) => return (acknowledged, counter, intent, error, begun),
                    }
                    acknowledged_count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let seen = &acknowledged_count;
    eventually("appends", || async { seen.load(Ordering::Relaxed) > 500 }).await;

    // When
    server.kill().await.unwrap();
    let ended = join_all(tasks).await;
    let limit = Duration::from_millis(COMMAND_MILLISECONDS_MAX + 500);
    let ended: Vec<_> = ended.into_iter().map(Result::unwrap).collect();
    for (_, _, _, error, begun) in &ended {
        let unknown = matches!(error, ExecuteError::Log(LogError::Unavailable(_)));
        assert!(unknown, "{error:?}");
        assert!(begun.elapsed() < limit, "{:?}", begun.elapsed());
    }
    server.restart().await.unwrap();

    // Then: the same log works, and has what was acknowledged once.
    let mut found = by_correlation(&log).await;
    assert!(found.values().all(|times| *times == 1));
    for (acknowledged, ..) in &ended {
        for correlation in acknowledged {
            assert_eq!(found.remove(correlation), Some(1), "acknowledged");
        }
    }
    let under_way: Vec<_> = ended.iter().map(|(_, _, i, ..)| i.correlation).collect();
    assert!(found.keys().all(|found| under_way.contains(found)));

    // When: what was not acknowledged is sent again, twice.
    for (_, counter, intent, ..) in &ended {
        let command = Increment(*counter);
        let first = log.execute(&command, intent, &NoSealer).await.unwrap();
        assert_eq!(first.again, found.contains_key(&intent.correlation));
        let again = log.execute(&command, intent, &NoSealer).await.unwrap();
        assert!(again.again && again.position == first.position);
    }

    // Then
    let found = by_correlation(&log).await;
    assert!(found.values().all(|times| *times == 1));
    let acknowledged: usize = ended.iter().map(|(all, ..)| all.len()).sum();
    assert_eq!(found.len(), acknowledged + TASKS);
    let mut counted = 0;
    for (_, counter) in counters {
        counted += count(&log, counter).await;
    }
    assert_eq!(counted as usize, acknowledged + TASKS);
}

async fn by_correlation(log: &Log) -> HashMap<Uuid, u32> {
    let mut found = HashMap::new();
    for event in events(log).await {
        *found.entry(event.envelope.correlation).or_default() += 1;
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_fails_fast_and_its_return_is_noticed_at_once() {
    // Given
    let mut server = own_server().await;
    let log = log_of(&server).await;
    let (account, counter) = counter(0);
    let increment = async || {
        let command = Increment(counter);
        log.execute(&command, &by(account), &NoSealer).await
    };
    increment().await.unwrap();

    for round in 1..3 {
        // When
        server.kill().await.unwrap();

        // Then: before and after the connection is known to be cut.
        for _ in 0..3 {
            let begun = Instant::now();
            let position = log.last_position(account).await;
            assert!(matches!(position, Err(LogError::Unavailable(_))));
            assert!(begun.elapsed() < Duration::from_millis(300));
            assert!(log.heads().await.is_err());
        }
        let begun = Instant::now();
        assert!(increment().await.is_err());
        assert!(begun.elapsed() < Duration::from_millis(2_000));

        // When
        server.restart().await.unwrap();

        // Then
        let position = log.last_position(account).await.unwrap().unwrap();
        assert_eq!(position.seq, round);
        assert_eq!(log.read(position, 1).await.unwrap(), []);
        assert_eq!(increment().await.unwrap().version, round + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_fails_in_bounded_time_and_works_when_it_thaws() {
    // Given
    let server = own_server().await;
    let log = log_of(&server).await;
    let (account, counter) = counter(0);
    let command = Increment(counter);
    let limit = Duration::from_millis(COMMAND_MILLISECONDS_MAX + 500);

    // When
    signal(&server, "-STOP");
    let begun = Instant::now();
    let tries = (0..100).map(|_| async {
        let intent = by(account);
        log.execute(&command, &intent, &NoSealer).await
    });
    let tried = join_all(tries).await;
    let elapsed = begun.elapsed();
    signal(&server, "-CONT");

    // Then
    assert!(elapsed < limit, "{elapsed:?}");
    assert!(tried.iter().all(Result::is_err));
    let intent = keyed(account);
    let receipt = log.execute(&command, &intent, &NoSealer).await.unwrap();
    assert_eq!(receipt.version, count(&log, counter).await);
}

fn signal(server: &RedisServer, signal: &str) {
    let pid = server.pid().to_string();
    let status = Program::new("kill").args([signal, &pid]).status();
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_are_gone_are_loaded_again() {
    let server = own_server().await;
    let log = log_of(&server).await;
    let mut connection = raw(server.url()).await;

    for version in 1..4 {
        ask::<()>(&mut connection, "FUNCTION FLUSH").await;
        let counters: Vec<(AccountId, AggregateId)> = (0..32).map(counter).collect();
        let done = join_all(counters.iter().map(|(account, counter)| async {
            let intent = by(*account);
            log.execute(&Increment(*counter), &intent, &NoSealer).await
        }))
        .await;

        assert!(done.into_iter().all(|done| done.unwrap().version == 1));
        assert_eq!(events(&log).await.len(), 32 * version);
    }
}
