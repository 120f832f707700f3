//! How each projection is doing, for those who run it: one row a projection,
//! generation and partition. It refuses to ask the log: heads are given to it.

use kernel::{Position, Positions, Timestamp};
use sea_orm::sqlx::{self, PgPool, Row};

use crate::{ReadError, checkpoints};

/// What waits no longer than this is on its way.
const BEHIND_SECONDS: f64 = 2.0;
/// Where something waits so long and nothing moved meanwhile, nothing will.
pub const STALLED_SECONDS: f64 = 10.0;
const SECOND_MILLISECONDS: f64 = 1_000.0;

/// A checkpoint, with what the database knows of its way.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub projection: String,
    pub generation: i32,
    pub at: Position,
    /// Events a second, now.
    pub rate: f64,
    /// Since the checkpoint moved last.
    pub still_seconds: f64,
    /// The live worker that holds the partition.
    pub owner: Option<String>,
    pub stopped_because: Option<String>,
    pub diverged: bool,
    /// What its generation is for: `live`, `building`, `kept` or `checking`.
    pub role: String,
    /// Why operators paused the projection.
    pub paused_because: Option<String>,
    /// Events that wait as dead letters, and for how long the oldest does.
    pub parked: i64,
    pub parked_seconds: f64,
}

/// Every checkpoint, by projection, generation and partition.
pub async fn checkpoints(pool: &PgPool) -> Result<Vec<Checkpoint>, ReadError> {
    let rows = sqlx::query(
        "SELECT c.projection, c.generation, c.partition, c.epoch, c.seq,
             c.stopped_because, c.diverged, passed.seconds,
             c.rate * exp(-least(passed.seconds / $1, $2)) AS rate,
             coalesce(nullif(w.name, ''), w.owner::text) AS owner,
             coalesce(g.role, 'live') AS role, p.reason AS paused_because, c.parked,
             CASE WHEN c.parked > 0 THEN coalesce((
                 SELECT extract(epoch FROM now() - min(d.parked_at))
                 FROM projections.dead_letters AS d WHERE d.projection = c.projection
                   AND d.generation = c.generation AND d.partition = c.partition
             ), 0) ELSE 0 END::float8 AS parked_seconds
         FROM projections.checkpoints AS c
         LEFT JOIN projections.generations AS g
             ON g.projection = c.projection AND g.generation = c.generation
         LEFT JOIN projections.pauses AS p ON p.projection = c.projection
         CROSS JOIN LATERAL (SELECT greatest(0,
             extract(epoch FROM now() - c.moved_at)::float8) AS seconds) AS passed
         LEFT JOIN projections.leases AS l ON l.partition = c.partition AND l.until > now()
         LEFT JOIN projections.workers AS w ON w.owner = l.owner AND w.until > now()
         ORDER BY c.projection, c.generation, c.partition",
    )
    .bind(checkpoints::RATE_SECONDS)
    .bind(checkpoints::RATE_TIMES_MAX)
    .fetch_all(pool)
    .await?;
    let row = |row| -> Result<Checkpoint, ReadError> {
        let row: &sqlx::postgres::PgRow = row;
        Ok(Checkpoint {
            projection: row.try_get("projection")?,
            generation: row.try_get("generation")?,
            at: checkpoints::position(row)?,
            rate: row.try_get("rate")?,
            still_seconds: row.try_get("seconds")?,
            owner: row.try_get("owner")?,
            stopped_because: row.try_get("stopped_because")?,
            diverged: row.try_get("diverged")?,
            role: row.try_get("role")?,
            paused_because: row.try_get("paused_because")?,
            parked: row.try_get("parked")?,
            parked_seconds: row.try_get("parked_seconds")?,
        })
    };
    rows.iter().map(row).collect()
}

/// What an operator is told first; what is worse comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Live,
    CatchingUp,
    /// It is made beside the live generation, and not read yet.
    Rebuilding,
    /// An operator paused it.
    Paused,
    /// Events of some aggregates wait as dead letters; all others flow.
    Parked,
    /// Something waits and nothing moves: no worker, or one that cannot go on.
    Stalled,
    /// It has read what the log does not have.
    Diverged,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::CatchingUp => "catching up",
            Self::Rebuilding => "rebuilding",
            Self::Paused => "paused",
            Self::Parked => "parked",
            Self::Stalled => "stalled",
            Self::Diverged => "diverged",
        }
    }

    /// Whether it will mend itself.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Live | Self::CatchingUp | Self::Rebuilding)
    }
}

/// A checkpoint against the log.
#[derive(Clone, Debug)]
pub struct Progress {
    pub checkpoint: Checkpoint,
    pub state: State,
    /// The last position of the partition.
    pub head: Position,
    pub lag_events: u64,
    /// How long the next event has waited.
    pub lag_seconds: f64,
    /// At the rate of now; none where nothing moves.
    pub seconds_to_head: Option<f64>,
    /// Why it is not well.
    pub trouble: Option<String>,
}

impl Progress {
    /// `waiting_since` is when the event after the checkpoint was recorded, if
    /// there is one.
    pub fn of(
        checkpoint: Checkpoint,
        heads: &Positions,
        waiting_since: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let at = checkpoint.at;
        let head = heads.get(at.partition).unwrap_or(at);
        let lag_events = match at.epoch == head.epoch {
            true => head.seq.saturating_sub(at.seq),
            false if head < at => 0,
            // The first entry of an epoch has number 0.
            false => head.seq + 1,
        };
        // The first entry of an epoch has no time.
        let waiting_since = waiting_since.filter(|since| since.0 > 0);
        let lag_seconds = waiting_since.map_or(0.0, |since| {
            ((now.0 - since.0) as f64 / SECOND_MILLISECONDS).max(0.0)
        });
        let (state, trouble) = state(&checkpoint, head, lag_seconds);
        let moves = lag_events > 0 && checkpoint.rate > 0.0;
        Self {
            seconds_to_head: moves.then(|| lag_events as f64 / checkpoint.rate),
            checkpoint,
            state,
            head,
            lag_events,
            lag_seconds,
            trouble,
        }
    }
}

fn state(checkpoint: &Checkpoint, head: Position, lag_seconds: f64) -> (State, Option<String>) {
    let because = checkpoint.stopped_because.clone();
    if checkpoint.diverged || head < checkpoint.at {
        let ahead = || format!("it has read what the log, which ends at {head}, does not have");
        return (State::Diverged, Some(because.unwrap_or_else(ahead)));
    }
    if because.is_some() {
        return (State::Stalled, because);
    }
    if matches!(checkpoint.role.as_str(), "building" | "checking") {
        return (State::Rebuilding, None);
    }
    if let Some(reason) = &checkpoint.paused_because {
        return (State::Paused, Some(format!("paused: {reason}")));
    }
    if checkpoint.owner.is_none() {
        return (
            State::Stalled,
            Some("no worker holds the partition".to_owned()),
        );
    }
    if lag_seconds.min(checkpoint.still_seconds) > STALLED_SECONDS {
        let still = checkpoint.still_seconds;
        let trouble = format!("its worker has not moved it for {still:.0} s");
        return (State::Stalled, Some(trouble));
    }
    if checkpoint.parked > 0 {
        let (events, seconds) = (checkpoint.parked, checkpoint.parked_seconds);
        let trouble = format!("{events} events wait as dead letters, for up to {seconds:.0} s");
        return (State::Parked, Some(trouble));
    }
    match lag_seconds > BEHIND_SECONDS {
        true => (State::CatchingUp, None),
        false => (State::Live, None),
    }
}

#[cfg(test)]
mod tests {
    use kernel::Partition;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn position(epoch: u64, seq: u64) -> Position {
        Position {
            partition: Partition(0),
            epoch,
            seq,
        }
    }

    fn checkpoint(at: Position) -> Checkpoint {
        Checkpoint {
            projection: "social".into(),
            generation: 1,
            at,
            rate: 50.0,
            still_seconds: 1.0,
            owner: Some("host/1".into()),
            stopped_because: None,
            diverged: false,
            role: "live".into(),
            paused_because: None,
            parked: 0,
            parked_seconds: 0.0,
        }
    }

    /// With the head at 1-100 and the next event recorded so long ago.
    fn progress(checkpoint: Checkpoint, waited: Option<i64>) -> Progress {
        let heads = [position(1, 100)].into_iter().collect();
        let since = waited.map(|seconds| Timestamp(NOW.0 - seconds * 1_000));
        Progress::of(checkpoint, &heads, since, NOW)
    }

    #[test]
    fn at_the_head_it_is_live_if_somebody_holds_it() {
        let held = progress(checkpoint(position(1, 100)), None);
        assert_eq!((held.state, held.lag_events), (State::Live, 0));
        assert_eq!(held.seconds_to_head, None);
        let mut alone = checkpoint(position(1, 100));
        alone.owner = None;
        assert_eq!(progress(alone, None).state, State::Stalled);
    }

    #[test]
    fn behind_the_head_it_catches_up_as_long_as_it_moves() {
        let behind = progress(checkpoint(position(1, 50)), Some(60));
        assert_eq!((behind.state, behind.lag_events), (State::CatchingUp, 50));
        assert_eq!(behind.seconds_to_head, Some(1.0));
        let on_its_way = progress(checkpoint(position(1, 99)), Some(1));
        assert_eq!(on_its_way.state, State::Live);
        let mut still = checkpoint(position(1, 50));
        still.still_seconds = 11.0;
        assert_eq!(progress(still.clone(), Some(60)).state, State::Stalled);
        // Nothing came for long, and the first event since is on its way.
        assert_eq!(progress(still, Some(1)).state, State::Live);
    }

    #[test]
    fn what_stopped_is_never_well() {
        let mut stopped = checkpoint(position(1, 99));
        stopped.stopped_because = Some("poison".into());
        let told = progress(stopped.clone(), Some(0));
        assert_eq!(told.state, State::Stalled);
        assert_eq!(told.trouble.as_deref(), Some("poison"));
        stopped.diverged = true;
        assert_eq!(progress(stopped, Some(0)).state, State::Diverged);
        let ahead = progress(checkpoint(position(1, 101)), None);
        assert_eq!((ahead.state, ahead.lag_events), (State::Diverged, 0));
        assert!(
            ahead
                .trouble
                .is_some_and(|trouble| trouble.contains("0:1-100"))
        );
    }

    #[test]
    fn what_operators_must_know_comes_before_what_moves() {
        let mut parked = checkpoint(position(1, 50));
        parked.parked = 3;
        assert_eq!(progress(parked.clone(), Some(60)).state, State::Parked);
        parked.paused_because = Some("upgrade".into());
        let told = progress(parked.clone(), Some(60));
        assert_eq!(told.state, State::Paused);
        assert_eq!(told.trouble.as_deref(), Some("paused: upgrade"));
        parked.role = "building".into();
        assert_eq!(progress(parked.clone(), Some(60)).state, State::Rebuilding);
        parked.stopped_because = Some("a gap".into());
        assert_eq!(progress(parked, Some(60)).state, State::Stalled);
    }

    #[test]
    fn an_earlier_epoch_is_behind_by_the_whole_next_one() {
        assert_eq!(
            progress(checkpoint(position(0, 7)), Some(0)).lag_events,
            101
        );
    }
}
