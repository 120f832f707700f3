//! The tables of the `social` read model, as one generation of it has them.
//! No foreign keys: rows of different partitions come in any order. No types
//! local to the schema: prepared statements outlive a rename.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

/// The schema that queries read.
pub const LIVE: &str = "social";

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

/// Those that folds do without. In the order in which folds write the tables, as
/// above: making an index that is there waits for a lock all the same.
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

pub async fn create_tables(database: &impl ConnectionTrait, schema: &str) -> Result<(), DbErr> {
    let sql = TABLES.replace("{schema}", schema);
    database.execute_unprepared(&sql).await.map(|_| ())
}

/// The schemas that there are: a release may have tables that older ones lack.
pub async fn generations(database: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    let sql = "SELECT table_schema::text AS name FROM information_schema.tables
               WHERE table_schema LIKE 'social%' AND table_name = 'accounts'";
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let rows = database.query_all_raw(statement).await?;
    rows.iter().map(|row| row.try_get("", "name")).collect()
}

/// What the planner must know of tables that were filled quickly.
pub async fn analyze(database: &impl ConnectionTrait, schema: &str) -> Result<(), DbErr> {
    let tables = TABLES.split("CREATE TABLE IF NOT EXISTS {schema}.").skip(1);
    for table in tables.filter_map(|rest| rest.split_whitespace().next()) {
        let sql = format!("ANALYZE {schema}.{table}");
        database.execute_unprepared(&sql).await?;
    }
    Ok(())
}

pub async fn create_indexes(database: &impl ConnectionTrait, schema: &str) -> Result<(), DbErr> {
    let sql = INDEXES.replace("{schema}", schema);
    database.execute_unprepared(&sql).await.map(|_| ())
}
