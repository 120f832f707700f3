//! Home is what one query says, whichever path filled it.

use domain::{
    Event, kinds,
    mutes::{Muted, Mutes, Unmuted},
    posts::Visibility,
    strategies::edge,
};
use kernel::{AccountId, Uuid};
use readmodel::{
    paging::{Start, Step, Way},
    timelines::{EntryId, FOLLOWERS_CHUNK, FanOut, Lists, TIMELINE_ENTRIES_MAX, home_ids},
};
use redis::AsyncCommands;
use testkit::home;

use super::{
    setting::{Setting, lists},
    world::{World, by_partition, interleave},
};

const OTHERS_MAX: i64 = 1_000_000;

/// Home page by page to its end.
async fn pages(
    setting: &Setting,
    lists: Option<&Lists>,
    reader: AccountId,
    limit: u32,
) -> Vec<EntryId> {
    let mut all: Vec<EntryId> = Vec::new();
    loop {
        let start = Start::next(all.last().copied());
        let page = home(setting.pool(), lists, reader, start, limit)
            .await
            .unwrap();
        assert!(page.len() <= limit as usize);
        let ended = page.len() < limit as usize;
        all.extend(page);
        if ended {
            return all;
        }
    }
}

/// The same from its end back to the newest.
async fn pages_back(
    setting: &Setting,
    lists: Option<&Lists>,
    reader: AccountId,
    limit: u32,
) -> Vec<EntryId> {
    let mut all: Vec<EntryId> = Vec::new();
    loop {
        let start = Start::prev(all.first().copied());
        let page = home(setting.pool(), lists, reader, start, limit)
            .await
            .unwrap();
        assert!(page.len() <= limit as usize);
        let ended = page.len() < limit as usize;
        drop(all.splice(0..0, page));
        if ended {
            return all;
        }
    }
}

#[track_caller]
fn assert_is(home: &[EntryId], oracle: &[EntryId], case: &str) {
    let differs = (0..home.len().max(oracle.len())).find(|at| home.get(*at) != oracle.get(*at));
    assert!(
        differs.is_none(),
        "{case}: {} instead of {} posts, other than the oracle's from {differs:?}",
        home.len(),
        oracle.len()
    );
}

async fn compare(setting: &Setting, reader: AccountId, limits: &[u32], case: &str) {
    let newest = Step::newest(100_000);
    let oracle = home_ids(setting.pool(), reader, newest).await.unwrap();
    let oldest = Step {
        way: Way::Up,
        key: EntryId(Uuid::nil()),
        ..newest
    };
    let mut back = home_ids(setting.pool(), reader, oldest).await.unwrap();
    back.reverse();
    assert_is(&back, &oracle, &format!("{case}, the oracle back"));
    for limit in limits {
        for lists in [Some(&setting.lists), None] {
            let lists_used = lists.map_or("without lists", |_| "with lists");
            let case = format!("{case}, {reader}, {limit} a page, {lists_used}");
            let home = pages(setting, lists, reader, *limit).await;
            assert_is(&home, &oracle, &case);
            let home = pages_back(setting, lists, reader, *limit).await;
            assert_is(&home, &oracle, &format!("{case}, back"));
        }
    }
}

fn key(setting: &Setting, reader: AccountId) -> Vec<u8> {
    let mut key = format!("{}:home:", setting.servers.prefix).into_bytes();
    key.extend_from_slice(reader.0.as_bytes());
    key
}

async fn views(setting: &Setting) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(setting.servers.redis_views.as_str()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Entries of a reader's list, its end included.
async fn entries(setting: &Setting, reader: AccountId) -> usize {
    let mut views = views(setting).await;
    views.llen(key(setting, reader)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn home_is_what_the_oracle_says_whether_it_is_pushed_pulled_or_both() {
    let setting = Setting::new().await;
    let mut views = views(&setting).await;
    for (seed, push_followers_max) in [(1, OTHERS_MAX), (2, 0), (3, 2), (4, 3)] {
        let mut world = World::new(seed);
        for _ in 0..9 {
            world.register();
        }
        for round in 0..10 {
            for _ in 0..42 {
                world.step();
                if world.random.chance(35) {
                    let (author, visibility) = (world.somebody(), world.visibility());
                    let skew = world.random.below(7_200_000) as i64;
                    world.publish(author, world.now - skew, visibility, None);
                }
                if world.random.chance(40) {
                    world.repost_lately();
                }
            }
            let batches = by_partition(&world.take());
            let batches = batches.into_iter().map(|batch| vec![batch]).collect();
            for batch in interleave(&mut world.random, batches) {
                setting.settle(&batch, push_followers_max).await;
                let reader = world.somebody();
                pages(&setting, Some(&setting.lists), reader, 7).await;
            }
            if round % 3 == 2 {
                let reader = world.somebody();
                let _: () = views.del(key(&setting, reader)).await.unwrap();
            }
            let case = format!("seed {seed}, round {round}");
            for _ in 0..4 {
                let reader = world.somebody();
                compare(&setting, reader, &[7], &case).await;
            }
        }
        for reader in world.accounts.clone() {
            compare(&setting, reader, &[1, 2, 7, 100], &format!("seed {seed}")).await;
        }
        let mut posts_max = 0;
        for reader in world.accounts.clone() {
            posts_max = posts_max.max(pages(&setting, None, reader, 100).await.len());
        }
        assert!(posts_max > 30, "a world of {posts_max} posts says little");
    }
}

/// Ids of reposts are of version 8.
fn reposts(home: &[EntryId]) -> usize {
    let is_repost = |id: &&EntryId| id.0.get_version_num() == 8;
    home.iter().filter(is_repost).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn home_with_many_reposts_is_what_the_oracle_says_a_post_a_page() {
    let setting = Setting::new().await;
    let mut world = World::new(37);
    let reader = world.register();
    let others: Vec<_> = (0..12).map(|_| world.register()).collect();
    let (followed, strangers) = others.split_at(8);
    for account in followed {
        world.toggle_follow(reader, *account);
    }
    for post in 0..70 {
        let author = others[post % others.len()];
        world.publish(author, world.now, Visibility::Public, None);
        for _ in 0..4 {
            world.now += world.random.below(9 * 3_600_000) as i64;
            let place = world.posts.len() - 1 - world.random.below(world.posts.len().min(5));
            let (account, post) = (followed[world.random.below(8)], world.posts[place]);
            world.toggle_repost(account, post);
        }
    }
    world.publish(reader, world.now, Visibility::Public, None);
    let own = world.posts[70];
    world.toggle_repost(followed[0], own);
    world.toggle_repost(reader, world.posts[69]);
    let shown = async |world: &mut World, case: &str| {
        setting.settle(&world.take(), OTHERS_MAX).await;
        compare(&setting, reader, &[1, 7], case).await;
        let home = pages(&setting, Some(&setting.lists), reader, 50).await;
        (home.len(), reposts(&home))
    };
    let (all, brought) = shown(&mut world, "as made").await;
    assert!(brought >= 60 && all > brought + 40, "{all}, {brought}");

    let mute = Mutes::id(reader, followed[1]);
    world.happens(mute, reader, Event::Mute(Muted {}.into()));
    let muted = shown(&mut world, "one is muted").await;
    assert_ne!(muted, (all, brought));
    world.happens(mute, reader, Event::Mute(Unmuted {}.into()));
    assert_eq!(shown(&mut world, "and not any more").await, (all, brought));

    world.toggle_standing(strangers[0], false);
    let fewer = shown(&mut world, "an author is private").await;
    assert!(fewer.0 < all, "strangers see none of it");
    world.toggle_standing(strangers[1], true);
    world.toggle_standing(followed[2], true);
    shown(&mut world, "two are away").await;
    world.toggle_standing(followed[2], true);
    shown(&mut world, "one is back").await;
    let block = edge(kinds::BLOCK).unwrap();
    world.toggle_of_account(block, strangers[2], reader);
    world.toggle_of_account(block, reader, followed[3]);
    shown(&mut world, "blocked from either side").await;
    world.toggle_follow(reader, followed[4]);
    shown(&mut world, "one is not followed any more").await;
    for _ in 0..60 {
        let (account, place) = (followed[world.random.below(8)], world.random.below(70));
        world.toggle_repost(account, world.posts[place]);
    }
    world.delete(69);
    shown(&mut world, "some are taken back, and some come late").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reposts_are_looked_for_beyond_what_the_list_keeps() {
    let setting = Setting::new().await;
    let mut world = World::new(41);
    let [reader, first, second, author] = std::array::from_fn(|_| world.register());
    world.toggle_follow(reader, first);
    world.toggle_follow(reader, second);
    let beginning = world.now;
    world.publish(author, beginning, Visibility::Public, None);
    let post = world.posts[0];
    world.toggle_repost(first, post);
    for n in 1..=i64::from(TIMELINE_ENTRIES_MAX) {
        world.publish(first, beginning + n * 60_000, Visibility::Public, None);
    }
    world.now = beginning + 24 * 3_600_000;
    world.toggle_repost(second, post);
    setting.settle(&world.take(), OTHERS_MAX).await;
    compare(&setting, reader, &[60], "a day later, to the millisecond").await;
    let home = pages(&setting, Some(&setting.lists), reader, 100).await;
    assert_eq!(reposts(&home), 1, "the later one is kept back");
    assert!(entries(&setting, reader).await <= TIMELINE_ENTRIES_MAX as usize);

    world.toggle_repost(second, post);
    world.now += 1;
    world.toggle_repost(second, post);
    setting.settle(&world.take(), OTHERS_MAX).await;
    compare(&setting, reader, &[60], "a millisecond more").await;
    let home = pages(&setting, Some(&setting.lists), reader, 100).await;
    assert_eq!(reposts(&home), 2);

    // Neither is pushed from now on.
    for _ in 0..2 {
        world.now += 3_600_000;
        world.publish(author, world.now, Visibility::Public, None);
        for account in [first, second] {
            let latest = world.posts[world.posts.len() - 1];
            world.now += 60_000;
            world.toggle_repost(account, latest);
        }
    }
    setting.settle(&world.take(), 0).await;
    compare(&setting, reader, &[60], "pulled").await;
    let home = pages(&setting, Some(&setting.lists), reader, 100).await;
    assert_eq!(reposts(&home), 4, "each new post once");
}

#[tokio::test(flavor = "multi_thread")]
async fn home_goes_on_below_what_the_list_keeps() {
    let setting = Setting::new().await;
    let mut world = World::new(11);
    let [reader, author, other] = std::array::from_fn(|_| world.register());
    world.toggle_follow(reader, author);
    world.toggle_follow(reader, other);
    let writers = [author, other, reader];
    let beginning = world.now;
    for n in 0..1_300 {
        let at = beginning + n * 1_000;
        world.publish(writers[n as usize % 3], at, Visibility::Public, None);
    }
    setting.settle(&world.take(), OTHERS_MAX).await;
    compare(&setting, reader, &[7, 100], "filled").await;
    assert_eq!(
        entries(&setting, reader).await,
        TIMELINE_ENTRIES_MAX as usize
    );

    // New ones, late ones with ids inside the list and below it.
    for n in 0..60 {
        let at = beginning + (1_300 - n * 20) * 1_000 + 500;
        world.publish(writers[n as usize % 3], at, Visibility::Followers, None);
    }
    for n in 0..20 {
        let at = beginning + (1_400 + n) * 1_000;
        world.publish(author, at, Visibility::Public, None);
    }
    setting.settle(&world.take(), OTHERS_MAX).await;
    compare(&setting, reader, &[7, 100], "with late and new ones").await;
    assert_eq!(
        entries(&setting, reader).await,
        TIMELINE_ENTRIES_MAX as usize
    );

    // Half of it and more is muted, above the floor and below it.
    let mute = Mutes::id(reader, author);
    world.happens(mute, reader, Event::Mute(Muted {}.into()));
    setting.settle(&world.take(), OTHERS_MAX).await;
    compare(&setting, reader, &[7, 100], "with a muted author").await;
    world.happens(mute, reader, Event::Mute(Unmuted {}.into()));

    // Holes longer than a page, longer than the list.
    for place in 300..1_250 {
        if place % 3 == 0 || (1_000..1_200).contains(&place) {
            world.delete(place);
        }
    }
    setting.settle(&world.take(), OTHERS_MAX).await;
    compare(&setting, reader, &[1, 100], "with deleted ones").await;
    world.toggle_follow(reader, author);
    world.toggle_follow(reader, other);
    setting.settle(&world.take(), OTHERS_MAX).await;
    compare(&setting, reader, &[2, 100], "following nobody").await;
    world.toggle_follow(reader, other);
    setting.settle(&world.take(), OTHERS_MAX).await;
    compare(&setting, reader, &[100], "following again").await;
}

/// A home that takes the database long enough to find for others to publish
/// and to be followed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_a_list_is_filled_is_in_home_afterwards() {
    let setting = std::sync::Arc::new(Setting::new().await);
    let mut world = World::new(13);
    let reader = world.register();
    let authors: Vec<_> = (0..40).map(|_| world.register()).collect();
    let others: Vec<_> = (0..20).map(|_| world.register()).collect();
    for author in &authors {
        world.toggle_follow(reader, *author);
        for _ in 0..400 {
            world.now += 1;
            world.publish(*author, world.now, Visibility::Public, None);
        }
    }
    setting.fold(&setting.live(), &world.take()).await;
    let mut views = views(&setting).await;
    for round in 0..40 {
        world.now += 1;
        let other = others[round / 2];
        if round % 2 == 1 {
            world.publish(other, world.now, Visibility::Public, None);
            setting.settle(&world.take(), OTHERS_MAX).await;
        }
        let _: () = views.del(key(&setting, reader)).await.unwrap();
        let filling = {
            let setting = setting.clone();
            tokio::spawn(async move {
                let lists = Some(&setting.lists);
                home(setting.pool(), lists, reader, Start::default(), 20)
                    .await
                    .unwrap()
            })
        };
        testkit::until("somebody fills it", 10, || async {
            entries(&setting, reader).await > 0
        })
        .await;
        match round % 2 {
            0 => drop(world.publish(authors[round], world.now, Visibility::Public, None)),
            _ => world.toggle_follow(reader, other),
        }
        setting.settle(&world.take(), OTHERS_MAX).await;
        filling.await.unwrap();
        let lists = Some(&setting.lists);
        let page = home(setting.pool(), lists, reader, Start::default(), 20)
            .await
            .unwrap();
        let oracle = home_ids(setting.pool(), reader, Step::newest(20))
            .await
            .unwrap();
        assert_is(&page, &oracle, &format!("round {round}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_once_pulled_stays_pulled() {
    let setting = Setting::new().await;
    let mut world = World::new(17);
    let [author, first, second] = std::array::from_fn(|_| world.register());
    world.toggle_follow(first, author);
    world.toggle_follow(second, author);
    setting.settle(&world.take(), 1).await;
    compare(&setting, first, &[7], "before").await;
    let filled = entries(&setting, first).await;
    world.publish(author, world.now, Visibility::Public, None);
    setting.settle(&world.take(), 1).await;
    assert_eq!(entries(&setting, first).await, filled, "it is not pushed");
    compare(&setting, first, &[7], "pulled").await;

    world.toggle_follow(second, author);
    assert!(!world.follows(second, author));
    world.publish(author, world.now + 1, Visibility::Public, None);
    setting.settle(&world.take(), 1).await;
    assert_eq!(
        entries(&setting, first).await,
        filled,
        "nor with few followers"
    );
    compare(&setting, first, &[7], "still pulled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn home_answers_from_the_database_while_the_views_server_is_away() {
    let mut setting = Setting::new().await;
    let programs = devservices::Programs::find().unwrap();
    let options =
        devservices::RedisOptions::throwaway(&programs, devservices::RedisRole::Views).unwrap();
    let mut server = devservices::RedisServer::start(options).await.unwrap();
    setting.lists = lists(server.url(), "away");
    setting.servers.redis_views = server.url().to_owned();
    setting.servers.prefix = "away".into();
    let mut world = World::new(19);
    let [reader, author] = std::array::from_fn(|_| world.register());
    world.toggle_follow(reader, author);
    world.publish(author, world.now, Visibility::Public, None);
    setting.settle(&world.take(), OTHERS_MAX).await;
    compare(&setting, reader, &[2], "with it").await;
    assert!(entries(&setting, reader).await > 0);

    server.kill().await.unwrap();
    let post = world.publish(author, world.now + 1, Visibility::Public, None);
    let events = world.take();
    setting.fold(&setting.live(), &events).await;
    let mut fan_out = FanOut::default();
    fan_out.take(events[0].aggregate, &events[0].event);
    let failed = fan_out
        .run(
            &mut setting.pool().acquire().await.unwrap(),
            &setting.lists,
            OTHERS_MAX,
        )
        .await;
    assert!(failed.is_err(), "what was not pushed must be tried again");
    compare(&setting, reader, &[2], "without it").await;
    let nowhere = lists("redis://127.0.0.1:1", "away");
    let home = pages(&setting, Some(&nowhere), reader, 7).await;
    assert!(home.contains(&post.into()), "never connected");

    server.restart().await.unwrap();
    testkit::until("the views server is used again", 10, || async {
        pages(&setting, Some(&setting.lists), reader, 7).await;
        setting.lists.answers().await && entries(&setting, reader).await > 0
    })
    .await;
    compare(&setting, reader, &[2], "with it again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_reaches_every_follower_in_however_many_chunks() {
    let setting = Setting::new().await;
    let mut world = World::new(23);
    let author = world.register();
    let mut followers: Vec<_> = (0..=FOLLOWERS_CHUNK).map(|_| world.register()).collect();
    for follower in &followers {
        world.toggle_follow(*follower, author);
    }
    setting.settle(&world.take(), OTHERS_MAX).await;
    followers.sort_unstable();
    // Both ends, and some of each call.
    let readers: Vec<_> = followers.into_iter().step_by(100).collect();
    for reader in &readers {
        compare(&setting, *reader, &[7], "filled").await;
    }
    for posts in [1, 3] {
        for _ in 0..posts {
            world.publish(author, world.now, Visibility::Public, None);
        }
        setting.settle(&world.take(), OTHERS_MAX).await;
        for reader in &readers {
            compare(&setting, *reader, &[7], "pushed").await;
        }
    }
}
