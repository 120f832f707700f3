//! Looks at a PostgreSQL before it is used: whether it answers, whether a pooler in
//! between gives each transaction another connection, whether it can keep every
//! text, and how many connections it has left.

use std::{collections::BTreeSet, time::Duration};

use sea_orm::sqlx::{
    self, Connection, Error, PgConnection, Row,
    postgres::{PgConnectOptions, PgSslMode},
};
use servers::Trouble;
use tokio::time::timeout;

use super::{
    address::{self, DatabaseAddress},
    room::{Holder, Limit, Room},
    session::{self, Purpose},
};

const LOOK_MAX: Duration = Duration::from_secs(5);
/// Two connections that are asked in turns so often: a pooler that gives each
/// transaction another one gives both the same, or one of them two.
const POOLER_ROUNDS: usize = 3;
const ENCODING: &str = "UTF8";
const SETTING: &str = "DATABASE_URL";

/// A server that answers.
pub struct Seen {
    /// What keeps everything from working there.
    pub unfit: Vec<Trouble>,
    /// What keeps something from working there.
    pub lacking: Vec<Trouble>,
    pub room: Room,
}

/// Why the server cannot be talked to, or what was seen.
pub async fn look(address: &DatabaseAddress) -> Result<Seen, Trouble> {
    let wrong = |why| Trouble::new(format!("the address {why}"), format!("correct {SETTING}"));
    let options = address.options().map_err(wrong)?;
    let server = address::server(&options);
    match timeout(LOOK_MAX, look_with(&options)).await {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(error)) => Err(trouble(&error, &options)),
        Err(_) => Err(Trouble::new(
            format!(
                "{server} does not answer as PostgreSQL does within {} s",
                LOOK_MAX.as_secs()
            ),
            format!("see what listens there, or correct {SETTING}"),
        )),
    }
}

async fn look_with(options: &PgConnectOptions) -> sqlx::Result<Seen> {
    let mut one = PgConnection::connect_with(options).await?;
    let seen = look_through(&mut one, options).await?;
    one.close().await?;
    Ok(seen)
}

async fn look_through(one: &mut PgConnection, options: &PgConnectOptions) -> sqlx::Result<Seen> {
    // Where there is no second connection, the room says so.
    if let Ok(mut other) = PgConnection::connect_with(options).await {
        let shared = is_shared(one, &mut other).await?;
        other.close().await?;
        if shared {
            return Ok(Seen {
                unfit: vec![transaction_pooler()],
                lacking: Vec::new(),
                room: Room::of(&[], &[]),
            });
        }
    }
    // The role's own limits may be too short to look around.
    session::prepare(one, Purpose::Migrations).await?;
    let mut unfit = Vec::new();
    let row = sqlx::raw_sql(
        "SELECT pg_encoding_to_char(d.encoding) AS encoding,
             current_database() AS database, session_user AS role,
             current_setting('max_connections')::int8 AS connections_max,
             current_setting('superuser_reserved_connections')::int8
                 + coalesce(current_setting('reserved_connections', true)::int8, 0) AS reserved,
             CASE WHEN r.rolsuper THEN -1 ELSE r.rolconnlimit END::int8 AS role_max,
             CASE WHEN r.rolsuper THEN -1 ELSE d.datconnlimit END::int8 AS database_max,
             has_database_privilege(current_database(), 'CREATE') AS may_create,
             coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'CREATE'), false)
                 OR to_regclass('public.seaql_migrations') IS NOT NULL AS may_migrate
         FROM pg_database AS d, pg_roles AS r
         WHERE d.datname = current_database() AND r.rolname = session_user",
    )
    .fetch_one(&mut *one)
    .await?;
    let text = |name: &str| row.try_get::<String, _>(name);
    let number = |name: &str| row.try_get::<i64, _>(name);
    let (encoding, database, role) = (text("encoding")?, text("database")?, text("role")?);
    if encoding != ENCODING {
        unfit.push(Trouble::new(
            format!("the database {database} is in {encoding}, which cannot keep every text"),
            format!(
                "make it anew: CREATE DATABASE {database} ENCODING 'UTF8' LOCALE 'C.UTF-8' \
                 TEMPLATE template0, then headwater migrate"
            ),
        ));
    }
    let mut lacking = Vec::new();
    if !row.try_get::<bool, _>("may_create")? {
        lacking.push(Trouble::new(
            format!("the role {role} may not make schemas in the database {database}"),
            format!("GRANT CREATE ON DATABASE {database} TO {role}"),
        ));
    }
    if !row.try_get::<bool, _>("may_migrate")? {
        lacking.push(Trouble::new(
            format!("the role {role} may not make tables in the schema public of {database}"),
            format!(
                "GRANT CREATE ON SCHEMA public TO {role} (CREATE SCHEMA public, if it is gone)"
            ),
        ));
    }
    let limits = [
        Limit::server(number("connections_max")? - number("reserved")?),
        Limit::role(number("role_max")?),
        Limit::database(number("database_max")?),
    ];
    let holders = sqlx::raw_sql(
        "SELECT coalesce(application_name, '') AS name, usename IS NOT DISTINCT FROM session_user
             AS role, datname IS NOT DISTINCT FROM current_database() AS database
         FROM pg_stat_activity WHERE usesysid IS NOT NULL AND pid <> pg_backend_pid()
             AND coalesce(backend_type, 'client backend') = 'client backend'",
    )
    .fetch_all(one)
    .await?;
    let holders = holders.iter().map(|row| {
        Ok(Holder {
            name: row.try_get("name")?,
            of_role: row.try_get("role")?,
            of_database: row.try_get("database")?,
        })
    });
    let holders: Vec<_> = holders.collect::<sqlx::Result<_>>()?;
    Ok(Seen {
        unfit,
        lacking,
        room: Room::of(&limits, &holders),
    })
}

/// Whether two connections that are open at once are one at the server.
async fn is_shared(one: &mut PgConnection, other: &mut PgConnection) -> sqlx::Result<bool> {
    let (mut ones, mut others) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..POOLER_ROUNDS {
        ones.insert(process(one).await?);
        others.insert(process(other).await?);
    }
    Ok(ones.len() > 1 || others.len() > 1 || !ones.is_disjoint(&others))
}

/// Not prepared: a pooler would prepare it elsewhere.
async fn process(connection: &mut PgConnection) -> sqlx::Result<i32> {
    let row = sqlx::raw_sql("SELECT pg_backend_pid() AS process")
        .fetch_one(connection)
        .await?;
    row.try_get("process")
}

fn transaction_pooler() -> Trouble {
    Trouble::new(
        "a pooler in between gives each transaction another connection (transaction or \
         statement mode), and settings, prepared statements and locks of a session are lost",
        format!("connect to PostgreSQL itself, or to a pool in session mode: set {SETTING} to it"),
    )
}

/// Whether the other side took the connection and ended it.
fn cut(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

/// What is in the way of a connection, and what mends it.
fn trouble(error: &Error, options: &PgConnectOptions) -> Trouble {
    let server = address::server(options);
    if let Some(trouble) = Trouble::of_error(error, &server) {
        return trouble;
    }
    let correct = format!("start it, or correct {SETTING} (see `headwater config`)");
    match error {
        Error::Tls(why) if why.to_string().contains("does not support TLS") => Trouble::new(
            format!("{server} takes no TLS, and sslmode asks for it"),
            "turn it on there (ssl = on), or write sslmode=disable where nobody can listen between",
        ),
        Error::Protocol(_) => Trouble::new(
            format!("what listens at {server} does not answer as PostgreSQL does"),
            format!("correct {SETTING}"),
        ),
        Error::Io(io) if cut(io) => Trouble::new(
            format!("{server} ended the connection without an answer: is it PostgreSQL?"),
            format!("see what listens there, or correct {SETTING}"),
        ),
        Error::Database(database) => {
            let (code, said) = (database.code(), database.message());
            let code = code.as_deref().unwrap_or_default();
            match code {
                "28000" if matches!(options.get_ssl_mode(), PgSslMode::Disable) => Trouble::new(
                    format!("{server} does not let us in without TLS: {said}"),
                    "write sslmode=require, or better verify-full, in place of disable",
                ),
                "28000" => Trouble::new(
                    format!("{server} does not let us in: {said}"),
                    format!("see its pg_hba.conf, and who {SETTING} names"),
                ),
                "28P01" => Trouble::new(
                    format!("{server} refused the password: {said}"),
                    format!("correct {SETTING}; characters such as / ? # @ % are percent-encoded"),
                ),
                "3D000" => Trouble::new(
                    format!("{server}: {said}"),
                    format!("CREATE DATABASE …, or correct {SETTING}"),
                ),
                "53300" => Trouble::new(
                    format!("{server} has no connection left: {said}"),
                    "end what holds them (SELECT * FROM pg_stat_activity), lower \
                     DATABASE_CONNECTIONS, or raise max_connections or the limit that is named",
                ),
                "57P03" => Trouble::new(format!("{server}: {said}"), "wait, and try again"),
                "26000" | "42P05" => transaction_pooler(),
                "08P01" => Trouble::new(
                    format!("a pooler at {server} refused the start of a connection: {said}"),
                    format!(
                        "leave what it names out of {SETTING} (options=…), or let the pooler \
                         ignore it (ignore_startup_parameters)"
                    ),
                ),
                _ => Trouble::new(format!("{server}: {said} ({code})"), correct),
            }
        }
        error => Trouble::new(format!("{server}: {error}"), correct),
    }
}
