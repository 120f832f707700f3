//! Throw-away servers: one stack for a test process, a database and a prefix
//! for each test.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use devservices::{Programs, Stack, Urls};
use readmodel::Projections;
use sea_orm::{ConnectionTrait, Database};

use crate::Watch;

const TEMPLATE: &str = "headwater_template";

static SHARED: OnceLock<Urls> = OnceLock::new();
static TESTS: AtomicU32 = AtomicU32::new(0);

/// The addresses of one test.
#[derive(Clone)]
pub struct Servers {
    pub database: String,
    pub redis_log: String,
    pub redis_views: String,
    pub prefix: String,
    /// The last one who holds it looks.
    _watch: Arc<Watch>,
}

impl Servers {
    /// On the servers that all tests of this process share.
    pub async fn shared() -> Self {
        let urls = tokio::task::spawn_blocking(|| SHARED.get_or_init(start).clone())
            .await
            .unwrap();
        Self::on(&urls).await
    }

    /// A migrated database and a key prefix of its own on `urls`.
    pub async fn on(urls: &Urls) -> Self {
        let number = TESTS.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{number}");
        let admin = Database::connect(&urls.database).await.unwrap();
        let create = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}");
        if admin.execute_unprepared(&create).await.is_err() {
            // Servers of the test's own have no template.
            let plain = format!("CREATE DATABASE {name}");
            admin.execute_unprepared(&plain).await.unwrap();
            migrate(&with_database(&urls.database, &name)).await;
        }
        admin.close().await.unwrap();
        let urls = Urls {
            database: with_database(&urls.database, &name),
            ..urls.clone()
        };
        Self {
            database: urls.database.clone(),
            redis_log: urls.redis_log.clone(),
            redis_views: urls.redis_views.clone(),
            prefix: name,
            _watch: Arc::new(Watch::over_servers(urls).await),
        }
    }
}

async fn migrate(url: &str) {
    let database = Database::connect(url).await.unwrap();
    migrations::migrate(&database, &Projections::default())
        .await
        .unwrap();
    database.close().await.unwrap();
}

/// Polls until `check` holds.
pub async fn until<F: Future<Output = bool>>(what: &str, seconds: u64, check: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !check().await {
        assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn with_database(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// The stack lives in a thread of its own: it outlives every test's runtime,
/// and ends with the process.
fn start() -> Urls {
    let (ready, urls) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let say = |line: &str| eprintln!("{line}");
            let programs = Programs::find_or_install(&say).await.unwrap();
            let stack = Stack::throwaway(&programs).await.unwrap();
            let admin = Database::connect(&stack.urls().database).await.unwrap();
            let create = format!("CREATE DATABASE {TEMPLATE}");
            admin.execute_unprepared(&create).await.unwrap();
            admin.close().await.unwrap();
            migrate(&with_database(&stack.urls().database, TEMPLATE)).await;
            ready.send(stack.urls().clone()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    urls.recv().unwrap()
}
