//! The connection is cut after an append was done and before its answer came,
//! or falls silent.

use std::time::{Duration, Instant};

use eventlog::{ExecuteError, IdempotencyKey, Intent, Log, LogError};
use kernel::{AccountId, AggregateId};

use super::{
    counter::{Increment, NoSealer, Reach, by, count, counter, events, id},
    proxy::Proxy,
    setting::{eventually, settings},
};

struct Lossy {
    proxy: Proxy,
    log: Log,
    /// The same log without the proxy.
    direct: Log,
    account: AccountId,
    counter: AggregateId,
}

async fn lossy() -> Lossy {
    let settings = settings().await;
    let client = settings.server.client().unwrap();
    let redis::ConnectionAddr::Tcp(_, port) = client.get_connection_info().addr() else {
        panic!("servers of tests listen at a port");
    };
    let proxy = Proxy::to(*port).await;
    let (account, counter) = counter(2);
    Lossy {
        log: Log::create(&proxy.settings(&settings)).await.unwrap(),
        direct: Log::create(&settings).await.unwrap(),
        proxy,
        account,
        counter,
    }
}

impl Lossy {
    fn internal(&self) -> Intent {
        let correlation = id(0);
        Intent {
            correlation,
            key: Some(IdempotencyKey::internal(correlation)),
            ..by(self.account)
        }
    }

    async fn effects(&self) -> (u64, usize) {
        let count = count(&self.direct, self.counter).await;
        (count, events(&self.direct).await.len())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_again_by_key() {
    let lossy = lossy().await;
    for (lost, intent) in [(1, lossy.internal()), (2, lossy.internal())] {
        lossy.proxy.lose_answers(lost);
        let command = Increment(lossy.counter);
        let receipt = lossy.log.execute(&command, &intent, &NoSealer).await;

        assert!(lossy.proxy.has_lost());
        let receipt = receipt.unwrap();
        assert!(receipt.again && receipt.appended);
        assert!(receipt.position.is_some());
        lossy.proxy.lose_answers(0);
    }
    assert_eq!(lossy.effects().await, (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_without_a_key_is_unknown_and_has_no_second_effect() {
    let lossy = lossy().await;
    lossy.proxy.lose_answers(1);

    let (command, intent) = (Increment(lossy.counter), by(lossy.account));
    let tried = lossy.log.execute(&command, &intent, &NoSealer).await;

    assert!(lossy.proxy.has_lost());
    let unknown = matches!(&tried, Err(ExecuteError::Log(LogError::Unavailable(_))));
    assert!(unknown, "{tried:?}");
    assert_eq!(lossy.effects().await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_what_tells_by_itself_needs_no_key() {
    let lossy = lossy().await;
    lossy.proxy.lose_answers(1);

    let (command, intent) = (Reach(lossy.counter, 3), by(lossy.account));
    let receipt = lossy.log.execute(&command, &intent, &NoSealer).await;

    assert!(lossy.proxy.has_lost());
    let receipt = receipt.unwrap();
    assert_eq!((receipt.version, receipt.appended), (3, false));
    let last = lossy.direct.last_position(lossy.account).await.unwrap();
    assert!(receipt.position.is_some() && receipt.position == last);
    assert_eq!(lossy.effects().await, (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_fell_silent_is_given_up() {
    // Given: a log that works, whose connections then swallow everything.
    let lossy = lossy().await;
    let command = Increment(lossy.counter);
    let intent = lossy.internal();
    let first = lossy.log.execute(&command, &intent, &NoSealer).await;
    assert_eq!(first.unwrap().version, 1);
    lossy.proxy.silence_the_present();

    // When
    let begun = Instant::now();
    let intent = lossy.internal();
    let tried = lossy.log.execute(&command, &intent, &NoSealer).await;

    // Then: it is bounded, and the same log works again.
    assert!(begun.elapsed() < Duration::from_millis(3_500));
    let done = match tried {
        Ok(receipt) => receipt.version,
        Err(_) => 1,
    };
    let intent = lossy.internal();
    let next = lossy.log.execute(&command, &intent, &NoSealer).await;
    assert_eq!(next.unwrap().version, done + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_cut_while_it_was_made_is_made_again() {
    // Given
    let lossy = lossy().await;
    let command = Increment(lossy.counter);
    let increment = async || {
        lossy
            .log
            .execute(&command, &lossy.internal(), &NoSealer)
            .await
    };
    increment().await.unwrap();

    // When: more than what one command tries.
    lossy.proxy.cut_greetings(24);
    eventually("cuts", || async {
        let _ = lossy
            .log
            .execute(&command, &by(lossy.account), &NoSealer)
            .await;
        lossy.proxy.has_cut_greetings()
    })
    .await;

    // Then
    let again = lossy
        .log
        .execute(&command, &by(lossy.account), &NoSealer)
        .await;
    assert!(again.is_ok(), "{again:?}");
}
