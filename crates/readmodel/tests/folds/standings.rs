//! What deactivations change in the counters of others.

use domain::posts::Visibility;
use kernel::AccountId;
use readmodel::{accounts, posts};

use super::{
    setting::{Setting, try_fold},
    world::{Random, World, by_partition, cut, interleave},
};

/// Followers and followed of `account`.
async fn counts(setting: &Setting, account: AccountId) -> (i64, i64) {
    let row = accounts::by_id(setting.pool(), None, account).await;
    let row = row.unwrap().unwrap();
    (row.counts.followers, row.counts.following)
}

/// For each order in which two partitions fold a follow and the deactivation of either
/// side, and in one batch: an account of each partition, as `World` deals them out.
#[tokio::test(flavor = "multi_thread")]
async fn a_follow_and_a_deactivation_count_alike_in_any_order() {
    let setting = Setting::new().await;
    let mut random = Random(11);
    for round in 0..24 {
        let mut world = World::new(round);
        let [follower, followed, witness] = [(); 3].map(|()| world.register());
        world.publish(followed, world.now, Visibility::Public, None);
        let post = world.posts[0];
        setting.fold(&setting.live(), &world.take()).await;
        world.toggle_follow(witness, follower);
        world.toggle_follow(follower, witness);
        if round % 2 == 0 {
            world.toggle_standing(followed, true);
        }
        world.toggle_follow(follower, followed);
        world.toggle_like(follower, post);
        world.publish(follower, world.now, Visibility::Public, Some(post));
        if round % 3 == 0 {
            world.toggle_standing(follower, true);
        }
        world.toggle_standing(followed, true);
        let history = world.take();
        let events_max = 1 + round as usize % 6;
        let cuts = by_partition(&history);
        let cuts = cuts.iter().map(|e| cut(&mut random, e, events_max));
        let cuts = cuts.collect();
        for batch in interleave(&mut random, cuts) {
            setting.fold(&setting.live(), &batch).await;
        }
        assert_eq!(setting.wrong_counters("social").await, [""; 0], "{round}");
        let (follower_left, followed_left) = (round % 3 == 0, round % 2 != 0);
        let one = i64::from(!follower_left);
        assert_eq!(counts(&setting, witness).await, (one, one), "round {round}");
        if !followed_left {
            assert_eq!(counts(&setting, followed).await, (one, 0), "round {round}");
            let row = posts::by_id(setting.pool(), None, post.id).await.unwrap();
            let row = row.unwrap();
            assert_eq!(
                (row.counts.likes, row.counts.replies),
                (one, one),
                "round {round}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_fold_follows_and_deactivations_at_once() {
    let setting = Setting::new().await;
    for round in 0..40 {
        let mut world = World::new(round);
        let accounts: Vec<_> = (0..8).map(|_| world.register()).collect();
        setting.fold(&setting.live(), &world.take()).await;
        for _ in 0..60 {
            let (one, other) = (world.somebody(), world.somebody());
            match world.random.below(5) {
                0 => world.toggle_standing(one, true),
                _ => world.toggle_follow(one, other),
            }
        }
        let history = world.take();
        let tasks = by_partition(&history).into_iter().map(|events| {
            let (pool, social) = (setting.pool().clone(), setting.live());
            tokio::spawn(async move {
                for batch in events.chunks(3) {
                    try_fold(&pool, &social, batch).await?;
                }
                Ok::<_, readmodel::ReadError>(())
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap().unwrap();
        }
        let wrong = setting.wrong_counters("social").await;
        assert_eq!(wrong, [""; 0], "round {round} of {}", accounts.len());
    }
}

/// One statement a table, sorted, and 10,000 counters at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_20_000_followers_leaves_in_one_batch() {
    let setting = Setting::new().await;
    let mut world = World::new(17);
    let famous = world.register();
    for _ in 0..20_000 {
        let fan = world.register();
        world.toggle_follow(fan, famous);
        world.toggle_follow(famous, fan);
    }
    for batch in world.take().chunks(4_000) {
        setting.fold(&setting.live(), batch).await;
    }
    assert_eq!(counts(&setting, famous).await, (20_000, 20_000));
    for left in [true, false] {
        world.toggle_standing(famous, true);
        let began = std::time::Instant::now();
        setting.fold(&setting.live(), &world.take()).await;
        println!("left: {left}, {:?}", began.elapsed());
        assert_eq!(setting.wrong_counters("social").await, [""; 0]);
        let fan = world.accounts[7];
        let counted = i64::from(!left);
        assert_eq!(counts(&setting, fan).await, (counted, counted));
    }
}
