//! What the archive promises, on a folder of its own. Needs the programs of
//! Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, path::Path, sync::Arc};

use archive::{Archive, ArchiveError, SEGMENT_EVENTS_MAX};
use devservices::{Programs, RedisOptions, RedisRole, RedisServer};
use eventlog::{Beside, EPOCH_STARTED, Gap, History, Log, LogError, LogKey, LogSettings};
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
        let mut settings = LogSettings::new(server.url(), key());
        settings.partitions = 1;
        settings.made_at = Timestamp(-1_000);
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
                let bytes = key().entry(&event(*number)).unwrap();
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

fn whole(log: &Log, archive: &Archive) -> History {
    History::of(log.clone()).with(Arc::new(archive.clone()))
}

/// What a reader finds that knows nothing of manifests: every `*/*.parquet`, in
/// whatever order the folder gives them.
fn found_by_pattern(archive: &Path) -> Vec<u64> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let mut found = Vec::new();
    for folder in std::fs::read_dir(archive).into_iter().flatten() {
        let Ok(files) = std::fs::read_dir(folder.unwrap().path()) else {
            continue;
        };
        let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        for path in files {
            if path.extension().is_none_or(|kind| kind != "parquet") {
                continue;
            }
            let file = std::fs::File::open(&path).unwrap();
            let reader = SerializedFileReader::new(file).unwrap();
            let rows = reader.get_row_iter(None).unwrap();
            found.extend(rows.map(|row| {
                let row = row.unwrap();
                let mut columns = row.get_column_iter();
                let seq = columns.find(|(name, _)| *name == "seq").unwrap().1;
                let parquet::record::Field::Long(seq) = seq else {
                    panic!("{seq}");
                };
                *seq as u64
            }));
        }
    }
    found
}

fn key() -> LogKey {
    LogKey::new(b"a secret of tests")
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
    let whole = whole(&setting.log, &setting.archive);
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
        assert!(error.contains("p00/1-0.parquet"), "{error}");
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
    setting.settings.id = setting.archive.log(P).await.unwrap();
    let log = Log::restore(&setting.settings).await.unwrap();
    let account = AccountId(Uuid::nil());
    let last = Beside::Last { account, at: end };
    log.restore_beside(P, &[last]).await.unwrap();
    assert!(!log.has(P).await.unwrap());
    log.begin_epoch(end, 2, Timestamp(-1_000)).await.unwrap();
    log.begin_epoch(end, 3, Timestamp(0)).await.unwrap();
    assert!(log.has(P).await.unwrap());
    assert_eq!(log.last_position(account).await.unwrap(), Some(end));
    let head = log.heads().await.unwrap()[0];
    assert_eq!((head.epoch, head.seq), (2, 0));
    let whole = whole(&log, &setting.archive);
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
        .arg(key().entry(&event(7)).unwrap())
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
async fn a_segment_grows_under_the_eyes_of_a_reader() {
    let mut setting = Setting::new().await;
    let reader = open(setting.folder.path());
    let mut at = Log::beginning(P);
    let mut read = Vec::new();
    for round in 0..20 {
        setting.add(round * 50..round * 50 + 50).await;
        setting.seal(true).await.unwrap();
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
    assert_eq!(segments.len(), 1);
    assert_eq!(segments[0].recorded, (-1_000, 499));
    let files = |folder: std::path::PathBuf| std::fs::read_dir(folder).unwrap().count();
    // One segment, two manifests, and the folder where the newest was staged.
    assert_eq!(files(setting.file("")), 4);
    assert_eq!(files(setting.file("staged")), 1);
}

/// Analysts read `archive/*/*.parquet` while it is archived.
#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_finds_each_event_once_at_any_moment() {
    let mut setting = Setting::new().await;
    let folder = setting.folder.path().to_owned();
    let (sealed, seen) = (
        Arc::new(std::sync::atomic::AtomicU64::new(0)),
        Arc::new(std::sync::atomic::AtomicBool::new(false)),
    );
    let (known, ended) = (sealed.clone(), seen.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let mut looks = 0;
        while !ended.load(std::sync::atomic::Ordering::Acquire) {
            let least = known.load(std::sync::atomic::Ordering::Acquire);
            let found = found_by_pattern(&folder);
            let once: BTreeSet<_> = found.iter().copied().collect();
            assert_eq!(once.len(), found.len(), "some are found twice");
            let first = once.first().is_none_or(|first| *first == 0);
            let last = once.last().map_or(0, |last| last + 1);
            assert!(first && last == once.len() as u64, "some are missing");
            assert!(last >= least, "{last} of {least} are found");
            looks += 1;
        }
        looks
    });
    for round in 0..60 {
        setting.add(round * 30..round * 30 + 30).await;
        setting.seal(true).await.unwrap();
        let end = setting.archive.end(P).await.unwrap().seq + 1;
        sealed.store(end, std::sync::atomic::Ordering::Release);
    }
    seen.store(true, std::sync::atomic::Ordering::Release);
    assert!(reading.await.unwrap() > 3);
    assert_eq!(found_by_pattern(setting.folder.path()).len(), 1_801);
}

/// Undoes the last steps of sealing, as if its process had ended before them.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_is_published_and_swept() {
    let mut setting = Setting::new().await;
    setting.add(0..100).await;
    setting.seal(true).await.unwrap();
    let file = setting.file("1-0.parquet");
    let before = std::fs::read(&file).unwrap();
    setting.add(100..200).await;
    setting.seal(true).await.unwrap();
    // The manifest was written, and nothing after it.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, &before).unwrap();
    let left = "1-0_1-150_0123456789abcdef";
    std::fs::write(setting.file("staged").join(left), b"half").unwrap();

    let all = setting.log.read(Log::beginning(P), 10_000).await.unwrap();
    let fresh = open(setting.folder.path());
    let read = fresh.read(Log::beginning(P), 10_000).await.unwrap();
    assert_eq!(read, all, "readers do not wait for that");
    assert_eq!(found_by_pattern(setting.folder.path()).len(), 101);

    fresh.finish(P).await.unwrap();
    assert_eq!(found_by_pattern(setting.folder.path()).len(), 201);
    assert!(!setting.file("staged").join(left).exists());
    let staged = std::fs::read_dir(setting.file("staged")).unwrap().count();
    assert_eq!(staged, 1);
    // What may still become the newest stays.
    let ahead = setting.file("staged").join("1-0_1-201_0123456789abcdef");
    std::fs::write(&ahead, b"half").unwrap();
    fresh.finish(P).await.unwrap();
    assert!(ahead.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trimmed_log_without_its_archive_says_what_is_missing() {
    let mut setting = Setting::new().await;
    setting.add(0..300).await;
    setting.seal(true).await.unwrap();
    let first = Position {
        seq: 200,
        ..setting.head().await
    };
    let lags = tempfile::tempdir().unwrap();
    let behind = open(lags.path());
    let until = Position { seq: 100, ..first };
    behind.seal(&setting.log, until, true).await.unwrap();
    setting.log.trim(first).await.unwrap();
    let alone = History::of(setting.log.clone());
    let beginning = Log::beginning(P);
    let trimmed = |read: Result<_, LogError>| match read {
        Err(LogError::Gap(Gap::Trimmed { after, found })) => (after, found),
        other => panic!("{other:?}"),
    };
    let patience = std::time::Duration::from_millis(10);
    let middle = Position { seq: 100, ..first };
    for from in [beginning, middle] {
        let read = alone.read(from, 9).await.map(drop);
        assert_eq!(trimmed(read), (from, first));
        let read = alone.tail(&[from], 9, patience).await.map(drop);
        assert_eq!(trimmed(read), (from, first));
        assert_eq!(trimmed(alone.check(&[from]).await), (from, first));
    }
    let last = Position { seq: 199, ..first };
    assert_eq!(alone.read(last, 9).await.unwrap().len(), 9);
    let told = alone.missing().await.unwrap().unwrap().to_string();
    assert!(
        told.contains("0:1-200") && told.contains("ARCHIVE_URL"),
        "{told}"
    );
    let with = whole(&setting.log, &setting.archive);
    assert_eq!(with.missing().await.unwrap(), None);

    // Archives that have nothing, lag behind the trim, or are another log's.
    let empty = tempfile::tempdir().unwrap();
    let mut other = Setting::new().await;
    other.add(0..500).await;
    other.seal(true).await.unwrap();
    for (archive, end) in [(open(empty.path()), 0), (behind, 100)] {
        let with = whole(&setting.log, &archive);
        let gap = with.missing().await.unwrap();
        assert!(matches!(gap, Some(Gap::NotArchived { .. })), "{gap:?}");
        let mut at = Log::beginning(P);
        let error = loop {
            match with.tail(&[at], 60, patience).await {
                Ok(events) => at = events.last().expect("an event or an error").position,
                Err(error) => break error,
            }
        };
        assert_eq!(at.seq, end);
        assert!(
            matches!(error, LogError::Gap(Gap::NotArchived { .. })),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_is_overtaken_by_a_trim_goes_on_in_the_archive() {
    let mut setting = Setting::new().await;
    setting.add(0..500).await;
    setting.seal(true).await.unwrap();
    let history = whole(&setting.log, &setting.archive);
    let all = setting.log.read(Log::beginning(P), 10_000).await.unwrap();
    let patience = std::time::Duration::from_millis(10);
    let mut at = Log::beginning(P);
    let mut read = Vec::new();
    for seq in [0, 100, 300, 450, 500] {
        let first = Position {
            seq,
            ..all[0].position
        };
        setting.log.trim(first).await.unwrap();
        let events = history.tail(&[at], 70, patience).await.unwrap();
        at = events.last().unwrap().position;
        read.extend(events);
    }
    while read.len() < all.len() {
        let events = history.tail(&[at], 70, patience).await.unwrap();
        at = events.last().unwrap().position;
        read.extend(events);
    }
    assert_eq!(read, all);
}

/// A hole of the log itself is filled out of the archive, or told.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_in_the_middle_is_never_passed_over() {
    let mut setting = Setting::new().await;
    setting.add(0..100).await;
    setting.seal(true).await.unwrap();
    let all = setting.log.read(Log::beginning(P), 10_000).await.unwrap();
    let () = redis::cmd("XDEL")
        .arg("hw:{p00}:events")
        .arg("1-50")
        .query_async::<u64>(&mut setting.redis)
        .await
        .map(drop)
        .unwrap();
    let alone = History::of(setting.log.clone());
    let read = alone.read(Log::beginning(P), 1_000).await.unwrap();
    assert_eq!(read, all[..50]);
    let error = alone.read(read[49].position, 1_000).await.unwrap_err();
    assert!(
        matches!(error, LogError::Gap(Gap::Missing { .. })),
        "{error}"
    );

    let with = whole(&setting.log, &setting.archive);
    let mut at = Log::beginning(P);
    let mut whole = Vec::new();
    while let Some(last) = with.read(at, 1_000).await.unwrap().last() {
        whole.extend(with.read(at, 1_000).await.unwrap());
        at = last.position;
    }
    assert_eq!(whole, all);

    // A segment that is gone is named.
    setting.add(100..101).await;
    std::fs::remove_file(setting.file("1-0.parquet")).unwrap();
    std::fs::remove_dir_all(setting.file("staged")).unwrap();
    let with = self::whole(&setting.log, &open(setting.folder.path()));
    let error = with.read(read[49].position, 1_000).await.unwrap_err();
    let told = error.to_string();
    assert!(
        matches!(error, LogError::Damaged(_)) && told.contains("p00/1-0.parquet"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_in_the_archive_is_found_there() {
    let mut setting = Setting::new().await;
    // Recorded at -500 and on, a millisecond apart.
    setting.add(0..300).await;
    setting.seal(true).await.unwrap();
    setting.add(300..400).await;
    setting.seal(true).await.unwrap();
    let all = setting.log.read(Log::beginning(P), 10_000).await.unwrap();
    let history = whole(&setting.log, &setting.archive);
    for trimmed in [0, 1, 200, 300, 350, 400] {
        setting.log.trim(all[trimmed].position).await.unwrap();
        for time in [-1_001, -600, -499, -400, -201, -200, -101, 3_000] {
            let time = Timestamp(time);
            let at = history.position_at(P, time).await.unwrap();
            let next = history.read(at, 1).await.unwrap().pop();
            let first = all.iter().find(|event| event.envelope.recorded_at >= time);
            assert_eq!(next.as_ref(), first, "{time}, trimmed {trimmed}");
        }
    }
    let alone = History::of(setting.log.clone());
    let at = alone.position_at(P, Timestamp(-400)).await.unwrap();
    assert!(alone.check(&[at]).await.is_err(), "it is not passed over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_as_a_url_is_decoded_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/a%20b", folder.path().display());
    let missing = Archive::open(&url).err().map(|error| error.to_string());
    assert!(missing.is_some_and(|error| error.contains("no such folder")));
    assert!(!folder.path().join("a b").exists(), "looking makes nothing");
    Archive::make(&url).unwrap();
    assert!(folder.path().join("a b").is_dir());
    Archive::open(&url).unwrap();
    for wrong in [
        "file://x",
        "file://x/y",
        "file:x",
        "file:///a#b",
        "ftp://x",
        // What a process alone would remember is no archive.
        "memory:",
        "memory:///x",
        "x",
    ] {
        let error = Archive::open(wrong).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains(wrong)), "{wrong}");
    }
    assert!(!Path::new("x").exists());
}
