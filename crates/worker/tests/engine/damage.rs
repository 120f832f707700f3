//! Nothing is skipped in silence: what is missing stops its own partition right
//! before it, what cannot be folded waits with all that happens to the same
//! aggregate.

use std::time::Duration;

use eventlog::Log;
use kernel::{AccountId, AggregateId, Envelope, Kind, Partition, Timestamp, Uuid};
use readmodel::{Projection, Projections, checkpoints, dead_letters};
use testkit::{secrets::log_key, until};
use tokio::time::timeout;
use worker::WorkError;

use super::setting::{DAMAGED, PARTITIONS, Setting};

const DAMAGED_PARTITION: u16 = 5;
const DRAINED_MAX: Duration = Duration::from_secs(10);

/// Works until the damaged partition says why it stands still, and sees that
/// all others flow before and after.
async fn only_it_stops_at(setting: &Setting, seq: u64, reason: &str) {
    let damaged = Partition(DAMAGED_PARTITION);
    let working = setting.work(1);
    let stopped = || async { !setting.stopped().await.is_empty() };
    until("it stands still", 10, stopped).await;
    let others = || setting.at_the_end(|partition| partition != damaged);
    until("the others flow", 10, others).await;
    for partition in (0..PARTITIONS).filter(|p| *p != DAMAGED_PARTITION) {
        setting.register(partition, 900).await;
    }
    until("the others go on", 10, others).await;
    let at = || async { setting.folded(DAMAGED_PARTITION).await.seq == seq };
    until("what comes before is folded", 10, at).await;
    let told = || async { !setting.stopped().await.is_empty() };
    until("it says why", 10, told).await;
    let stopped = setting.stopped().await;
    assert_eq!(stopped.len(), 1, "{stopped:?}");
    assert_eq!(stopped[0].0, damaged);
    assert!(stopped[0].1.contains(reason), "{}", stopped[0].1);
    working.stop.send_replace(true);
    timeout(Duration::from_secs(2), working.task)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(setting.folded(DAMAGED_PARTITION).await.seq, seq);
    let drained = timeout(DRAINED_MAX, setting.engine(Uuid::nil()).drain()).await;
    assert!(drained.expect("draining ends").is_err());
}

async fn end(setting: &Setting) -> u64 {
    let heads = setting.heads().await;
    heads.get(Partition(DAMAGED_PARTITION)).unwrap().seq
}

async fn add(setting: &Setting, bytes: &[u8]) {
    let (mut server, key) = setting.stream(DAMAGED_PARTITION).await;
    let mut command = redis::cmd("XADD");
    command.arg(key).arg("1-*").arg("e").arg(bytes);
    command.query_async::<String>(&mut server).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_the_log_stops_its_partition_alone() {
    let setting = Setting::new().await;
    setting.populate(1).await;
    let gap = end(&setting).await - 2;
    let (mut server, key) = setting.stream(DAMAGED_PARTITION).await;
    let mut command = redis::cmd("XDEL");
    command.arg(key).arg(format!("1-{gap}"));
    assert_eq!(command.query_async::<u64>(&mut server).await.unwrap(), 1);
    only_it_stops_at(&setting, gap - 1, "events are missing").await;
}

fn unknown() -> Envelope {
    let nobody = AccountId(Uuid::from_u128(DAMAGED_PARTITION.into()));
    Envelope {
        event_type: "PollClosed".into(),
        event_version: 1,
        aggregate: AggregateId::single(Kind(99), nobody.0),
        version: 1,
        recorded_at: Timestamp(0),
        actor: nobody,
        correlation: nobody.0,
        causation: None,
        receipt: None,
        data: Vec::new(),
        trace: None,
    }
}

/// What waits for the live tables: type and reason of each, in order.
async fn letters(setting: &Setting) -> Vec<(String, Option<String>)> {
    let social = Some(Projection::SOCIAL);
    let all = dead_letters::list(setting.pool(), &Projections::default(), social, None, 100).await;
    let all = all.unwrap().into_iter();
    all.map(|letter| (letter.event_type, letter.reason))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_an_unknown_type_parks_its_aggregate_alone() {
    let setting = Setting::new().await;
    setting.populate(1).await;
    let unknown = log_key().entry(&unknown()).unwrap();
    add(&setting, &unknown).await;
    let fine = setting.register(DAMAGED_PARTITION, 800).await;
    add(&setting, &unknown).await;
    setting.drain().await;
    assert!(setting.at_the_end(|_| true).await);
    assert_eq!(setting.stopped().await, []);
    let [first, second] = &letters(&setting).await[..] else {
        panic!("two wait");
    };
    assert_eq!((&*first.0, &*second.0), ("PollClosed", "PollClosed"));
    assert!(first.1.as_ref().unwrap().contains("PollClosed"));
    let shown = readmodel::accounts::by_id(setting.pool(), None, fine).await;
    assert!(shown.unwrap().is_some(), "what comes after is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_no_event_stops_its_partition_alone() {
    let setting = Setting::new().await;
    setting.populate(1).await;
    let before = end(&setting).await;
    add(&setting, b"garbage").await;
    setting.register(DAMAGED_PARTITION, 800).await;
    only_it_stops_at(&setting, before, "damaged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_personal_field_that_was_changed_parks_its_post_and_what_happens_to_it() {
    let setting = Setting::new().await;
    let accounts = setting.populate(1).await;
    let author = accounts[usize::from(DAMAGED_PARTITION)];
    let damaged = setting.publish(author, 7, DAMAGED).await;
    let fine = setting.publish(author, 8, "fine").await;
    setting.drain().await;
    // In a later batch, and in the one after that.
    for text in ["mended", "mended again"] {
        setting.edit(author, damaged, text).await;
        setting.edit(author, fine, text).await;
        setting.drain().await;
    }
    assert!(setting.at_the_end(|_| true).await);
    let all = letters(&setting).await;
    let types: Vec<_> = all.iter().map(|letter| &*letter.0).collect();
    assert_eq!(types, ["PostCreated", "PostEdited", "PostEdited"]);
    assert!(all[0].1.as_ref().unwrap().contains("it says so"));
    assert_eq!((&all[1].1, &all[2].1), (&None, &None));
    let rows = setting.rows().await.join("\n");
    assert!(rows.contains("mended again"));
    assert!(!rows.contains(&format!("posts ({}", damaged.0)), "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_too_many_wait_the_partition_stops() {
    let setting = Setting::new().await;
    setting.populate(1).await;
    add(&setting, &log_key().entry(&unknown()).unwrap()).await;
    setting.drain().await;
    let before = end(&setting).await;
    setting
        .execute_sql("UPDATE projections.checkpoints SET parked = 10000 WHERE parked > 0")
        .await;
    add(&setting, &log_key().entry(&unknown()).unwrap()).await;
    only_it_stops_at(&setting, before, "10000 events wait").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_what_was_read_stops_its_partition_alone() {
    let setting = Setting::new().await;
    setting.populate(1).await;
    setting.drain().await;
    let far = end(&setting).await + 100;
    let sql = format!(
        "UPDATE projections.checkpoints SET seq = {far} WHERE partition = {DAMAGED_PARTITION}"
    );
    setting.execute_sql(&sql).await;
    only_it_stops_at(&setting, far, "the log ends at").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timelines_that_lag_behind_a_log_that_is_gone_say_so_instead_of_spinning() {
    let setting = Setting::new().await;
    setting.populate(1).await;
    setting.drain().await;
    let (mut server, key) = setting.stream(DAMAGED_PARTITION).await;
    let mut command = redis::cmd("XTRIM");
    command.arg(key).arg("MAXLEN").arg(0);
    assert!(command.query_async::<u64>(&mut server).await.unwrap() > 0);
    setting
        .execute_sql("DELETE FROM projections.checkpoints WHERE projection = 'timelines'")
        .await;
    let drained = timeout(DRAINED_MAX, setting.engine(Uuid::nil()).drain()).await;
    let error = drained.expect("draining ends").unwrap_err();
    assert!(matches!(error, WorkError::Gap(_)), "{error}");
    let at = Log::beginning(Partition(DAMAGED_PARTITION));
    assert!(error.to_string().contains(&at.to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_put_back_from_an_old_copy_is_not_read_on() {
    let setting = Setting::new().await;
    setting.populate(1).await;
    setting.drain().await;
    let read = end(&setting).await;
    let (mut server, key) = setting.stream(DAMAGED_PARTITION).await;
    let mut forget = redis::pipe();
    forget.cmd("XDEL").arg(&key);
    forget
        .arg(format!("1-{read}"))
        .arg(format!("1-{}", read - 1));
    forget
        .cmd("XSETID")
        .arg(&key)
        .arg(format!("1-{}", read - 2));
    let gone: (u64, String) = forget.query_async(&mut server).await.unwrap();
    assert_eq!(gone.0, 2);
    let drained = || async { setting.engine(Uuid::nil()).drain().await };
    let error = drained().await.unwrap_err();
    assert!(matches!(error, WorkError::Ahead { .. }), "{error}");
    // Now it goes further than what was read, by other events.
    for number in 0..4 {
        setting.register(DAMAGED_PARTITION, 700 + number).await;
    }
    assert!(end(&setting).await > read);
    let error = drained().await.unwrap_err();
    assert!(matches!(error, WorkError::Replaced { .. }), "{error}");

    let damaged = Partition(DAMAGED_PARTITION);
    let working = setting.work(1);
    let stopped = || async { !setting.stopped().await.is_empty() };
    until("it stands still", 10, stopped).await;
    assert_eq!(setting.folded(DAMAGED_PARTITION).await.seq, read);
    // Nobody is told that the views have what the log has there.
    let live = checkpoints::live(setting.pool(), Projection::SOCIAL).await;
    assert_eq!(live.unwrap().positions.get(damaged), None);
    working.stop.send_replace(true);
    working.task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_set_back_or_moved_by_an_older_release_is_read_on() {
    let setting = Setting::new().await;
    setting.populate(1).await;
    setting.drain().await;
    // Neither knows the mark of the event that it leaves the checkpoint at.
    let set_back = "UPDATE projections.checkpoints SET seq = seq - 2";
    sea_orm::sqlx::query(set_back)
        .execute(setting.pool())
        .await
        .unwrap();
    setting.drain().await;
    assert!(setting.at_the_end(|_| true).await);
    assert_eq!(setting.stopped().await, []);
}
