//! A set of servers that many trials use, one after another, each on a fresh
//! log and database. What every trial begins with (accounts) is made once,
//! through the API, and copied: registering is slow on purpose.

use std::{net::TcpListener, path::PathBuf};

use anyhow::{Context, ensure};
use devservices::{Programs, Stack};
use edge::tokens::{SigningKey, TokenSettings, Tokens};
use kernel::{AccountId, Uuid};
use redis::aio::MultiplexedConnection;
use sea_orm::sqlx::{self, AssertSqlSafe, Connection, PgConnection};

use crate::{
    client::{Client, Request},
    product::{Addresses, CURSOR_SECRET, Process, Setting, TOKEN_SECRET},
    state,
};

/// Accounts that every trial has.
pub const ACCOUNTS: usize = 24;
const SEED_DATABASE: &str = "seed";
const TRIAL_DATABASE: &str = "trial";
/// Ports of APIs: below those that outgoing connections take.
const PORTS: std::ops::Range<u16> = 21_000..29_000;

pub struct Lane {
    pub programs: Programs,
    pub stack: Stack,
    pub port: u16,
    pub accounts: Vec<Uuid>,
    program: PathBuf,
    folder: PathBuf,
    /// The seed's log: keys with their dumps.
    keys: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Lane {
    pub async fn start(number: u16, program: PathBuf, folder: PathBuf) -> anyhow::Result<Self> {
        let programs = Programs::find().map_err(|missing| anyhow::anyhow!("no {missing:?}"))?;
        let stack = Stack::throwaway(&programs).await?;
        let offset = (std::process::id() as u16 % 70) * 100 + number * 20;
        let mut ports = (PORTS.start + offset)..PORTS.end;
        let port = ports
            .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .context("no port is free")?;
        std::fs::create_dir_all(&folder)?;
        let mut lane = Self {
            programs,
            stack,
            port,
            accounts: Vec::new(),
            program,
            folder,
            keys: Vec::new(),
        };
        lane.sow().await.context("the accounts cannot be made")?;
        Ok(lane)
    }

    /// A fresh log, fresh views and a fresh database, with the accounts.
    pub async fn reset(&mut self) -> anyhow::Result<Addresses> {
        let urls = self.stack.urls().clone();
        let mut admin = connect(&urls.database).await?;
        create(&mut admin, TRIAL_DATABASE, Some(SEED_DATABASE)).await?;
        admin.close().await?;
        let mut views = redis(&urls.redis_views).await?;
        redis::cmd("FLUSHALL").query_async::<()>(&mut views).await?;
        self.restore_log(&urls.redis_log).await?;
        Ok(Addresses {
            database: with_database(&urls.database, TRIAL_DATABASE)?,
            log: urls.redis_log,
            views: urls.redis_views,
        })
    }

    /// Puts the seed's log into an empty server.
    pub async fn restore_log(&self, url: &str) -> anyhow::Result<()> {
        let mut log = redis(url).await?;
        redis::cmd("FLUSHALL").query_async::<()>(&mut log).await?;
        let mut pipeline = redis::pipe();
        for (key, dump) in &self.keys {
            pipeline.cmd("RESTORE").arg(key).arg(0).arg(dump).ignore();
        }
        pipeline.query_async::<()>(&mut log).await?;
        Ok(())
    }

    pub fn setting(&self, folder: PathBuf, addresses: Addresses, followers: u32) -> Setting {
        Setting {
            program: self.program.clone(),
            folder,
            addresses,
            port: self.port,
            push_followers_max: followers,
            beside: Vec::new(),
        }
    }

    /// Makes the accounts, and keeps what they left in log and database.
    async fn sow(&mut self) -> anyhow::Result<()> {
        let urls = self.stack.urls().clone();
        let mut admin = connect(&urls.database).await?;
        create(&mut admin, SEED_DATABASE, None).await?;
        let database = with_database(&urls.database, SEED_DATABASE)?;
        let migrating = sea_orm::Database::connect(&database).await?;
        migrations::migrate(&migrating, &migrations::Projections::default()).await?;
        migrating.close().await?;
        let addresses = Addresses {
            database: database.clone(),
            log: urls.redis_log.clone(),
            views: urls.redis_views.clone(),
        };
        let setting = self.setting(self.folder.clone(), addresses.clone(), 4);
        let mut api = setting.start("api", "serve", None)?;
        let mut worker = setting.start("worker", "work", None)?;
        let client = Client::new(self.port)?;
        client.until_ready(&mut api).await?;
        for number in 0..ACCOUNTS {
            let body = serde_json::json!({
                "handle": format!("account_{number}"),
                "email": format!("account_{number}@example.org"),
                "password": "a password of trials",
            });
            let request = Request {
                method: "POST".into(),
                path: "/v1/accounts".into(),
                body: Some(body.to_string()),
                ..Request::default()
            };
            let answer = client.send(&request).await;
            let id = answer.id.with_context(|| format!("{answer:?}"))?;
            self.accounts.push(id);
        }
        state::until_settled(&addresses).await?;
        for process in [&mut api, &mut worker] as [&mut Process; 2] {
            let ended = process.stop().await?;
            ensure!(ended.success(), "{}: {ended}", process.name());
        }
        let mut log = redis(&urls.redis_log).await?;
        let names: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut log).await?;
        for key in names {
            let dump: Option<Vec<u8>> = redis::cmd("DUMP").arg(&key).query_async(&mut log).await?;
            // Receipts end by themselves.
            self.keys.extend(dump.map(|dump| (key, dump)));
        }
        admin.close().await?;
        Ok(())
    }
}

/// Signs in without asking the API: tokens of a session live only 15 minutes.
pub fn token(account: Uuid) -> anyhow::Result<String> {
    let tokens = Tokens::new(TokenSettings {
        issuer: crate::product::ISSUER.into(),
        audience: crate::product::ISSUER.into(),
        signing: SigningKey::Secret(TOKEN_SECRET.into()),
        accepted: Vec::new(),
        session_secret: CURSOR_SECRET.into(),
    })?;
    Ok(tokens.issue(AccountId(account), Uuid::nil(), edge::identity::now())?)
}

pub async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    Ok(PgConnection::connect(url).await?)
}

pub async fn redis(url: &str) -> anyhow::Result<MultiplexedConnection> {
    let client = redis::Client::open(url)?;
    Ok(client.get_multiplexed_async_connection().await?)
}

pub async fn create(
    admin: &mut PgConnection,
    name: &str,
    template: Option<&str>,
) -> anyhow::Result<()> {
    let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    sqlx::query(AssertSqlSafe(drop))
        .execute(&mut *admin)
        .await?;
    let template = template.map_or(String::new(), |template| format!(" TEMPLATE {template}"));
    let make = format!("CREATE DATABASE {name}{template}");
    sqlx::query(AssertSqlSafe(make))
        .execute(&mut *admin)
        .await?;
    Ok(())
}

pub fn with_database(url: &str, name: &str) -> anyhow::Result<String> {
    let (server, _) = url
        .rsplit_once('/')
        .context("an address without a database")?;
    Ok(format!("{server}/{name}"))
}
