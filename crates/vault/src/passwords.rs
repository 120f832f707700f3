//! Password hashes: argon2id, computed on threads of their own, so many at once
//! and no more. It refuses to store anything.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
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
use tokio::sync::oneshot;
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
/// The same of households that have one already: the rest is for those that have none.
const WAITING_AGAIN_MAX: usize = WAITING_MAX / 2;
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
    #[error("a password has at least {PASSWORD_CHARACTERS_MIN} characters")]
    TooShort,
    #[error("a password has at most {PASSWORD_CHARACTERS_MAX} characters")]
    TooLong,
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
        if length < PASSWORD_CHARACTERS_MIN {
            return Err(InvalidPassword::TooShort);
        }
        if length > PASSWORD_CHARACTERS_MAX {
            return Err(InvalidPassword::TooLong);
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
    queue: Arc<Queue>,
    household: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.lock().leave(&self.household);
    }
}

/// Whose turn it is: households take turns, however many hashes each waits for.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Places that are taken, by household.
    places: HashMap<String, usize>,
    /// What is to be computed, by household, and whose turn is next.
    jobs: HashMap<String, VecDeque<Job>>,
    turns: VecDeque<String>,
    /// Nobody is left who could wait.
    is_over: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, household: &str, job: Job) {
        self.lock().add(household, job);
        self.changed.notify_one();
    }

    /// Waits for a job; none at the end.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.next() {
                return Some(job);
            }
            if waiting.is_over {
                return None;
            }
            let woken = self.changed.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Waiting {
    /// How many have their turn before another one of `household`: of each household as
    /// many as that has with it.
    fn before(&self, household: &str) -> usize {
        let own = self.places.get(household).copied().unwrap_or_default();
        let of_each = |(other, count): (&String, &usize)| match other == household {
            true => *count,
            false => (*count).min(own + 1),
        };
        self.places.iter().map(of_each).sum()
    }

    fn is_full_for(&self, household: &str) -> bool {
        let most = match self.places.contains_key(household) {
            true => WAITING_AGAIN_MAX,
            false => WAITING_MAX,
        };
        self.places.values().sum::<usize>() >= most
    }

    fn enter(&mut self, household: &str) {
        *self.places.entry(household.to_owned()).or_default() += 1;
    }

    fn leave(&mut self, household: &str) {
        if let Some(count) = self.places.get_mut(household) {
            *count -= 1;
            if *count == 0 {
                self.places.remove(household);
            }
        }
    }

    fn add(&mut self, household: &str, job: Job) {
        let jobs = self.jobs.entry(household.to_owned()).or_default();
        if jobs.is_empty() {
            self.turns.push_back(household.to_owned());
        }
        jobs.push_back(job);
    }

    fn next(&mut self) -> Option<Job> {
        let household = self.turns.pop_front()?;
        let jobs = self.jobs.get_mut(&household)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.jobs.remove(&household);
        } else {
            self.turns.push_back(household);
        }
        job
    }
}

/// Ends the threads with the last of those who could ask them.
struct Threads(Arc<Queue>);

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

/// Hashes and checks; cheap to clone.
#[derive(Clone)]
pub struct PasswordHashes {
    threads: Arc<Threads>,
    turns: usize,
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
            threads: Arc::new(start(turns)?),
            turns,
            expected_micros: Arc::new(AtomicU64::new(micros(started.elapsed()))),
            computed: Arc::default(),
            decoy,
        })
    }

    /// A place for `household` among those who wait, where their turn comes soon: to be
    /// taken before anything else is done for whoever needs one, so that a rush is refused
    /// before it has looked anything up. Households take turns: one that asks for many
    /// waits for itself, and not the others for it.
    pub fn place(&self, household: &str) -> Result<Place, VaultError> {
        let queue = &self.threads.0;
        let mut waiting = queue.lock();
        let rounds = (waiting.before(household) / self.turns) as u64;
        let expected = rounds * self.expected_micros.load(Ordering::Relaxed);
        if expected > WAITING_MILLISECONDS_MAX * 1_000 || waiting.is_full_for(household) {
            return Err(VaultError::Busy);
        }
        waiting.enter(household);
        Ok(Place {
            queue: queue.clone(),
            household: household.to_owned(),
        })
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
        let household = place.household.clone();
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
        self.threads.0.add(&household, Box::new(job));
        answer.await.map_err(|_| VaultError::Hashing)?
    }
}

/// Threads of our own: an allocator keeps what a thread gave back, so that
/// each thread of tokio's blocking pool that ever hashed would hold 19 MiB.
fn start(turns: usize) -> Result<Threads, VaultError> {
    let threads = Threads(Arc::default());
    for _ in 0..turns {
        let queue = threads.0.clone();
        let thread = thread::Builder::new().name("password-hash".into());
        let started = thread.spawn(move || {
            give_way();
            while let Some(job) = queue.next() {
                // The thread outlives a panic; whoever waits is told.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        });
        started.map_err(|_| VaultError::Hashing)?;
    }
    Ok(threads)
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
        for (length, wrong) in [
            (PASSWORD_CHARACTERS_MIN - 1, InvalidPassword::TooShort),
            (PASSWORD_CHARACTERS_MAX + 1, InvalidPassword::TooLong),
        ] {
            assert_eq!(parse(&"é".repeat(length)), Err(wrong));
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
        assert_eq!(parse(&short), Err(InvalidPassword::TooShort));
        // It grows: there is no composed form of it.
        let long = "\u{958}".repeat(PASSWORD_CHARACTERS_MAX);
        assert_eq!(parse(&long), Err(InvalidPassword::TooLong));
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
            let stored = hashes.hash(parsed, hashes.place("home")?).await?;
            for typed in same {
                let place = hashes.place("home")?;
                let verdict = hashes
                    .verify(typed.into(), Some(stored.clone()), place)
                    .await?;
                assert_eq!(verdict, Verdict::Right, "{set} {typed}");
            }
            let other = "PÄSSWORT für álle".into();
            let verdict = hashes
                .verify(other, Some(stored), hashes.place("home")?)
                .await?;
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
                let place = hashes.place("home")?;
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
        let there = hashes
            .compute(hashes.place("home")?, move || Ok(nice()))
            .await?;
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
        let ask = async || hashes.compute(hashes.place("home")?, slow).await;
        let all = tokio::join!(ask(), ask(), ask(), ask(), ask());
        // The fourth waits for 900 ms, and the fifth would for 1.2 s.
        assert!(matches!(
            all,
            (Ok(()), Ok(()), Ok(()), Ok(()), Err(VaultError::Busy))
        ));
        assert!(started.elapsed() < Duration::from_millis(2_000));
        Ok(())
    }

    /// Of what is to be computed, each by the household that asks.
    #[test]
    fn households_take_turns_however_much_one_asks_for() {
        let (mut waiting, (told, order)) = (Waiting::default(), std::sync::mpsc::channel());
        for household in ["flood", "flood", "flood", "home", "flood", "cafe", "home"] {
            let told = told.clone();
            let job = move || {
                let _ = told.send(household);
            };
            waiting.enter(household);
            waiting.add(household, Box::new(job));
        }
        // One more of the flood waits for all of it, and for as many of the others.
        assert_eq!(waiting.before("flood"), 4 + 2 + 1);
        assert_eq!(waiting.before("stranger"), 3);
        while let Some(job) = waiting.next() {
            job();
        }
        let order: Vec<_> = order.try_iter().collect();
        let fair = ["flood", "home", "cafe", "flood", "home", "flood", "flood"];
        assert_eq!(order, fair);
        for household in order {
            waiting.leave(household);
        }
        assert!(waiting.places.is_empty() && waiting.jobs.is_empty());
    }

    #[tokio::test]
    async fn a_flood_of_one_household_leaves_places_for_the_others() -> Result<(), VaultError> {
        let hashes = PasswordHashes::new(1)?;
        hashes.expected_micros.store(100_000, Ordering::Relaxed);
        let mut taken = Vec::new();
        while let Ok(place) = hashes.place("flood") {
            taken.push(place);
        }
        assert_eq!(taken.len(), 11);
        taken.push(hashes.place("home")?);
        assert!(matches!(hashes.place("flood"), Err(VaultError::Busy)));
        drop(taken);
        // A job of who went away gives its place back, too.
        hashes.place("flood")?;
        Ok(())
    }

    #[tokio::test]
    async fn a_password_is_checked_and_an_old_hash_made_new() -> Result<(), VaultError> {
        let hashes = PasswordHashes::new(2)?;
        let password = "correct horse";
        let parsed = password.parse().map_err(|_| VaultError::Hashing)?;
        let stored = hashes.hash(parsed, hashes.place("home")?).await?;
        assert!(stored.starts_with("$argon2id$"), "{stored}");
        let check = async |password: &str, stored| {
            let place = hashes.place("home")?;
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
