//! A database of the test's own, and what tests do to it.

use readmodel::{
    DatabaseConnection, Happened, PgPool, Projection, Projections, Social, Written,
    projections::{create_indexes, create_tables},
    timelines::{FanOut, Lists, TimelineSettings},
};
use sea_orm::sqlx::{self, AssertSqlSafe};
use testkit::Servers;

pub struct Setting {
    pub servers: Servers,
    pub database: DatabaseConnection,
    pub lists: Lists,
}

macro_rules! names {
    ($($(#[$doc:meta])* $field:ident $variant:ident $name:ident,)+) => {
        const POST_COUNTERS: &[&str] = &[$(stringify!($field)),+];
    };
}
readmodel::for_each_post_counter!(names);

impl Setting {
    pub async fn new() -> Self {
        let servers = Servers::shared().await;
        let database = readmodel::connect(&servers.database, 12).await.unwrap();
        let lists = lists(&servers.redis_views, &servers.prefix);
        Self {
            servers,
            database,
            lists,
        }
    }

    pub fn pool(&self) -> &PgPool {
        self.database.get_postgres_connection_pool()
    }

    /// A generation of its own.
    pub async fn generation(&self, schema: &str) -> Social {
        let registered = Projections::default();
        let social = registered.tables(Projection::SOCIAL).unwrap().as_ref();
        create_tables(&self.database, social, schema).await.unwrap();
        create_indexes(&self.database, social, schema)
            .await
            .unwrap();
        Social::new(schema)
    }

    pub fn live(&self) -> Social {
        Social::new(Projection::SOCIAL.name())
    }

    pub async fn fold(&self, social: &Social, batch: &[Happened]) {
        try_fold(self.pool(), social, batch).await.unwrap();
    }

    /// Folds into the live generation and fans out, as the worker does.
    pub async fn settle(&self, batch: &[Happened], push_followers_max: i64) {
        self.fold(&self.live(), batch).await;
        let mut fan_out = FanOut::default();
        for happened in batch {
            fan_out.take(happened.aggregate, &happened.event);
        }
        fan_out
            .run(
                &mut self.pool().acquire().await.unwrap(),
                &self.lists,
                push_followers_max,
            )
            .await
            .unwrap();
    }

    /// The tables of a generation.
    pub async fn tables(&self, schema: &str) -> Vec<String> {
        let sql = "SELECT table_name::text FROM information_schema.tables
                   WHERE table_schema = $1 ORDER BY 1";
        let tables = sqlx::query_scalar(sql).bind(schema).fetch_all(self.pool());
        tables.await.unwrap()
    }

    pub async fn empty(&self, schema: &str) {
        let tables = self.tables(schema).await.into_iter();
        let tables: Vec<_> = tables.map(|table| format!("{schema}.{table}")).collect();
        let sql = format!("TRUNCATE {}", tables.join(", "));
        sqlx::query(AssertSqlSafe(sql))
            .execute(self.pool())
            .await
            .unwrap();
    }

    /// Every row of a generation as text, in order.
    pub async fn rows(&self, schema: &str) -> Vec<String> {
        let mut rows = Vec::new();
        for table in self.tables(schema).await {
            let sql = format!("SELECT '{table} ' || t::text FROM {schema}.{table} AS t");
            let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_all(self.pool())
                .await
                .unwrap();
            rows.extend(found);
        }
        rows.sort_unstable();
        rows
    }

    /// Counters that are not what the edges and posts add up to, without those of
    /// deactivated accounts.
    pub async fn wrong_counters(&self, schema: &str) -> Vec<String> {
        // A counter is of the edges in the table that has its name.
        let of_edges = POST_COUNTERS.iter().filter(|name| **name != "replies");
        let of_edges = of_edges.map(|name| {
            format!(
                "UNION ALL SELECT post_id, '{name}' FROM {{s}}.{name}
                 WHERE account_id NOT IN (SELECT id FROM away)"
            )
        });
        let sql = "
            WITH away AS (
                SELECT id FROM {s}.accounts WHERE deactivated
            ), one (id, counter) AS (
                SELECT followed_id, 'followers' FROM {s}.follows
                WHERE follower_id NOT IN (SELECT id FROM away)
                UNION ALL SELECT follower_id, 'following' FROM {s}.follows
                WHERE followed_id NOT IN (SELECT id FROM away)
                UNION ALL SELECT author_id, 'posts' FROM {s}.posts WHERE deleted_at IS NULL
                UNION ALL SELECT parent_id, 'replies' FROM {s}.posts
                WHERE parent_id IS NOT NULL AND deleted_at IS NULL
                  AND author_id NOT IN (SELECT id FROM away)
                {of_edges}
            ), added AS (
                SELECT id, counter, count(*) AS total FROM one GROUP BY id, counter
            ), kept (id, counters) AS (
                SELECT account_id, to_jsonb(n) - 'account_id' FROM {s}.account_counters AS n
                UNION ALL
                SELECT post_id, to_jsonb(n) - 'post_id' FROM {s}.post_counters AS n
            ), counted AS (
                SELECT id, counter, total::bigint FROM kept, jsonb_each_text(counters)
                    AS c (counter, total) WHERE total <> '0'
            )
            SELECT concat_ws(' ', id, counter, 'kept', counted.total, 'added', added.total)
            FROM counted FULL JOIN added USING (id, counter)
            WHERE counted.total IS DISTINCT FROM added.total
            UNION ALL
            SELECT concat_ws(' ', id, 'has nothing but zeros') FROM kept
            WHERE NOT EXISTS (
                SELECT 1 FROM jsonb_each_text(counters) AS c (counter, total) WHERE total <> '0'
            )";
        let sql = sql.replace("{of_edges}", &of_edges.collect::<String>());
        sqlx::query_scalar(AssertSqlSafe(sql.replace("{s}", schema)))
            .fetch_all(self.pool())
            .await
            .unwrap()
    }
}

pub async fn try_fold(
    pool: &PgPool,
    social: &Social,
    batch: &[Happened],
) -> Result<(), readmodel::ReadError> {
    let mut transaction = pool.begin().await?;
    social
        .write(&mut transaction, batch, &Written::default())
        .await?;
    Ok(transaction.commit().await?)
}

pub fn lists(views: &str, prefix: &str) -> Lists {
    Lists::new(&TimelineSettings {
        views: views.into(),
        prefix: prefix.to_owned(),
        timeline_seconds: 3_600,
    })
    .unwrap()
}
