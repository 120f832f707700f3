//! Ids are UUIDv7 (RFC 9562) whose last 16 bits are routing bits: an account's
//! are drawn when it is made, and what an account makes takes the account's.
//! The partition is a function of these bits alone. It refuses to draw random
//! numbers or read a clock: both arrive as arguments.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::Partition;

/// The 16 routing bits of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route(pub u16);

impl Route {
    pub fn of(id: Uuid) -> Self {
        let bytes = id.as_bytes();
        Self(u16::from_be_bytes([bytes[14], bytes[15]]))
    }

    /// `partitions` is the P of the log, fixed when the log is created.
    pub fn partition(self, partitions: u16) -> Partition {
        Partition(self.0 % partitions)
    }
}

/// A UUIDv7 of `unix_milliseconds` whose last two bytes are `route`.
pub fn compose_id(unix_milliseconds: u64, random: [u8; 8], route: Route) -> Uuid {
    let mut tail = [0; 10];
    tail[..8].copy_from_slice(&random);
    tail[8..].copy_from_slice(&route.0.to_be_bytes());
    Builder::from_unix_timestamp_millis(unix_milliseconds, &tail).into_uuid()
}

/// A UUIDv7 that sorts after those of a quarter of a microsecond before: the 12 bits
/// behind the milliseconds are the fraction of one (RFC 9562, section 6.2, method 3).
pub fn compose_fine_id(since_epoch: Duration, random: [u8; 6], route: Route) -> Uuid {
    let fraction = (since_epoch.subsec_nanos() % 1_000_000) * 4_096 / 1_000_000;
    let mut tail = [0; 8];
    tail[..2].copy_from_slice(&(fraction as u16).to_be_bytes());
    tail[2..].copy_from_slice(&random);
    compose_id(since_epoch.as_millis() as u64, tail, route)
}

#[derive(Debug, thiserror::Error)]
#[error("not an id: expected a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct ParseIdError;

/// Declares a typed id: a UUID that cannot be taken for another one's.
#[macro_export]
macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $crate::Uuid);

        impl $name {
            pub fn route(self) -> $crate::Route {
                $crate::Route::of(self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self).map_err(|_| $crate::ParseIdError)
            }
        }
    };
}

typed_id!(
    /// Who acts: the one typed id that every room needs.
    AccountId
);

/// What sort of aggregate an id names. The code is stored; the name is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kind(pub u8);

/// One aggregate: `id` alone, or an edge from `id` (its maker) to `member`.
/// It lives in the partition that the routing bits of `id` give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AggregateId {
    pub kind: Kind,
    pub id: Uuid,
    pub member: Option<Uuid>,
}

impl AggregateId {
    pub const fn single(kind: Kind, id: Uuid) -> Self {
        Self {
            kind,
            id,
            member: None,
        }
    }

    pub const fn edge(kind: Kind, from: Uuid, to: Uuid) -> Self {
        Self {
            kind,
            id: from,
            member: Some(to),
        }
    }

    pub fn route(&self) -> Route {
        Route::of(self.id)
    }
}

impl fmt::Display for AggregateId {
    /// `kind:id` or `kind:from:to`, the kind as its code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.0, self.id)?;
        if let Some(member) = self.member {
            write!(f, ":{member}")?;
        }
        Ok(())
    }
}

impl FromStr for AggregateId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':');
        let mut next = || parts.next();
        let kind = next().and_then(|kind| kind.parse().ok());
        let id = next().and_then(|id| id.parse().ok());
        let member = next()
            .map(|member| member.parse().map_err(|_| ParseIdError))
            .transpose()?;
        match (kind, id, next()) {
            (Some(kind), Some(id), None) => Ok(Self {
                kind: Kind(kind),
                id,
                member,
            }),
            _ => Err(ParseIdError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn unix_milliseconds(id: Uuid) -> Option<u64> {
        let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
        Some(seconds * 1_000 + u64::from(nanoseconds) / 1_000_000)
    }

    #[test]
    fn an_id_keeps_its_time_and_its_route() {
        let id = compose_id(1_700_000_000_123, [0xff; 8], Route(0xbeef));
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(Route::of(id), Route(0xbeef));
        assert_eq!(unix_milliseconds(id), Some(1_700_000_000_123));
        assert!(compose_id(1_700_000_000_124, [0; 8], Route(0)) > id);
    }

    #[test]
    fn an_aggregate_id_reads_back_what_it_writes() {
        let edge = AggregateId::edge(Kind(4), Uuid::from_u128(7), Uuid::from_u128(9));
        assert_eq!(edge.to_string().parse::<AggregateId>().ok(), Some(edge));
        assert!("4:x".parse::<AggregateId>().is_err());
    }
}

#[cfg(test)]
mod properties {
    use proptest::{option, prelude::*};

    use super::{tests::unix_milliseconds, *};

    fn config() -> ProptestConfig {
        ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    fn uuid() -> impl Strategy<Value = Uuid> {
        any::<u128>().prop_map(Uuid::from_u128)
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn an_id_sorts_by_its_time_and_keeps_its_route_and_version(
            at in 0..1_u64 << 48,
            later in 0..1_u64 << 48,
            random in any::<[u8; 8]>(),
            other in any::<[u8; 8]>(),
            route in any::<u16>(),
            partitions in 1..=u16::MAX,
        ) {
            let id = compose_id(at, random, Route(route));
            prop_assert_eq!(Route::of(id), Route(route));
            prop_assert_eq!(id.get_version_num(), 7);
            prop_assert_eq!(id.as_u128() >> 80, u128::from(at));
            prop_assert!(Route(route).partition(partitions).0 < partitions);
            let next = compose_id(later, other, Route(route));
            prop_assert!(at == later || (at < later) == (id < next));
        }

        #[test]
        fn a_fine_id_sorts_within_its_millisecond_too(
            at in 0..1_u64 << 60,
            after in 245..10_000_000_u64,
            random in any::<[u8; 6]>(),
            other in any::<[u8; 6]>(),
            routes in any::<[u16; 2]>(),
        ) {
            let id = compose_fine_id(Duration::from_nanos(at), random, Route(routes[0]));
            let later = Duration::from_nanos(at + after);
            prop_assert!(id < compose_fine_id(later, other, Route(routes[1])));
            prop_assert_eq!(Route::of(id), Route(routes[0]));
            prop_assert_eq!(unix_milliseconds(id), Some(at / 1_000_000));
        }

        #[test]
        fn every_id_reads_back_as_it_is_shown(
            kind in any::<u8>(),
            id in uuid(),
            member in option::of(uuid()),
        ) {
            let aggregate = AggregateId { kind: Kind(kind), id, member };
            prop_assert_eq!(aggregate.to_string().parse::<AggregateId>()?, aggregate);
            prop_assert_eq!(aggregate.route(), AccountId(id).route());
            prop_assert_eq!(AccountId(id).to_string().parse::<AccountId>()?, AccountId(id));
        }

        #[test]
        fn what_is_read_as_an_id_is_shown_as_the_same(text in "[0-9:+a-f-]{0,90}|\\PC{0,40}") {
            if let Ok(aggregate) = text.parse::<AggregateId>() {
                prop_assert_eq!(aggregate.to_string().parse::<AggregateId>()?, aggregate);
            }
        }

        #[test]
        fn one_more_part_is_no_aggregate(kind in any::<u8>(), id in uuid(), tail in "[:0-9a-z]{0,9}") {
            let edge = AggregateId::edge(Kind(kind), id, id);
            let longer = format!("{edge}:{tail}");
            prop_assert!(longer.parse::<AggregateId>().is_err());
        }
    }
}
