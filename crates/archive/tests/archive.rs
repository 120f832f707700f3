//! What the archive promises, on a folder of its own. Needs the programs of
//! Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use archive::{Archive, ArchiveError, SEGMENT_EVENTS_MAX, Whole};
use devservices::{Programs, RedisOptions, RedisRole, RedisServer};
use eventlog::{Beside, EPOCH_STARTED, History, Log, LogSettings};
use kernel::{
    AccountId, AggregateId, Envelope, Kind, Partition, Position, SpanContext, Timestamp, Uuid,
};
use tempfile::TempDir;

const P: Partition = Partition(0);

struct Setting {
    _server: RedisServer,
    redis: redis::aio::MultiplexedConnection,
    settings: LogSettings,
    log: Log,
    folder: TempDir,
    archive: Archive,
}

impl Setting {
    async fn new() -> Self {
        let programs = Programs::find().unwrap();
        let options = RedisOptions::throwaway(&programs, RedisRole::Log).unwrap();
        let server = RedisServer::start(options).await.unwrap();
        let mut settings = LogSettings::new(server.url());
        settings.partitions = 1;
        let log = Log::create(&settings).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let archive = open(folder.path());
        let client = redis::Client::open(server.url()).unwrap();
        Self {
            redis: client.get_multiplexed_async_connection().await.unwrap(),
            _server: server,
            settings,
            log,
            folder,
            archive,
        }
    }

    /// Appends events of every shape, from `number` on.
    async fn add(&mut self, numbers: std::ops::Range<u128>) {
        for chunk in numbers.collect::<Vec<_>>().chunks(1_000) {
            let mut pipeline = redis::pipe();
            for number in chunk {
                let bytes = event(*number).to_bytes().unwrap();
                let add = pipeline.cmd("XADD").arg("hw:{p00}:events");
                add.arg("1-*").arg("e").arg(bytes).ignore();
            }
            let () = pipeline.query_async(&mut self.redis).await.unwrap();
        }
    }

    async fn head(&self) -> Position {
        self.log.heads().await.unwrap()[0]
    }

    async fn seal(&self, all: bool) -> Result<u64, ArchiveError> {
        let head = self.head().await;
        Ok(self.archive.seal(&self.log, head, all).await?.events)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("p00").join(name)
    }
}

fn open(folder: &Path) -> Archive {
    Archive::open(&format!("file://{}", folder.display())).unwrap()
}

fn event(number: u128) -> Envelope {
    let id = |tag: u128| Uuid::from_u128(tag << 64 | number);
    let some = |every: u128| number.is_multiple_of(every);
    Envelope {
        event_type: ["Liked", "PostCreated", "Üñ"][(number % 3) as usize].into(),
        event_version: (number % 3) as u16,
        aggregate: match some(2) {
            true => AggregateId::single(Kind((number % 256) as u8), id(1)),
            false => AggregateId::edge(Kind(4), id(1), id(2)),
        },
        version: u64::MAX - number as u64,
        recorded_at: Timestamp(number as i64 - 500),
        actor: AccountId(if some(5) { id(1) } else { id(3) }),
        correlation: id(4),
        causation: some(7).then_some(Position {
            partition: Partition(9),
            epoch: u64::MAX,
            seq: number as u64,
        }),
        receipt: some(3).then_some((u128::MAX - number, u64::MAX - number as u64)),
        data: vec![number as u8; (number % 40) as usize],
        trace: some(4).then_some(SpanContext {
            trace: id(5),
            span: u64::MAX - number as u64,
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_archived_reads_back_to_the_last_bit_wherever_it_is_cut() {
    let mut setting = Setting::new().await;
    setting.add(0..700).await;
    let all = setting.log.read(Log::beginning(P), 10_000).await.unwrap();
    assert_eq!(setting.seal(false).await.unwrap(), 0, "no segment is full");
    assert_eq!(setting.seal(true).await.unwrap(), 701);
    assert_eq!(setting.seal(true).await.unwrap(), 0);
    setting.add(700..1_000).await;
    assert_eq!(setting.seal(true).await.unwrap(), 300);
    let later = setting
        .log
        .read(all.last().unwrap().position, 1_000)
        .await
        .unwrap();
    let all = [all, later].concat();

    let fresh = open(setting.folder.path());
    for from in [0, 1, 699, 700, 701, 999] {
        let after = all[from].position;
        let read = fresh.read(after, 10_000).await.unwrap();
        assert!(!read.is_empty());
        assert_eq!(read[..], all[from + 1..from + 1 + read.len()]);
    }
    let beginning = fresh.read(Log::beginning(P), 5).await.unwrap();
    assert_eq!(beginning, all[..5]);
    assert_eq!(beginning[0].envelope.event_type, EPOCH_STARTED);
    let end = fresh.end(P).await.unwrap();
    assert_eq!(end, setting.head().await);
    assert!(fresh.read(end, 5).await.unwrap().is_empty());
    assert_eq!(fresh.partitions().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_two_halves_read_as_one() {
    let mut setting = Setting::new().await;
    setting.add(0..1_000).await;
    let all = setting.log.read(Log::beginning(P), 10_000).await.unwrap();
    setting.seal(true).await.unwrap();
    setting.add(1_000..1_200).await;
    let all = [
        all,
        setting
            .log
            .read(setting.archive.end(P).await.unwrap(), 10_000)
            .await
            .unwrap(),
    ]
    .concat();
    let whole = Whole::new(setting.log.clone(), setting.archive.clone());
    for trimmed in [0, 1, 400, 1_000] {
        let first = all[trimmed].position;
        setting.log.trim(first).await.unwrap();
        assert_eq!(setting.log.firsts().await.unwrap(), [Some(first)]);
        let mut read = Vec::new();
        let mut at = Log::beginning(P);
        loop {
            let more = whole.read(at, 170).await.unwrap();
            let Some(last) = more.last() else { break };
            at = last.position;
            read.extend(more);
        }
        assert_eq!(read, all, "trimmed to {first}");
    }
    // The last one stays, whatever is asked for: it tells where the log is.
    let beyond = Position {
        seq: 9_999,
        ..setting.head().await
    };
    let head = setting.head().await;
    setting.log.trim(beyond).await.unwrap();
    assert_eq!(setting.log.firsts().await.unwrap(), [Some(head)]);
    assert_eq!(setting.head().await, head);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_the_archive_is_an_error_and_names_the_file() {
    let mut setting = Setting::new().await;
    setting.add(0..300).await;
    setting.seal(true).await.unwrap();
    let segment = setting.archive.segments(P).await.unwrap().remove(0);
    let path = setting.folder.path().join(&segment.file);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, segment.bytes);
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let read = open(setting.folder.path()).read(Log::beginning(P), 9).await;
        let error = read.unwrap_err().to_string();
        assert!(error.contains("p00/1-0_1-300.parquet"), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(
        open(setting.folder.path())
            .read(Log::beginning(P), 9)
            .await
            .is_err()
    );
    std::fs::write(&path, &bytes).unwrap();
    let manifest = setting.file("manifest-0000000001.json");
    std::fs::write(&manifest, b"{}").unwrap();
    let read = open(setting.folder.path()).read(Log::beginning(P), 9).await;
    let error = read.unwrap_err().to_string();
    assert!(error.contains("manifest-0000000001.json"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_archive_at_once_one_fails_and_nothing_is_lost() {
    let mut setting = Setting::new().await;
    setting.add(0..500).await;
    let (one, other) = (open(setting.folder.path()), open(setting.folder.path()));
    let head = setting.head().await;
    let sealed = tokio::join!(
        one.seal(&setting.log, head, true),
        other.seal(&setting.log, head, true)
    );
    let done = [&sealed.0, &sealed.1].into_iter().flatten();
    let events: u64 = done.map(|sealed| sealed.events).sum();
    for failed in [sealed.0.err(), sealed.1.err()].into_iter().flatten() {
        assert!(matches!(failed, ArchiveError::Raced(P)), "{failed}");
    }
    assert_eq!(events, 501);
    let fresh = open(setting.folder.path());
    assert_eq!(fresh.end(P).await.unwrap(), head);
    assert_eq!(
        fresh.read(Log::beginning(P), 9_999).await.unwrap().len(),
        501
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_trimmed_beyond_the_archive_is_not_archived_over_the_hole() {
    let mut setting = Setting::new().await;
    setting.add(0..100).await;
    setting.seal(true).await.unwrap();
    setting.add(100..200).await;
    let hole = Position {
        seq: 150,
        ..setting.head().await
    };
    setting.log.trim(hole).await.unwrap();
    let error = setting.seal(true).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Gap { .. }), "{error}");
    assert_eq!(setting.archive.end(P).await.unwrap().seq, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_log_goes_on_in_the_next_epoch_and_is_archived_on() {
    let mut setting = Setting::new().await;
    setting.add(0..100).await;
    setting.seal(true).await.unwrap();
    let end = setting.archive.end(P).await.unwrap();
    let () = redis::cmd("FLUSHALL")
        .query_async(&mut setting.redis)
        .await
        .unwrap();
    assert_eq!(Log::find(&setting.settings).await.unwrap(), None);
    let log = Log::restore(&setting.settings).await.unwrap();
    let account = AccountId(Uuid::nil());
    let last = Beside::Last { account, at: end };
    log.restore_beside(P, &[last]).await.unwrap();
    assert!(!log.has(P).await.unwrap());
    log.begin_epoch(end, 2).await.unwrap();
    log.begin_epoch(end, 3).await.unwrap();
    assert!(log.has(P).await.unwrap());
    assert_eq!(log.last_position(account).await.unwrap(), Some(end));
    let head = log.heads().await.unwrap()[0];
    assert_eq!((head.epoch, head.seq), (2, 0));
    let whole = Whole::new(log.clone(), setting.archive.clone());
    let next = whole.read(end, 5).await.unwrap();
    assert_eq!(eventlog::check_contiguous(end, &next[0]), Ok(()));
    let ahead = Position {
        seq: end.seq + 3,
        ..end
    };
    let diverged = eventlog::check_contiguous(ahead, &next[0]);
    assert!(matches!(diverged, Err(eventlog::Gap::Diverged { .. })));

    let () = redis::cmd("XADD")
        .arg("hw:{p00}:events")
        .arg("2-*")
        .arg("e")
        .arg(event(7).to_bytes().unwrap())
        .query_async::<String>(&mut setting.redis)
        .await
        .map(drop)
        .unwrap();
    let head = log.heads().await.unwrap()[0];
    let sealed = setting.archive.seal(&log, head, true).await.unwrap();
    assert_eq!((sealed.events, sealed.segments), (2, 1));
    let fresh = open(setting.folder.path());
    let mut at = Log::beginning(P);
    let mut count = 0;
    while let Some(last) = fresh.read(at, 60).await.unwrap().last() {
        at = last.position;
        count += 1;
    }
    assert_eq!((at, count > 2), (head, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn full_segments_are_sealed_without_being_asked_for_all() {
    let mut setting = Setting::new().await;
    setting.add(0..SEGMENT_EVENTS_MAX as u128 + 10).await;
    assert_eq!(
        setting.seal(false).await.unwrap(),
        SEGMENT_EVENTS_MAX as u64
    );
    assert_eq!(setting.archive.segments(P).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_segments_are_put_together_under_the_eyes_of_a_reader() {
    let mut setting = Setting::new().await;
    let reader = open(setting.folder.path());
    let mut at = Log::beginning(P);
    let mut read = Vec::new();
    for round in 0..20 {
        setting.add(round * 50..round * 50 + 50).await;
        setting.seal(true).await.unwrap();
        setting.archive.merge(P).await.unwrap();
        // It knows an older manifest than the archiver.
        for _ in 0..round % 3 {
            let more = reader.read(at, 31).await.unwrap();
            at = more.last().map_or(at, |last| last.position);
            read.extend(more);
        }
    }
    while let Some(last) = reader.read(at, 31).await.unwrap().last() {
        let more = reader.read(at, 31).await.unwrap();
        at = last.position;
        read.extend(more);
    }
    let all = setting.log.read(Log::beginning(P), 10_000).await.unwrap();
    assert_eq!(read, all);

    let segments = setting.archive.segments(P).await.unwrap();
    assert!(segments.len() < 16, "{}", segments.len());
    let folder = setting.folder.path().join("p00");
    let files = |end: &str| {
        let folder = std::fs::read_dir(&folder).unwrap();
        let names = folder.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(end)).count()
    };
    // One sealing after a merge deletes what was merged.
    setting.add(1_000..1_001).await;
    setting.seal(true).await.unwrap();
    let named = setting.archive.segments(P).await.unwrap().len();
    assert_eq!((files(".parquet"), files(".json")), (named, 2));
}
