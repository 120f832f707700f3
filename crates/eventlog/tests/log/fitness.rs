//! A server that becomes another, or weaker, under a log that is open; and logs that
//! are looked for and not made.

use std::time::Duration;

use devservices::RedisServer;
use eventlog::{ExecuteError, Log, LogError, LogSettings};
use kernel::Partition;

use super::{
    counter::{Increment, NoSealer, by, counter},
    setting::{ask, eventually, key, log_of, own_server, raw},
};

/// Why a write is refused; none where it was taken.
async fn refusal(log: &Log, route: u16) -> Option<LogError> {
    let (account, counter) = counter(route);
    let tried = log
        .execute(&Increment(counter), &by(account), &NoSealer)
        .await;
    match tried {
        Ok(_) => None,
        Err(ExecuteError::Log(error)) => Some(error),
        Err(other) => panic!("{other:?}"),
    }
}

async fn until_refused(log: &Log, is_it: impl Fn(&LogError) -> bool) {
    eventually("writes are refused", || async {
        refusal(log, 0).await.is_some_and(|error| is_it(&error))
    })
    .await;
}

async fn until_taken(log: &Log) {
    let taken = || async { refusal(log, 0).await.is_none() };
    eventually("writes are taken", taken).await;
}

fn names(error: &LogError, what: &str) -> bool {
    matches!(error, LogError::Unsafe(why) if why.contains(what))
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_weaken_under_a_connection_stop_writes() {
    let server = own_server().await;
    let log = log_of(&server).await;
    let mut admin = raw(server.url()).await;
    for (name, weak, strong) in [
        ("appendfsync", "everysec", "always"),
        ("appendonly", "no", "yes"),
        ("no-appendfsync-on-rewrite", "yes", "no"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("min-replicas-to-write", "1", "0"),
    ] {
        until_taken(&log).await;
        assert!(log.check_server().await.is_ok());
        ask::<()>(&mut admin, &format!("CONFIG SET {name} {weak}")).await;
        until_refused(&log, |error| names(error, name)).await;
        let told = log.check_server().await.unwrap_err();
        assert!(names(&told, name), "{told}");
        // What is there can be read.
        let beginning = Log::beginning(Partition(0));
        assert!(!log.read(beginning, 1).await.unwrap().is_empty());
        ask::<()>(&mut admin, &format!("CONFIG SET {name} {strong}")).await;
    }
    until_taken(&log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_weaker_gets_no_write() {
    // Given
    let mut server = own_server().await;
    let log = log_of(&server).await;
    until_taken(&log).await;
    let mut weaker = server.options().clone().line("appendfsync everysec");
    weaker.port = Some(server.port());
    server.stop().await.unwrap();

    // When
    let again = RedisServer::start(weaker).await.unwrap();
    assert_eq!(again.port(), server.port());

    // Then no connection takes one, not even for a moment.
    let begun = tokio::time::Instant::now();
    let mut refused = 0;
    while refused < 16 && begun.elapsed() < Duration::from_secs(20) {
        for route in 0..8 {
            let error = refusal(&log, route).await.expect("nothing is written");
            refused += usize::from(names(&error, "appendfsync is everysec"));
        }
    }
    assert!(refused >= 16, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_becomes_a_replica_gets_no_write() {
    let server = own_server().await;
    let mut allowed = LogSettings::new(server.url(), key());
    let log = Log::create(&allowed).await.unwrap();
    allowed.allow_unsafe = true;
    let unsafe_log = Log::open(&allowed).await.unwrap();
    let mut admin = raw(server.url()).await;
    until_taken(&log).await;

    // Of a primary that is away, so that it keeps what it has.
    ask::<()>(&mut admin, "REPLICAOF 127.0.0.1 1").await;

    let at_once = refusal(&log, 0).await;
    let told = |error: &LogError| error.to_string().contains("it is a replica");
    assert!(at_once.as_ref().is_some_and(told), "{at_once:?}");
    until_refused(&log, |error| names(error, "it is a replica")).await;
    // Not where it is told to take writes either, or where weak settings are allowed.
    ask::<()>(&mut admin, "CONFIG SET replica-read-only no").await;
    until_refused(&unsafe_log, |error| names(error, "it is a replica")).await;
    ask::<()>(&mut admin, "REPLICAOF NO ONE").await;
    until_taken(&log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_wiped_under_us_is_missing_for_all() {
    let server = own_server().await;
    let log = log_of(&server).await;
    until_taken(&log).await;
    let head = log.heads().await.unwrap()[0];
    let mut admin = raw(server.url()).await;

    ask::<()>(&mut admin, "FLUSHALL").await;

    let refused = refusal(&log, 0).await;
    assert!(matches!(refused, Some(LogError::Missing)), "{refused:?}");
    let patience = Duration::from_millis(50);
    let tailed = log.tail(&[head], 10, patience).await.err();
    assert!(matches!(tailed, Some(LogError::Missing)), "{tailed:?}");
    let read = log.read(head, 10).await.err();
    assert!(matches!(read, Some(LogError::Missing)), "{read:?}");
    until_refused(&log, |error| matches!(error, LogError::Missing)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_another_log_are_not_taken_for_ours() {
    // Given two logs of one length in two databases of a server.
    let server = own_server().await;
    let log = log_of(&server).await;
    let mut other = LogSettings::new(format!("{}1", server.url()), key());
    other.prefix = "hw".into();
    let other = Log::create(&other).await.unwrap();
    for log in [&log, &other] {
        until_taken(log).await;
        until_taken(log).await;
    }
    let first = log.read(Log::beginning(Partition(0)), 2).await.unwrap();
    let after = first.last().unwrap().position;
    let mut admin = raw(server.url()).await;

    // When
    ask::<()>(&mut admin, "SWAPDB 0 1").await;

    // Then nothing is appended to it, and nothing is read from it.
    let refused = refusal(&log, 0).await.expect("it is not ours");
    assert!(refused.to_string().contains("another log"), "{refused}");
    let patience = Duration::from_millis(50);
    let tailed = log.tail(&[after], 10, patience).await.err();
    assert!(
        matches!(tailed, Some(LogError::Another { .. })),
        "{tailed:?}"
    );
    let read = log.read(after, 10).await.err();
    assert!(matches!(read, Some(LogError::Another { .. })), "{read:?}");
    let (account, _) = counter(0);
    eventually("states of another log are not read", || async {
        matches!(
            log.last_position(account).await,
            Err(LogError::Another { .. })
        )
    })
    .await;
    ask::<()>(&mut admin, "SWAPDB 0 1").await;
    until_taken(&log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_one_partition_is_incomplete_and_not_made_up() {
    for lost in ["{p03}:events", "{p03}:meta"] {
        let server = own_server().await;
        let log = log_of(&server).await;
        until_taken(&log).await;
        let mut admin = raw(server.url()).await;
        ask::<()>(&mut admin, &format!("DEL hw:{lost}")).await;

        // Then
        until_refused(
            &log,
            |error| matches!(error, LogError::Incomplete(p) if p == "3"),
        )
        .await;
        let settings = LogSettings::new(server.url(), key());
        let opened = Log::open(&settings).await.err();
        assert!(
            matches!(opened, Some(LogError::Incomplete(_))),
            "{opened:?}"
        );
        let found = Log::find(&settings).await.unwrap().unwrap();
        assert_eq!(found.missing, [Partition(3)]);
        assert_eq!(found.id, log.id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_and_looking_make_nothing() {
    let server = own_server().await;
    let settings = LogSettings::new(server.url(), key());
    for opened in [Log::open(&settings).await, Log::look(&settings).await] {
        let error = opened.err();
        assert!(matches!(error, Some(LogError::Missing)), "{error:?}");
    }
    assert_eq!(Log::find(&settings).await.unwrap(), None);
    let mut admin = raw(server.url()).await;
    assert_eq!(ask::<u64>(&mut admin, "DBSIZE").await, 0);
    let functions: Vec<redis::Value> = ask(&mut admin, "FUNCTION LIST").await;
    assert!(functions.is_empty());

    // One that is looked at may be on a server that is not safe to write to.
    let log = Log::create(&settings).await.unwrap();
    ask::<()>(&mut admin, "CONFIG SET appendfsync no").await;
    let looked = Log::look(&settings).await.unwrap();
    assert_eq!(looked.id(), log.id());
    assert_eq!(looked.heads().await.unwrap().len(), 8);
    let refused = refusal(&looked, 0).await;
    assert!(matches!(refused, Some(LogError::Unsafe(_))), "{refused:?}");
    let opened = Log::open(&settings).await.err();
    assert!(matches!(opened, Some(LogError::Unsafe(_))), "{opened:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_than_the_wanted_one_is_refused() {
    let server = own_server().await;
    let log = log_of(&server).await;
    let mut settings = LogSettings::new(server.url(), key());
    settings.id = Some(log.id());
    Log::open(&settings).await.unwrap();
    settings.id = Some(kernel::Uuid::now_v7());
    for refused in [Log::open(&settings).await, Log::create(&settings).await] {
        let error = refused.err();
        assert!(matches!(error, Some(LogError::Another { .. })), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_hidden_on_a_new_connection_stop_writes() {
    let mut server = own_server().await;
    let log = log_of(&server).await;
    until_taken(&log).await;
    let mut hidden = server.options().clone().line("rename-command CONFIG \"\"");
    hidden.port = Some(server.port());
    server.stop().await.unwrap();
    let _again = RedisServer::start(hidden).await.unwrap();
    until_refused(&log, |error| names(error, "CONFIG GET is refused")).await;
}
