//! Several workers, one log.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::{Partition, PersonalField, Sealer, SealerFuture, Uuid};
use readmodel::{Projection, ReadError, checkpoints};
use testkit::until;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use worker::WorkError;

use super::setting::{PARTITIONS, PlainSealer, Setting};

const ALL: usize = PARTITIONS as usize;
const TAKEN_OVER_SECONDS_MAX: u64 = 10;
const STOPPED_MAX: Duration = Duration::from_secs(2);
/// Often enough for whoever does not wait to be seen.
const LOOKS: usize = 200;

async fn until_all_is_done(setting: &Setting, what: &str) {
    until(what, 10, || setting.at_the_end(|_| true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_and_either_takes_all_when_the_other_ends_or_vanishes() {
    let setting = Setting::new().await;
    let (one, other) = (setting.work(1), setting.work(2));
    let fair = || async { (setting.held_by(&one).await, setting.held_by(&other).await) == (4, 4) };
    until("half of the partitions each", 10, fair).await;
    setting.populate(1).await;
    until_all_is_done(&setting, "both work").await;

    one.stop.send_replace(true);
    timeout(STOPPED_MAX, one.task).await.unwrap().unwrap();
    let all = || async { setting.held_by(&other).await == ALL };
    until("what was given back is taken", TAKEN_OVER_SECONDS_MAX, all).await;
    setting.populate(2).await;
    until_all_is_done(&setting, "one works for both").await;

    let third = setting.work(3);
    let fair =
        || async { (setting.held_by(&third).await, setting.held_by(&other).await) == (4, 4) };
    until("who comes later gets half", 10, fair).await;
    other.task.abort();
    let vanished = Instant::now();
    assert!(other.task.await.unwrap_err().is_cancelled());
    setting.populate(3).await;
    let all = || async { setting.held_by(&third).await == ALL };
    until("leases expire", TAKEN_OVER_SECONDS_MAX, all).await;
    until_all_is_done(&setting, "nothing stays behind").await;
    assert!(vanished.elapsed() < Duration::from_secs(TAKEN_OVER_SECONDS_MAX));
    assert_eq!(setting.stopped().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_promptly_and_gives_its_leases_back() {
    let setting = Setting::new().await;
    setting.populate(1).await;
    let working = setting.work(1);
    until_all_is_done(&setting, "it works").await;
    working.stop.send_replace(true);
    timeout(STOPPED_MAX, working.task).await.unwrap().unwrap();
    let left = readmodel::leases::held(setting.pool()).await.unwrap();
    assert_eq!(left, []);

    // Nobody is left to say so.
    let working = setting.work(2);
    until("it works", 10, || async {
        setting.held_by(&working).await == ALL
    })
    .await;
    drop(working.stop);
    timeout(STOPPED_MAX, working.task).await.unwrap().unwrap();

    // It is told before it begins.
    let working = setting.work(3);
    working.stop.send_replace(true);
    timeout(STOPPED_MAX, working.task).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stands_still_before_a_bad_event_stops_promptly_too() {
    let setting = Setting::new().await;
    setting.execute_sql("DROP TABLE social.follows").await;
    setting.populate(1).await;
    let working = setting.work(1);
    let all = || async { setting.stopped().await.len() == ALL };
    until("every partition says why it stands still", 10, all).await;
    let (_, reason) = setting.stopped().await.swap_remove(0);
    assert!(reason.contains("follows"), "{reason}");
    working.stop.send_replace(true);
    timeout(STOPPED_MAX, working.task).await.unwrap().unwrap();
}

/// Opens nothing until it is let.
struct Gate {
    reached: Semaphore,
    let_through: Semaphore,
}

impl Sealer for Gate {
    fn seal<'a>(&'a self, fields: Vec<PersonalField<'a>>) -> SealerFuture<'a> {
        PlainSealer.seal(fields)
    }

    fn open<'a>(&'a self, fields: Vec<PersonalField<'a>>) -> SealerFuture<'a> {
        Box::pin(async move {
            self.reached.add_permits(1);
            self.let_through.acquire().await.unwrap().forget();
            PlainSealer.open(fields).await
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_paused_in_a_batch_commits_nothing_of_it() {
    let setting = Setting::new().await;
    let author = setting.register(3, 1).await;
    setting.publish(author, 1, "first").await;
    let gate = Arc::new(Gate {
        reached: Semaphore::new(0),
        let_through: Semaphore::new(0),
    });
    let paused = setting.engine_with(Uuid::from_u128(1), gate.clone());
    let paused = tokio::spawn(async move { paused.drain().await });
    gate.reached.acquire().await.unwrap().forget();

    let others = || setting.at_the_end(|partition| partition != Partition(3));
    until("it has done all else", 10, others).await;

    // It has read; another folds the same, and more.
    setting.publish(author, 2, "second").await;
    setting.drain().await;
    let (rows, at) = (setting.rows().await, setting.folded(3).await);
    gate.let_through.add_permits(100);
    let overtaken = paused.await.unwrap();
    assert!(
        matches!(overtaken, Err(WorkError::Read(ReadError::CheckpointMoved))),
        "{overtaken:?}"
    );
    assert_eq!((setting.rows().await, setting.folded(3).await), (rows, at));
}

#[tokio::test(flavor = "multi_thread")]
async fn timelines_never_run_ahead_of_the_rows() {
    let setting = Setting::new().await;
    let author = setting.register(3, 1).await;
    setting.publish(author, 1, "first").await;
    let gate = Arc::new(Gate {
        reached: Semaphore::new(0),
        let_through: Semaphore::new(0),
    });
    let (stop, stopped) = watch::channel(false);
    let engine = setting.engine_with(Uuid::from_u128(1), gate.clone());
    let working = tokio::spawn(engine.run(stopped));
    gate.reached.acquire().await.unwrap().forget();
    for _ in 0..LOOKS {
        let reached = async |projection| {
            let live = checkpoints::live(setting.pool(), projection).await;
            live.unwrap().positions
        };
        let fanned_out = reached(Projection::TIMELINES).await;
        let folded = reached(Projection::SOCIAL).await;
        // A checkpoint is made at the beginning, before anything is read.
        let begun = fanned_out.iter().filter(|position| position.epoch > 0);
        let begun = begun.copied().collect();
        assert!(folded.reach(&begun), "{fanned_out} before {folded}");
    }
    gate.let_through.add_permits(100);
    until_all_is_done(&setting, "it goes on").await;
    stop.send_replace(true);
    timeout(STOPPED_MAX, working).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_written_is_folded_when_it_can_be() {
    let setting = Setting::new().await;
    setting.populate(1).await;
    setting
        .execute_sql("ALTER TABLE social.follows RENAME TO away")
        .await;
    let refused = setting.engine(Uuid::nil()).drain().await;
    assert!(matches!(refused, Err(WorkError::Read(_))), "{refused:?}");
    setting
        .execute_sql("ALTER TABLE social.away RENAME TO follows")
        .await;
    setting.drain().await;
    let rows = setting.rows().await;
    let follows = rows.iter().filter(|row| row.starts_with("follows "));
    assert_eq!(follows.count(), 3 * ALL);
}
