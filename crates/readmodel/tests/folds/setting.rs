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
        let sql = "
            WITH away AS (
                SELECT id FROM {s}.accounts WHERE deactivated
            ), account AS (
                SELECT id, sum(f)::bigint AS f, sum(g)::bigint AS g, sum(p)::bigint AS p FROM (
                    SELECT followed_id AS id, 1 AS f, 0 AS g, 0 AS p FROM {s}.follows
                    WHERE follower_id NOT IN (SELECT id FROM away)
                    UNION ALL SELECT follower_id, 0, 1, 0 FROM {s}.follows
                    WHERE followed_id NOT IN (SELECT id FROM away)
                    UNION ALL SELECT author_id, 0, 0, 1 FROM {s}.posts WHERE deleted_at IS NULL
                ) AS one GROUP BY id
            ), post AS (
                SELECT id, sum(l)::bigint AS l, sum(r)::bigint AS r, sum(b)::bigint AS b FROM (
                    SELECT post_id AS id, 1 AS l, 0 AS r, 0 AS b FROM {s}.likes
                    WHERE account_id NOT IN (SELECT id FROM away)
                    UNION ALL SELECT post_id, 0, 0, 1 FROM {s}.reposts
                    WHERE account_id NOT IN (SELECT id FROM away)
                    UNION ALL SELECT parent_id, 0, 1, 0 FROM {s}.posts
                    WHERE parent_id IS NOT NULL AND deleted_at IS NULL
                      AND author_id NOT IN (SELECT id FROM away)
                ) AS one GROUP BY id
            )
            SELECT concat_ws(' ', 'account', n::text, account::text)
            FROM {s}.account_counters AS n FULL JOIN account ON account.id = n.account_id
            WHERE (n.followers, n.following, n.posts)
                  IS DISTINCT FROM (account.f, account.g, account.p)
            UNION ALL
            SELECT concat_ws(' ', 'post', n::text, post::text)
            FROM {s}.post_counters AS n FULL JOIN post ON post.id = n.post_id
            WHERE (n.likes, n.replies, n.reposts) IS DISTINCT FROM (post.l, post.r, post.b)";
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
