//! Reading by position: ranges, tails, times, gaps.

use std::time::{Duration, Instant};

use eventlog::{
    EPOCH_STARTED, Gap, History, IdempotencyKey, Intent, Log, LogError, check_contiguous,
};
use kernel::{AccountId, AggregateId, Decider, Position, Positions, Recorded, Timestamp};

use super::{
    counter::{Increment, IncrementUnseen, NoSealer, Reach, Unseen, by, counter, events},
    setting::{log, settings},
};

#[tokio::test(flavor = "multi_thread")]
async fn positions_begin_with_the_epoch_and_have_no_gaps() {
    // Given
    let log = log().await;
    let (account, counter) = counter(1);
    for target in [1, 2, 5, 9] {
        let command = Reach(counter, target);
        let receipt = log.execute(&command, &by(account), &NoSealer).await;
        assert_eq!(receipt.unwrap().position.unwrap().seq, target);
    }
    let partition = log.partition_of(&counter);
    let beginning = Log::beginning(partition);

    // When
    let read = log.read(beginning, 100).await.unwrap();

    // Then
    assert_eq!(read[0].position.entry_id(), "1-0");
    assert_eq!(read[0].envelope.event_type, EPOCH_STARTED);
    let seqs: Vec<_> = read.iter().map(|event| event.position.seq).collect();
    assert_eq!(seqs, (0..=9).collect::<Vec<_>>());
    let mut after = beginning;
    for event in &read {
        assert_eq!(check_contiguous(after, event), Ok(()));
        after = event.position;
    }
    let heads = log.heads().await.unwrap();
    assert_eq!(heads[usize::from(partition.0)], after);
    assert_eq!(heads.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_and_a_lost_end_are_told_apart() {
    let log = log().await;
    let (account, counter) = counter(0);
    let command = Reach(counter, 3);
    log.execute(&command, &by(account), &NoSealer)
        .await
        .unwrap();
    let beginning = Log::beginning(log.partition_of(&counter));
    let read = log.read(beginning, 10).await.unwrap();

    // Missing: an event was jumped over, is seen twice, or is another partition's.
    let missing = |after: Position, next: &Recorded| {
        let found = next.position;
        assert_eq!(
            check_contiguous(after, next),
            Err(Gap::Missing { after, found })
        );
    };
    missing(read[1].position, &read[3]);
    missing(read[2].position, &read[2]);
    missing(beginning, &read[1]);
    let mut elsewhere = read[2].clone();
    elsewhere.position.partition.0 += 1;
    missing(read[1].position, &elsewhere);

    // A new epoch that begins where the log ended, and one that began earlier.
    let end = read[3].position;
    let started = |previous_end: Position| {
        let mut event = read[0].clone();
        event.position = Position {
            epoch: 2,
            ..event.position
        };
        event.envelope.data = kernel::encode(&Some(previous_end)).unwrap();
        event
    };
    assert_eq!(check_contiguous(end, &started(end)), Ok(()));
    let previous_end = read[2].position;
    let diverged = Err(Gap::Diverged {
        at: end,
        previous_end,
    });
    assert_eq!(check_contiguous(end, &started(previous_end)), diverged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_honours_its_count() {
    let log = log().await;
    let (account, counter) = counter(0);
    let command = Reach(counter, 50);
    log.execute(&command, &by(account), &NoSealer)
        .await
        .unwrap();
    let beginning = Log::beginning(log.partition_of(&counter));

    for count in [0, 1, 7, 51, 52] {
        let expected = count.min(51);
        let read = log.read(beginning, count).await.unwrap();
        assert_eq!(read.len(), expected);
        let patience = Duration::from_millis(1);
        let tail = log.tail(&[beginning], count, patience).await.unwrap();
        assert_eq!(tail, read);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_waits_and_wakes_up_over_all_partitions() {
    let log = log().await;
    let mut after = log.heads().await.unwrap();
    let patience = Duration::from_millis(100);
    let begun = Instant::now();
    assert_eq!(log.tail(&after, 10, patience).await.unwrap(), []);
    assert!(begun.elapsed() >= patience);

    for route in 0..4 {
        // Given
        let (tailing, positions) = (log.clone(), after.clone());
        let begun = Instant::now();
        let patience = Duration::from_secs(30);
        let tail = tokio::spawn(async move { tailing.tail(&positions, 10, patience).await });

        // When
        let (account, counter) = counter(route);
        let intent = by(account);
        let receipt = log.execute(&Increment(counter), &intent, &NoSealer).await;

        // Then
        let woken = tail.await.unwrap().unwrap();
        assert!(begun.elapsed() < patience / 3);
        assert_eq!(woken.len(), 1);
        assert_eq!(Some(woken[0].position), receipt.unwrap().position);
        assert_eq!(woken[0].envelope.correlation, intent.correlation);
        after[usize::from(route)] = woken[0].position;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_was_given_up_keeps_nobody_waiting() {
    // Given: more tails than one pool could leave behind, each dropped while
    // it waits in the server.
    let log = log().await;
    let heads = log.heads().await.unwrap();
    for _ in 0..8 {
        let tail = log.tail(&heads, 10, Duration::from_secs(30));
        let given_up = tokio::time::timeout(Duration::from_millis(20), tail).await;
        assert!(given_up.is_err());
    }

    // When
    let begun = Instant::now();
    let tail = log.tail(&heads, 10, Duration::from_millis(1)).await;

    // Then
    assert_eq!(tail.unwrap(), []);
    assert!(begun.elapsed() < Duration::from_secs(1), "{begun:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_gives_the_position_before_its_first_event() {
    // Given: events at 1000, 2000, 2000, 2000, 3000 … 9000.
    let log = log().await;
    let history = History::of(log.clone());
    let (account, counter) = counter(0);
    for second in [1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9] {
        let intent = Intent {
            now: Timestamp(second * 1_000),
            ..by(account)
        };
        let command = Increment(counter);
        log.execute(&command, &intent, &NoSealer).await.unwrap();
    }
    let partition = log.partition_of(&counter);
    let events = events(&log).await;

    for time in [1, 999, 1_000, 1_001, 2_000, 2_001, 3_000, 8_500, 9_000] {
        // When
        let time = Timestamp(time);
        let before = history.position_at(partition, time).await.unwrap();

        // Then
        let first = events.iter().find(|e| e.envelope.recorded_at >= time);
        let next = log.read(before, 1).await.unwrap().pop();
        assert_eq!(next.as_ref(), first, "{time}");
    }
    let late = history
        .position_at(partition, Timestamp(9_001))
        .await
        .unwrap();
    assert_eq!(late.seq, 11);
    let all = history.position_at(partition, Timestamp(0)).await.unwrap();
    assert_eq!(all, Log::beginning(partition));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_before_a_trimmed_log_passes_nothing_over() {
    // Given
    let settings = settings().await;
    let log = Log::create(&settings).await.unwrap();
    let (account, counter) = counter(0);
    let command = Reach(counter, 9);
    log.execute(&command, &by(account), &NoSealer)
        .await
        .unwrap();
    let mut connection = super::setting::raw(settings.server.clone()).await;
    let key = format!("{}:{{p00}}:events", settings.prefix);
    let trim = format!("XTRIM {key} MINID 1-5");
    super::setting::ask::<u64>(&mut connection, &trim).await;

    // When
    let history = History::of(log.clone());
    let partition = log.partition_of(&counter);
    let before = history.position_at(partition, Timestamp(1)).await.unwrap();
    let read = history.read(before, 1).await;

    // Then
    let Err(LogError::Gap(Gap::Trimmed { found, .. })) = read else {
        panic!("{read:?}");
    };
    assert_eq!(found.seq, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_another_number_of_partitions_is_refused() {
    let settings = settings().await;
    let log = Log::create(&settings).await.unwrap();
    for wanted in [1, 3, 5, 8] {
        let mut other = settings.clone();
        other.partitions = wanted;
        let refused = Log::create(&other).await.err();
        let as_told = matches!(
            refused,
            Some(LogError::Partitions { found: 4, wanted: w }) if w == wanted
        );
        assert!(as_told, "{refused:?}");
    }
    for none in [0, 1_025] {
        let mut other = settings.clone();
        other.partitions = none;
        assert!(matches!(
            Log::create(&other).await.err(),
            Some(LogError::Refused(_))
        ));
    }
    assert_eq!(log.heads().await.unwrap().len(), 4);
    let nobody = AccountId(super::counter::id(0));
    assert_eq!(log.last_position(nobody).await.unwrap(), None);
    Log::create(&settings).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_changes_in_other_partitions_is_among_ones_last_positions() {
    // Given an account in partition 1, and counters of others.
    let log = log().await;
    let (account, own) = counter(1);
    let counters = [2, 0, 2].map(|route| counter(route).1);

    // When
    let first = log.execute(&Increment(own), &by(account), &NoSealer).await;
    let mut wanted = Positions::from_iter(first.unwrap().position);
    for counter in counters {
        let done = log
            .execute(&Increment(counter), &by(account), &NoSealer)
            .await;
        wanted.advance(done.unwrap().position.unwrap());
        assert_eq!(log.last_positions(account).await.unwrap(), wanted);
    }

    // Then they stay when it goes on at home.
    let next = log.execute(&Increment(own), &by(account), &NoSealer).await;
    let next = next.unwrap().position.unwrap();
    wanted.advance(next);
    assert_eq!(log.last_positions(account).await.unwrap(), wanted);
    assert_eq!(log.last_position(account).await.unwrap(), Some(next));
    assert_eq!(wanted.iter().count(), 3);

    // A request that is repeated gives an earlier position, and changes nothing.
    let key = IdempotencyKey::given(account, "POST", "/v1/counters", "a", b"body");
    let keyed = Intent {
        key: Some(key),
        ..by(account)
    };
    for intent in [keyed, by(account), keyed] {
        let again = Increment(counters[0]);
        let done = log.execute(&again, &intent, &NoSealer).await;
        wanted.advance(done.unwrap().position.unwrap());
        assert_eq!(log.last_positions(account).await.unwrap(), wanted);
    }

    // Somebody who only ever acts elsewhere has no position at home.
    let (guest, _) = counter(0);
    let elsewhere = Increment(counters[0]);
    let done = log.execute(&elsewhere, &by(guest), &NoSealer).await;
    let there = Positions::from_iter(done.unwrap().position);
    assert_eq!(log.last_positions(guest).await.unwrap(), there);
    assert_eq!(log.last_position(guest).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_shows_is_a_last_position_at_home_alone() {
    // Given
    let log = log().await;
    let (account, own) = counter(1);
    let unseen = |route| AggregateId::single(Unseen::KIND, counter(route).0.0);

    // When
    let elsewhere = IncrementUnseen(unseen(2));
    let done = log.execute(&elsewhere, &by(account), &NoSealer).await;
    done.unwrap().position.unwrap();

    // Then nobody waits for it, and what follows is written once.
    assert!(log.last_positions(account).await.unwrap().is_empty());
    let next = log.execute(&Increment(own), &by(account), &NoSealer).await;
    let next = Positions::from_iter(next.unwrap().position);
    assert_eq!(log.last_positions(account).await.unwrap(), next);
    let at_home = IncrementUnseen(unseen(1));
    let done = log.execute(&at_home, &by(account), &NoSealer).await;
    let at_home = Positions::from_iter(done.unwrap().position);
    assert_eq!(log.last_positions(account).await.unwrap(), at_home);
}
