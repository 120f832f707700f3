//! The one loop that every command goes through: load, decide, append; again
//! where somebody else was faster. It refuses to know what is decided.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use kernel::{
    AccountId, AggregateId, CodecError, Command, Decider, Envelope, EventPayload, Facts, Position,
    Positions, Read, SealError, SealedIn, Sealer, Snapshot, SpanContext, Timestamp, Uuid,
    Versioned,
};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    append::{Append, Outcome, ReceiptToKeep},
    keys::state_field,
    load::Get,
    log::{Log, LogError, damaged, partition_of},
    receipt::{IdempotencyKey, Payload, parse_receipt},
};

/// How often a command is decided again because its aggregate moved on. After
/// the first time it waits for its turn in this process, so that only other
/// processes can be faster.
pub const CONFLICT_RETRIES_MAX: u32 = 16;
/// How long a command waits for the log server, in all.
pub const COMMAND_MILLISECONDS_MAX: u64 = 3_000;
/// How often a command whose answer was lost is sent again.
const RESENDS_MAX: u32 = 3;
const RESEND_DELAY_MILLISECONDS: u64 = 50;
/// The longest step aside after a conflict doubles up to this.
const STEP_ASIDE_MILLISECONDS_MAX: u64 = 32;
/// Partitions beside its own in which an account's last position is kept: those
/// it changed something in last.
const ELSEWHERE_MAX: usize = 16;
/// Facts may lead to facts (a post to its author to an edge), so far.
const READ_ROUNDS_MAX: usize = 4;

/// Who wants it, when, and on behalf of what.
#[derive(Clone, Copy, Debug)]
pub struct Intent {
    pub actor: AccountId,
    pub now: Timestamp,
    /// The request that all of this began with.
    pub correlation: Uuid,
    /// The event that a policy answers to.
    pub causation: Option<Position>,
    pub key: Option<IdempotencyKey>,
    /// What the events are told to follow from; only where somebody records it.
    pub trace: Option<SpanContext>,
}

/// What an accepted command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub aggregate: AggregateId,
    /// Of the aggregate after the command.
    pub version: u64,
    /// Where the effect stands: the command's last event or, where there was
    /// nothing to do, the actor's last position.
    pub position: Option<Position>,
    /// Whether there were events.
    pub appended: bool,
    /// Whether this is the receipt of an earlier use of the key.
    pub again: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<E> {
    #[error(transparent)]
    Refused(E),
    #[error("the aggregate changed {CONFLICT_RETRIES_MAX} times while this was decided; try again")]
    Contended,
    #[error("this idempotency key was used with another body")]
    KeyReused,
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// An append that was sent, and whose answer was lost: it may have been done.
struct Lost {
    expected_version: u64,
    error: LogError,
    /// Whether sending again would have a second effect if it was done.
    for_good: bool,
}

impl Log {
    /// Decides `command` and keeps its events. An error other than
    /// `LogError::Unavailable` means that nothing was written. A command
    /// without a key is sent again only while its aggregate stands where it
    /// was, so that it has no second effect either.
    pub async fn execute<C: Command>(
        &self,
        command: &C,
        intent: &Intent,
        sealer: &dyn Sealer,
    ) -> Result<Receipt, ExecuteError<C::Error>> {
        // Also where there is nothing to do: what was done may not be safe.
        self.check_known()?;
        let aggregate = command.aggregate();
        let key = intent.key.map(|key| key.for_aggregate(&aggregate));
        let intent = &Intent { key, ..*intent };
        let deadline = Instant::now() + Duration::from_millis(COMMAND_MILLISECONDS_MAX);
        let mut lost = None;
        let done = self.until_done(command, intent, sealer, deadline, &mut lost);
        match timeout_at(deadline, done).await {
            Ok(Ok(receipt)) => {
                if C::Decider::SHOWN {
                    let noted = self.note_elsewhere(&receipt, intent.actor, deadline);
                    noted.await?;
                }
                Ok(receipt)
            }
            Ok(refused) => refused,
            Err(_) => Err(match lost {
                Some(Lost { error, .. }) => error.into(),
                None => LogError::Unavailable("no answer in time".into()).into(),
            }),
        }
    }

    async fn until_done<C: Command>(
        &self,
        command: &C,
        intent: &Intent,
        sealer: &dyn Sealer,
        deadline: Instant,
        lost: &mut Option<Lost>,
    ) -> Result<Receipt, ExecuteError<C::Error>> {
        let (turns, aggregate) = (&self.inner.turns, command.aggregate());
        // Where others wait for their turn already, whoever comes later must
        // not be faster: they would conflict until they give up.
        let mut own_turn = match turns.are_taken(&aggregate) {
            false => None,
            true => Some(turns.take(aggregate).await),
        };
        let (mut conflicts, mut resends) = (0, 0);
        loop {
            match self.try_once(command, intent, sealer, lost).await {
                Ok(Some(receipt)) => return Ok(receipt),
                Ok(None) if conflicts == CONFLICT_RETRIES_MAX => {
                    return Err(ExecuteError::Contended);
                }
                Ok(None) => {
                    conflicts += 1;
                    if own_turn.is_none() {
                        own_turn = Some(turns.take(aggregate).await);
                    } else {
                        // Another process is as fast: step aside by chance, or
                        // the two may keep step for all retries.
                        tokio::time::sleep(stepping_aside(conflicts)).await;
                    }
                }
                Err(ExecuteError::Log(LogError::Unavailable(_)))
                    if resends < RESENDS_MAX
                        && Instant::now() < deadline
                        && !lost.as_ref().is_some_and(|lost| lost.for_good) =>
                {
                    resends += 1;
                    // Whoever waits for a turn fails as fast as we do.
                    own_turn = None;
                    let delay = Duration::from_millis(RESEND_DELAY_MILLISECONDS << resends);
                    sleep_until(deadline.min(Instant::now() + delay)).await;
                }
                Err(ExecuteError::Log(_) | ExecuteError::Seal(_) | ExecuteError::Codec(_))
                    if let Some(Lost { error, .. }) = lost =>
                {
                    return Err(error.clone().into());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The account's last position in its own partition.
    pub async fn last_position(&self, account: AccountId) -> Result<Option<Position>, LogError> {
        let positions = self.last_positions(account).await?;
        Ok(positions.get(self.partition_of_account(account)))
    }

    /// What the account wrote last: in its own partition, and wherever else it
    /// changed something.
    pub async fn last_positions(&self, account: AccountId) -> Result<Positions, LogError> {
        let partition = self.partition_of_account(account);
        let key = self.inner.keys.last(partition, account);
        let value = self.load(vec![Get::Key(key)]).await?.pop().flatten();
        let value = value.unwrap_or_default();
        let value = String::from_utf8_lossy(&value);
        let mut parts = value.split(' ');
        let own = parts.next().unwrap_or_default();
        let own = crate::receipt::parse_entry_id(partition, own);
        let elsewhere = parts.filter_map(|position| position.parse().ok());
        Ok(own.into_iter().chain(elsewhere).collect())
    }

    /// Whoever changes something in another partition than their own reads it
    /// next all the same. It comes after the append: two partitions are never
    /// written in one step, and whoever gets no answer was promised nothing.
    async fn note_elsewhere(
        &self,
        receipt: &Receipt,
        actor: AccountId,
        deadline: Instant,
    ) -> Result<(), LogError> {
        let home = self.partition_of_account(actor);
        let Some(position) = receipt.position.filter(|at| at.partition != home) else {
            return Ok(());
        };
        let mut command = redis::cmd("FCALL");
        command.arg("headwater_note").arg(1);
        command.arg(self.inner.keys.last(home, actor));
        command.arg(position.partition.0).arg(position.entry_id());
        command.arg(ELSEWHERE_MAX);
        let noted = self.inner.connection.query::<()>(&command);
        let late = |_| LogError::Unavailable("no answer in time".into());
        timeout_at(deadline, noted).await.map_err(late)?
    }

    /// The state of one aggregate as the log has it.
    pub async fn state<D: Decider>(
        &self,
        aggregate: AggregateId,
    ) -> Result<Versioned<D::State>, LogError> {
        let loaded = self.load(vec![self.get(&Read::of::<D>(aggregate))]).await?;
        let snapshot = parse_state(loaded.into_iter().next().flatten())?;
        if snapshot.is_none() && !self.has(self.partition_of(&aggregate)).await? {
            return Err(LogError::Missing);
        }
        Snapshot::decode::<D>(snapshot.as_ref()).map_err(damaged)
    }

    /// The receipt under `key` in the partition that `route`'s bits give.
    pub async fn receipt(
        &self,
        route: Uuid,
        key: &IdempotencyKey,
    ) -> Result<Option<Result<Receipt, KeyReused>>, LogError> {
        let partition = partition_of(route, self.inner.partitions);
        let get = Get::Key(self.inner.keys.receipt(partition, key.hash));
        let Some(bytes) = self.load(vec![get]).await?.pop().flatten() else {
            return Ok(None);
        };
        let receipt = parse_receipt(&bytes, partition, key.fingerprint)?;
        Ok(Some(receipt.ok_or(KeyReused)))
    }

    /// `None` where the aggregate moved on meanwhile.
    async fn try_once<C: Command>(
        &self,
        command: &C,
        intent: &Intent,
        sealer: &dyn Sealer,
        lost: &mut Option<Lost>,
    ) -> Result<Option<Receipt>, ExecuteError<C::Error>> {
        let aggregate = command.aggregate();
        let partition = self.partition_of(&aggregate);
        let looked_up = intent.key.filter(|key| key.given || lost.is_some());
        let (loaded, receipt) = self.load_for(command, looked_up.as_ref()).await?;
        if let (Some(bytes), Some(key)) = (receipt, looked_up) {
            let receipt = parse_receipt(&bytes, partition, key.fingerprint)?;
            let receipt = receipt.ok_or(ExecuteError::KeyReused)?;
            return self.at_a_position(receipt, intent.actor).await.map(Some);
        }
        let own = loaded.of::<C::Decider>(aggregate);
        let decided = command.decide(&own, &loaded);
        if intent.key.is_none()
            && let Some(lost) = lost
            && lost.expected_version != own.version
            && !matches!(&decided, Ok(events) if events.is_empty())
        {
            // What moved it may be this very command: deciding again could
            // have a second effect, or refuse what was done.
            lost.for_good = true;
            return Err(lost.error.clone().into());
        }
        let events = match decided {
            // Where nothing is known, all may be: a server that came back empty
            // has no states to decide on.
            Err(_) if !self.has(partition).await? => return Err(LogError::Missing.into()),
            decided => decided.map_err(ExecuteError::Refused)?,
        };
        let version = own.version + events.len() as u64;
        if events.is_empty() && intent.key.is_none_or(|key| !key.given) {
            let receipt = Receipt {
                aggregate,
                version,
                position: None,
                appended: false,
                again: false,
            };
            return self.at_a_position(receipt, intent.actor).await.map(Some);
        }

        let (append, actors_last) = self
            .prepare::<C>(own, aggregate, events, intent, sealer)
            .await?;
        let expected_version = append.expected_version;
        let outcome = self.append(append).await;
        if let Err(error @ LogError::Unavailable(_)) = &outcome {
            lost.get_or_insert_with(|| Lost {
                expected_version,
                error: error.clone(),
                for_good: false,
            });
        }
        let receipt = match outcome? {
            Outcome::Appended { last } => Receipt {
                aggregate,
                version,
                position: Some(last),
                appended: true,
                again: false,
            },
            Outcome::Nothing { last } => Receipt {
                aggregate,
                version,
                position: last.or(actors_last),
                appended: false,
                again: false,
            },
            Outcome::Again(receipt) => receipt,
            Outcome::KeyReused => return Err(ExecuteError::KeyReused),
            Outcome::Conflict => return Ok(None),
        };
        self.at_a_position(receipt, intent.actor).await.map(Some)
    }

    /// Where there was nothing to do: the actor's last position, which only
    /// its own partition knows.
    async fn at_a_position<E>(
        &self,
        mut receipt: Receipt,
        actor: AccountId,
    ) -> Result<Receipt, ExecuteError<E>> {
        if receipt.position.is_none() && !receipt.appended {
            receipt.position = self.last_position(actor).await?;
        }
        // Where nothing is known there may be everything to do.
        if receipt.position.is_none() && !self.has(self.partition_of_account(actor)).await? {
            return Err(LogError::Missing.into());
        }
        Ok(receipt)
    }

    /// The command's own aggregate, what it reads, and the receipt's bytes.
    async fn load_for<C: Command>(
        &self,
        command: &C,
        key: Option<&IdempotencyKey>,
    ) -> Result<(Facts, Option<Vec<u8>>), LogError> {
        let aggregate = command.aggregate();
        let partition = self.partition_of(&aggregate);
        let mut facts = Facts::default();
        let mut receipt = None;
        let mut wanted = vec![Read::of::<C::Decider>(aggregate)];
        wanted.extend(command.reads(&facts));
        for round in 0..READ_ROUNDS_MAX {
            wanted.retain(|read| !facts.knows(&read.aggregate));
            if wanted.is_empty() {
                break;
            }
            let mut gets: Vec<_> = wanted.iter().map(|read| self.get(read)).collect();
            let asked = key.filter(|_| round == 0);
            gets.extend(asked.map(|key| Get::Key(self.inner.keys.receipt(partition, key.hash))));
            let loading = self.inner.loader.load_within_a_deadline(gets);
            let mut values = loading.await?;
            if asked.is_some() {
                receipt = values.pop().flatten();
            }
            for (read, value) in wanted.iter().zip(values) {
                facts.insert(read.aggregate, parse_state(value)?);
            }
            wanted = command.reads(&facts);
        }
        Ok((facts, receipt))
    }

    fn get(&self, read: &Read) -> Get {
        let partition = self.partition_of(&read.aggregate);
        Get::Field {
            key: self
                .inner
                .keys
                .states(partition, read.shape, &read.aggregate),
            field: state_field(&read.aggregate),
        }
    }

    /// Also where the actor is, where nothing is done in another partition: its
    /// receipt says the same ever after.
    async fn prepare<C: Command>(
        &self,
        own: Versioned<<C::Decider as Decider>::State>,
        aggregate: AggregateId,
        mut events: Vec<<C::Decider as Decider>::Event>,
        intent: &Intent,
        sealer: &dyn Sealer,
    ) -> Result<(Append, Option<Position>), ExecuteError<C::Error>> {
        let partition = self.partition_of(&aggregate);
        let mut personal = Vec::new();
        for (version, event) in (own.version + 1..).zip(&mut events) {
            let sealed_in = SealedIn {
                account: intent.actor,
                event_type: event.event_type().0,
                aggregate,
                version,
            };
            personal.extend(sealed_in.fields(event.personal()));
        }
        if !personal.is_empty() {
            sealer.seal(personal).await?;
        }
        let mut state = own.state;
        let mut version = own.version;
        let mut entries = Vec::with_capacity(events.len());
        for event in &events {
            state = C::Decider::evolve(state, event);
            version += 1;
            let (name, event_version) = event.event_type();
            let given = intent.key.filter(|key| key.given);
            let envelope = Envelope {
                event_type: name.to_owned(),
                event_version,
                aggregate,
                version,
                recorded_at: intent.now,
                actor: intent.actor,
                correlation: intent.correlation,
                causation: intent.causation,
                receipt: given.map(|key| (key.hash, key.fingerprint)),
                data: event.to_bytes()?,
                trace: intent.trace,
            };
            entries.push(self.inner.key.entry(&envelope)?);
        }
        let at_home = self.partition_of_account(intent.actor) == partition;
        let actors_last = match entries.is_empty() && !at_home {
            true => self.last_position(intent.actor).await?,
            false => None,
        };
        let receipt = match intent.key {
            None => None,
            Some(key) => Some(ReceiptToKeep {
                key: self.inner.keys.receipt(partition, key.hash),
                fingerprint: key.fingerprint,
                lifetime: key.lifetime,
                payload: kernel::encode(&Payload::new(aggregate, version).at(actors_last))?,
            }),
        };
        let append = Append {
            partition,
            states_key: self
                .inner
                .keys
                .states(partition, C::Decider::SHAPE, &aggregate),
            field: state_field(&aggregate),
            expected_version: own.version,
            state: kernel::encode(&state)?,
            last_key: at_home.then(|| self.inner.keys.last(partition, intent.actor)),
            receipt,
            events: entries,
        };
        Ok((append, actors_last))
    }
}

/// The key was used with another body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyReused;

/// A random time, longer after more conflicts ("full jitter").
fn stepping_aside(conflicts: u32) -> Duration {
    let longest = (1 << conflicts.min(10)).min(STEP_ASIDE_MILLISECONDS_MAX) * 1_000;
    let random = RandomState::new().hash_one(conflicts);
    Duration::from_micros(random % longest)
}

/// Reads `version state`.
fn parse_state(value: Option<Vec<u8>>) -> Result<Option<Snapshot>, LogError> {
    let Some(mut bytes) = value else {
        return Ok(None);
    };
    let space = bytes.iter().position(|byte| *byte == b' ');
    let version = space
        .and_then(|space| std::str::from_utf8(&bytes[..space]).ok())
        .and_then(|version| version.parse().ok());
    let (Some(space), Some(version)) = (space, version) else {
        return Err(LogError::Damaged("a state has no version".into()));
    };
    bytes.drain(..=space);
    let state = bytes;
    Ok(Some(Snapshot { version, state }))
}
