//! A second projection with tables lives by itself: it is built, held up, paused, given
//! what it cannot fold, rebuilt and rolled back, while `social` goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kernel::{Partition, PersonalField, Position, Sealer, SealerFuture};
use readmodel::{
    Generation, Projection, Projections, checkpoints, dead_letters,
    generations::{self, Role},
};
use sea_orm::sqlx::{self, AssertSqlSafe};
use testkit::{App, Person, until};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use worker::{
    rebuilding::{Pace, RebuiltTables, Report, swap_back},
    repairing,
};

use super::tally::{CHARACTERS_MAX, TALLY, Tally};

const SECONDS: u64 = 20;
/// A read that waits for a projection is given up after two.
const ANSWERED_MAX: Duration = Duration::from_secs(2);
/// Workers ask each second what is paused.
const NOTICED_MAX: Duration = Duration::from_secs(2);

/// An app whose workers fold the tally too, from the first event on.
async fn with_tally() -> App {
    let mut app = App::start().await;
    register(&mut app).await;
    app
}

async fn register(app: &mut App) {
    app.projections = Projections::default().with(Arc::new(Tally));
    let server = app.servers.database.as_str();
    let database = readmodel::connect_to_migrate(server).await.unwrap();
    let migrated = migrations::migrate(&database, &app.projections);
    migrated.await.unwrap();
    database.close().await.unwrap();
}

struct Working {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Working {
    fn start(app: &App) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(app.engine().run(stopped));
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        let ended = timeout(Duration::from_secs(5), self.task).await;
        ended.unwrap().unwrap();
    }
}

fn pool(app: &App) -> &readmodel::PgPool {
    app.database.get_postgres_connection_pool()
}

async fn sql(app: &App, sql: &str) {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    sql.execute(pool(app)).await.unwrap();
}

/// How often each type of event is in a generation's tables.
async fn counts_in(app: &App, schema: &str) -> Vec<(String, i64)> {
    let sql = format!("SELECT event, count(*) FROM {schema}.done GROUP BY event ORDER BY event");
    let sql = AssertSqlSafe(sql);
    sqlx::query_as(sql).fetch_all(pool(app)).await.unwrap()
}

async fn counts(app: &App) -> Vec<(String, i64)> {
    counts_in(app, TALLY.name()).await
}

fn counted(counts: &[(&str, i64)]) -> Vec<(String, i64)> {
    let owned = counts
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count));
    owned.collect()
}

async fn live(app: &App, projection: Projection) -> Generation {
    generation(app, projection, Role::Live).await.unwrap()
}

async fn generation(app: &App, projection: Projection, role: Role) -> Option<Generation> {
    let plan = generations::plan(pool(app), &app.projections)
        .await
        .unwrap();
    plan.of(projection, role).map(|known| known.generation)
}

async fn at_the_end(app: &App, projection: Projection) -> bool {
    let heads = app.log.heads().await.unwrap().into_iter().collect();
    let live = checkpoints::live(pool(app), projection).await.unwrap();
    live.positions.reach(&heads)
}

async fn until_at_the_end(app: &App, projection: Projection) {
    let what = format!("{} is at the end", projection.name());
    until(&what, SECONDS, || at_the_end(app, projection)).await;
}

/// Likes, and sees it at once.
async fn likes_and_sees_it(person: &Person, post: &str) {
    let started = Instant::now();
    person.like(post).await.expect(204);
    let shown = person.client.get(&format!("/v1/posts/{post}")).await;
    let shown = shown.expect(200);
    assert_eq!(shown.body["viewer"]["liked"].as_bool(), Some(true));
    assert!(started.elapsed() < ANSWERED_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_built_from_the_log_that_there_is() {
    // Given a log that is folded by a release without it.
    let mut app = App::start().await;
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let post = ada.publish("one").await;
    bob.like(&post).await;
    bob.follow(&ada).await;
    app.settle().await;
    let lacks = async |projections: &Projections| {
        let missing = migrations::missing(&app.database, projections).await;
        missing.unwrap()
    };
    assert_eq!(lacks(&app.projections).await, [""; 0]);
    let more = app.projections.clone().with(Arc::new(Tally));
    assert_eq!(lacks(&more).await, ["projection tally"]);
    let passed = async |app: &App| {
        let passed = generations::passed(pool(app), &more, Partition(0)).await;
        passed.unwrap()
    };
    assert_eq!(
        passed(&app).await,
        None,
        "nothing may be trimmed that it needs"
    );

    // When
    register(&mut app).await;
    assert_eq!(passed(&app).await, None);
    app.settle().await;

    // Then
    let all = [("Followed", 1), ("Liked", 1), ("PostCreated", 1)];
    assert_eq!(counts(&app).await, counted(&all));
    assert!(
        at_the_end(&app, TALLY).await,
        "over what it does not want too"
    );
    assert!(passed(&app).await.is_some());
    assert_eq!(live(&app, TALLY).await, TALLY.first());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_like_waits_for_no_other_projection() {
    let app = with_tally().await;
    let working = Working::start(&app);
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let posts = [ada.publish("one").await, ada.publish("two").await];
    until_at_the_end(&app, TALLY).await;

    // Its tables are locked.
    let mut transaction = pool(&app).begin().await.unwrap();
    sqlx::query("LOCK TABLE tally.done IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await
        .unwrap();
    likes_and_sees_it(&bob, &posts[0]).await;
    until_at_the_end(&app, Projection::SOCIAL).await;
    until_at_the_end(&app, Projection::TIMELINES).await;
    assert!(!at_the_end(&app, TALLY).await);
    transaction.rollback().await.unwrap();
    until_at_the_end(&app, TALLY).await;

    // It is paused.
    generations::pause(pool(&app), TALLY, "test", "test")
        .await
        .unwrap();
    let moves = async || {
        ada.publish("more").await;
        until_at_the_end(&app, Projection::SOCIAL).await;
        let reached = timeout(NOTICED_MAX, until_at_the_end(&app, TALLY));
        reached.await.is_ok()
    };
    until("it stands still", SECONDS, async || !moves().await).await;
    likes_and_sees_it(&bob, &posts[1]).await;
    assert!(!at_the_end(&app, TALLY).await);
    assert!(generations::resume(pool(&app), TALLY).await.unwrap());
    until_at_the_end(&app, TALLY).await;
    let liked = counts(&app)
        .await
        .into_iter()
        .find(|(name, _)| name == "Liked");
    assert_eq!(liked, Some(("Liked".to_owned(), 2)));

    // And when the product's is paused, it goes on.
    let social = Projection::SOCIAL;
    generations::pause(pool(&app), social, "test", "test")
        .await
        .unwrap();
    let moves = async || {
        ada.publish("and more").await;
        until_at_the_end(&app, TALLY).await;
        at_the_end(&app, social).await
    };
    until("social stands still", SECONDS, async || !moves().await).await;
    assert!(generations::resume(pool(&app), social).await.unwrap());
    until_at_the_end(&app, social).await;
    working.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_cannot_fold_waits_for_it_alone() {
    let app = with_tally().await;
    let working = Working::start(&app);
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let long = ada.publish(&"a".repeat(CHARACTERS_MAX as usize)).await;
    ada.publish("short").await;
    likes_and_sees_it(&bob, &long).await;
    until_at_the_end(&app, TALLY).await;
    assert_eq!(
        counts(&app).await,
        counted(&[("Liked", 1), ("PostCreated", 1)])
    );
    let letters = async || {
        let all = dead_letters::list(pool(&app), &app.projections, None, None, 10).await;
        all.unwrap()
    };
    let [letter] = &letters().await[..] else {
        panic!("one waits");
    };
    assert_eq!(letter.generation, TALLY.first());
    assert!(letter.reason.as_ref().unwrap().contains("short"));
    working.stop().await;

    let context = app.worker_context();
    let retry = async || {
        let retried = repairing::retry(&context, letter.generation, letter.aggregate).await;
        retried.unwrap()
    };
    assert!(retry().await.failed.is_some());
    sql(&app, "ALTER TABLE tally.done DROP CONSTRAINT short").await;
    assert_eq!((retry().await.folded, letters().await.len()), (1, 0));
    let all = counted(&[("Liked", 1), ("PostCreated", 2)]);
    assert_eq!(counts(&app).await, all);

    // One aggregate is folded again, without the others.
    sql(
        &app,
        "UPDATE tally.done SET characters = 1 WHERE event = 'PostCreated'",
    )
    .await;
    let again = repairing::replay_aggregate(&context, TALLY, letter.aggregate).await;
    assert_eq!(again.unwrap(), 1);
    let characters = "SELECT characters FROM tally.done WHERE event = 'PostCreated' ORDER BY 1";
    let characters: Vec<i32> = sqlx::query_scalar(characters)
        .fetch_all(pool(&app))
        .await
        .unwrap();
    assert_eq!(characters, [1, CHARACTERS_MAX]);
    assert_eq!(counts(&app).await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_rebuilt_and_rolled_back_alone() {
    let app = with_tally().await;
    let working = Working::start(&app);
    let (ada, bob) = (
        app.client().register("ada").await,
        app.client().register("bob").await,
    );
    let post = ada.publish("one").await;
    until_at_the_end(&app, TALLY).await;
    sql(&app, "DELETE FROM tally.done").await;

    // When: beside what is live, compared, and swapped.
    let (reports, _stop) = (watch::channel(Report::default()).0, watch::channel(false));
    let pace = Pace::new(None);
    let rebuilt = RebuiltTables::begin(
        app.worker_context(),
        TALLY,
        Role::Building,
        pace,
        reports,
        _stop.1.clone(),
    );
    let rebuilt = rebuilt.await.unwrap();
    rebuilt.replay().await.unwrap();
    let compared = rebuilt.compare().await.unwrap();
    let [table] = &compared[..] else {
        panic!("one table: {compared:?}");
    };
    assert_eq!((table.table.as_str(), table.differing), ("done", 1));
    rebuilt.swap(false).await.unwrap();

    // Then
    let (old, new) = (TALLY.first(), live(&app, TALLY).await);
    assert_eq!(new, rebuilt.generation);
    assert_eq!(generation(&app, TALLY, Role::Kept).await, Some(old));
    assert_eq!(counts(&app).await, counted(&[("PostCreated", 1)]));
    likes_and_sees_it(&bob, &post).await;
    until_at_the_end(&app, TALLY).await;
    let all = counted(&[("Liked", 1), ("PostCreated", 1)]);
    assert_eq!(counts(&app).await, all);

    // What was live is folded on, and can be again.
    let swapped = async || swap_back(&app.worker_context(), new, old).await.is_ok();
    until("the kept one is as far", SECONDS, swapped).await;
    assert_eq!(live(&app, TALLY).await, old);
    assert_eq!(counts(&app).await, counted(&[("Liked", 1)]));
    assert_eq!(counts_in(&app, &new.schema(false)).await, all);
    generations::remove(pool(&app), new).await.unwrap();
    assert_eq!(generation(&app, TALLY, Role::Kept).await, None);
    let social = live(&app, Projection::SOCIAL).await;
    assert_eq!(social, Projection::SOCIAL.first());
    ada.publish("two").await;
    until_at_the_end(&app, TALLY).await;
    working.stop().await;
}

/// Counts the fields that it opens.
struct Counting {
    inner: Arc<dyn Sealer>,
    opened: AtomicUsize,
}

impl Sealer for Counting {
    fn seal<'a>(&'a self, fields: Vec<PersonalField<'a>>) -> SealerFuture<'a> {
        self.inner.seal(fields)
    }

    fn open<'a>(&'a self, fields: Vec<PersonalField<'a>>) -> SealerFuture<'a> {
        self.opened.fetch_add(fields.len(), Ordering::Relaxed);
        self.inner.open(fields)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_fold_is_read_and_opened_once() {
    const POSTS: usize = 30;
    let mut app = with_tally().await;
    let counting = Arc::new(Counting {
        inner: app.sealer.clone(),
        opened: AtomicUsize::new(0),
    });
    app.sealer = counting.clone();
    let working = Working::start(&app);
    let ada = app.client().register("ada").await;
    until_at_the_end(&app, TALLY).await;
    until_at_the_end(&app, Projection::SOCIAL).await;
    let before = counting.opened.load(Ordering::Relaxed);
    for _ in 0..POSTS {
        ada.publish("one").await;
    }
    until_at_the_end(&app, TALLY).await;
    until_at_the_end(&app, Projection::SOCIAL).await;
    let opened = counting.opened.load(Ordering::Relaxed) - before;
    // A moment in which one of the two fell behind is forgiven.
    assert!((POSTS..2 * POSTS).contains(&opened), "{opened} of {POSTS}");
    working.stop().await;

    // The checkpoint that rested is at an event that the log has.
    let at = checkpoints::of(pool(&app), TALLY.first()).await.unwrap();
    let heads: Vec<Position> = app.log.heads().await.unwrap();
    assert!(
        heads
            .iter()
            .all(|head| at.get(head.partition) == Some(*head))
    );
    app.settle().await;
}
