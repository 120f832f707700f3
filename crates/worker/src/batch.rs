//! A batch of a partition, decoded and opened once for whatever folds it. An event that
//! cannot be decoded or opened is kept with the reason: each projection that wants it
//! parks it for itself.

use std::sync::Arc;

use domain::Event;
use kernel::{CodecError, Position, Recorded, SealError, SealedIn, Sealer};
use readmodel::Happened;

use crate::{context::WorkerContext, error::WorkError};

#[derive(Debug)]
pub(crate) struct Batch {
    /// The first event comes after it.
    from: Position,
    recorded: Vec<Recorded>,
    /// Decoded, in the same order; without what is unusable.
    happened: Vec<Happened>,
    unusable: Vec<Unusable>,
}

/// An event that folds cannot be given.
#[derive(Debug)]
struct Unusable {
    /// Its place among the recorded ones.
    place: usize,
    /// As far as it could be read.
    happened: Option<Happened>,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Unreadable(Arc<CodecError>),
    Damaged(&'static str),
}

impl Batch {
    pub fn empty(at: Position) -> Self {
        Self::decode(at, Vec::new())
    }

    /// Personal fields stay sealed.
    pub fn decode(from: Position, recorded: Vec<Recorded>) -> Self {
        let (mut happened, mut unusable) = (Vec::with_capacity(recorded.len()), Vec::new());
        for (place, one) in recorded.iter().enumerate() {
            if one.envelope.event_type == eventlog::EPOCH_STARTED {
                continue;
            }
            match decode(one) {
                Ok(decoded) => happened.push(decoded),
                Err(error) => unusable.push(Unusable {
                    place,
                    happened: None,
                    why: Why::Unreadable(Arc::new(error)),
                }),
            }
        }
        Self {
            from,
            recorded,
            happened,
            unusable,
        }
    }

    /// With the personal fields opened.
    pub async fn open(
        context: &WorkerContext,
        from: Position,
        recorded: Vec<Recorded>,
    ) -> Result<Self, SealError> {
        let sealer = context.sealer.as_ref();
        let mut batch = Self::decode(from, recorded);
        match open(sealer, &mut batch.happened).await {
            Err(SealError::Damaged(_)) => batch.open_one_by_one(sealer).await?,
            opened => opened?,
        }
        Ok(batch)
    }

    /// To find which are damaged. What is open already is passed over.
    async fn open_one_by_one(&mut self, sealer: &dyn Sealer) -> Result<(), SealError> {
        for mut one in std::mem::take(&mut self.happened) {
            match open(sealer, std::slice::from_mut(&mut one)).await {
                Err(SealError::Damaged(why)) => {
                    let before = |recorded: &Recorded| recorded.position < one.position;
                    self.unusable.push(Unusable {
                        place: self.recorded.partition_point(before),
                        happened: Some(one),
                        why: Why::Damaged(why),
                    });
                }
                opened => {
                    opened?;
                    self.happened.push(one);
                }
            }
        }
        self.unusable.sort_by_key(|one| one.place);
        Ok(())
    }

    /// Where it ends.
    pub fn end(&self) -> Position {
        self.recorded.last().map_or(self.from, |last| last.position)
    }

    pub fn none(&self) -> Events<'_> {
        self.events(0, 0)
    }

    pub fn all(&self) -> Events<'_> {
        self.events(0, self.recorded.len())
    }

    /// What comes after `at`, as far as `until`; none where the batch begins later, so
    /// that something is missing, or there is nothing.
    pub fn between(&self, at: Position, until: Position) -> Option<Events<'_>> {
        let up_to = |end| self.recorded.partition_point(|event| event.position <= end);
        let (first, last) = (up_to(at), up_to(until));
        (self.from <= at && first < last).then(|| self.events(first, last))
    }

    /// What comes after `at`; none as in `between`.
    pub fn after(&self, at: Position) -> Option<Events<'_>> {
        self.between(at, self.end())
    }

    fn events(&self, first: usize, last: usize) -> Events<'_> {
        Events {
            batch: self,
            first,
            last,
        }
    }
}

/// Some events of a batch that follow each other.
#[derive(Clone, Copy)]
pub(crate) struct Events<'a> {
    batch: &'a Batch,
    first: usize,
    last: usize,
}

impl<'a> Events<'a> {
    pub fn recorded(self) -> &'a [Recorded] {
        self.batch
            .recorded
            .get(self.first..self.last)
            .unwrap_or_default()
    }

    pub fn len(self) -> usize {
        self.last - self.first
    }

    /// At most the first `count`.
    pub fn up_to(self, count: usize) -> Self {
        self.batch
            .events(self.first, self.last.min(self.first + count))
    }

    /// Those that folds can be given.
    pub fn happened(self) -> &'a [Happened] {
        let (Some(first), Some(last)) = (self.recorded().first(), self.recorded().last()) else {
            return &[];
        };
        let happened = &self.batch.happened;
        let start = happened.partition_point(|one| one.position < first.position);
        let end = happened.partition_point(|one| one.position <= last.position);
        &happened[start..end]
    }

    /// Fails with the first of those that are `wanted` and cannot be used.
    pub fn check(self, wanted: impl Fn(&Recorded) -> bool) -> Result<(), WorkError> {
        let here = |one: &&Unusable| (self.first..self.last).contains(&one.place);
        for unusable in self.batch.unusable.iter().filter(here) {
            let recorded = &self.batch.recorded[unusable.place];
            if wanted(recorded) {
                return Err(unusable.error(recorded.position));
            }
        }
        Ok(())
    }

    /// Those that are `wanted`, whether or not their personal fields could be opened.
    pub fn decoded(
        self,
        wanted: impl Fn(&Recorded) -> bool,
    ) -> Result<Vec<&'a Happened>, WorkError> {
        let Batch {
            happened, unusable, ..
        } = self.batch;
        let mut decoded = Vec::new();
        for (place, recorded) in (self.first..).zip(self.recorded()) {
            if !wanted(recorded) {
                continue;
            }
            let position = recorded.position;
            if let Ok(found) = happened.binary_search_by_key(&position, |one| one.position) {
                decoded.push(&happened[found]);
                continue;
            }
            let Some(unusable) = unusable.iter().find(|one| one.place == place) else {
                // The beginning of an epoch.
                continue;
            };
            let sealed = unusable.happened.as_ref();
            decoded.push(sealed.ok_or_else(|| unusable.error(position))?);
        }
        Ok(decoded)
    }
}

impl Unusable {
    fn error(&self, position: Position) -> WorkError {
        match &self.why {
            Why::Unreadable(source) => WorkError::Unreadable {
                position,
                source: source.clone(),
            },
            Why::Damaged(why) => SealError::Damaged(why).into(),
        }
    }
}

fn decode(recorded: &Recorded) -> Result<Happened, CodecError> {
    let envelope = &recorded.envelope;
    Ok(Happened {
        position: recorded.position,
        aggregate: envelope.aggregate,
        version: envelope.version,
        recorded_at: envelope.recorded_at,
        actor: envelope.actor,
        event: Event::decode(envelope)?,
    })
}

async fn open(sealer: &dyn Sealer, happened: &mut [Happened]) -> Result<(), SealError> {
    let mut fields = Vec::new();
    for one in happened {
        let sealed_in = SealedIn {
            account: one.actor,
            event_type: one.event.event_type().0,
            aggregate: one.aggregate,
            version: one.version,
        };
        fields.extend(sealed_in.fields(one.event.personal()));
    }
    match fields.is_empty() {
        true => Ok(()),
        false => sealer.open(fields).await,
    }
}
