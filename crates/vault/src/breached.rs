//! Passwords that leaked elsewhere, asked for in a file of their hashes. The file may
//! be larger than memory: a look reads a few blocks of it. It refuses to keep or send
//! anything of the password.

use std::{
    cmp::Ordering,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sha1::{Digest, Sha1};
use tokio::sync::Semaphore;

use crate::{Password, VaultError};

/// A hash, and how often it leaked: 40 digits, a colon, up to 20 more, and the end.
const LINE_BYTES_MAX: usize = 64;
const HASH_DIGITS: usize = 40;
/// Lines that are looked at when the file is opened: one in another order would be
/// searched in vain, and in silence.
const PROBES: u64 = 256;
/// Looks at once; a disk that does not answer must not hold more threads.
const LOOKS_MAX: usize = 8;
const LOOK_MILLISECONDS_MAX: u64 = 2_000;

/// Hashes in their order, a line each: `SHA-1:count`, as the Pwned Passwords
/// downloader writes them into one file; the count may be missing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BreachedPasswords(Arc<Hashes>);

#[derive(Debug)]
struct Hashes {
    file: File,
    length: u64,
    looks: Arc<Semaphore>,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "{path}: {reason}; it must be a file of SHA-1 hashes in hexadecimal, sorted, a line each, with \
     or without :count behind them"
)]
pub struct UnusableList {
    path: PathBuf,
    reason: io::Error,
}

impl BreachedPasswords {
    /// Looks at some lines, from the first to the last.
    pub fn open(path: &Path) -> Result<Self, UnusableList> {
        let unusable = |reason| UnusableList {
            path: path.to_owned(),
            reason,
        };
        let hashes = Hashes::open(path).map_err(unusable)?;
        Ok(Self(Arc::new(hashes)))
    }

    /// Whether it leaked.
    pub async fn has(&self, password: &Password) -> Result<bool, VaultError> {
        let hash = hex::encode(Sha1::digest(password.as_bytes()));
        let hashes = self.0.clone();
        let look = async move {
            let turn = hashes.looks.clone().acquire_owned().await;
            let turn = turn.map_err(io::Error::other)?;
            let look = move || {
                let _turn = turn;
                hashes.has(hash.as_bytes())
            };
            let looked = tokio::task::spawn_blocking(look).await;
            looked.unwrap_or_else(|error| Err(io::Error::other(error)))
        };
        let patience = Duration::from_millis(LOOK_MILLISECONDS_MAX);
        let looked = tokio::time::timeout(patience, look).await;
        let looked = looked.unwrap_or_else(|late| Err(late.into()));
        looked.map_err(VaultError::Breached)
    }
}

impl Hashes {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let hashes = Self {
            file,
            length,
            looks: Arc::new(Semaphore::new(LOOKS_MAX)),
        };
        let mut before = hashes.line_at(0)?;
        for probe in 1..=PROBES {
            let at = length.saturating_sub(1).saturating_mul(probe) / PROBES;
            let line = hashes.line_at(at)?;
            if line.begins != before.begins && line.hash <= before.hash {
                return Err(damaged("its hashes are not in their order"));
            }
            before = line;
        }
        Ok(hashes)
    }

    /// `wanted` is in lower case.
    fn has(&self, wanted: &[u8]) -> io::Result<bool> {
        let (mut from, mut until) = (0, self.length);
        while from < until {
            let line = self.line_at(from + (until - from) / 2)?;
            match wanted.cmp(line.hash.as_slice()) {
                Ordering::Equal => return Ok(true),
                Ordering::Less => until = line.begins,
                Ordering::Greater => from = line.ends,
            }
        }
        Ok(false)
    }

    /// The line that the byte at `at` belongs to.
    fn line_at(&self, at: u64) -> io::Result<Line> {
        let begin = at.saturating_sub(LINE_BYTES_MAX as u64);
        let end = self.length.min(at + LINE_BYTES_MAX as u64);
        let mut block = vec![0; usize::try_from(end - begin).unwrap_or_default()];
        self.file.read_exact_at(&mut block, begin)?;
        let here = usize::try_from(at - begin).unwrap_or_default();
        let before = block[..here].iter().rposition(|byte| *byte == b'\n');
        let first = before.map_or(0, |newline| newline + 1);
        let after = block[here..].iter().position(|byte| *byte == b'\n');
        let next = after.map_or(block.len(), |newline| here + newline + 1);
        let hash = block[first..next].first_chunk::<HASH_DIGITS>();
        let hash = hash.filter(|hash| hash.iter().all(u8::is_ascii_hexdigit));
        let behind = block[first..next].get(HASH_DIGITS).unwrap_or(&b'\n');
        let ended = after.is_some() || end == self.length;
        let whole =
            ended && next - first <= LINE_BYTES_MAX && matches!(behind, b':' | b'\r' | b'\n');
        let hash = hash.filter(|_| whole);
        let hash = hash.ok_or_else(|| damaged("it has a line that is none of hashes"))?;
        Ok(Line {
            hash: hash.to_ascii_lowercase(),
            begins: begin + first as u64,
            ends: begin + next as u64,
        })
    }
}

struct Line {
    hash: Vec<u8>,
    begins: u64,
    ends: u64,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<(BreachedPasswords, tempfile::NamedTempFile), UnusableList> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Ok((BreachedPasswords::open(file.path())?, file))
    }

    fn digest(word: usize) -> String {
        hex::encode(Sha1::digest(format!("password {word}")))
    }

    #[tokio::test]
    async fn what_leaked_is_found_and_nothing_else() {
        for (end, count) in [("\r\n", true), ("\n", false), ("\n", true)] {
            for size in [1, 2, 3, 500] {
                let mut hashes: Vec<_> = (0..size).map(digest).collect();
                hashes.sort_unstable();
                let line = |(index, hash): (usize, &String)| match count {
                    true => format!(
                        "{}:{}",
                        hash.to_uppercase(),
                        10_usize.pow((index % 9) as u32)
                    ),
                    false => hash.clone(),
                };
                let lines: Vec<_> = hashes.iter().enumerate().map(line).collect();
                for last in ["", end] {
                    let (list, _file) = list(&(lines.join(end) + last)).unwrap();
                    for word in 0..2 * size {
                        let password = format!("password {word}").parse().unwrap();
                        let leaked = list.has(&password).await.unwrap();
                        assert_eq!(leaked, word < size, "{word} of {size}, {end:?}, {count}");
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn a_file_of_something_else_is_refused() {
        let (low, high) = ("0".repeat(40), "f".repeat(40));
        // By how often they leaked: the first and the last say nothing.
        let middle: Vec<_> = (0..100).map(digest).collect();
        let unsorted = format!("{low}\n{}\n{high}\n", middle.join("\n"));
        for text in [
            String::new(),
            "password\n12345678\n".into(),
            format!("{high}\n{low}\n"),
            format!("{low}{high}\n"),
            format!("{low}\n\n"),
            format!("{low}:{}\n", "1".repeat(60)),
            format!("{low}:{}\n{high}\n", "1".repeat(30)),
            unsorted,
        ] {
            assert!(list(&text).is_err(), "{text:?}");
        }
        assert!(BreachedPasswords::open(Path::new("/no/such/file")).is_err());
        // Damaged after it was opened: nobody is let through by it.
        let (list, file) = list(&format!("{low}\n{high}\n")).unwrap();
        assert_eq!(
            list.has(&"correct horse".parse().unwrap()).await.ok(),
            Some(false)
        );
        std::fs::write(file.path(), "nonsense".repeat(20)).unwrap();
        assert!(list.has(&"correct horse".parse().unwrap()).await.is_err());
    }
}
