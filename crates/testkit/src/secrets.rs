//! What one signs in with, as tests have it: passwords and e-mail addresses carry
//! marks, what the API gives out is remembered, and what processes say is kept.
//! It refuses to know where a secret may not stand: that is `watch`.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use eventlog::LogKey;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::format::FmtSpan,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};
use vault::MasterKeys;

/// In every password.
pub const PASSWORD_MARK: &str = "markedpassphrase";
/// The host of every e-mail address.
pub const EMAIL_MARK: &str = "marked-mail.example";
/// What signs tokens and cursors.
pub const TOKEN_SECRET: &str = "a token secret of tests, which is long enough";
/// What signs the log.
pub const LOG_SECRET: &str = "a log secret of tests, which is as long as that";
/// What wraps the vault's keys.
pub const VAULT_SECRET: &str = "a vault secret of tests that is as long again";

/// One process has no more: a stress test would be a place of its own.
const REMEMBERED_MAX: usize = 200_000;
/// What stands before the secret in a refresh token, and in a service's after its
/// prefix: the id, 16 bytes of base64, with the character that both share.
const ID_CHARACTERS: usize = 22;
const SERVICE_PREFIX: &str = "hws_";
/// Fields of answers that nobody else may see.
const SECRET_FIELDS: [&str; 4] = ["access_token", "refresh_token", "device_token", "secret"];

static REMEMBERED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static SAID: LazyLock<File> = LazyLock::new(|| tempfile::tempfile().unwrap());
static ARCHIVED: LazyLock<Mutex<HashSet<(PathBuf, usize)>>> = LazyLock::new(Mutex::default);

/// Signs what a test writes into the log by itself.
pub fn log_key() -> LogKey {
    LogKey::new(LOG_SECRET.as_bytes())
}

pub fn master_keys() -> MasterKeys {
    MasterKeys::new(VAULT_SECRET, [])
}

pub fn password(of: &str) -> String {
    format!("{PASSWORD_MARK} of {of}")
}

pub fn email(of: &str) -> String {
    format!("{of}@{EMAIL_MARK}")
}

/// A token or a code in the form in which people and clients have it, and the
/// bytes that it is made of.
pub fn remember(secret: &str) {
    let mut parts = vec![secret.as_bytes().to_vec()];
    let opaque = secret.strip_prefix(SERVICE_PREFIX).unwrap_or(secret);
    if let Some((_, signature)) = secret.rsplit_once('.') {
        // Who and until when is no secret.
        parts = vec![signature.as_bytes().to_vec()];
    } else if let Ok(bytes) = URL_SAFE_NO_PAD.decode(opaque)
        && bytes.len() == 16 + 32
    {
        parts = vec![
            opaque.as_bytes()[ID_CHARACTERS..].to_vec(),
            bytes[16..].to_vec(),
            hex(&bytes[16..]).into_bytes(),
        ];
    } else if secret.contains('-') {
        parts.push(secret.replace('-', "").into_bytes());
    }
    let mut all = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(all.len() < REMEMBERED_MAX, "too many secrets to remember");
    all.extend(parts.into_iter().filter(|part| part.len() >= 10));
}

/// Every secret in an answer. Those of the contract's examples are everybody's.
pub(crate) fn remember_in(answer: &Value) {
    match answer {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    _ if name == "example" => {}
                    Value::String(text) if SECRET_FIELDS.contains(&name.as_str()) => remember(text),
                    Value::Array(codes) if name == "recovery_codes" => {
                        codes.iter().filter_map(Value::as_str).for_each(remember);
                    }
                    other => remember_in(other),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(remember_in),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What a command printed for whoever ran it: its tokens are remembered, and are
/// not taken for a leak; all else must hold no secret.
pub fn printed(text: &str) {
    let is_token = |word: &str| word.starts_with(SERVICE_PREFIX) || word.starts_with("eyJ");
    for line in text.lines() {
        match is_token(line) && !line.contains(' ') {
            true => remember(line),
            false => heard("a command's output", line.as_bytes()),
        }
    }
}

/// What a process said: logs, metrics, problems, archived columns.
pub fn heard(what: &str, said: &[u8]) {
    let mut line = Vec::with_capacity(what.len() + said.len() + 3);
    line.extend([what.as_bytes(), b": ", said, b"\n"].concat());
    // In one write: others write too.
    (&*SAID).write_all(&line).unwrap();
}

/// What stands in the columns of an archive's files, which are compressed.
pub fn heard_of_archive(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            heard_of_archive(&path);
            continue;
        }
        // A sealed file only grows; others may rename and delete.
        let mut archived = ARCHIVED.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        let sealed = path.extension().is_some_and(|name| name == "parquet");
        if sealed && !archived.insert((path.clone(), bytes.len())) {
            continue;
        }
        heard(&path.display().to_string(), &bytes);
        if sealed {
            heard_of_segment(&path, bytes);
        }
    }
}

fn heard_of_segment(path: &Path, bytes: Vec<u8>) {
    // One that a test damaged has no columns.
    let Ok(file) = SerializedFileReader::new(bytes::Bytes::from(bytes)) else {
        return;
    };
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group).unwrap();
        for column in 0..group.num_columns() {
            let mut pages = group.get_column_page_reader(column).unwrap();
            while let Ok(Some(page)) = pages.get_next_page() {
                heard(&path.display().to_string(), page.buffer());
            }
        }
    }
}

/// Keeps what is traced in this process, whatever its level.
pub(crate) fn listen() {
    static LISTENS: OnceLock<()> = OnceLock::new();
    LISTENS.get_or_init(|| {
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
            .with_writer(|| Said);
        // What the client of the tests says is its own affair.
        let product = Targets::new()
            .with_default(LevelFilter::TRACE)
            .with_target("reqwest", LevelFilter::OFF)
            .with_target("hyper_util::client", LevelFilter::OFF);
        let all = tracing_subscriber::registry().with(product).with(lines);
        // A test may listen by itself.
        let _ = all.try_init();
    });
}

struct Said;

impl Write for Said {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        (&*SAID).write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How much was heard, and how many secrets there are, up to now.
pub(crate) fn now() -> (u64, usize) {
    let remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    (SAID.metadata().unwrap().len(), remembered.len())
}

/// What was remembered since then.
pub(crate) fn remembered_since(first: usize) -> Vec<Vec<u8>> {
    let remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    remembered[first..].to_vec()
}

/// A piece of what was heard; empty at the end.
pub(crate) fn heard_at(offset: u64, bytes_max: usize) -> Vec<u8> {
    let mut bytes = vec![0; bytes_max];
    let read = SAID.read_at(&mut bytes, offset).unwrap();
    bytes.truncate(read);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
