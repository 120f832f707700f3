//! PostgreSQL becomes read-only under load, by an operator's setting, and is
//! lifted while the product runs; its sessions are not ended for that.
//! Not here: what must be seen meanwhile (see `lasting.rs`).

use std::time::{Duration, Instant};

use sea_orm::sqlx::{self, AssertSqlSafe, Connection, PgConnection};
use tokio::time::sleep;

use crate::{
    faults::Fired,
    lane::{connect, with_database},
    lasting::{self, Unfit},
    plan::ReadOnly,
    trial::Trial,
};

const SETTING: &str = "default_transaction_read_only";

const READ_ONLY: Unfit = Unfit {
    state: "PostgreSQL is read-only",
    part: lasting::DATABASE,
    words: &["read-only", "read only"],
};

pub async fn make(trial: &mut Trial<'_>, by: ReadOnly, down: Duration) -> anyhow::Result<Fired> {
    let mut admin = admin(&trial.direct.database).await?;
    let what = match by {
        ReadOnly::System | ReadOnly::Reload | ReadOnly::Restart => "SYSTEM",
        ReadOnly::Database => "DATABASE trial",
        ReadOnly::Role => "ROLE CURRENT_USER",
    };
    // Until it is noticed, what the log takes is as durable as ever.
    let refusing = READ_ONLY.refuse(trial, false);
    execute(&format!("ALTER {what} SET {SETTING} = on"), &mut admin).await?;
    match by {
        ReadOnly::Reload => execute("SELECT pg_reload_conf()", &mut admin).await?,
        ReadOnly::Restart => {
            admin.close().await?;
            trial.lane.stack.postgres().stop().await?;
            sleep(down).await;
            trial.lane.stack.postgres().restart().await?;
            admin = self::admin(&trial.direct.database).await?;
        }
        ReadOnly::System | ReadOnly::Database | ReadOnly::Role => {
            execute("SELECT pg_reload_conf()", &mut admin).await?;
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
            execute(end, &mut admin).await?;
        }
    }
    lasting::look(trial, READ_ONLY, &refusing).await?;
    trial.load.refuse(None);
    execute(&format!("ALTER {what} RESET {SETTING}"), &mut admin).await?;
    execute("SELECT pg_reload_conf()", &mut admin).await?;
    admin.close().await?;
    trial.restarted = Instant::now();
    Ok(Fired::yes(format!("ALTER {what}")))
}

/// Whatever a trial that broke off has left.
pub async fn lift_all(database_url: &str) -> anyhow::Result<()> {
    let mut admin = admin(database_url).await?;
    for what in ["SYSTEM", "ROLE CURRENT_USER"] {
        execute(&format!("ALTER {what} RESET {SETTING}"), &mut admin).await?;
    }
    execute("SELECT pg_reload_conf()", &mut admin).await?;
    Ok(admin.close().await?)
}

/// In a database of its own, where it may write.
async fn admin(database_url: &str) -> anyhow::Result<PgConnection> {
    let mut admin = connect(&with_database(database_url, "postgres")?).await?;
    execute(&format!("SET {SETTING} = off"), &mut admin).await?;
    Ok(admin)
}

async fn execute(sql: &str, admin: &mut PgConnection) -> sqlx::Result<()> {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::query(sql).execute(admin).await.map(drop)
}
