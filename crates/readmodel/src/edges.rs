//! Edges: from an account to an account or a post, since when. A feature declares its
//! table; writing, counting and taking back are the same for all.

use std::collections::BTreeMap;

use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, AssertSqlSafe, PgPool, PgTransaction, Row, postgres::PgRow};

use crate::{
    ReadError,
    accounts::{self, AccountRow},
    counters::{AccountCounter, PostCounter},
    paging::{EdgeKey, Part, Start, Step, Way, part},
    social::{Effects, Happened, Tables},
    standing::Moves,
    visibility::viewer_id,
};

/// A table, and its columns.
pub(crate) struct EdgeTable {
    pub name: &'static str,
    pub from: &'static str,
    pub to: &'static str,
    pub since: &'static str,
    /// A column with what the edge says beside: an id or null.
    pub detail: Option<&'static str>,
    /// Who counts the edge.
    pub counted: &'static [Counted],
}

/// A counter of one end of an edge. It counts while the account at the other end is
/// not deactivated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counted {
    /// Of the post that the edge leads to.
    Post(PostCounter),
    /// Of the account that the edge leads to.
    To(AccountCounter),
    /// Of the account that the edge comes from; it leads to an account.
    From(AccountCounter),
}

/// Which ends of edges are listed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    From,
    To,
}

/// The last of what a batch did to each edge: since when and with which detail it is
/// there, or not at all.
#[derive(Debug, Default)]
pub(crate) struct Changes(BTreeMap<(Uuid, Uuid), Option<Held>>);

/// Since when an edge is there, and its detail.
type Held = (i64, Option<Uuid>);

impl Changes {
    pub fn take(&mut self, happened: &Happened, holds: bool) {
        self.take_with(happened, holds, None);
    }

    pub fn take_with(&mut self, happened: &Happened, holds: bool, detail: Option<Uuid>) {
        if let Some(to) = happened.aggregate.member {
            let held = holds.then_some((happened.recorded_at.0, detail));
            self.0.insert((happened.aggregate.id, to), held);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub async fn write(
        self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        table: &EdgeTable,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let (detail, set_detail) = match table.detail {
            None => (String::new(), String::new()),
            Some(name) => (format!(", {name}"), format!(", {name} = EXCLUDED.{name}")),
        };
        let detail_value = if table.detail.is_some() {
            ", detail"
        } else {
            ""
        };
        let sql = format!(
            "WITH change AS (
                SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[])
                    AS c (a, b, since, detail)
             ), gone AS (
                DELETE FROM {{s}}.{{name}} AS e USING change AS c
                WHERE c.since IS NULL AND e.{{from}} = c.a AND e.{{to}} = c.b
                RETURNING e.{{from}} AS a, e.{{to}} AS b
             ), come AS (
                INSERT INTO {{s}}.{{name}} ({{from}}, {{to}}, {{since}}{detail})
                SELECT a, b, since{detail_value} FROM change WHERE since IS NOT NULL
                ON CONFLICT ({{from}}, {{to}}) DO UPDATE SET {{since}} = EXCLUDED.{{since}}{set_detail}
                RETURNING {{from}} AS a, {{to}} AS b, xmax = 0 AS is_new
             ), changes AS (
                SELECT a, b, 1 AS change FROM come WHERE is_new
                UNION ALL SELECT a, b, -1 FROM gone
             ) {}",
            table.sums()
        );
        let held = || self.0.values();
        let rows = sqlx::query(tables.sql(&table.sql(&sql)))
            .bind(self.0.keys().map(|edge| edge.0).collect::<Vec<_>>())
            .bind(self.0.keys().map(|edge| edge.1).collect::<Vec<_>>())
            .bind(held().map(|held| held.map(|h| h.0)).collect::<Vec<_>>())
            .bind(
                held()
                    .map(|held| held.and_then(|h| h.1))
                    .collect::<Vec<_>>(),
            )
            .fetch_all(&mut **transaction)
            .await?;
        table.add(&rows, effects)
    }
}

impl EdgeTable {
    /// The table, and the index by which it is listed from both its ends.
    pub fn ddl(&self) -> String {
        let detail = match self.detail {
            None => String::new(),
            Some(name) => format!(", {name} uuid"),
        };
        self.sql(&format!(
            "CREATE TABLE IF NOT EXISTS {{schema}}.{{name}} ({{from}} uuid NOT NULL, {{to}} uuid NOT NULL,
                {{since}} bigint NOT NULL{detail}, PRIMARY KEY ({{from}}, {{to}}));"
        ))
    }

    /// For the list of where the edges of one account lead, the last first.
    pub fn index_by_from(&self) -> String {
        self.sql(
            "CREATE INDEX IF NOT EXISTS {name}_from
                ON {schema}.{name} ({from}, {since} DESC, {to} DESC);",
        )
    }

    /// For the list of where edges to one end come from, the last first.
    pub fn index_by_to(&self) -> String {
        self.sql(
            "CREATE INDEX IF NOT EXISTS {name}_to
                ON {schema}.{name} ({to}, {since} DESC, {from} DESC);",
        )
    }

    /// For an edge that is looked up by its detail.
    pub fn index_by_detail(&self) -> String {
        self.sql("CREATE INDEX IF NOT EXISTS {name}_detail ON {schema}.{name} ({detail});")
    }

    /// For the list of the details of one account's edges, the greatest first.
    pub fn index_by_from_and_detail(&self) -> String {
        self.sql(
            "CREATE INDEX IF NOT EXISTS {name}_from_detail
                ON {schema}.{name} ({from}, {detail} DESC);",
        )
    }

    fn sql(&self, sql: &str) -> String {
        sql.replace("{name}", self.name)
            .replace("{detail}", self.detail.unwrap_or_default())
            .replace("{from}", self.from)
            .replace("{to}", self.to)
            .replace("{since}", self.since)
    }

    /// Of `changes (a, b, change)`: how much each counter changes, by its place in
    /// `counted`.
    fn sums(&self) -> String {
        if self.counted.is_empty() {
            return "SELECT 1 WHERE false".into();
        }
        let sums = self.counted.iter().enumerate().map(|(place, counted)| {
            let (end, other) = match counted {
                Counted::Post(_) | Counted::To(_) => ("b", "a"),
                Counted::From(_) => ("a", "b"),
            };
            format!(
                "SELECT {end} AS id, {place} AS place, sum(change)::bigint AS change
                 FROM changes WHERE (
                    SELECT o.deactivated FROM {{s}}.accounts AS o WHERE o.id = {other}
                 ) IS NOT TRUE GROUP BY {end}"
            )
        });
        sums.collect::<Vec<_>>().join(" UNION ALL ")
    }

    /// Adds what a statement with `sums` really did.
    fn add(&self, rows: &[PgRow], effects: &mut Effects) -> Result<(), ReadError> {
        for row in rows {
            let (id, change) = (row.try_get("id")?, row.try_get("change")?);
            let place: i32 = row.try_get("place")?;
            match self.counted.get(place as usize) {
                None => {}
                Some(Counted::Post(counter)) => {
                    effects.posts.entry(id).or_default().add(*counter, change);
                }
                Some(Counted::To(counter) | Counted::From(counter)) => {
                    effects
                        .accounts
                        .entry(id)
                        .or_default()
                        .add(*counter, change);
                }
            }
        }
        Ok(())
    }

    /// Takes one edge back, as if it had never been.
    pub async fn forget(
        &self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        from: Uuid,
        to: Uuid,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        let sql = format!(
            "WITH changes AS (
                DELETE FROM {{s}}.{{name}} WHERE {{from}} = $1 AND {{to}} = $2
                RETURNING {{from}} AS a, {{to}} AS b, -1 AS change
             ) {}",
            self.sums()
        );
        let rows = sqlx::query(tables.sql(&self.sql(&sql)))
            .bind(from)
            .bind(to)
            .fetch_all(&mut **transaction)
            .await?;
        self.add(&rows, effects)
    }

    /// An account that moves is one more, or one less, at the other ends of its edges.
    pub async fn move_standings(
        &self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        moves: &Moves,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        for (place, counted) in self.counted.iter().enumerate() {
            let (end, other) = match counted {
                Counted::Post(_) | Counted::To(_) => ("{to}", "{from}"),
                Counted::From(_) => ("{from}", "{to}"),
            };
            let sql = format!(
                "SELECT e.{end} AS id, {place} AS place, sum(m.change)::bigint AS change
                 FROM unnest($1::uuid[], $2::bigint[]) AS m (id, change)
                 JOIN {{s}}.{{name}} AS e ON e.{other} = m.id GROUP BY e.{end}"
            );
            let rows = moves.rows(transaction, tables.sql(&self.sql(&sql))).await?;
            self.add(&rows, effects)?;
        }
        Ok(())
    }

    /// The accounts at the ends of the edges of `of`, with the time of each edge, the last
    /// first, as far as `condition` on `accounts AS a` lets the viewer `$1` see them; of one
    /// that blocks the viewer, the name alone.
    pub async fn accounts(
        &self,
        pool: &PgPool,
        viewer: Option<AccountId>,
        (of, ends): (Uuid, Ends),
        condition: &str,
        start: Start<EdgeKey>,
        limit: u32,
    ) -> Result<Part<(i64, AccountRow), EdgeKey>, ReadError> {
        let (end, other) = match ends {
            Ends::From => ("{from}", "{to}"),
            Ends::To => ("{to}", "{from}"),
        };
        let sql = concat!(
            "SELECT page.at AS edge_at, page.id AS edge_end, shown.* FROM (
                SELECT {end} AS id, {since} AS at FROM {name}
                WHERE {other} = $2 AND ({since}, {end}) {beyond} ($3, $4)
                ORDER BY {since} {order}, {end} {order} LIMIT $5
             ) AS page LEFT JOIN LATERAL (",
            accounts::select!(
                ", EXISTS (
                    SELECT 1 FROM blocks AS b WHERE b.blocker_id = a.id AND b.blocked_id = $1
                 ) AS blocks_viewer FROM accounts AS a",
                "WHERE a.id = page.id AND {condition} OFFSET 0"
            ),
            ") AS shown ON true ORDER BY page.at {order}, page.id {order}"
        );
        let (beyond, order) = start.way(Way::Down).sql();
        let sql = sql.replace("{condition}", condition);
        let sql = sql.replace("{beyond}", beyond).replace("{order}", order);
        let sql = self.sql(&sql.replace("{end}", end).replace("{other}", other));
        let look = |step: Step<EdgeKey>| {
            let (at, id) = step.key;
            let query = sqlx::query(AssertSqlSafe(sql.clone()));
            let query = query.bind(viewer_id(viewer)).bind(of).bind(at).bind(id);
            let query = query.bind(i64::from(step.count));
            async move {
                let rows = query.fetch_all(pool).await?;
                rows.iter().map(read_account).collect()
            }
        };
        part(Way::Down, start, limit, look).await
    }

    /// Where edges of `from` lead, the last first, whatever became of it: along
    /// `index_by_from`.
    pub async fn targets(
        &self,
        pool: &PgPool,
        from: Uuid,
        start: Start<EdgeKey>,
        limit: u32,
    ) -> Result<Part<Uuid, EdgeKey>, ReadError> {
        let sql = "SELECT {to} AS edge_end, {since} AS edge_at FROM {name}
             WHERE {from} = $1 AND ({since}, {to}) {beyond} ($2, $3)
             ORDER BY {since} {order}, {to} {order} LIMIT $4";
        let (beyond, order) = start.way(Way::Down).sql();
        let sql = sql.replace("{beyond}", beyond).replace("{order}", order);
        let sql = self.sql(&sql);
        let look = |step: Step<EdgeKey>| {
            let (at, id) = step.key;
            let query = sqlx::query(AssertSqlSafe(sql.clone()));
            let query = query.bind(from).bind(at).bind(id);
            let query = query.bind(i64::from(step.count));
            async move {
                let rows = query.fetch_all(pool).await?;
                let read = |row: &PgRow| {
                    let end = row.try_get("edge_end")?;
                    Ok(((row.try_get("edge_at")?, end), Some(end)))
                };
                rows.iter().map(read).collect()
            }
        };
        part(Way::Down, start, limit, look).await
    }

    /// `SELECT` of the posts that count edges of the accounts `$1`.
    pub fn counting(&self) -> Option<String> {
        let of_posts = |counted: &Counted| matches!(counted, Counted::Post(_));
        let sql = "SELECT {to} AS post_id FROM {name} WHERE {from} = ANY($1)";
        (self.counted.iter().any(of_posts)).then(|| self.sql(sql))
    }

    /// Those of `others` that edges of `account` lead to.
    pub async fn among(
        &self,
        pool: &PgPool,
        account: AccountId,
        others: Vec<Uuid>,
    ) -> Result<Vec<Uuid>, ReadError> {
        let sql = "SELECT {to} AS id FROM {name} WHERE {from} = $1 AND {to} = ANY($2)";
        let rows = sqlx::query(AssertSqlSafe(self.sql(sql)))
            .bind(account.0)
            .bind(others)
            .fetch_all(pool)
            .await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }
}

/// The fold of a feature that is one table of edges: its table, its events, which of them
/// connects, what they make old in caches, its indexes; where there is any, the detail, and
/// what events ask of home timelines.
macro_rules! edge_fold {
    (@detail) => {
        None
    };
    (@detail $detail:expr) => {
        $detail
    };
    (
        $table:expr, $kind:ident, $events:ty, $on:pat => $off:pat, $invalidates:expr, $indexes:expr
        $(, detail: $detail:expr)? $(, fan_out: $fan_out:expr)?
    ) => {
        #[derive(Debug, Default)]
        pub(crate) struct Fold($crate::edges::Changes);

        impl $crate::feature::Feature for Fold {
            const KIND: kernel::Kind = domain::kinds::$kind;
            type Event = $events;
            $(
                const FAN_OUT: Option<
                    fn(kernel::AggregateId, &domain::Event, &mut $crate::timelines::FanOut),
                > = Some($fan_out);
            )?

            fn tables() -> String {
                $table.ddl()
            }

            fn indexes() -> String {
                $indexes
            }

            fn invalidates(aggregate: kernel::AggregateId, _: &$events) -> Vec<$crate::touches::Touch> {
                let invalidates: fn(kernel::AggregateId) -> Vec<$crate::touches::Touch> = $invalidates;
                invalidates(aggregate)
            }

            fn counting() -> Option<String> {
                $table.counting()
            }

            fn take(&mut self, happened: &$crate::social::Happened, event: &$events) {
                match event {
                    $on => {
                        let detail = $crate::edges::edge_fold!(@detail $($detail)?);
                        self.0.take_with(happened, true, detail);
                    }
                    $off => self.0.take(happened, false),
                }
            }

            async fn write(
                self,
                transaction: &mut sea_orm::sqlx::PgTransaction<'_>,
                tables: &$crate::social::Tables<'_>,
                effects: &mut $crate::social::Effects,
            ) -> Result<(), $crate::ReadError> {
                self.0.write(transaction, tables, &$table, effects).await
            }

            async fn forget(
                transaction: &mut sea_orm::sqlx::PgTransaction<'_>,
                tables: &$crate::social::Tables<'_>,
                aggregate: kernel::AggregateId,
                effects: &mut $crate::social::Effects,
            ) -> Result<(), $crate::ReadError> {
                let to = aggregate.member.unwrap_or_default();
                $table
                    .forget(transaction, tables, aggregate.id, to, effects)
                    .await
            }

            async fn move_standings(
                transaction: &mut sea_orm::sqlx::PgTransaction<'_>,
                tables: &$crate::social::Tables<'_>,
                moves: &$crate::standing::Moves,
                effects: &mut $crate::social::Effects,
            ) -> Result<(), $crate::ReadError> {
                $table
                    .move_standings(transaction, tables, moves, effects)
                    .await
            }
        }
    };
}
pub(crate) use edge_fold;

/// The key of an edge, and the account at its end with the time, where it is shown.
fn read_account(row: &PgRow) -> Result<(EdgeKey, Option<(i64, AccountRow)>), ReadError> {
    let at = row.try_get("edge_at")?;
    let key = (at, row.try_get("edge_end")?);
    if row.try_get::<Option<Uuid>, _>("id")?.is_none() {
        return Ok((key, None));
    }
    let mut account = AccountRow::read(row)?;
    if row.try_get("blocks_viewer")? {
        account.keep_the_name();
    }
    Ok((key, Some((at, account))))
}
