//! Who sees what is said three times: by the conditions of queries, by the predicate over
//! what is kept in process, and by the domain, which decides commands by it. The three
//! agree, whatever any commands in any order leave behind.

use std::collections::{BTreeSet, HashMap};

use domain::{
    State,
    accounts::Accounts,
    blocks::Blocks,
    follows::Follows,
    posts::{PostId, Posts},
    strategies::step,
};
use kernel::{AccountId, AggregateId, Decider, Facts};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use readmodel::{Happened, hot::Hot, posts};
use testkit::Row;

use super::{properties::history, setting::Setting};

const CASES: u32 = 40;
const STEPS_MAX: usize = 140;

/// The state of each aggregate at the end.
fn states(history: &[Happened]) -> HashMap<AggregateId, State> {
    let mut states = HashMap::new();
    for happened in history {
        let before = states.remove(&happened.aggregate);
        let state = State::evolve(before, &happened.event).unwrap();
        states.insert(happened.aggregate, state);
    }
    states
}

/// All that a decision may ask about `viewer` and `post`.
fn facts(states: &HashMap<AggregateId, State>, viewer: AccountId, post: PostId) -> Facts {
    let fact = |facts: Facts, aggregate: AggregateId| {
        let stored = states.get(&aggregate).map(|state| state.stored().unwrap());
        let mut facts = facts;
        let snapshot = stored.map(|(_, state)| kernel::Snapshot { version: 1, state });
        facts.insert(aggregate, snapshot);
        facts
    };
    let facts = fact(Facts::default(), Posts::id(post));
    let Some(author) = facts.of::<Posts>(Posts::id(post)).state.author else {
        return facts;
    };
    let about = [
        Accounts::id(author),
        Accounts::id(viewer),
        Blocks::id(viewer, author),
        Blocks::id(author, viewer),
        Follows::id(viewer, author),
    ];
    about.into_iter().fold(facts, fact)
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_the_cache_and_the_domain_agree_on_who_sees_what() {
    let mut runner = TestRunner::deterministic();
    let (mut seen_by_others, mut hidden) = (0, 0);
    for case in 0..CASES {
        let steps = vec(step(), 60..STEPS_MAX).new_tree(&mut runner).unwrap();
        let history = history(&steps.current()).unwrap();
        let setting = Setting::new().await;
        setting.fold(&setting.live(), &history).await;
        let states = states(&history);
        let of_kind = |kind| {
            let ids = states.keys().filter(move |id| id.kind == kind);
            ids.map(|id| id.id).collect::<BTreeSet<_>>()
        };
        let posts: Vec<PostId> = of_kind(Posts::KIND).into_iter().map(PostId).collect();
        let hot = Hot::<Row>::default();
        for viewer in of_kind(Accounts::KIND).into_iter().map(AccountId) {
            let reading = hot.reading(setting.pool(), true, Default::default());
            let kept = reading.posts(Some(viewer), &posts).await.unwrap();
            let kept: BTreeSet<_> = kept.iter().map(|seen| seen.post.id).collect();
            for post in &posts {
                let facts = facts(&states, viewer, *post);
                let author = Posts::author_if_seen(&facts, *post, viewer);
                let row = posts::by_id(setting.pool(), Some(viewer), *post).await;
                let about = format!("case {case}: {viewer} and {post:?}");
                // What a deactivated account published, it alone may still act on.
                let by = facts.of::<Posts>(Posts::id(*post)).state.author;
                let is_gone = by.is_some_and(|by| by == viewer && !Accounts::exists(&facts, by));
                let expected = author.is_some() && !is_gone;
                assert_eq!(row.unwrap().is_some(), expected, "by query, {about}");
                assert_eq!(kept.contains(post), expected, "by the cache, {about}");
                match expected {
                    true => seen_by_others += usize::from(author != Some(viewer)),
                    false => hidden += 1,
                }
            }
        }
    }
    assert!(
        seen_by_others > 20 && hidden > 20,
        "{seen_by_others}, {hidden}"
    );
}
