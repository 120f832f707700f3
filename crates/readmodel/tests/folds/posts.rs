//! Posts: who sees what, and what they said before.

use domain::{
    Event,
    accounts::{Accounts, ProfileUpdated},
    posts::{PostCreated, PostEdited, PostId, Posts, Visibility},
};
use kernel::{AccountId, Personal, Route};
use readmodel::{Happened, accounts, hot::Hot, paging::Start, posts, timelines};
use testkit::Row;

use super::{setting::Setting, world::World};

fn ids(rows: Vec<posts::PostRow>) -> Vec<PostId> {
    rows.into_iter().map(|row| row.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_shows_a_viewer_exactly_what_is_theirs_to_see() {
    let setting = Setting::new().await;
    let pool = setting.pool();
    let mut world = World::new(3);
    let [author, follower, stranger, former] = std::array::from_fn(|_| world.register());
    world.toggle_follow(follower, author);
    world.toggle_follow(former, author);
    world.toggle_follow(former, author);
    world.publish(author, world.now, Visibility::Public, None);
    let root = world.posts[0];
    // Each kind of post hangs under the root and has an answer to it.
    let kinds = [
        (Visibility::Public, false),
        (Visibility::Followers, false),
        (Visibility::Public, true),
        (Visibility::Followers, true),
    ];
    let cases = kinds.map(|(visibility, deleted)| {
        world.now += 1_000;
        let post = world.publish(author, world.now, visibility, Some(root));
        let place = world.posts.len() - 1;
        let answer = world.publish(
            author,
            world.now,
            Visibility::Public,
            Some(world.posts[place]),
        );
        if deleted {
            world.delete(place);
        }
        (post, answer, visibility, deleted)
    });
    setting.settle(&world.take(), 5_000).await;

    let viewers = [
        ("nobody", None, false),
        ("a stranger", Some(stranger), false),
        ("who followed once", Some(former), false),
        ("a follower", Some(follower), true),
        ("the author", Some(author), true),
    ];
    for (who, viewer, close) in viewers {
        for (post, answer, visibility, deleted) in cases {
            let public = visibility == Visibility::Public;
            let seen = !deleted && (public || close);
            let case = format!("{who} and a post {visibility:?}, deleted: {deleted}");
            let by_id = posts::by_id(pool, viewer, post).await.unwrap();
            assert_eq!(by_id.is_some(), seen, "by_id: {case}");
            let hot = Hot::<Row>::default();
            for told in [false, true] {
                let found = hot
                    .reading(pool, told, Default::default())
                    .posts(viewer, &[answer, post, root.id])
                    .await;
                let expected = match seen {
                    true => vec![answer, post, root.id],
                    false => vec![answer, root.id],
                };
                let found: Vec<_> = found.unwrap().iter().map(|seen| seen.post.id).collect();
                assert_eq!(found, expected, "hot, told: {told}, {case}");
            }
            let replies = posts::replies(pool, viewer, root.id, Start::default(), 100).await;
            assert_eq!(
                ids(replies.unwrap().rows).contains(&post),
                seen,
                "replies: {case}"
            );
            let above = posts::ancestors(pool, viewer, answer).await.unwrap();
            let expected = match seen {
                true => vec![root.id, post],
                false => vec![root.id],
            };
            assert_eq!(ids(above), expected, "ancestors: {case}");
            let below =
                posts::descendants(pool, viewer, (root.id, true), Start::default(), 100).await;
            let below = below.unwrap();
            let subtree =
                posts::descendants(pool, viewer, (root.id, false), Start::default(), 100).await;
            assert_eq!(subtree.unwrap(), below, "as of a reply: {case}");
            let below = ids(below.rows);
            assert_eq!(below.contains(&post), seen, "descendants: {case}");
            assert!(below.contains(&answer), "what is below the unseen: {case}");
            let own = {
                let authored = timelines::Authored {
                    author,
                    is_close: close,
                    replies: None,
                };
                timelines::of_account(pool, viewer, authored, Start::default(), 100).await
            };
            assert_eq!(
                ids(own.unwrap().rows).contains(&post),
                seen,
                "of_account: {case}"
            );
            let local = testkit::local(pool, viewer, 100).await.unwrap();
            let expected = public && !deleted;
            assert_eq!(local.contains(&post), expected, "local: {case}");
            let Some(reader) = viewer else { continue };
            for lists in [None, Some(&setting.lists)] {
                let home = testkit::home(pool, lists, reader, Start::default(), 100).await;
                let expected = close && !deleted;
                assert_eq!(
                    home.unwrap().contains(&post.into()),
                    expected,
                    "home: {case}"
                );
            }
        }
    }
}

fn said(text: &str, metadata: Option<&str>, language: Option<&str>) -> PostEdited {
    PostEdited {
        text: Personal::plain(text),
        hashtags: None,
        metadata: metadata.map(Personal::plain),
        language: language.map(str::to_owned),
        mentions: Vec::new(),
    }
}

/// A post and three edits; what an edit leaves out stays.
fn edited_thrice(world: &mut World) -> (PostId, Vec<Happened>) {
    let author = world.register();
    let post = PostId(world.id(world.now, Route::of(author.0)));
    let first = said("one", Some(r#"{"a": 1}"#), Some("en"));
    let created = PostCreated {
        author,
        text: first.text,
        hashtags: None,
        metadata: first.metadata,
        language: first.language.map(|language| language.parse().unwrap()),
        visibility: Visibility::Public,
        mentions: Vec::new(),
        reply: None,
    };
    world.happens(Posts::id(post), author, Event::Post(created.into()));
    let edits = [
        said("two", None, None),
        said("three", Some(r#"{"b": 2}"#), None),
        said("four", None, Some("de")),
    ];
    for edit in edits {
        world.now += 1_000;
        world.happens(Posts::id(post), author, Event::Post(edit.into()));
    }
    (post, world.take())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_edited_three_times_keeps_the_three_versions_before() {
    let setting = Setting::new().await;
    let pool = setting.pool();
    let mut world = World::new(5);
    for batch_events in [1, 2, 100] {
        let (post, history) = edited_thrice(&mut world);
        for batch in history.chunks(batch_events) {
            setting.fold(&setting.live(), batch).await;
        }
        let now = posts::by_id(pool, None, post).await.unwrap().unwrap();
        let metadata = now.metadata.map(|metadata| metadata.to_string());
        assert_eq!(
            (
                now.text.as_deref(),
                metadata.as_deref(),
                now.language.as_deref(),
                now.version
            ),
            (Some("four"), Some(r#"{"b":2}"#), Some("de"), 4)
        );
        let at = |n: usize| history[history.len() - 1 - n].recorded_at;
        assert_eq!((now.created_at, now.edited_at), (at(3), Some(at(0))));
        let before = posts::revisions(pool, post, Start::default(), 100)
            .await
            .unwrap();
        let before: Vec<_> = before
            .rows
            .into_iter()
            .map(|revision| {
                let metadata = revision.metadata.map(|metadata| metadata.to_string());
                let language = revision.language.unwrap();
                (
                    revision.version,
                    revision.text.unwrap(),
                    metadata.unwrap(),
                    language,
                    revision.written_at,
                )
            })
            .collect();
        let row = |version, text: &str, metadata: &str, at| {
            (
                version,
                text.to_owned(),
                metadata.to_owned(),
                "en".to_owned(),
                at,
            )
        };
        let expected = [
            row(3, "three", r#"{"b":2}"#, at(1)),
            row(2, "two", r#"{"a":1}"#, at(2)),
            row(1, "one", r#"{"a":1}"#, at(3)),
        ];
        assert_eq!(before, expected, "{batch_events} a batch");

        let place = world.posts.len();
        world.posts.push(super::world::Post {
            id: post,
            author: now.author.id,
            reply: None,
            deleted: false,
        });
        world.delete(place);
        setting.fold(&setting.live(), &world.take()).await;
        let before = posts::revisions(pool, post, Start::default(), 100)
            .await
            .unwrap();
        assert!(before.rows.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_read_any_more_is_folded_as_nothing() {
    let setting = Setting::new().await;
    let pool = setting.pool();
    let mut world = World::new(9);
    let (post, history) = edited_thrice(&mut world);
    setting.fold(&setting.live(), &history).await;
    let author: AccountId = history.last().unwrap().actor;
    let erased = PostEdited {
        text: Personal::Erased,
        hashtags: Some(Personal::Erased),
        metadata: Some(Personal::Erased),
        language: None,
        mentions: Vec::new(),
    };
    world.happens(Posts::id(post), author, Event::Post(erased.into()));
    let erased = ProfileUpdated {
        display_name: Some(Personal::Erased),
        bio: Some(Personal::Erased),
    };
    world.happens(Accounts::id(author), author, Event::Account(erased.into()));
    setting.fold(&setting.live(), &world.take()).await;

    let row = posts::by_id(pool, None, post).await.unwrap().unwrap();
    assert_eq!(
        (row.text, row.metadata, row.hashtags.len()),
        (None, None, 0)
    );
    let account = accounts::by_id(pool, None, author).await.unwrap().unwrap();
    assert_eq!((account.display_name, account.bio), (None, None));
}
