//! A position is where an event stands in the log: `partition:epoch-seq`.
//! Positions are compared inside one partition only, and never carry time.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One of the P ordered halves of the log, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u16);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Gapless inside an epoch: the first entry of an epoch has `seq` 0.
/// An epoch goes up only when a log is restored or failed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub partition: Partition,
    pub epoch: u64,
    pub seq: u64,
}

impl Position {
    /// The Redis stream id: `epoch-seq`.
    pub fn entry_id(&self) -> String {
        format!("{}-{}", self.epoch, self.seq)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not a position: expected partition:epoch-seq such as 3:1-4711")]
pub struct ParsePositionError;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}-{}", self.partition, self.epoch, self.seq)
    }
}

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (partition, entry) = text.split_once(':').ok_or(ParsePositionError)?;
        let (epoch, seq) = entry.split_once('-').ok_or(ParsePositionError)?;
        Ok(Self {
            partition: Partition(partition.parse().map_err(|_| ParsePositionError)?),
            epoch: epoch.parse().map_err(|_| ParsePositionError)?,
            seq: seq.parse().map_err(|_| ParsePositionError)?,
        })
    }
}

impl Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// At most one position a partition, sorted by partition; written with commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(Vec<Position>);

impl Positions {
    pub fn get(&self, partition: Partition) -> Option<Position> {
        self.0
            .iter()
            .find(|position| position.partition == partition)
            .copied()
    }

    /// Keeps the later of the position held and `position`.
    pub fn advance(&mut self, position: Position) {
        match self
            .0
            .binary_search_by_key(&position.partition, |held| held.partition)
        {
            Ok(at) => self.0[at] = self.0[at].max(position),
            Err(at) => self.0.insert(at, position),
        }
    }

    /// Whether every position in `wanted` has been reached.
    pub fn reach(&self, wanted: &Positions) -> bool {
        wanted
            .iter()
            .all(|w| self.get(w.partition).is_some_and(|held| held >= *w))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Position> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Position> for Positions {
    fn from_iter<I: IntoIterator<Item = Position>>(positions: I) -> Self {
        let mut all = Self::default();
        for position in positions {
            all.advance(position);
        }
        all
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, position) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            position.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for Positions {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(|part| part.trim().parse()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_back_and_keep_the_later_one() {
        let positions: Positions = "3:1-42, 0:2-1,3:1-7".parse().unwrap_or_default();
        assert_eq!(positions.to_string(), "0:2-1,3:1-42");
        assert!("3:1".parse::<Position>().is_err());
        assert!("".parse::<Positions>().is_err());
    }

    #[test]
    fn a_later_epoch_reaches_any_seq_of_an_earlier_one() {
        let held: Positions = "0:2-0".parse().unwrap_or_default();
        assert!(held.reach(&"0:1-99".parse().unwrap_or_default()));
        assert!(!held.reach(&"0:2-1".parse().unwrap_or_default()));
        assert!(!held.reach(&"1:1-0".parse().unwrap_or_default()));
    }
}

#[cfg(test)]
mod properties {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn config() -> ProptestConfig {
        ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    /// Few partitions and numbers, so that positions meet, and the largest.
    fn position() -> impl Strategy<Value = Position> {
        let number = || prop_oneof![0..5_u64, any::<u64>(), Just(u64::MAX)];
        let partition = prop_oneof![4 => 0..4_u16, 1 => any::<u16>()];
        (partition, number(), number()).prop_map(|(partition, epoch, seq)| Position {
            partition: Partition(partition),
            epoch,
            seq,
        })
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_position_reads_back_as_it_is_shown(position in position()) {
            prop_assert_eq!(position.to_string().parse::<Position>()?, position);
            prop_assert_eq!(crate::decode::<Position>(&crate::encode(&position)?)?, position);
            let shown = format!("{}:{}", position.partition, position.entry_id());
            prop_assert_eq!(shown, position.to_string());
        }

        #[test]
        fn what_is_read_as_positions_is_shown_as_the_same(text in "[0-9:+, -]{0,30}|\\PC{0,20}") {
            if let Ok(positions) = text.parse::<Positions>() {
                prop_assert_eq!(positions.to_string().parse::<Positions>()?, positions);
            }
        }

        #[test]
        fn positions_hold_the_latest_of_each_partition_in_whatever_order_they_came(
            given in vec(position(), 0..20),
        ) {
            let all: Positions = given.iter().copied().collect();
            let backwards: Positions = given.iter().rev().copied().collect();
            prop_assert_eq!(&all, &backwards);
            for position in &given {
                let there = given.iter().filter(|other| other.partition == position.partition);
                prop_assert_eq!(all.get(position.partition), there.max().copied());
            }
            let partitions: Vec<_> = all.iter().map(|position| position.partition).collect();
            prop_assert!(partitions.is_sorted_by(|a, b| a < b));
            prop_assert_eq!(all.is_empty(), given.is_empty());
            if !all.is_empty() {
                prop_assert_eq!(all.to_string().parse::<Positions>()?, all);
            }
        }

        #[test]
        fn what_reaches_a_list_reaches_each_of_it(
            held in vec(position(), 0..8),
            wanted in vec(position(), 0..4),
        ) {
            let held: Positions = held.into_iter().collect();
            let all: Positions = wanted.iter().copied().collect();
            let each = wanted.iter().all(|one| held.reach(&Positions::from_iter([*one])));
            prop_assert_eq!(held.reach(&all), each);
            let mut further = held.clone();
            wanted.iter().for_each(|position| further.advance(*position));
            prop_assert!(further.reach(&held) && further.reach(&all));
        }
    }
}
