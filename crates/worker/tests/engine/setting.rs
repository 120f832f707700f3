//! A log, a database and engines of the test's own.

use std::sync::Arc;

use domain::{
    accounts::RegisterAccount,
    edges::Connect,
    follows::FollowAccount,
    likes::Likes,
    posts::{Change, EditPost, PostId, PublishPost, Visibility},
};
use eventlog::{History, Intent, Log, LogSettings, Receipt};
use kernel::{
    AccountId, Command, ExpectedVersion, Partition, Personal, PersonalField, Position, Positions,
    Route, SealError, Sealer, SealerFuture, Timestamp, Uuid, compose_id,
};
use readmodel::{
    DatabaseConnection, PgPool, Projection, Projections, checkpoints, leases,
    timelines::{Lists, TimelineSettings},
};
use sea_orm::sqlx::{self, AssertSqlSafe};
use testkit::{Servers, secrets::log_key};
use tokio::{sync::watch, task::JoinHandle};
use worker::{Engine, WorkerContext};

pub const PARTITIONS: u16 = 8;
/// A sealed field that says so cannot be opened.
pub const DAMAGED: &str = "damaged";
const NOW: i64 = 1_790_000_000_000;

pub struct Setting {
    pub servers: Servers,
    pub log: Log,
    pub database: DatabaseConnection,
    pub lists: Lists,
}

/// An engine at work.
pub struct Working {
    pub owner: Uuid,
    pub stop: watch::Sender<bool>,
    pub task: JoinHandle<()>,
}

impl Setting {
    pub async fn new() -> Self {
        let servers = Servers::shared().await;
        let mut settings = LogSettings::new(&servers.redis_log, log_key());
        settings.prefix = servers.prefix.clone();
        settings.partitions = PARTITIONS;
        let log = Log::create(&settings).await.unwrap();
        let database = readmodel::connect(&servers.database, 20).await.unwrap();
        let lists = Lists::new(&TimelineSettings {
            views: servers.redis_views.as_str().into(),
            prefix: servers.prefix.clone(),
            timeline_seconds: 3_600,
        });
        Self {
            servers,
            log,
            database,
            lists: lists.unwrap(),
        }
    }

    pub fn pool(&self) -> &PgPool {
        self.database.get_postgres_connection_pool()
    }

    pub fn engine_with(&self, owner: Uuid, sealer: Arc<dyn Sealer>) -> Engine {
        let context = WorkerContext {
            log: self.log.clone(),
            history: History::of(self.log.clone()),
            database: self.database.clone(),
            sealer,
            lists: self.lists.clone(),
            projections: Projections::default(),
            push_followers_max: 2,
        };
        Engine::new(context, owner)
    }

    pub fn engine(&self, owner: Uuid) -> Engine {
        self.engine_with(owner, Arc::new(PlainSealer))
    }

    pub async fn drain(&self) {
        self.engine(Uuid::nil()).drain().await.unwrap();
    }

    pub fn work(&self, number: u128) -> Working {
        let owner = Uuid::from_u128(number);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(self.engine(owner).run(stopped));
        Working { owner, stop, task }
    }

    pub async fn held_by(&self, working: &Working) -> usize {
        let held = leases::held(self.pool()).await.unwrap();
        held.iter().filter(|held| held.1 == working.owner).count()
    }

    pub async fn execute<C: Command>(&self, actor: AccountId, command: C) -> Receipt {
        let intent = Intent {
            actor,
            now: Timestamp(NOW),
            correlation: Uuid::nil(),
            causation: None,
            key: None,
            trace: None,
        };
        let done = self.log.execute(&command, &intent, &PlainSealer).await;
        done.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Somebody in `partition`, who has registered.
    pub async fn register(&self, partition: u16, number: u64) -> AccountId {
        let account = AccountId(id(number, partition));
        let handle = format!("person_{partition}_{number}").parse().unwrap();
        let command = RegisterAccount {
            account,
            handle,
            display_name: None,
        };
        self.execute(account, command).await;
        account
    }

    pub async fn publish(&self, author: AccountId, number: u64, text: &str) -> PostId {
        let partition = author.route().partition(PARTITIONS).0;
        let post = PostId(id(1_000_000 + number, partition));
        let command = PublishPost {
            post,
            author,
            text: text.parse().unwrap(),
            language: None,
            metadata: None,
            visibility: Visibility::Public,
            reply_to: None,
        };
        self.execute(author, command).await;
        post
    }

    pub async fn edit(&self, author: AccountId, post: PostId, text: &str) {
        let command = EditPost {
            post,
            actor: author,
            text: text.parse().unwrap(),
            language: Change::Keep,
            metadata: Change::Keep,
            expected_version: ExpectedVersion::Any,
        };
        self.execute(author, command).await;
    }

    /// Somebody in each partition, who publishes, follows and likes.
    pub async fn populate(&self, from: u64) -> Vec<AccountId> {
        let mut accounts = Vec::new();
        for partition in 0..PARTITIONS {
            accounts.push(self.register(partition, from).await);
        }
        for (place, account) in accounts.iter().enumerate() {
            let account = *account;
            let post = self.publish(account, from, "a #few words").await;
            for step in [1, 2, 5] {
                let other = accounts[(place + step) % accounts.len()];
                let target = account;
                self.execute(other, Connect::<Likes>::new(other, post))
                    .await;
                let follow = FollowAccount {
                    account: other,
                    target,
                };
                self.execute(other, follow).await;
            }
        }
        accounts
    }

    pub async fn heads(&self) -> Positions {
        self.log.heads().await.unwrap().into_iter().collect()
    }

    /// Whether both projections of the partitions that `which` names are at
    /// the end of the log.
    pub async fn at_the_end(&self, which: impl Fn(Partition) -> bool) -> bool {
        let heads = self.heads().await;
        let wanted: Positions = heads
            .iter()
            .filter(|p| which(p.partition))
            .copied()
            .collect();
        for projection in Projections::default().names() {
            let live = checkpoints::live(self.pool(), projection).await.unwrap();
            if !live.positions.reach(&wanted) {
                return false;
            }
        }
        true
    }

    pub async fn folded(&self, partition: u16) -> Position {
        checkpoints::load(
            self.pool(),
            Projection::SOCIAL.first(),
            Partition(partition),
        )
        .await
        .unwrap()
        .at
    }

    pub async fn stopped(&self) -> Vec<(Partition, String)> {
        let live = checkpoints::live(self.pool(), Projection::SOCIAL).await;
        let mut stopped = live.unwrap().stopped;
        stopped.sort_unstable();
        stopped
    }

    /// The stream of a partition and the server it is on, for damage.
    pub async fn stream(&self, partition: u16) -> (redis::aio::MultiplexedConnection, String) {
        let client = redis::Client::open(self.servers.redis_log.as_str()).unwrap();
        let key = format!("{}:{{p{partition:02}}}:events", self.servers.prefix);
        (
            client.get_multiplexed_async_connection().await.unwrap(),
            key,
        )
    }

    pub async fn execute_sql(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(self.pool())
            .await
            .unwrap();
    }

    /// Every row of the read model as text, in order.
    pub async fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for table in TABLES {
            let sql = format!("SELECT '{table} ' || t::text FROM social.{table} AS t");
            let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_all(self.pool())
                .await
                .unwrap();
            rows.extend(found);
        }
        rows.sort_unstable();
        rows
    }
}

pub const TABLES: [&str; 7] = [
    "accounts",
    "account_counters",
    "posts",
    "post_revisions",
    "post_counters",
    "likes",
    "follows",
];

fn id(number: u64, partition: u16) -> Uuid {
    compose_id(NOW as u64 + number, number.to_be_bytes(), Route(partition))
}

/// Keeps texts as they are.
pub struct PlainSealer;

impl Sealer for PlainSealer {
    fn seal<'a>(&'a self, fields: Vec<PersonalField<'a>>) -> SealerFuture<'a> {
        Box::pin(async move {
            for field in fields {
                if let Personal::Plain(text) = &*field.value {
                    *field.value = Personal::Sealed(text.clone().into_bytes());
                }
            }
            Ok(())
        })
    }

    fn open<'a>(&'a self, fields: Vec<PersonalField<'a>>) -> SealerFuture<'a> {
        Box::pin(async move {
            for field in fields {
                if let Personal::Sealed(bytes) = &*field.value {
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    if text == DAMAGED {
                        return Err(SealError::Damaged("it says so"));
                    }
                    *field.value = Personal::Plain(text);
                }
            }
            Ok(())
        })
    }
}
