//! A projection beside the product's: what each account did, by type of event.

use domain::{Event, follows::FollowEvent, likes::LikeEvent, posts::PostEvent};
use kernel::{AggregateId, Uuid};
use readmodel::{
    Happened, Projection, TableProjection,
    projections::{Folded, TableFold},
};
use sea_orm::sqlx::{self, AssertSqlSafe, PgTransaction};

pub const TALLY: Projection = Projection::new("tally");
/// A post of so many characters is refused by the tables.
pub const CHARACTERS_MAX: i32 = 100;

pub struct Tally;

impl TableProjection for Tally {
    fn name(&self) -> Projection {
        TALLY
    }

    fn about(&self) -> &'static str {
        "What each account did, by type of event"
    }

    /// A row an event, so that one that is folded twice counts once.
    fn tables(&self) -> String {
        format!(
            "CREATE SCHEMA IF NOT EXISTS {{schema}};
             CREATE TABLE IF NOT EXISTS {{schema}}.done (
                 partition integer NOT NULL,
                 epoch bigint NOT NULL,
                 seq bigint NOT NULL,
                 kind smallint NOT NULL,
                 aggregate uuid NOT NULL,
                 account uuid NOT NULL,
                 event text NOT NULL,
                 characters integer NOT NULL,
                 CONSTRAINT short CHECK (characters < {CHARACTERS_MAX}),
                 PRIMARY KEY (partition, epoch, seq)
             );"
        )
    }

    fn indexes(&self) -> String {
        "CREATE INDEX IF NOT EXISTS done_account ON {schema}.done (account, event);".to_owned()
    }

    fn wants(&self, event_type: &str) -> bool {
        matches!(event_type, "PostCreated" | "Liked" | "Followed")
    }

    fn fold(&self) -> Box<dyn TableFold> {
        Box::new(TallyFold)
    }

    fn forget<'a>(
        &'a self,
        schema: &'a str,
        transaction: &'a mut PgTransaction<'static>,
        aggregate: AggregateId,
    ) -> Folded<'a> {
        Box::pin(async move {
            let sql = format!("DELETE FROM {schema}.done WHERE kind = $1 AND aggregate = $2");
            sqlx::query(AssertSqlSafe(sql))
                .bind(i16::from(aggregate.kind.0))
                .bind(aggregate.id)
                .execute(&mut **transaction)
                .await?;
            Ok(())
        })
    }
}

struct TallyFold;

impl TableFold for TallyFold {
    fn write<'a>(
        &'a mut self,
        schema: &'a str,
        transaction: &'a mut PgTransaction<'static>,
        batch: &'a [Happened],
    ) -> Folded<'a> {
        Box::pin(async move {
            let all: Vec<_> = batch.iter().map(|one| (one, done(&one.event))).collect();
            let sql = format!(
                "INSERT INTO {schema}.done SELECT * FROM unnest($1::integer[], $2::bigint[],
                     $3::bigint[], $4::smallint[], $5::uuid[], $6::uuid[], $7::text[],
                     $8::integer[]) ON CONFLICT DO NOTHING"
            );
            let at = |part: fn(&Happened) -> i64| -> Vec<_> {
                batch.iter().map(part).collect::<Vec<i64>>()
            };
            let partitions = batch.iter().map(|one| i32::from(one.position.partition.0));
            let kinds = batch.iter().map(|one| i16::from(one.aggregate.kind.0));
            let aggregates = batch.iter().map(|one| one.aggregate.id);
            let accounts = batch.iter().map(|one| one.actor.0);
            sqlx::query(AssertSqlSafe(sql))
                .bind(partitions.collect::<Vec<_>>())
                .bind(at(|one| one.position.epoch as i64))
                .bind(at(|one| one.position.seq as i64))
                .bind(kinds.collect::<Vec<_>>())
                .bind(aggregates.collect::<Vec<Uuid>>())
                .bind(accounts.collect::<Vec<Uuid>>())
                .bind(all.iter().map(|(_, done)| done.0).collect::<Vec<_>>())
                .bind(all.iter().map(|(_, done)| done.1).collect::<Vec<_>>())
                .execute(&mut **transaction)
                .await?;
            Ok(())
        })
    }
}

/// The name of what happened, and how long its text is.
fn done(event: &Event) -> (&'static str, i32) {
    match event {
        Event::Post(PostEvent::PostCreated(created)) => {
            let text = created.text.text().unwrap_or_default();
            ("PostCreated", text.chars().count() as i32)
        }
        Event::Like(LikeEvent::Liked(_)) => ("Liked", 0),
        Event::Follow(FollowEvent::Followed(_)) => ("Followed", 0),
        other => panic!("it was not asked for: {other:?}"),
    }
}
