//! One effect a key.

use eventlog::{ExecuteError, IdempotencyKey, Intent, Receipt};
use futures_util::future::join_all;
use kernel::{AccountId, AggregateId};

use super::{
    counter::{Counter, Increment, NoSealer, Reach, by, count, counter, events, id},
    setting::log,
};
use kernel::Decider;

fn given(account: AccountId, key: &str, body: &[u8]) -> Intent {
    let key = IdempotencyKey::given(account, "POST", "/v1/counters", key, body);
    Intent {
        key: Some(key),
        ..by(account)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_used_at_once_has_one_effect_and_equal_receipts() {
    // Given
    let log = log().await;
    let (account, counter) = counter(1);

    // When
    let racing = (0..16).map(|_| {
        let log = log.clone();
        tokio::spawn(async move {
            let intent = given(account, "a", b"body");
            log.execute(&Increment(counter), &intent, &NoSealer).await
        })
    });
    let receipts = join_all(racing).await;
    let receipts: Vec<Receipt> = receipts.into_iter().map(|r| r.unwrap().unwrap()).collect();

    // Then
    assert_eq!(receipts.iter().filter(|receipt| !receipt.again).count(), 1);
    let first = receipts.iter().find(|receipt| !receipt.again).unwrap();
    assert!(first.appended && first.version == 1);
    for receipt in &receipts {
        let again = receipt.again;
        assert_eq!(*receipt, Receipt { again, ..*first });
    }
    assert_eq!(count(&log, counter).await, 1);
    assert_eq!(events(&log).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_another_body_is_refused_and_writes_nothing() {
    // Given
    let log = log().await;
    let (account, counter) = counter(1);
    let first = given(account, "a", b"body");
    log.execute(&Increment(counter), &first, &NoSealer)
        .await
        .unwrap();

    // When
    let other = given(account, "a", b"another body");
    let tried = log.execute(&Increment(counter), &other, &NoSealer).await;

    // Then
    assert!(matches!(tried, Err(ExecuteError::KeyReused)), "{tried:?}");
    assert_eq!(count(&log, counter).await, 1);
    assert_eq!(events(&log).await.len(), 1);
    let receipt = log.receipt(account.0, &other.key.unwrap()).await.unwrap();
    assert_eq!(receipt, Some(Err(eventlog::KeyReused)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_of_another_account_or_path_is_another_key() {
    let log = log().await;
    let ((one, of_one), (other, of_other)) = (counter(1), counter(1));

    for (account, counter) in [(one, of_one), (other, of_other)] {
        let intent = given(account, "a", b"body");
        let receipt = log.execute(&Increment(counter), &intent, &NoSealer).await;
        assert!(!receipt.unwrap().again);
    }

    let key = IdempotencyKey::given(one, "POST", "/v1/others", "a", b"body");
    let intent = Intent {
        key: Some(key),
        ..by(one)
    };
    let receipt = log.execute(&Increment(of_one), &intent, &NoSealer).await;
    assert_eq!(receipt.unwrap().version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn doing_nothing_gives_a_receipt_at_the_actors_last_position() {
    // Given: an actor whose home is not the partition of the counter.
    let log = log().await;
    let (account, own) = counter(0);
    let elsewhere = AggregateId::single(Counter::KIND, id(1));
    let at = log.execute(&Increment(own), &by(account), &NoSealer).await;
    let at = at.unwrap().position;
    assert!(at.is_some());

    // When: with a key, again with it, and without.
    let intent = given(account, "a", b"body");
    let nothing = Reach(elsewhere, 0);
    let first = log.execute(&nothing, &intent, &NoSealer).await.unwrap();
    let other = Increment(AggregateId::single(Counter::KIND, id(0)));
    log.execute(&other, &by(account), &NoSealer).await.unwrap();
    let again = log.execute(&nothing, &intent, &NoSealer).await.unwrap();
    let bare = log
        .execute(&nothing, &by(account), &NoSealer)
        .await
        .unwrap();

    // Then
    assert!(!first.appended && !first.again && again.again && !bare.again);
    assert_eq!([first.position, again.position], [at; 2], "as it was told");
    assert!(bare.position > at, "where the actor is now");
    assert_eq!(events(&log).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_one_request_do_not_take_each_others_receipts() {
    // Given: two counters of one partition, one correlation.
    let log = log().await;
    let ((account, one), (_, other)) = (counter(1), counter(1));
    let correlation = id(0);
    let intent = Intent {
        correlation,
        key: Some(IdempotencyKey::internal(correlation)),
        ..by(account)
    };

    // When
    for counter in [one, other] {
        let receipt = log.execute(&Increment(counter), &intent, &NoSealer).await;
        assert!(!receipt.unwrap().again);
    }

    // Then
    assert_eq!(count(&log, one).await, 1);
    assert_eq!(count(&log, other).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_no_lifetime_does_not_break_its_append() {
    let log = log().await;
    for lifetime in [std::time::Duration::ZERO, std::time::Duration::MAX] {
        let (account, counter) = counter(1);
        let mut intent = given(account, "a", b"body");
        intent.key.as_mut().unwrap().lifetime = lifetime;

        let receipt = log.execute(&Increment(counter), &intent, &NoSealer).await;

        assert!(receipt.unwrap().appended);
        assert_eq!(count(&log, counter).await, 1);
    }
}
