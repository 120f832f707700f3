//! The archive: how quickly events are sealed and read back, and what one takes
//! on disk.

use std::time::Instant;

use archive::Archive;
use eventlog::{Log, LogKey, LogSettings};
use kernel::Partition;

use crate::{
    bench::Bench,
    line::{Line, Unit},
    roles::{KEY_PREFIX, LOG_SECRET},
    servers::PARTITIONS,
};

const SEALED_PER_SECOND_MIN: f64 = 200_000.0;
const DECODED_PER_SECOND_MIN: f64 = 500_000.0;
const LIKE_BYTES_MAX: f64 = 56.0;

pub async fn archive(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    bench.without_worker().await?;
    let mut settings = LogSettings::new(
        &bench.servers.urls().redis_log,
        LogKey::new(LOG_SECRET.as_bytes()),
    );
    settings.prefix = KEY_PREFIX.into();
    settings.partitions = PARTITIONS;
    let log = Log::create(&settings).await?;
    let folder = tempfile::tempdir_in(&bench.launcher.folder)?;
    let open = || Archive::open(&format!("file://{}", folder.path().display()));
    let heads = log.heads().await?;
    let writer = open()?;
    let began = Instant::now();
    let mut sealed = archive::Sealed::default();
    let each = heads.iter().map(|head| writer.seal(&log, *head, true));
    for done in futures_util::future::try_join_all(each).await? {
        sealed.events += done.events;
        sealed.bytes += done.bytes;
    }
    let seconds = began.elapsed().as_secs_f64();
    let reader = open()?;
    let began = Instant::now();
    let each = heads.iter().map(|head| read(&reader, head.partition));
    let read: u64 = futures_util::future::try_join_all(each).await?.iter().sum();
    anyhow::ensure!(
        read == sealed.events,
        "{read} of {} events read",
        sealed.events
    );
    let decoded = read as f64 / began.elapsed().as_secs_f64();
    let likes = likes(&reader).await?;
    let (rate, bytes) = (sealed.events as f64 / seconds, sealed.bytes as f64);
    let each = bytes / sealed.events as f64;
    Ok(vec![
        Line::new(
            "archive_seal",
            "archive: sealed, fsynced, read back",
            rate,
            Unit::PerSecond,
        )
        .at_least(SEALED_PER_SECOND_MIN, "≥200,000")
        .note(format!("{} events, {each:.1} bytes each", sealed.events)),
        Line::new(
            "archive_read",
            "archive: decoded, checksums too",
            decoded,
            Unit::PerSecond,
        )
        .at_least(DECODED_PER_SECOND_MIN, "≥500,000"),
        Line::new(
            "archive_like",
            "archive: a like on disk",
            likes,
            Unit::Bytes,
        )
        .at_most(LIKE_BYTES_MAX, "≤40"),
    ])
}

async fn read(archive: &Archive, partition: Partition) -> anyhow::Result<u64> {
    let mut events = 0;
    for segment in archive.segments(partition).await? {
        events += archive.events(&segment).await?.len() as u64;
    }
    Ok(events)
}

/// Bytes of a like: a segment of those of one partition alone.
async fn likes(archive: &Archive) -> anyhow::Result<f64> {
    let mut likes = Vec::new();
    for segment in archive.segments(Partition(0)).await? {
        let events = archive.events(&segment).await?;
        let all = events
            .iter()
            .filter(|event| event.envelope.event_type == "Liked");
        likes.extend(all.take(archive::SEGMENT_EVENTS_MAX - likes.len()).cloned());
    }
    Ok(archive::bytes_of(&likes)? as f64 / likes.len().max(1) as f64)
}
