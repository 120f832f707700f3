//! Password hashes: argon2id, computed on threads of their own, so many at once
//! and no more. It refuses to store anything.

use std::{
    collections::HashSet,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc,
};
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use unicode_normalization::UnicodeNormalization;

use crate::VaultError;

/// NIST SP 800-63B asks for at least 8 and allows at least 64.
pub const PASSWORD_CHARACTERS_MIN: usize = 8;
pub const PASSWORD_CHARACTERS_MAX: usize = 128;
/// Shorter words of the context are in any password by chance.
const CONTEXT_WORD_CHARACTERS_MIN: usize = 3;
/// OWASP's first choice for argon2id: 19 MiB, 2 passes, 1 lane.
const MEMORY_KIBIBYTES: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes that wait for a turn or have it; more are refused at once.
const WAITING_MAX: usize = 256;
/// How long one may have to wait, by how long the last ones took; who would wait
/// longer is refused at once, and those who wait are done in time.
const WAITING_MILLISECONDS_MAX: u64 = 1_000;
/// The newest hash counts for one in so many in what is expected of the next.
const MEMORY: u64 = 8;

/// Nice value of the threads that hash: they take every processor where many sign
/// in, and what others ask is done before. Where nobody asks, it costs nothing.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// A password in the form that is hashed and compared, whatever keyboard it was typed on.
/// Never printed.
#[derive(Clone)]
pub struct Password(String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    #[error("a password has {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters")]
    Length,
    #[error("a password has no control characters, and none that cannot be seen")]
    Characters,
    #[error("many have this password, and it is guessed first: choose another one")]
    Common,
    #[error("it was found among passwords that leaked elsewhere: choose another one")]
    Breached,
    #[error(
        "it is little more than this service's name, the handle or the e-mail address, which are \
         guessed first: choose another one"
    )]
    Context,
}

/// Those of the 20,000 that leaked most often which are long enough, in lower
/// case: as Django 5.2 ships them (BSD-3-Clause).
const COMMON: &str = include_str!("common_passwords.txt");

/// `OpaqueString` of RFC 8265, 4.2: every blank is U+0020, and characters are composed
/// (NFC), so that one password has one form on every keyboard. It refuses nothing.
fn opaque(text: &str) -> String {
    let blank = |c: char| category(c) == GeneralCategory::SpaceSeparator;
    let blanks = text.chars().map(|c| if blank(c) { ' ' } else { c });
    blanks.nfc().collect()
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

/// What RFC 8265 keeps out of a password: controls, what Unicode has not assigned, and
/// what is not seen. What makes an emoji of signs stays: keyboards send it.
fn is_unfit(c: char) -> bool {
    let of_emoji =
        matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0020}'..='\u{e007f}');
    let category = category(c);
    let unseen = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) && !of_emoji;
    unseen || [GeneralCategory::Control, GeneralCategory::Unassigned].contains(&category)
}

fn is_common(text: &str) -> bool {
    static ALL: OnceLock<HashSet<&str>> = OnceLock::new();
    let all = ALL.get_or_init(|| COMMON.lines().collect());
    all.contains(text.to_lowercase().trim())
}

impl FromStr for Password {
    type Err = InvalidPassword;

    fn from_str(text: &str) -> Result<Self, InvalidPassword> {
        let text = opaque(text);
        let length = text.chars().count();
        if !(PASSWORD_CHARACTERS_MIN..=PASSWORD_CHARACTERS_MAX).contains(&length) {
            return Err(InvalidPassword::Length);
        }
        if text.chars().any(is_unfit) {
            return Err(InvalidPassword::Characters);
        }
        if is_common(&text) {
            return Err(InvalidPassword::Common);
        }
        Ok(Self(text))
    }
}

impl Password {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Refuses what is little more than words of its context: without them it must
    /// still be a password. A long one may hold them.
    pub fn check_context(&self, context: &[&str]) -> Result<(), InvalidPassword> {
        let mut words: Vec<String> = Vec::new();
        for text in context {
            let folded = opaque(text).to_lowercase();
            let pieces = folded.split(|c: char| !c.is_alphanumeric());
            words.extend(pieces.map(str::to_owned));
            words.push(folded);
        }
        words.retain(|word| word.chars().count() >= CONTEXT_WORD_CHARACTERS_MIN);
        // The longest first, so that it is not torn by what it holds.
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        let whole = self.0.to_lowercase();
        let left = words
            .iter()
            .fold(whole.clone(), |left, word| left.replace(word, ""));
        let weak = left.chars().count() < PASSWORD_CHARACTERS_MIN || is_common(&left);
        match weak && left != whole {
            true => Err(InvalidPassword::Context),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What came out of a check.
#[derive(Clone, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right,
    /// Right, and this is its hash with today's parameters.
    RightButOld(String),
}

impl fmt::Debug for Verdict {
    /// Never the hash: debug output ends in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wrong => "Wrong",
            Self::Right => "Right",
            Self::RightButOld(_) => "RightButOld(…)",
        })
    }
}

/// Among those who wait for a turn, until it is dropped.
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// Hashes and checks; cheap to clone.
#[derive(Clone)]
pub struct PasswordHashes {
    jobs: mpsc::Sender<Job>,
    turns: usize,
    waiting: Arc<Semaphore>,
    /// How long a hash takes, about.
    expected_micros: Arc<AtomicU64>,
    computed: Arc<AtomicU64>,
    /// Checked where there is no such account, so that both take as long.
    decoy: Arc<str>,
}

impl PasswordHashes {
    /// `turns`: how many are computed at once, each with 19 MiB.
    pub fn new(turns: usize) -> Result<Self, VaultError> {
        let turns = turns.max(1);
        let started = Instant::now();
        let decoy = hash("a decoy, never a password")?.into();
        Ok(Self {
            jobs: start(turns)?,
            turns,
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            expected_micros: Arc::new(AtomicU64::new(micros(started.elapsed()))),
            computed: Arc::default(),
            decoy,
        })
    }

    /// A place among those who wait, where their turn comes soon: to be taken before
    /// anything else is done for whoever needs one, so that a rush is refused before
    /// it has looked anything up.
    pub fn place(&self) -> Result<Place, VaultError> {
        let before = WAITING_MAX - self.waiting.available_permits();
        let rounds = (before / self.turns) as u64;
        let expected = rounds * self.expected_micros.load(Ordering::Relaxed);
        if expected > WAITING_MILLISECONDS_MAX * 1_000 {
            return Err(VaultError::Busy);
        }
        let permit = self.waiting.clone().try_acquire_owned();
        let _permit = permit.map_err(|_| VaultError::Busy)?;
        Ok(Place { _permit })
    }

    /// Hashes and checks that were begun, each of which takes as long.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    pub async fn hash(&self, password: Password, place: Place) -> Result<String, VaultError> {
        self.compute(place, move || hash(&password.0)).await
    }

    /// Whether `password`, as it was typed, is what was hashed; without a `stored` hash this
    /// takes as long and is wrong.
    pub async fn verify(
        &self,
        password: String,
        stored: Option<String>,
        place: Place,
    ) -> Result<Verdict, VaultError> {
        let password = opaque(&password);
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.to_string());
        self.compute(place, move || {
            let parsed = phc::PasswordHash::new(&stored).map_err(|_| VaultError::Hashing)?;
            let right = hasher()?
                .verify_password(password.as_bytes(), &parsed)
                .is_ok();
            if !(right && known) {
                return Ok(Verdict::Wrong);
            }
            let today = format!("m={MEMORY_KIBIBYTES},t={PASSES},p={LANES}");
            if stored.contains(&today) {
                return Ok(Verdict::Right);
            }
            hash(&password).map(Verdict::RightButOld)
        })
        .await
    }

    async fn compute<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let (reply, answer) = oneshot::channel();
        let (expected, computed) = (self.expected_micros.clone(), self.computed.clone());
        let job = move || {
            // Whoever gave up meanwhile needs no answer; their place was taken
            // until here, as the queue is as long as it is.
            let _place = place;
            if reply.is_closed() {
                return;
            }
            let started = Instant::now();
            computed.fetch_add(1, Ordering::Relaxed);
            let _ = reply.send(work());
            let took = micros(started.elapsed());
            // Two at once may lose one of their counts: it is an estimate.
            let before = expected.load(Ordering::Relaxed);
            expected.store(before - before / MEMORY + took / MEMORY, Ordering::Relaxed);
        };
        let sent = self.jobs.send(Box::new(job));
        sent.map_err(|_| VaultError::Hashing)?;
        answer.await.map_err(|_| VaultError::Hashing)?
    }
}

/// Threads of our own: an allocator keeps what a thread gave back, so that
/// each thread of tokio's blocking pool that ever hashed would hold 19 MiB.
fn start(turns: usize) -> Result<mpsc::Sender<Job>, VaultError> {
    let (jobs, queue) = mpsc::channel::<Job>();
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..turns {
        let queue = queue.clone();
        let thread = thread::Builder::new().name("password-hash".into());
        let started = thread.spawn(move || {
            give_way();
            loop {
                let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(job) = job else { return };
                // The thread outlives a panic; whoever waits is told.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        });
        started.map_err(|_| VaultError::Hashing)?;
    }
    Ok(jobs)
}

/// Of the calling thread alone, on Linux (`setpriority(2)`, "C library/kernel
/// differences"); elsewhere it would be the whole process.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "passwords are hashed before what others ask");
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn hasher() -> Result<Argon2<'static>, VaultError> {
    let params = Params::new(MEMORY_KIBIBYTES, PASSES, LANES, None);
    let params = params.map_err(|_| VaultError::Hashing)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Result<String, VaultError> {
    let hash: phc::PasswordHash = hasher()?
        .hash_password(password.as_bytes())
        .map_err(|_| VaultError::Hashing)?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_enough_and_not_what_many_have() {
        let parse = |text: &str| text.parse::<Password>().map(|_| ());
        assert_eq!(parse("correct horse"), Ok(()));
        assert_eq!(parse(&"é".repeat(PASSWORD_CHARACTERS_MAX)), Ok(()));
        for length in [PASSWORD_CHARACTERS_MIN - 1, PASSWORD_CHARACTERS_MAX + 1] {
            assert_eq!(parse(&"é".repeat(length)), Err(InvalidPassword::Length));
        }
        for common in ["password", "12345678", "PassWord1"] {
            assert_eq!(parse(common), Err(InvalidPassword::Common), "{common}");
        }
        // ASVS 5, 6.2.4: the first 3,000 at least.
        assert!(COMMON.lines().count() > 3_000);
    }

    #[test]
    fn a_password_is_measured_in_its_one_form() {
        let parse = |text: &str| text.parse::<Password>().map(|password| password.0);
        for (typed, kept) in [
            ("pa\u{308}sswo\u{308}rter", "pässwörter"),
            ("\u{1112}\u{1161}\u{11ab}글 비밀번호 8", "한글 비밀번호 8"),
            (
                "correct\u{a0}horse\u{3000}battery\u{2003}",
                "correct horse battery ",
            ),
            ("correct horse \u{212b}", "correct horse Å"),
            ("Ｆｕｌｌ ｗｉｄｔｈ", "Ｆｕｌｌ ｗｉｄｔｈ"),
            (
                "family 👨\u{200d}👩\u{200d}👧 ❤\u{fe0f}",
                "family 👨\u{200d}👩\u{200d}👧 ❤\u{fe0f}",
            ),
            ("می\u{200c}خواهم ۱۲۳۴", "می\u{200c}خواهم ۱۲۳۴"),
        ] {
            assert_eq!(parse(typed).as_deref(), Ok(kept), "{typed}");
        }
        let most = "e\u{301}".repeat(PASSWORD_CHARACTERS_MAX);
        assert_eq!(parse(&most), Ok("é".repeat(PASSWORD_CHARACTERS_MAX)));
        let short = "e\u{301}".repeat(PASSWORD_CHARACTERS_MIN - 1);
        assert_eq!(parse(&short), Err(InvalidPassword::Length));
        // It grows: there is no composed form of it.
        let long = "\u{958}".repeat(PASSWORD_CHARACTERS_MAX);
        assert_eq!(parse(&long), Err(InvalidPassword::Length));
        for unfit in [
            '\0', '\n', '\t', '\u{7f}', '\u{85}', '\u{200b}', '\u{202e}', '\u{feff}', '\u{ad}',
            '\u{3164}', '\u{378}', '\u{ffff}',
        ] {
            let text = format!("correct horse{unfit}");
            assert_eq!(parse(&text), Err(InvalidPassword::Characters), "{unfit:?}");
        }
    }

    #[tokio::test]
    async fn a_password_is_the_same_on_every_keyboard() -> Result<(), VaultError> {
        let hashes = PasswordHashes::new(2)?;
        let same = [
            "pässwort für álle",
            "pa\u{308}sswort fu\u{308}r a\u{301}lle",
            "pässwort\u{a0}für\u{3000}álle",
        ];
        for set in same {
            let parsed = set.parse().map_err(|_| VaultError::Hashing)?;
            let stored = hashes.hash(parsed, hashes.place()?).await?;
            for typed in same {
                let place = hashes.place()?;
                let verdict = hashes
                    .verify(typed.into(), Some(stored.clone()), place)
                    .await?;
                assert_eq!(verdict, Verdict::Right, "{set} {typed}");
            }
            let other = "PÄSSWORT für álle".into();
            let verdict = hashes.verify(other, Some(stored), hashes.place()?).await?;
            assert_eq!(verdict, Verdict::Wrong);
        }
        Ok(())
    }

    #[tokio::test]
    async fn nobody_is_looked_at_as_long_as_somebody() -> Result<(), VaultError> {
        let hashes = PasswordHashes::new(1)?;
        let stored = hash("somebody's")?;
        let mut took = [Duration::MAX; 2];
        for _ in 0..5 {
            for (took, stored) in took.iter_mut().zip([None, Some(stored.clone())]) {
                let started = Instant::now();
                let place = hashes.place()?;
                let verdict = hashes.verify("a guess".into(), stored, place).await?;
                assert_eq!(verdict, Verdict::Wrong);
                *took = started.elapsed().min(*took);
            }
        }
        let [nobody, somebody] = took;
        assert!(nobody > somebody / 2, "{nobody:?}, {somebody:?}");
        Ok(())
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn hashing_gives_way_and_nothing_else_does() -> Result<(), VaultError> {
        let nice = || rustix::process::getpriority_process(None);
        let before = nice();
        let hashes = PasswordHashes::new(1)?;
        let there = hashes.compute(hashes.place()?, move || Ok(nice())).await?;
        assert_eq!(there, Ok(NICE));
        assert_eq!(nice(), before);
        Ok(())
    }

    #[test]
    fn a_password_is_more_than_words_of_its_context() {
        let context = ["headwater", "Ada_Lovelace", "ada.l+news", "al"];
        let check = |text: &str| {
            let password = text.parse::<Password>();
            password.and_then(|password| password.check_context(&context))
        };
        for weak in [
            "Headwater",
            "headwater1815",
            "HEADWATER-headwater",
            "ada_lovelace",
            "AdaLovelace1815",
            "lovelace!lovelace!",
            "ada.l+news2",
            // Nor what many have, with a word before it.
            "ada12345678",
            "passwordlovelace",
        ] {
            assert_eq!(check(weak), Err(InvalidPassword::Context), "{weak}");
        }
        for strong in [
            "correct horse",
            "ada rides a bicycle",
            "headwater of the nile",
            // Words of two letters are in everything.
            "alabaster",
            "my lovelace is 1815!",
        ] {
            assert_eq!(check(strong), Ok(()), "{strong}");
        }
    }

    #[tokio::test]
    async fn whoever_would_wait_long_is_refused_at_once() -> Result<(), VaultError> {
        let hashes = PasswordHashes::new(1)?;
        let slow = || {
            thread::sleep(Duration::from_millis(300));
            Ok(())
        };
        hashes.expected_micros.store(300_000, Ordering::Relaxed);
        let started = Instant::now();
        let ask = async || hashes.compute(hashes.place()?, slow).await;
        let all = tokio::join!(ask(), ask(), ask(), ask(), ask());
        // The fourth waits for 900 ms, and the fifth would for 1.2 s.
        assert!(matches!(
            all,
            (Ok(()), Ok(()), Ok(()), Ok(()), Err(VaultError::Busy))
        ));
        assert!(started.elapsed() < Duration::from_millis(2_000));
        Ok(())
    }

    #[tokio::test]
    async fn a_password_is_checked_and_an_old_hash_made_new() -> Result<(), VaultError> {
        let hashes = PasswordHashes::new(2)?;
        let password = "correct horse";
        let parsed = password.parse().map_err(|_| VaultError::Hashing)?;
        let stored = hashes.hash(parsed, hashes.place()?).await?;
        assert!(stored.starts_with("$argon2id$"), "{stored}");
        let check = async |password: &str, stored| {
            let place = hashes.place()?;
            hashes.verify(password.to_owned(), stored, place).await
        };
        assert_eq!(check(password, Some(stored.clone())).await?, Verdict::Right);
        assert_eq!(check("wrong horse", Some(stored)).await?, Verdict::Wrong);
        assert_eq!(
            check("a decoy, never a password", None).await?,
            Verdict::Wrong
        );

        let params = Params::new(1_024, 1, 1, None).map_err(|_| VaultError::Hashing)?;
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let weak: phc::PasswordHash = weak
            .hash_password(password.as_bytes())
            .map_err(|_| VaultError::Hashing)?;
        let verdict = check(password, Some(weak.to_string())).await?;
        assert!(matches!(verdict, Verdict::RightButOld(_)), "{verdict:?}");
        Ok(())
    }
}
