//! Counters of posts and of accounts: as many as the list that each is of. A counter of
//! posts is a line in `lib.rs`; folds add to it, and rows and answers have it.

use std::collections::BTreeMap;

use kernel::Uuid;
use sea_orm::sqlx::{self, PgTransaction, Row, postgres::PgRow};

use crate::{ReadError, social::Tables};

/// Counters that one statement changes: one account may like many more posts, and be
/// followed by many more.
const COUNTED_AT_ONCE: usize = 10_000;

/// Counters of one thing, in a table of their own.
pub(crate) trait Counts: Copy + Default + PartialEq + Send + Sync {
    const TABLE: &str;
    const KEY: &str;
    const COLUMNS: &[&str];

    fn of(&self, column: usize) -> i64;
}

macro_rules! counters {
    (
        $(#[$doc:meta])*
        $counts:ident in $table:literal by $key:literal, $counter:ident, $columns:ident
        { $($(#[$field_doc:meta])* $field:ident $variant:ident),+ $(,)? }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $counts {
            $($(#[$field_doc])* pub $field: i64),+
        }

        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $counter {
            $($variant),+
        }

        impl $counts {
            pub(crate) fn add(&mut self, counter: $counter, change: i64) {
                match counter {
                    $($counter::$variant => self.$field += change),+
                }
            }

            /// Of a row with the columns of the macro beside.
            pub(crate) fn read(row: &PgRow) -> Result<Self, ReadError> {
                Ok(Self { $($field: row.try_get(stringify!($field))?),+ })
            }
        }

        impl Counts for $counts {
            const TABLE: &str = $table;
            const KEY: &str = $key;
            const COLUMNS: &[&str] = &[$(stringify!($field)),+];

            fn of(&self, column: usize) -> i64 {
                [$(self.$field),+].get(column).copied().unwrap_or_default()
            }
        }

        /// The columns, of the table as `n`, where it has no row too.
        macro_rules! $columns {
            () => {
                concat!($("coalesce(n.", stringify!($field), ", 0) AS ", stringify!($field), ", "),+)
            };
        }
    };
}

macro_rules! post_counters {
    ($($(#[$doc:meta])* $field:ident $variant:ident $name:ident,)+) => {
        counters! {
            PostCounts in "post_counters" by "post_id", PostCounter, post_counts
            { $($(#[$doc])* $field $variant),+ }
        }
    };
}

for_each_post_counter!(post_counters);

counters! {
    AccountCounts in "account_counters" by "account_id", AccountCounter, account_counts
    {
        followers Followers,
        following Following,
        posts Posts,
    }
}

/// The table, most of whose rows are updated in place. A new counter becomes a column of
/// the table that is there.
pub(crate) fn table<C: Counts>() -> String {
    let (table, key) = (C::TABLE, C::KEY);
    let column = |name| {
        format!(
            "ALTER TABLE {{schema}}.{table}
                ADD COLUMN IF NOT EXISTS {name} bigint NOT NULL DEFAULT 0;"
        )
    };
    let columns: String = C::COLUMNS.iter().map(column).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {{schema}}.{table} ({key} uuid PRIMARY KEY)
            WITH (fillfactor = 70);{columns}"
    )
}

/// Adds to the counters of many, keys sorted. Counters that are back at nothing go:
/// whether they were ever written depends on how the log was cut.
pub(crate) async fn count<C: Counts>(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    counts: &BTreeMap<Uuid, C>,
) -> Result<(), ReadError> {
    let changed = counts.iter().filter(|(_, c)| **c != C::default());
    let changed: Vec<_> = changed.map(|(id, counts)| (*id, *counts)).collect();
    for some in changed.chunks(COUNTED_AT_ONCE) {
        count_some(transaction, tables, some).await?;
    }
    Ok(())
}

async fn count_some<C: Counts>(
    transaction: &mut PgTransaction<'_>,
    tables: &Tables<'_>,
    changed: &[(Uuid, C)],
) -> Result<(), ReadError> {
    let (table, key, columns) = (C::TABLE, C::KEY, C::COLUMNS);
    let arrays: Vec<_> = (0..columns.len())
        .map(|index| format!(", ${}::bigint[]", index + 2))
        .collect();
    let sums: Vec<_> = columns
        .iter()
        .map(|column| format!("{column} = n.{column} + EXCLUDED.{column}"))
        .collect();
    let sql = format!(
        "INSERT INTO {{s}}.{table} AS n ({key}, {})
         SELECT * FROM unnest($1::uuid[]{})
         ON CONFLICT ({key}) DO UPDATE SET {}",
        columns.join(", "),
        arrays.concat(),
        sums.join(", "),
    );
    let mut query = sqlx::query(tables.sql(&sql));
    query = query.bind(changed.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    for column in 0..columns.len() {
        let values = changed.iter().map(|(_, counts)| counts.of(column));
        query = query.bind(values.collect::<Vec<_>>());
    }
    query.execute(&mut **transaction).await?;
    let fewer = |counts: &C| (0..columns.len()).any(|column| counts.of(column) < 0);
    let fewer = changed.iter().filter(|(_, counts)| fewer(counts));
    let fewer: Vec<Uuid> = fewer.map(|(id, _)| *id).collect();
    if fewer.is_empty() {
        return Ok(());
    }
    let nothing: Vec<_> = columns
        .iter()
        .map(|column| format!("AND {column} = 0"))
        .collect();
    let sql = format!(
        "DELETE FROM {{s}}.{table} WHERE {key} = ANY($1) {}",
        nothing.join(" ")
    );
    sqlx::query(tables.sql(&sql))
        .bind(fewer)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
