//! Many commands for one aggregate at once.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use eventlog::{CONFLICT_RETRIES_MAX, ExecuteError, Log};
use futures_util::future::join_all;
use kernel::AggregateId;
use tokio::runtime::Handle;

use super::{
    counter::{Disturbed, Increment, NoSealer, by, count, counter, events},
    setting::{log, settings},
};

const TASKS: u64 = 64;

#[tokio::test(flavor = "multi_thread")]
async fn racing_tasks_lose_and_duplicate_nothing() {
    let log = log().await;
    race(&[log], TASKS, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_processes_lose_and_duplicate_nothing() {
    let settings = settings().await;
    let one = Log::create(&settings).await.unwrap();
    let other = Log::create(&settings).await.unwrap();
    race(&[one, other], TASKS, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_later_do_not_starve_those_who_wait() {
    let log = log().await;
    race(&[log], TASKS, 30).await;
}

async fn race(logs: &[Log], tasks: u64, each: u64) {
    // Given
    let (account, counter) = counter(3);

    // When
    let racing = (0..tasks as usize).map(|task| {
        let log = logs[task % logs.len()].clone();
        tokio::spawn(async move {
            let mut versions = Vec::new();
            for _ in 0..each {
                let command = Increment(counter);
                let receipt = log.execute(&command, &by(account), &NoSealer).await;
                versions.push(receipt.unwrap().version);
            }
            versions
        })
    });
    let versions = join_all(racing).await;
    let mut versions: Vec<u64> = versions.into_iter().flat_map(Result::unwrap).collect();

    // Then
    let all: Vec<u64> = (1..=tasks * each).collect();
    versions.sort_unstable();
    assert_eq!(versions, all, "as told to the callers");
    let recorded: Vec<u64> = events(&logs[0])
        .await
        .iter()
        .map(|event| event.envelope.version)
        .collect();
    assert_eq!(recorded, all, "as the log has it, in its order");
    assert_eq!(count(&logs[0], counter).await, tasks * each);
    let last = log_end(&logs[0], counter).await;
    assert_eq!(last.seq, tasks * each);
    assert_eq!(logs[0].last_position(account).await.unwrap(), Some(last));
}

async fn log_end(log: &Log, counter: AggregateId) -> kernel::Position {
    let heads = log.heads().await.unwrap();
    let partition = log.partition_of(&counter);
    heads[usize::from(partition.0)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_retried_a_bounded_number_of_times() {
    // Given: a competitor, in another process, that is always faster.
    let settings = settings().await;
    let log = Log::create(&settings).await.unwrap();
    let competitor = Log::create(&settings).await.unwrap();
    let (account, counter) = counter(0);
    let decisions = Arc::new(AtomicU32::new(0));
    let command = Disturbed {
        counter,
        meanwhile: || {
            decisions.fetch_add(1, Ordering::Relaxed);
            tokio::task::block_in_place(|| {
                let (command, intent) = (Increment(counter), by(account));
                let faster = competitor.execute(&command, &intent, &NoSealer);
                Handle::current().block_on(faster).unwrap();
            });
        },
    };

    // When
    let tried = log.execute(&command, &by(account), &NoSealer).await;

    // Then
    assert!(matches!(tried, Err(ExecuteError::Contended)), "{tried:?}");
    assert_eq!(decisions.load(Ordering::Relaxed), CONFLICT_RETRIES_MAX + 1);
    let competitors = u64::from(CONFLICT_RETRIES_MAX + 1);
    assert_eq!(count(&log, counter).await, competitors);
}
