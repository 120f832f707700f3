//! `social`: all that a page of posts or accounts is put together from, in one cut.

use kernel::AggregateId;
use sea_orm::sqlx::PgTransaction;

use super::{Folded, Projection, TableFold, TableProjection, Traces};
use crate::{Happened, Social, Written, activity, features};

/// Its folds are in [`Social`].
pub(super) struct SocialTables;

impl TableProjection for SocialTables {
    fn name(&self) -> Projection {
        Projection::SOCIAL
    }

    fn about(&self) -> &'static str {
        "The tables that reads are answered from"
    }

    fn tables(&self) -> String {
        "CREATE SCHEMA IF NOT EXISTS {schema};".to_owned() + &features::tables()
    }

    fn indexes(&self) -> String {
        features::indexes()
    }

    /// Every write is waited for in this projection, whatever its event.
    fn wants(&self, _event_type: &str) -> bool {
        true
    }

    fn fold(&self) -> Box<dyn TableFold> {
        Box::new(SocialFold::default())
    }

    fn forget<'a>(
        &'a self,
        schema: &'a str,
        transaction: &'a mut PgTransaction<'static>,
        aggregate: AggregateId,
    ) -> Folded<'a> {
        Box::pin(async move { Social::new(schema).forget(transaction, aggregate).await })
    }

    fn traces(&self, aggregate: AggregateId) -> Option<Box<dyn Traces>> {
        let last = activity::LastActivity::of(aggregate)?;
        Some(Box::new(last))
    }
}

#[derive(Default)]
struct SocialFold {
    written: Written,
    /// Of the last batch, which may not be committed.
    uncommitted: Written,
}

impl TableFold for SocialFold {
    fn write<'a>(
        &'a mut self,
        schema: &'a str,
        transaction: &'a mut PgTransaction<'static>,
        batch: &'a [Happened],
    ) -> Folded<'a> {
        Box::pin(async move {
            let social = Social::new(schema);
            self.uncommitted = Written::default();
            self.uncommitted = social.write(transaction, batch, &self.written).await?;
            Ok(())
        })
    }

    fn committed(&mut self) {
        self.written.keep(std::mem::take(&mut self.uncommitted));
    }
}
