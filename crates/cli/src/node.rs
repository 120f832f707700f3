//! Puts the rooms together by the settings: what serves, what works, and what
//! commands run with. It refuses to read the environment.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use api::{Limiting, Rooms, Services};
use archive::Archive;
use edge::tokens::{SigningKey, TokenSettings};
use eventlog::{Gap, History, Log, LogError, LogKey, LogSettings};
use kernel::{Partition, Sealer, Spans, Timestamp, Uuid};
use mail::Mailer;
use readmodel::{
    Projections, Share,
    timelines::{Lists, TimelineSettings},
};
use sea_orm::DatabaseConnection;
use tokio::sync::watch;
use vault::{BreachedPasswords, KeySealer, Limits, MasterKeys, PasswordHashes, Vault};
use worker::{Engine, WorkerContext};

use crate::{
    archiver::Archiver,
    origin,
    reach::{self, ProcessKind},
    settings::{Settings, TokenKey},
};

/// One process's connections.
#[derive(Clone)]
pub struct Node {
    pub settings: Settings,
    pub database: DatabaseConnection,
    pub log: Log,
    pub sealer: Arc<dyn Sealer>,
    pub vault: Vault,
    pub lists: Lists,
    pub projections: Projections,
    pub archive: Option<Archive>,
    kind: ProcessKind,
    share: Share,
    /// Of what serves and works; commands of operators are no part of a trace.
    pub spans: Option<Arc<dyn Spans>>,
}

/// For a command that reads a little.
pub async fn connect_database(settings: &Settings) -> anyhow::Result<DatabaseConnection> {
    Ok(reach::database(settings, ProcessKind::Glance).await?.0)
}

async fn connect_to_migrated(
    settings: &Settings,
    kind: ProcessKind,
) -> anyhow::Result<(DatabaseConnection, Share)> {
    let (database, share) = reach::database(settings, kind).await?;
    let missing = migrations::missing(&database, &Projections::default()).await?;
    anyhow::ensure!(
        missing.is_empty(),
        "the database lacks what this release needs ({}): run `headwater migrate`",
        missing.join(", ")
    );
    Ok((database, share))
}

/// The log as its server has it, for those who only read.
pub async fn look_at_log(settings: &Settings) -> anyhow::Result<Log> {
    reach::usable(settings, Log::look(&log_settings(settings)).await).await
}

/// The same; none where there is none.
pub async fn find_log(settings: &Settings) -> anyhow::Result<Option<Log>> {
    match Log::look(&log_settings(settings)).await {
        Err(LogError::Missing) => Ok(None),
        looked => reach::usable(settings, looked.map(Some)).await,
    }
}

pub fn open_archive(settings: &Settings) -> anyhow::Result<Option<Archive>> {
    let url = &settings.archive_url;
    Ok(match url.is_empty() {
        true => None,
        false => Some(Archive::open(url)?),
    })
}

/// The folder of the archive, for those who add to it.
pub fn make_archive(settings: &Settings) -> anyhow::Result<()> {
    match settings.archive_url.as_str() {
        "" => Ok(()),
        url => Ok(Archive::make(url).map(drop)?),
    }
}

/// What all events are read through.
pub fn history(log: &Log, archive: Option<Archive>) -> History {
    let history = History::of(log.clone());
    match archive {
        Some(archive) => history.with(Arc::new(archive)),
        None => history,
    }
}

/// A log that was put back from a copy older than its archive would give new
/// events the positions of archived ones.
async fn check_goes_on(log: &Log, archive: &Archive) -> anyhow::Result<()> {
    let heads = log.heads().await?;
    // At once: each may take as long as the archive may.
    let ends = heads.iter().map(|head| archive.known_end(head.partition));
    let ends = futures_util::future::try_join_all(ends).await?;
    if let Some(found) = archive.log(Partition(0)).await? {
        let wanted = log.id();
        anyhow::ensure!(found == wanted, Gap::AnotherArchive { found, wanted });
    }
    for (head, end) in heads.into_iter().zip(ends) {
        anyhow::ensure!(
            head >= end,
            "the log ends at {head}, before its archive, which ends at {end}: it was put back from \
             an old copy. Empty the log server and run `headwater log restore`"
        );
    }
    Ok(())
}

pub fn log_settings(settings: &Settings) -> LogSettings {
    LogSettings {
        server: settings.redis_log.clone(),
        key: LogKey::new(settings.log_secret.as_bytes()),
        prefix: settings.key_prefix.clone(),
        partitions: settings.log_partitions,
        allow_unsafe: settings.log_allow_unsafe,
        id: None,
        made_at: now(),
    }
}

pub fn master_keys(settings: &Settings) -> MasterKeys {
    let before = settings.vault_secrets_accepted.iter().map(String::as_str);
    MasterKeys::new(&settings.vault_secret, before)
}

impl Node {
    /// For commands: the log must be there.
    pub async fn connect(settings: Settings) -> anyhow::Result<Self> {
        let kind = ProcessKind::Command;
        let (database, share) = connect_to_migrated(&settings, kind).await?;
        let vault = Vault::new(database.clone(), master_keys(&settings));
        let pool = database.get_postgres_connection_pool();
        let log = origin::open(&settings, pool, &vault).await?;
        Self::new(settings, database, log, kind, share).await
    }

    /// For what serves and works: it makes the log where there never was one.
    pub async fn begin(settings: Settings, kind: ProcessKind) -> anyhow::Result<Self> {
        let (database, share) = connect_to_migrated(&settings, kind).await?;
        make_archive(&settings)?;
        let vault = Vault::new(database.clone(), master_keys(&settings));
        let pool = database.get_postgres_connection_pool();
        let log = origin::open_or_make(&settings, pool, &vault).await?;
        vault.check_master_keys().await?;
        reach::look_at_views(&settings).await;
        Self::new(settings, database, log, kind, share).await
    }

    async fn new(
        settings: Settings,
        database: DatabaseConnection,
        log: Log,
        kind: ProcessKind,
        share: Share,
    ) -> anyhow::Result<Self> {
        let archive = open_archive(&settings)?;
        if let Some(archive) = &archive {
            check_goes_on(&log, archive).await?;
        }
        let lists = Lists::new(&TimelineSettings {
            views: settings.redis_views.clone(),
            prefix: settings.key_prefix.clone(),
            timeline_seconds: settings.timeline_seconds,
        })
        .context("the views server's address cannot be used; check REDIS_VIEWS_URL")?;
        Ok(Self {
            sealer: Arc::new(KeySealer::new(database.clone(), master_keys(&settings))),
            vault: Vault::new(database.clone(), master_keys(&settings)),
            settings,
            database,
            log,
            lists,
            projections: Projections::default(),
            archive,
            kind,
            share,
            spans: None,
        })
    }

    /// Where traces are recorded.
    #[must_use]
    pub fn recorded(self, spans: Option<Arc<dyn Spans>>) -> Self {
        Self { spans, ..self }
    }

    pub fn engine(&self) -> Engine {
        let engine = Engine::new(self.worker_context(), Uuid::now_v7()).named(process_name());
        engine.recorded(self.spans.clone())
    }

    /// None without an archive.
    pub fn archiver(&self) -> Option<Archiver> {
        Some(Archiver {
            log: self.log.clone(),
            archive: self.archive.clone()?,
            pool: self.database.get_postgres_connection_pool().clone(),
            projections: self.projections.clone(),
            hot_events: self.settings.archive_hot_events,
            hot_bytes: self.settings.archive_hot_bytes,
            patience: Duration::from_secs(self.settings.archive_seconds),
            checked: None,
        })
    }

    /// Serves metrics where the settings say so, until `stopped` does.
    pub async fn metrics(&self, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
        let Some(address) = self.settings.metrics_address else {
            return Ok(());
        };
        let listener = edge::server::listen(address).await;
        let listener = listener
            .with_context(|| format!("{address} cannot be listened on; set METRICS_ADDRESS"))?;
        eprintln!("metrics        http://{}/metrics", listener.local_addr()?);
        let measured = api::Measured {
            log: self.log.clone(),
            database: self.database.clone(),
            lists: self.lists.clone(),
        };
        tokio::spawn(edge::metrics::serve_metrics(listener, measured, stopped));
        Ok(())
    }

    /// Folds, fans out and archives until `stopped` says so.
    pub async fn work(&self, stopped: watch::Receiver<bool>) {
        let archiving = async {
            if let Some(archiver) = self.archiver() {
                archiver.run(stopped.clone()).await;
            }
        };
        tokio::join!(self.engine().run(stopped.clone()), archiving);
    }

    pub fn history(&self) -> History {
        history(&self.log, self.archive.clone())
    }

    /// What folds work with.
    pub fn worker_context(&self) -> WorkerContext {
        WorkerContext {
            log: self.log.clone(),
            history: self.history(),
            database: self.database.clone(),
            sealer: self.sealer.clone(),
            lists: self.lists.clone(),
            projections: self.projections.clone(),
            push_followers_max: self.settings.push_followers_max,
        }
    }

    pub fn token_settings(&self) -> TokenSettings {
        let settings = &self.settings;
        TokenSettings {
            issuer: settings.token_issuer.clone(),
            audience: settings.token_audience.clone(),
            signing: signing_key(&settings.token_key),
            accepted: settings
                .token_keys_accepted
                .iter()
                .map(signing_key)
                .collect(),
            session_secret: settings.cursor_secret.clone().into_bytes(),
        }
    }

    pub async fn services(&self) -> anyhow::Result<Services> {
        let settings = &self.settings;
        // Sign-ins wait for the disk, and reads must not wait for them.
        let vault = reach::vault_database(settings, self.kind, self.share).await?;
        let rooms = Rooms {
            log: self.log.clone(),
            database: self.database.clone(),
            sealer: self.sealer.clone(),
            vault: self.vault.of(vault),
            lists: self.lists.clone(),
            passwords: PasswordHashes::new(settings.password_hashes_at_once)?,
            breached: breached_passwords(settings)?,
            mailer: Mailer::open(&settings.mail_url, &settings.mail_from)
                .context("mail cannot be sent; check MAIL_URL and MAIL_FROM")?,
            limits: Limiting::new(
                settings.limits,
                Limits::new(
                    settings.redis_views.clone(),
                    &settings.key_prefix,
                    settings.cursor_secret.as_bytes(),
                )?,
            ),
            proxies: settings.trusted_proxies.clone(),
            origins: settings.cors_origins.clone(),
            spans: self.spans.clone(),
        };
        let secret = &settings.cursor_secret;
        Ok(Services::new(rooms, self.token_settings(), secret)?)
    }
}

fn breached_passwords(settings: &Settings) -> anyhow::Result<Option<BreachedPasswords>> {
    let path = settings.breached_passwords.as_deref();
    let list = path.map(BreachedPasswords::open).transpose();
    list.context("passwords cannot be checked; see BREACHED_PASSWORDS")
}

fn signing_key(key: &TokenKey) -> SigningKey {
    match key {
        TokenKey::Secret(secret) => SigningKey::Secret(secret.clone().into_bytes()),
        TokenKey::PrivateKey(pem) => SigningKey::Ed25519(pem.clone()),
    }
}

/// `host/process`.
fn process_name() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    format!("{host}/{}", std::process::id())
}

pub fn now() -> Timestamp {
    let now = time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    Timestamp(now as i64)
}
