//! The files of an import, one after another as one stream of lines: plain or
//! gzip. They are read in a thread of their own, so that a pipe that falls silent
//! keeps nobody from stopping. What is in another format is named at once.

use std::{
    fs::File,
    io::{BufRead, BufReader, Cursor, ErrorKind, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::Context;
use flate2::bufread::GzDecoder;
use tokio::sync::mpsc;

use super::lines::{Lines, Text};

/// The beginning of a file tells its format, and it from other files.
pub const HEAD_BYTES: usize = 64 * 1_024;
const LINES_WAITING_MAX: usize = 1_024;
const GZIP: u8 = 0x1f;
const GZIP_MAGIC: [u8; 2] = [GZIP, 0x8b];
const MARK: &[u8] = b"\xef\xbb\xbf";
/// Where a tar archive says so.
const TAR_AT: usize = 257;

/// Beginnings of what is not read here, and the command that makes it readable.
const FORMATS: &[(&[u8], &str, &str)] = &[
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", "zstd -dc"),
    (b"BZh", "compressed with bzip2", "bzip2 -dc"),
    (b"\xfd7zXZ\0", "compressed with xz", "xz -dc"),
    (b"\x5d\0\0", "compressed with lzma", "xz -dc"),
    (b"\x04\x22\x4d\x18", "compressed with LZ4", "lz4 -dc"),
    (b"LZIP", "compressed with lzip", "lzip -dc"),
    (b"\x1f\x9d", "compressed with compress", "gzip -dc"),
    (b"\x1f\x8b", "compressed twice", "gzip -dc"),
    (b"PK\x03\x04", "a ZIP archive", "unzip -p"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x -so"),
    (b"\xff\xfe\0\0", "in UTF-32", "iconv -f UTF-32 -t UTF-8"),
    (b"\0\0\xfe\xff", "in UTF-32", "iconv -f UTF-32 -t UTF-8"),
    (b"{\0\0\0", "in UTF-32", "iconv -f UTF-32LE -t UTF-8"),
    (b"\0\0\0{", "in UTF-32", "iconv -f UTF-32BE -t UTF-8"),
    (b"\xff\xfe", "in UTF-16", "iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "in UTF-16", "iconv -f UTF-16 -t UTF-8"),
    (b"{\0", "in UTF-16", "iconv -f UTF-16LE -t UTF-8"),
    (b"\0{", "in UTF-16", "iconv -f UTF-16BE -t UTF-8"),
];

pub enum Item {
    Line(Line),
    /// The file ends early; which one, where and why.
    Cut(String),
    End,
}

pub struct Line {
    pub file: usize,
    /// In its file, from 1.
    pub number: u64,
    pub text: Text,
}

/// How far the files are read.
#[derive(Clone)]
pub struct Progress {
    /// None where it is not known.
    pub bytes: Option<u64>,
    counter: Arc<AtomicU64>,
}

impl Progress {
    pub fn read(&self) -> u64 {
        self.counter.load(Relaxed)
    }
}

pub struct Input {
    names: Vec<String>,
    files: Vec<Opened>,
    progress: Progress,
}

struct Opened {
    head: Vec<u8>,
    /// What ended the head, if that is not its length.
    error: Option<std::io::Error>,
    rest: Box<dyn Read + Send>,
}

impl Input {
    pub fn open(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let counter = Arc::new(AtomicU64::new(0));
        let mut bytes = Some(0);
        let (mut names, mut files) = (Vec::new(), Vec::new());
        for path in paths {
            let standard = path.as_os_str() == "-";
            let name = match standard {
                true => "standard input".to_owned(),
                false => path.display().to_string(),
            };
            anyhow::ensure!(
                !standard || !names.contains(&name),
                "standard input (-) can be read once"
            );
            let (input, length) = match standard {
                true => (Box::new(std::io::stdin()) as Box<dyn Read + Send>, None),
                false => plain_file(path)?,
            };
            bytes = bytes.zip(length).map(|(all, one)| all + one);
            let counted = Counted {
                inner: input,
                counter: counter.clone(),
            };
            files.push(Opened::new(&name, counted)?);
            names.push(name);
        }
        Ok(Self {
            names,
            files,
            progress: Progress { bytes, counter },
        })
    }

    /// For people, in the order of the command line.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The first bytes of the first file.
    pub fn head(&self) -> &[u8] {
        self.files.first().map_or(&[], |file| &file.head)
    }

    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Reads on until all is read or nobody takes it.
    pub fn read(&mut self) -> mpsc::Receiver<Item> {
        let (items, taken) = mpsc::channel(LINES_WAITING_MAX);
        let files = std::mem::take(&mut self.files);
        let names = self.names.clone();
        // The runtime would wait for a thread of its own, also for one that waits
        // for a silent pipe.
        std::thread::spawn(move || {
            for (file, opened) in files.into_iter().enumerate() {
                if !read_file(file, &names[file], opened, &items) {
                    return;
                }
            }
            let _ = items.blocking_send(Item::End);
        });
        taken
    }
}

/// Whether to go on with the next file.
fn read_file(file: usize, name: &str, opened: Opened, items: &mpsc::Sender<Item>) -> bool {
    let mut lines = Lines::of(BufReader::with_capacity(HEAD_BYTES, opened.all()));
    for number in 1.. {
        let item = match lines.next() {
            Ok(None) => break,
            Ok(Some(text)) => Item::Line(Line { file, number, text }),
            Err(error) => Item::Cut(format!("{name} ends early, in line {number}: {error}")),
        };
        let cut = matches!(item, Item::Cut(_));
        if items.blocking_send(item).is_err() || cut {
            return false;
        }
    }
    true
}

fn plain_file(path: &Path) -> anyhow::Result<(Box<dyn Read + Send>, Option<u64>)> {
    let missing = || format!("{} cannot be read", path.display());
    let about = path.metadata().with_context(missing)?;
    anyhow::ensure!(
        !about.is_dir(),
        "{} is a folder: name the files in it",
        path.display()
    );
    let file = File::open(path).with_context(missing)?;
    Ok((Box::new(file), about.is_file().then_some(about.len())))
}

impl Opened {
    fn new(name: &str, input: impl Read + Send + 'static) -> anyhow::Result<Self> {
        let mut raw = BufReader::new(input);
        let gzip = raw
            .fill_buf()
            .with_context(|| format!("{name} cannot be read"))?
            .starts_with(&GZIP_MAGIC);
        let mut rest: Box<dyn Read + Send> = match gzip {
            true => Box::new(Gzip(Some(GzDecoder::new(raw)))),
            false => Box::new(raw),
        };
        let (mut head, error) = head(&mut rest);
        if head.starts_with(MARK) {
            head.drain(..MARK.len());
        }
        if let Some((_, format, command)) = format(&head) {
            anyhow::bail!(
                "{name} is {format}, which cannot be imported. This can: \
                 {command} {name} | headwater import -"
            );
        }
        Ok(Self { head, error, rest })
    }

    fn all(self) -> impl Read {
        let head = Cursor::new(self.head);
        head.chain(Ended(self.error)).chain(self.rest)
    }
}

/// The first bytes, however they arrive.
fn head(input: &mut impl Read) -> (Vec<u8>, Option<std::io::Error>) {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let read = input.take(HEAD_BYTES as u64).read_to_end(&mut head);
    (head, read.err())
}

fn format(head: &[u8]) -> Option<(&[u8], &str, &str)> {
    if head
        .get(TAR_AT..)
        .is_some_and(|at| at.starts_with(b"ustar"))
    {
        return Some((b"", "a tar archive", "tar -xOf"));
    }
    let array = head.trim_ascii_start().strip_prefix(b"[");
    if array.is_some_and(|array| array.trim_ascii_start().starts_with(b"{")) {
        return Some((b"", "one JSON array, not an object a line", "jq -c '.[]'"));
    }
    let begins = |(magic, ..): &&(&[u8], _, _)| head.starts_with(magic);
    FORMATS.iter().find(begins).copied()
}

/// Gives an error that came before, once.
struct Ended(Option<std::io::Error>);

impl Read for Ended {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Gzip of one or more members. Zeros behind the last are padding (of tapes and
/// blocks); anything else is an error.
struct Gzip<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let count = member.read(buffer).map_err(in_words)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(mut rest) = self.0.take().map(GzDecoder::into_inner) else {
                break;
            };
            match first_but_zeros(&mut rest)? {
                None => break,
                Some(GZIP) => self.0 = Some(GzDecoder::new(rest)),
                Some(_) => {
                    let why = "what comes behind its gzip data is not gzip";
                    return Err(std::io::Error::new(ErrorKind::InvalidData, why));
                }
            }
        }
        Ok(0)
    }
}

fn first_but_zeros(input: &mut impl BufRead) -> std::io::Result<Option<u8>> {
    loop {
        let bytes = input.fill_buf()?;
        let length = bytes.len();
        if length == 0 {
            return Ok(None);
        }
        match bytes.iter().position(|byte| *byte != 0) {
            Some(zeros) => {
                let first = bytes[zeros];
                input.consume(zeros);
                return Ok(Some(first));
            }
            None => input.consume(length),
        }
    }
}

fn in_words(error: std::io::Error) -> std::io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            std::io::Error::new(error.kind(), "its gzip data is cut: a part is missing")
        }
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            let why = format!("its gzip data is damaged ({error}): lines before it may be too");
            std::io::Error::new(error.kind(), why)
        }
        _ => error,
    }
}

struct Counted {
    inner: Box<dyn Read + Send>,
    counter: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.counter.fetch_add(count as u64, Relaxed);
        Ok(count)
    }
}
