//! Posts kept in process are what the tables say, event after event.

use domain::{
    Event,
    mutes::{Muted, Mutes},
    posts::{PostId, Visibility},
};
use kernel::{AccountId, Uuid};
use readmodel::{
    hot::{Hot, Seen},
    paging::{Start, Step},
    posts,
    timelines::{Home, Local, home_ids},
    touches::{Touch, touches},
};
use sea_orm::sqlx::{self, Row as _, postgres::PgRow};
use testkit::Row;

use super::{setting::Setting, world::World};

/// What the API's follower does after a fold.
async fn tell(setting: &Setting, hot: &Hot<Row>, batch: &[readmodel::Happened]) {
    for happened in batch {
        for touch in touches(happened.aggregate, &happened.event) {
            let pool = setting.pool();
            let behind = match touch {
                Touch::ParentOf(reply) => posts::parents(pool, &[reply]).await.unwrap(),
                Touch::CountedBy(account) => {
                    posts::counting(pool, &[account], 10_000).await.unwrap()
                }
                _ => Vec::new(),
            };
            hot.touch(behind.into_iter().map(Touch::Post));
            hot.touch([touch]);
        }
    }
}

/// The oracle: what everybody may see, but of those who are hidden from the viewer.
async fn local_ids(setting: &Setting, viewer: Option<AccountId>) -> Vec<PostId> {
    let rows = sqlx::query(
        "SELECT p.id FROM posts AS p JOIN accounts AS a ON a.id = p.author_id
         WHERE p.deleted_at IS NULL AND NOT p.followers_only
           AND NOT a.private AND NOT a.deactivated
           AND p.author_id NOT IN (
                SELECT muted_id FROM mutes WHERE muter_id = $1
                UNION SELECT blocked_id FROM blocks WHERE blocker_id = $1
                UNION SELECT blocker_id FROM blocks WHERE blocked_id = $1)
         ORDER BY p.id DESC",
    );
    let viewer = viewer.map_or(Uuid::nil(), |viewer| viewer.0);
    let rows = rows.bind(viewer).fetch_all(setting.pool()).await.unwrap();
    let id = |row: &PgRow| PostId(row.try_get("id").unwrap());
    rows.iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_in_process_is_what_the_tables_say() {
    let setting = Setting::new().await;
    let hot = Hot::<Row>::default();
    let mut world = World::new(29);
    let readers: Vec<AccountId> = (0..5).map(|_| world.register()).collect();
    for round in 0..60 {
        for _ in 0..4 {
            world.step();
        }
        world.repost_lately();
        let batch = world.take();
        setting.settle(&batch, 2).await;
        tell(&setting, &hot, &batch).await;
        let ids: Vec<_> = world.posts.iter().map(|post| post.id).collect();
        for viewer in readers.iter().map(|reader| Some(*reader)).chain([None]) {
            let kept = hot
                .reading(setting.pool(), true, Default::default())
                .posts(viewer, &ids)
                .await;
            let kept = kept.unwrap();
            let mut kept = kept.iter();
            for id in &ids {
                let row = posts::by_id(setting.pool(), viewer, *id).await.unwrap();
                let Some(row) = row else { continue };
                let seen = kept.next().unwrap();
                assert!(seen.repost.is_none(), "round {round}: brought by nobody");
                let mut shown = seen.post.shown.0.clone();
                shown.marks = seen.marks;
                assert_eq!(shown, row, "round {round}, {viewer:?}");
            }
            assert!(kept.next().is_none(), "round {round}: more than there is");
        }
        let pulled = readmodel::timelines::pulled_authors(setting.pool());
        let pulled = pulled.await.unwrap();
        for reader in &readers {
            let home = Home {
                reading: hot.reading(setting.pool(), true, Default::default()),
                lists: Some((&setting.lists, &pulled)),
                reader: *reader,
            };
            let (mut shown, mut before) = (Vec::new(), None);
            loop {
                let page = home.page(Start::next(before), 7).await.unwrap();
                shown.extend(page.rows.iter().map(Seen::entry));
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            let oracle = home_ids(setting.pool(), *reader, Step::newest(1_000)).await;
            assert_eq!(shown, oracle.unwrap(), "round {round}, home of {reader}");
        }
        for viewer in readers.iter().map(|reader| Some(*reader)).chain([None]) {
            let local = Local {
                reading: hot.reading(setting.pool(), true, Default::default()),
                viewer,
            };
            let (mut shown, mut before) = (Vec::new(), None);
            loop {
                let page = local.page(Start::next(before), 3).await.unwrap();
                shown.extend(page.rows.iter().map(|seen| seen.post.id));
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            let oracle = local_ids(&setting, viewer).await;
            assert_eq!(shown, oracle, "round {round}, local for {viewer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_local_is_full_however_much_of_it_is_muted() {
    let (setting, mut world) = (Setting::new().await, World::new(31));
    let [reader, loud, quiet] = [(); 3].map(|()| world.register());
    let mut heard = Vec::new();
    for number in 0..300 {
        let author = if number % 30 == 7 { quiet } else { loud };
        let at = world.now + number;
        let post = world.publish(author, at, Visibility::Public, None);
        heard.extend((author == quiet).then_some(post));
    }
    heard.reverse();
    world.happens(
        Mutes::id(reader, loud),
        reader,
        Event::Mute(Muted {}.into()),
    );
    setting.settle(&world.take(), 4).await;
    for is_current in [true, false] {
        let hot = Hot::<Row>::default();
        let local = Local {
            reading: hot.reading(setting.pool(), is_current, Default::default()),
            viewer: Some(reader),
        };
        let first = local.page(Start::default(), 4).await.unwrap();
        let ids: Vec<_> = first.rows.iter().map(|seen| seen.post.id).collect();
        assert_eq!(ids, heard[..4]);
        let rest = local.page(Start::next(first.next), 100).await.unwrap();
        let rest: Vec<_> = rest.rows.iter().map(|seen| seen.post.id).collect();
        assert_eq!(rest, heard[4..]);
    }
}
