//! `headwater import`: sends a file of activity through the command side. Ids
//! derive from the file, so that a second run, or one after a kill, has no
//! second effect. It refuses to write anything but commands.

mod activity;
mod lanes;
mod summary;

use std::{
    fs::File,
    io::{BufRead, BufReader, IsTerminal, Read},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use crate::{node::Node, settings::Settings, stop};
use activity::Operation;
use lanes::Lanes;
use summary::Summary;

/// The first bytes of a file tell it from others.
const SOURCE_BYTES: usize = 64 * 1_024;
const LINE_BYTES_MAX: u64 = 1024 * 1_024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const REPORT_SECONDS: u64 = 5;

#[derive(Args)]
pub struct Import {
    /// NDJSON, plain or gzip; - for standard input
    file: PathBuf,
    /// What the ids derive from; by default the file's first 64 KiB
    #[arg(long)]
    source: Option<String>,
}

pub async fn run(import: Import, settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    let stopped = stop::on_signal()?;
    let (mut lines, bytes) = open(&import.file)?;
    let source = match import.source {
        Some(source) => source,
        None => fingerprint(&mut lines)?,
    };
    let bar = progress(bytes.length);
    let began = Instant::now();
    let mut reported = began;
    let mut lanes = Lanes::start(node, source);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let read = (&mut lines)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)?;
        if read == 0 || *stopped.borrow() || lanes.failed().is_some() {
            break;
        }
        number += 1;
        anyhow::ensure!(
            line.len() < LINE_BYTES_MAX as usize,
            "line {number} is too long"
        );
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match serde_json::from_slice::<Operation>(text) {
            Ok(operation) => lanes.send(number, operation).await,
            Err(error) => lanes.refuse_line(number, &error.to_string()),
        }
        if number % 256 == 0 {
            bar.set_position(bytes.read());
            let rate = number as f64 / began.elapsed().as_secs_f64();
            bar.set_message(format!("{number} lines, {rate:.0}/s"));
            if bar.is_hidden() && reported.elapsed() > Duration::from_secs(REPORT_SECONDS) {
                eprintln!("{number} lines, {rate:.0}/s");
                reported = Instant::now();
            }
        }
    }
    let summary: Arc<Summary> = lanes.finish().await;
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    summary.print(number, seconds)?;
    if let Some(error) = summary.failure() {
        anyhow::bail!(
            "stopped: {error}\nrun the same command again to go on: nothing is done twice"
        );
    }
    if *stopped.borrow() {
        eprintln!("stopped at line {number}; run the same command again to go on");
    }
    Ok(())
}

/// How far the file is read, for the progress bar.
struct Bytes {
    length: Option<u64>,
    counter: Arc<std::sync::atomic::AtomicU64>,
}

impl Bytes {
    fn read(&self) -> u64 {
        self.counter.load(std::sync::atomic::Ordering::Relaxed)
    }
}

struct Counted<R> {
    inner: R,
    counter: Arc<std::sync::atomic::AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        self.counter.fetch_add(count as u64, relaxed);
        Ok(count)
    }
}

type Lines = BufReader<Box<dyn Read>>;

fn open(path: &PathBuf) -> anyhow::Result<(Lines, Bytes)> {
    let (input, length): (Box<dyn Read>, _) = if path.as_os_str() == "-" {
        (Box::new(std::io::stdin()), None)
    } else {
        let missing = || format!("{} cannot be read", path.display());
        let file = File::open(path).with_context(missing)?;
        let length = file.metadata().with_context(missing)?.len();
        (Box::new(file), Some(length))
    };
    let counter = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Counted {
        inner: input,
        counter: counter.clone(),
    };
    let mut raw = BufReader::new(counted);
    let gzip = raw.fill_buf()?.starts_with(&GZIP_MAGIC);
    let plain: Box<dyn Read> = match gzip {
        true => Box::new(MultiGzDecoder::new(raw)),
        false => Box::new(raw),
    };
    let lines = BufReader::with_capacity(SOURCE_BYTES, plain);
    Ok((lines, Bytes { length, counter }))
}

/// Names the file by its first bytes, however they arrive.
fn fingerprint(lines: &mut Lines) -> anyhow::Result<String> {
    let mut head = Vec::with_capacity(SOURCE_BYTES);
    let inner: Box<dyn Read> = Box::new(std::io::empty());
    let mut taken = std::mem::replace(lines, BufReader::new(inner));
    (&mut taken)
        .take(SOURCE_BYTES as u64)
        .read_to_end(&mut head)?;
    let source = hex::encode(Sha256::digest(&head));
    let again: Box<dyn Read> = Box::new(std::io::Cursor::new(head).chain(taken));
    *lines = BufReader::with_capacity(SOURCE_BYTES, again);
    Ok(source)
}

fn progress(length: Option<u64>) -> ProgressBar {
    let bar = match length {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::new_spinner(),
    };
    let template = match length {
        Some(_) => "{bar:30} {percent}% {msg}, {eta} left",
        None => "{spinner} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    bar
}
