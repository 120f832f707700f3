//! `social`: all that a page of posts or accounts is put together from, in one cut.

use kernel::AggregateId;
use sea_orm::sqlx::PgTransaction;

use super::{Folded, Projection, TableFold, TableProjection, Traces};
use crate::{Happened, Social, Written, activity};

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
        TABLES.to_owned()
    }

    fn indexes(&self) -> String {
        INDEXES.to_owned()
    }

    /// Whoever wrote something waits for it here, whatever it is.
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

const TABLES: &str = "
    CREATE SCHEMA IF NOT EXISTS {schema};
    CREATE TABLE IF NOT EXISTS {schema}.accounts (
        id uuid PRIMARY KEY,
        handle text NOT NULL,
        display_name text,
        bio text,
        pinned_post_id uuid,
        registered_at bigint NOT NULL,
        active_on bigint NOT NULL,
        version bigint NOT NULL,
        private boolean NOT NULL DEFAULT false,
        deactivated boolean NOT NULL DEFAULT false
    ) WITH (fillfactor = 90);
    CREATE TABLE IF NOT EXISTS {schema}.account_counters (
        account_id uuid PRIMARY KEY,
        followers bigint NOT NULL,
        following bigint NOT NULL,
        posts bigint NOT NULL
    ) WITH (fillfactor = 70);
    CREATE TABLE IF NOT EXISTS {schema}.posts (
        id uuid PRIMARY KEY,
        author_id uuid NOT NULL,
        text text,
        hashtags text[] NOT NULL,
        mentions uuid[] NOT NULL,
        metadata jsonb,
        language text,
        followers_only boolean NOT NULL,
        parent_id uuid,
        root_id uuid,
        created_at bigint NOT NULL,
        edited_at bigint,
        deleted_at bigint,
        version bigint NOT NULL
    );
    CREATE TABLE IF NOT EXISTS {schema}.post_revisions (
        post_id uuid NOT NULL,
        version bigint NOT NULL,
        text text,
        metadata jsonb,
        language text,
        written_at bigint NOT NULL,
        PRIMARY KEY (post_id, version)
    );
    CREATE TABLE IF NOT EXISTS {schema}.post_counters (
        post_id uuid PRIMARY KEY,
        likes bigint NOT NULL,
        replies bigint NOT NULL
    ) WITH (fillfactor = 70);
    CREATE TABLE IF NOT EXISTS {schema}.likes (
        account_id uuid NOT NULL,
        post_id uuid NOT NULL,
        liked_at bigint NOT NULL,
        PRIMARY KEY (account_id, post_id)
    );
    CREATE TABLE IF NOT EXISTS {schema}.follows (
        follower_id uuid NOT NULL,
        followed_id uuid NOT NULL,
        followed_at bigint NOT NULL,
        PRIMARY KEY (follower_id, followed_id)
    );
    CREATE TABLE IF NOT EXISTS {schema}.follow_requests (
        follower_id uuid NOT NULL,
        followed_id uuid NOT NULL,
        requested_at bigint NOT NULL,
        PRIMARY KEY (follower_id, followed_id)
    );
    CREATE TABLE IF NOT EXISTS {schema}.blocks (
        blocker_id uuid NOT NULL,
        blocked_id uuid NOT NULL,
        blocked_at bigint NOT NULL,
        PRIMARY KEY (blocker_id, blocked_id)
    );
    CREATE TABLE IF NOT EXISTS {schema}.mutes (
        muter_id uuid NOT NULL,
        muted_id uuid NOT NULL,
        muted_at bigint NOT NULL,
        PRIMARY KEY (muter_id, muted_id)
    );
    -- Folds of deactivations look rows up by these.
    CREATE INDEX IF NOT EXISTS posts_author ON {schema}.posts (author_id, id DESC);
    CREATE INDEX IF NOT EXISTS follows_followed
        ON {schema}.follows (followed_id, followed_at DESC, follower_id DESC);";

const INDEXES: &str = "
    CREATE INDEX IF NOT EXISTS accounts_handle ON {schema}.accounts (handle);
    CREATE INDEX IF NOT EXISTS posts_parent ON {schema}.posts (parent_id, id)
        WHERE parent_id IS NOT NULL;
    CREATE INDEX IF NOT EXISTS likes_post
        ON {schema}.likes (post_id, liked_at DESC, account_id DESC);
    CREATE INDEX IF NOT EXISTS follows_follower
        ON {schema}.follows (follower_id, followed_at DESC, followed_id DESC);
    CREATE INDEX IF NOT EXISTS follow_requests_followed
        ON {schema}.follow_requests (followed_id, requested_at DESC, follower_id DESC);
    CREATE INDEX IF NOT EXISTS blocks_blocker
        ON {schema}.blocks (blocker_id, blocked_at DESC, blocked_id DESC);
    CREATE INDEX IF NOT EXISTS blocks_blocked ON {schema}.blocks (blocked_id);
    CREATE INDEX IF NOT EXISTS mutes_muter
        ON {schema}.mutes (muter_id, muted_at DESC, muted_id DESC);";
