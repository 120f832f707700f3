//! What every connection is set to before its first query, whatever the role, the
//! database and the server have as their defaults. By a query, since poolers
//! refuse settings that come with the start of a connection.

use sea_orm::sqlx::{self, AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};

use crate::Projection;

const STATEMENT_MILLISECONDS_MAX: &str = "30000";
/// A worker that is stopped inside a transaction loses it after this time, or
/// its locks would keep its successor waiting.
const IDLE_IN_TRANSACTION_MILLISECONDS_MAX: &str = "4000";
const NO_LIMIT: &str = "0";

/// Of every connection. What a server is too old to know is left out.
const SETTINGS: [(&str, &str); 13] = [
    // Folds compare and set; a snapshot of the whole transaction would refuse them.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("lock_timeout", NO_LIMIT),
    ("transaction_timeout", NO_LIMIT),
    ("idle_session_timeout", NO_LIMIT),
    ("bytea_output", "hex"),
    ("standard_conforming_strings", "on"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    ("row_security", "on"),
    ("client_min_messages", "warning"),
    // Lists as parameters look cheaper when planned with their values, so that
    // every page would be planned anew.
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
];

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// They look into the live generation.
    Queries,
    /// They may take long, and wait for each other in a transaction.
    Migrations,
}

pub(crate) async fn prepare(connection: &mut PgConnection, purpose: Purpose) -> sqlx::Result<()> {
    // Queries of other projections name the schema.
    let of_queries = format!("{}, public", Projection::SOCIAL.name());
    let (path, statement, idle) = match purpose {
        Purpose::Queries => (
            of_queries.as_str(),
            STATEMENT_MILLISECONDS_MAX,
            IDLE_IN_TRANSACTION_MILLISECONDS_MAX,
        ),
        Purpose::Migrations => ("public", NO_LIMIT, NO_LIMIT),
    };
    let own = [
        ("search_path", path),
        ("statement_timeout", statement),
        ("idle_in_transaction_session_timeout", idle),
    ];
    let all: Vec<_> = SETTINGS
        .iter()
        .chain(&own)
        .map(|(name, value)| format!("('{name}', '{value}')"))
        .collect();
    let set = format!(
        "SELECT set_config(name, value, false) FROM (VALUES {}) AS setting (name, value)
         WHERE current_setting(name, true) IS NOT NULL",
        all.join(", ")
    );
    sqlx::raw_sql(AssertSqlSafe(set))
        .execute(&mut *connection)
        .await?;
    Ok(())
}

/// A connection that is no pool's.
pub(crate) async fn alone(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    let mut connection = PgConnection::connect_with(options).await?;
    prepare(&mut connection, Purpose::Queries).await?;
    Ok(connection)
}
