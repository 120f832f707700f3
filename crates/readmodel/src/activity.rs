//! When accounts were active last: the day of it, beside their rows.

use std::collections::BTreeMap;

use domain::kinds;
use kernel::{AccountId, AggregateId, Envelope, Timestamp, Uuid};
use sea_orm::sqlx::{self, PgTransaction};

use crate::{
    ReadError, Social,
    projections::{Folded, Traces},
    social::{Happened, Tables},
};

/// Milliseconds of a day.
const DAY_MILLISECONDS: i64 = 24 * 60 * 60 * 1_000;
/// Accounts of which [`Days`] keeps what was noted: some 6 MB.
const NOTED_MAX: usize = 100_000;

/// The day of each account's last activity, in days since 1970-01-01.
#[derive(Clone, Debug, Default)]
pub(crate) struct Days(BTreeMap<Uuid, i64>);

impl Days {
    /// What a batch says.
    pub fn of(batch: &[Happened]) -> Self {
        let mut days = Self::default();
        for happened in batch {
            if is_activity(happened.aggregate, happened.actor) {
                days.take(happened.actor.0, day(happened.recorded_at));
            }
        }
        days
    }

    pub(crate) fn of_one(account: AccountId, at: Timestamp) -> Self {
        Self(BTreeMap::from([(account.0, day(at))]))
    }

    /// What these have not noted of `said`: most of what accounts do, they do on
    /// a day that is noted.
    pub fn news(&self, mut said: Self) -> Self {
        said.0
            .retain(|account, day| self.0.get(account).is_none_or(|noted| noted < day));
        said
    }

    /// Keeps what was committed. Whoever forgets it notes it again, which changes
    /// nothing.
    pub fn keep(&mut self, noted: Self) {
        if self.0.len() + noted.0.len() > NOTED_MAX {
            self.0.clear();
        }
        for (account, day) in noted.0 {
            self.take(account, day);
        }
    }

    fn take(&mut self, account: Uuid, day: i64) {
        let last = self.0.entry(account).or_insert(day);
        *last = day.max(*last);
    }

    pub(crate) async fn write(
        &self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
    ) -> Result<(), ReadError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let sql = tables.sql(
            "UPDATE {s}.accounts AS a SET active_on = c.active_on
             FROM unnest($1::uuid[], $2::bigint[]) AS c (id, active_on)
             WHERE a.id = c.id AND a.active_on < c.active_on",
        );
        sqlx::query(sql)
            .bind(self.0.keys().copied().collect::<Vec<_>>())
            .bind(self.0.values().copied().collect::<Vec<_>>())
            .execute(&mut **transaction)
            .await?;
        Ok(())
    }
}

fn day(at: Timestamp) -> i64 {
    at.0.div_euclid(DAY_MILLISECONDS)
}

/// The beginning of a day.
pub(crate) fn beginning_of(day: i64) -> Timestamp {
    Timestamp(day * DAY_MILLISECONDS)
}

/// Whether an event of `aggregate` says that `actor` was active. Not those in
/// another partition than the account's row is in: a handle has its own, and
/// whoever answers a request or blocks a follower changes the follower's edge.
/// Operators are no accounts.
fn is_activity(aggregate: AggregateId, actor: AccountId) -> bool {
    match aggregate.kind {
        kinds::HANDLE | kinds::OPERATION => false,
        kinds::FOLLOW => aggregate.id == actor.0,
        _ => true,
    }
}

/// When an account was active last, as far as the log was read: what it did to other
/// aggregates while its own events waited found no row to be noted in.
pub(crate) struct LastActivity {
    account: AccountId,
    last: Option<Timestamp>,
}

impl LastActivity {
    /// None where the aggregate is no account.
    pub fn of(aggregate: AggregateId) -> Option<Self> {
        let account = AccountId(aggregate.id);
        let is_account = aggregate.kind == kinds::ACCOUNT;
        is_account.then_some(Self {
            account,
            last: None,
        })
    }
}

impl Traces for LastActivity {
    fn take(&mut self, envelope: &Envelope) {
        let own = envelope.actor == self.account;
        if own && is_activity(envelope.aggregate, envelope.actor) {
            self.last = self.last.max(Some(envelope.recorded_at));
        }
    }

    fn write<'a>(
        &'a self,
        schema: &'a str,
        transaction: &'a mut PgTransaction<'static>,
    ) -> Folded<'a> {
        Box::pin(async move {
            match self.last {
                Some(at) => {
                    Social::new(schema)
                        .touch(transaction, self.account, at)
                        .await
                }
                None => Ok(()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(said: &[(u128, i64)]) -> Days {
        let said = said.iter().map(|(id, day)| (Uuid::from_u128(*id), *day));
        Days(said.collect())
    }

    #[test]
    fn what_is_noted_is_no_news_until_a_later_day() {
        let mut noted = Days::default();
        noted.keep(days(&[(1, 5), (2, 5)]));
        let news = noted.news(days(&[(1, 5), (2, 6), (3, 4)]));
        assert_eq!(news.0, days(&[(2, 6), (3, 4)]).0);
        noted.keep(news);
        // An event of an earlier day takes nothing back.
        noted.keep(days(&[(2, 3)]));
        assert!(noted.news(days(&[(1, 5), (2, 6), (3, 4)])).0.is_empty());
    }

    #[test]
    fn no_more_is_kept_than_the_limit() {
        let mut noted = Days::default();
        for id in 0..NOTED_MAX as u128 + 1 {
            noted.keep(days(&[(id, 1)]));
        }
        assert_eq!(noted.0.len(), 1);
    }
}
