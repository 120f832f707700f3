//! A whole application in the test's own process.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use api::{LimitSettings, Limiting, Rooms, Services};
use edge::tokens::{SigningKey, TokenSettings};
use eventlog::{History, Log, LogSettings};
use kernel::{AccountId, Sealer, Uuid};
use mail::Mailer;
use readmodel::{
    DatabaseConnection, Projections,
    timelines::{Lists, TimelineSettings},
};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;
use vault::{KeySealer, Limits, PasswordHashes, Vault};
use worker::{Engine, WorkerContext};

use crate::{
    Client, Person, Servers,
    secrets::{self, TOKEN_SECRET},
};

const SENDER: &str = "Headwater <no-reply@example.org>";
const DATABASE_CONNECTIONS: u32 = 24;

pub struct App {
    pub servers: Servers,
    pub log: Log,
    pub database: DatabaseConnection,
    pub sealer: Arc<dyn Sealer>,
    pub lists: Lists,
    pub services: Arc<Services>,
    pub push_followers_max: i64,
    /// What workers fold; a test may add its own.
    pub projections: Projections,
    /// Where letters go.
    pub mail: TempDir,
    address: SocketAddr,
    _stop: watch::Sender<bool>,
}

impl App {
    pub async fn start() -> Self {
        Self::on(Servers::shared().await).await
    }

    /// Without limits: a test does in a second what people do in hours.
    pub async fn on(servers: Servers) -> Self {
        Self::limited(servers, LimitSettings::NONE).await
    }

    pub async fn limited(servers: Servers, limits: LimitSettings) -> Self {
        Self::connected(servers, limits, DATABASE_CONNECTIONS).await
    }

    /// With so many connections to the database; of one, PostgreSQL counts everything.
    pub async fn with_connections(connections: u32) -> Self {
        let servers = Servers::shared().await;
        Self::connected(servers, LimitSettings::NONE, connections).await
    }

    async fn connected(servers: Servers, limits: LimitSettings, connections: u32) -> Self {
        let database = readmodel::connect(&servers.database, connections)
            .await
            .unwrap();
        let mut settings = LogSettings::new(&servers.redis_log, secrets::log_key());
        settings.prefix = servers.prefix.clone();
        settings.made_at = edge::identity::now();
        let log = Log::create(&settings).await.unwrap();
        let lists = Lists::new(&TimelineSettings {
            views: servers.redis_views.as_str().into(),
            prefix: servers.prefix.clone(),
            timeline_seconds: 3_600,
        })
        .unwrap();
        let sealer: Arc<dyn Sealer> =
            Arc::new(KeySealer::new(database.clone(), secrets::master_keys()));
        let mail = tempfile::tempdir().unwrap();
        let rooms = Rooms {
            log: log.clone(),
            database: database.clone(),
            sealer: sealer.clone(),
            vault: Vault::new(database.clone(), secrets::master_keys()),
            lists: lists.clone(),
            passwords: PasswordHashes::new(2).unwrap(),
            breached: None,
            mailer: Mailer::open(&format!("file://{}", mail.path().display()), SENDER).unwrap(),
            limits: Limiting::new(
                limits,
                Limits::new(
                    servers.redis_views.as_str(),
                    &servers.prefix,
                    TOKEN_SECRET.as_bytes(),
                )
                .unwrap(),
            ),
            proxies: "127.0.0.0/8".parse().unwrap(),
            origins: "https://pages.example.org".parse().unwrap(),
            spans: None,
        };
        let tokens = TokenSettings {
            issuer: "headwater".into(),
            audience: "headwater".into(),
            signing: SigningKey::Secret(TOKEN_SECRET.into()),
            accepted: Vec::new(),
            session_secret: TOKEN_SECRET.into(),
        };
        let services = Services::new(rooms, tokens, TOKEN_SECRET);
        let services = Arc::new(services.unwrap());
        let listener = edge::server::listen(([127, 0, 0, 1], 0).into())
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(api::serve(listener, services.clone(), stopped));
        Self {
            servers,
            log,
            database,
            sealer,
            lists,
            services,
            push_followers_max: 5_000,
            projections: Projections::default(),
            mail,
            address,
            _stop: stop,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn client(&self) -> Client {
        Client::new(self.url())
    }

    /// A client signed in as `account`, without asking the API; the vault does not know
    /// its session.
    pub fn client_of(&self, account: AccountId) -> Client {
        self.client().with_token(
            self.services
                .tokens
                .issue(account, Uuid::now_v7(), edge::identity::now())
                .unwrap(),
        )
    }

    pub fn worker_context(&self) -> WorkerContext {
        WorkerContext {
            log: self.log.clone(),
            history: History::of(self.log.clone()),
            database: self.database.clone(),
            sealer: self.sealer.clone(),
            lists: self.lists.clone(),
            projections: self.projections.clone(),
            push_followers_max: self.push_followers_max,
        }
    }

    /// As operators' commands have it.
    pub fn vault(&self) -> Vault {
        Vault::new(self.database.clone(), secrets::master_keys())
    }

    pub fn engine(&self) -> Engine {
        Engine::new(self.worker_context(), Uuid::now_v7())
    }

    /// The code in the next letter to this address that nobody has read yet.
    pub async fn mailed_code(&self, email: &str) -> String {
        let letter = self.mailed(email, |letter| code_of(letter).is_some()).await;
        code_of(&letter).unwrap_or_default().to_owned()
    }

    /// The next letter to this address with `words` that nobody has read yet.
    pub async fn mailed_words(&self, email: &str, words: &str) -> String {
        self.mailed(email, |letter| letter.contains(words)).await
    }

    async fn mailed(&self, email: &str, wanted: impl Fn(&str) -> bool) -> String {
        for _ in 0..1_000 {
            for (path, letter) in self.letters(email) {
                if wanted(&letter) {
                    std::fs::remove_file(path).unwrap();
                    code_of(&letter).into_iter().for_each(secrets::remember);
                    return letter;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no such letter to {email}");
    }

    /// All letters to this address that nobody has read yet.
    pub fn letters(&self, email: &str) -> Vec<(PathBuf, String)> {
        let entries = std::fs::read_dir(self.mail.path()).unwrap();
        let read = entries.map(|entry| {
            let path = entry.unwrap().path();
            let letter = std::fs::read_to_string(&path).unwrap();
            (path, letter)
        });
        let to = format!("To: {email}\r\n");
        read.filter(|(_, letter)| letter.contains(&to)).collect()
    }

    /// Shows that the address of somebody who registered is theirs.
    pub async fn verify_email(&self, person: &Person) {
        let body = json!({"one_time_code": self.mailed_code(&person.email).await});
        let path = "/v1/accounts/me/email/verification";
        let verified = person.client.send(Method::PUT, path, Some(body), &[]);
        verified.await.expect(204);
    }

    /// Folds and fans out all there is, so that every read sees it.
    pub async fn settle(&self) {
        self.engine().drain().await.unwrap();
        self.services.look_again().await;
    }
}

impl Drop for App {
    /// Codes that nobody read are secret too.
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.mail.path()).into_iter().flatten() {
            let letter = entry.and_then(|entry| std::fs::read_to_string(entry.path()));
            let letter = letter.unwrap_or_default();
            code_of(&letter).into_iter().for_each(secrets::remember);
        }
    }
}

/// Of a letter with one: its first line.
fn code_of(letter: &str) -> Option<&str> {
    let (_, text) = letter.split_once("\r\n\r\n")?;
    let line = text.lines().next()?;
    let is_code = line.len() == 11 && line.as_bytes()[5] == b'-' && !line.contains(' ');
    is_code.then_some(line)
}
