//! What the API answers against what the log adds up to: to nobody, to the
//! author, to a follower and to a stranger; lists page by page to their ends.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    thread,
};

use serde_json::Value;
use uuid::Uuid;

use crate::{
    Target, Unreachable, entries::Position, findings::Findings, http::Http, json::difference,
    sample::Sample, shown::Shown, tokens::token, world::World,
};

const BATCH_IDS_MAX: usize = 100;
/// A list is read in about so many pages; a short one in one a row.
const PAGES_WANTED: usize = 30;
const ANCESTORS_MAX: usize = 100;
const REVISIONS_MAX: usize = 100;
const CONNECTIONS: usize = 3;
/// Local is long, and much the same for everybody.
const LOCAL_READERS: usize = 2;

pub fn compare(
    target: &Target,
    url: &str,
    world: &World,
    heads: &BTreeMap<u16, Position>,
    findings: &mut Findings,
) -> Result<(), Unreachable> {
    let shown = Shown::new(world);
    let mut sample = Sample::new(target.seed);
    let jobs = jobs(target, &shown, &mut sample);
    let jobs = Mutex::new(jobs);
    // A process may answer with what it saw a moment ago, unless it is told.
    let positions: Vec<String> = heads.values().map(Position::to_string).collect();
    let not_older = format!("Min-Position: {}\r\n", positions.join(","));
    let take = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let ended: Vec<Result<Findings, Unreachable>> = thread::scope(|scope| {
        let work = || -> Result<Findings, Unreachable> {
            let mut reader = Reader {
                http: Http::new(url, &not_older)?,
                shown: &shown,
                findings: Findings::default(),
            };
            while let Some(job) = take() {
                reader.run(job)?;
            }
            Ok(reader.findings)
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        let broke_off = |_| Err(Unreachable("asking the API broke off".into()));
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(broke_off));
        ended.collect()
    });
    for one in ended {
        findings.add(one?);
    }
    Ok(())
}

/// Who looks, with a token of theirs; nobody where it is none.
#[derive(Clone, Debug)]
struct Viewer(Option<(Uuid, String)>);

impl Viewer {
    fn id(&self) -> Option<Uuid> {
        self.0.as_ref().map(|(id, _)| *id)
    }

    fn token(&self) -> Option<&str> {
        self.0.as_ref().map(|(_, token)| token.as_str())
    }

    fn name(&self) -> String {
        self.id().map_or("nobody".into(), |id| id.to_string())
    }
}

enum Job {
    Accounts(Vec<Uuid>),
    Posts(Viewer, Vec<Uuid>),
    Local(Viewer),
    /// By id, by handle, the lists of its edges.
    Account(Viewer, Uuid),
    /// Whom one blocks, mutes, and is asked by; what is between one and others.
    Own(Viewer, Uuid),
    Home(Viewer, Uuid),
    OfAuthor(Viewer, Uuid),
    Post(Viewer, Uuid),
}

/// All accounts and posts once, a sample of them in every way.
fn jobs(target: &Target, shown: &Shown, sample: &mut Sample) -> Vec<Job> {
    let world = shown.world;
    let secret = target.token_secret.as_deref();
    let signed = |account: Uuid| {
        let token = token(secret?, &target.token_issuer, account)?;
        Some(Viewer(Some((account, token))))
    };
    let nobody = Viewer(None);
    let accounts: Vec<Uuid> = world.accounts.keys().copied().collect();
    let posts: Vec<Uuid> = world.posts.keys().copied().collect();
    let mut jobs = vec![Job::Local(nobody.clone())];
    jobs.extend(
        accounts
            .chunks(BATCH_IDS_MAX)
            .map(|ids| Job::Accounts(ids.into())),
    );
    for ids in posts.chunks(BATCH_IDS_MAX) {
        jobs.push(Job::Posts(nobody.clone(), ids.into()));
        let viewer = sample.one_of(&accounts).and_then(signed);
        jobs.extend(viewer.map(|viewer| Job::Posts(viewer, ids.into())));
    }
    for account in sample.some_of(accounts.clone(), target.home_sample) {
        jobs.push(Job::Account(nobody.clone(), account));
        jobs.extend(signed(account).map(|viewer| Job::Home(viewer, account)));
        let viewers = [Some(account), sample.one_of(&accounts)];
        let viewers = viewers.into_iter().flatten().filter_map(signed);
        jobs.extend(viewers.map(|viewer| Job::Account(viewer, account)));
        jobs.extend(signed(account).map(|viewer| Job::Own(viewer, account)));
    }
    // Whoever is blocked, mutes or waits is looked at from both sides.
    let edges = [&world.blocks, &world.mutes, &world.follow_requests];
    let edges = edges.map(|edges| edges.keys().copied().collect::<Vec<_>>());
    for edge in edges {
        for (from, to) in sample.some_of(edge, target.home_sample) {
            for (viewer, other) in [(from, to), (to, from)] {
                let Some(viewer) = signed(viewer) else {
                    continue;
                };
                jobs.push(Job::Account(viewer.clone(), other));
                jobs.push(Job::OfAuthor(viewer.clone(), other));
                jobs.extend(viewer.id().map(|id| Job::Home(viewer.clone(), id)));
                jobs.extend(viewer.id().map(|id| Job::Own(viewer.clone(), id)));
                let posts = world.posts.iter();
                let by_other = posts.filter(|(_, post)| post.author == other).take(2);
                jobs.extend(by_other.map(|(id, _)| Job::Post(viewer.clone(), *id)));
            }
        }
    }
    let readers = sample.some_of(accounts.clone(), LOCAL_READERS);
    jobs.extend(readers.into_iter().filter_map(signed).map(Job::Local));
    let (telling, plain): (Vec<_>, Vec<_>) = (world.posts.iter()).partition(|(_, post)| {
        post.followers_only || post.deleted_at.is_some() || post.edited_at.is_some()
    });
    let ids = |posts: Vec<(&Uuid, _)>| posts.into_iter().map(|(id, _)| *id).collect();
    let mut chosen = sample.some_of(ids(telling), target.home_sample);
    chosen.extend(sample.some_of(ids(plain), target.home_sample / 2));
    for id in chosen {
        let author = world.posts.get(&id).map_or(id, |post| post.author);
        let (follows, strangers): (Vec<Uuid>, Vec<Uuid>) =
            (accounts.iter()).partition(|account| world.follows(**account, author));
        let strangers: Vec<Uuid> = strangers.into_iter().filter(|one| *one != author).collect();
        let others = [
            Some(author),
            sample.one_of(&follows),
            sample.one_of(&strangers),
        ];
        let mut viewers = vec![nobody.clone()];
        viewers.extend(others.into_iter().flatten().filter_map(signed));
        for viewer in viewers {
            jobs.push(Job::OfAuthor(viewer.clone(), author));
            jobs.push(Job::Post(viewer, id));
        }
    }
    jobs
}

struct Reader<'a> {
    http: Http,
    shown: &'a Shown<'a>,
    findings: Findings,
}

impl Reader<'_> {
    fn run(&mut self, job: Job) -> Result<(), Unreachable> {
        let nobody = Viewer(None);
        let world = self.shown.world;
        match job {
            Job::Accounts(ids) => {
                let path = format!("/v1/accounts?ids={}", joined(&ids));
                let items = self.items(&path, &nobody)?;
                let found = ids.into_iter().filter(|id| world.finds(None, *id));
                self.same_accounts(&path, &found.collect::<Vec<_>>(), &items, &nobody);
            }
            Job::Posts(viewer, ids) => {
                let path = format!("/v1/posts?ids={}", joined(&ids));
                let items = self.items(&path, &viewer)?;
                let seen = ids.into_iter().filter(|id| {
                    let post = world.posts.get(id);
                    post.is_some_and(|post| world.sees(viewer.id(), post))
                });
                self.same_posts(&path, &seen.collect::<Vec<_>>(), &items, &viewer);
            }
            Job::Local(viewer) => {
                let mut expected = self.shown.seen(viewer.id(), |_, post| {
                    let author = world.accounts.get(&post.author);
                    !post.followers_only
                        && author.is_some_and(|author| !author.private)
                        && !world.mutes(viewer.id(), post.author)
                });
                expected.reverse();
                self.post_pages("/v1/timelines/local", &expected, BATCH_IDS_MAX, &viewer)?;
            }
            Job::Home(viewer, reader) => {
                self.findings.count("homes", 1);
                if !world.finds(Some(reader), reader) {
                    return Ok(());
                }
                let expected = world.home(reader);
                let limit = limit_for(expected.len());
                self.post_pages("/v1/timelines/home", &expected, limit, &viewer)?;
            }
            Job::OfAuthor(viewer, author) => {
                if !world.finds(viewer.id(), author) {
                    let path = format!("/v1/accounts/{author}/posts");
                    let (status, _) = self.get(&path, &viewer)?;
                    self.findings.same(&path, &404, &status);
                    return Ok(());
                }
                let mut expected = self
                    .shown
                    .seen(viewer.id(), |_, post| post.author == author);
                expected.reverse();
                let limit = limit_for(expected.len());
                let path = format!("/v1/accounts/{author}/posts");
                self.post_pages(&path, &expected, limit, &viewer)?;
                if viewer.id() == Some(author) {
                    self.post_pages("/v1/accounts/me/posts", &expected, limit, &viewer)?;
                }
            }
            Job::Account(viewer, account) => self.account(&viewer, account)?,
            Job::Own(viewer, account) => self.own(&viewer, account)?,
            Job::Post(viewer, id) => self.post(&viewer, id)?,
        }
        Ok(())
    }

    fn account(&mut self, viewer: &Viewer, account: Uuid) -> Result<(), Unreachable> {
        let world = self.shown.world;
        let found = world.finds(viewer.id(), account);
        let handle = world.accounts.get(&account).map(|a| a.handle.clone());
        let handle = handle.unwrap_or_default();
        for path in [
            format!("/v1/accounts/{account}"),
            format!("/v1/handles/{handle}"),
            format!("/v1/handles/{}", handle.to_ascii_uppercase()),
        ] {
            let (status, body) = self.get(&path, viewer)?;
            let what = format_args!("{path} as {}", viewer.name());
            self.findings
                .same(what, &if found { 200 } else { 404 }, &status);
            if found {
                self.same_item(&path, &self.shown.account(account, viewer.id()), &body);
            }
        }
        let is_private = world.accounts.get(&account).is_some_and(|a| a.private);
        let refused = match found {
            false => Some(404),
            true if is_private && !world.is_near(viewer.id(), account) => Some(403),
            true => None,
        };
        let edges = world.follows.iter();
        let followers = edges
            .clone()
            .filter(|((_, followed), _)| *followed == account);
        let followers = followers.map(|((id, _), at)| (*at, *id)).collect();
        let followers = self.shown.edges(viewer.id(), followers);
        let following = edges.filter(|((follower, _), _)| *follower == account);
        let following = following.map(|((_, id), at)| (*at, *id)).collect();
        let following = self.shown.edges(viewer.id(), following);
        for (side, expected) in [("followers", followers), ("following", following)] {
            let path = format!("/v1/accounts/{account}/{side}");
            match refused {
                None => self.account_pages(&path, &expected, viewer)?,
                Some(wanted) => {
                    let (status, _) = self.get(&path, viewer)?;
                    let what = format_args!("{path} as {}", viewer.name());
                    self.findings.same(what, &wanted, &status);
                }
            }
        }
        Ok(())
    }

    /// What one is told of oneself and others alone.
    fn own(&mut self, viewer: &Viewer, own: Uuid) -> Result<(), Unreachable> {
        let world = self.shown.world;
        let made = |edges: &BTreeMap<(Uuid, Uuid), i64>| -> Vec<(i64, Uuid)> {
            let made = edges.iter().filter(|((from, _), _)| *from == own);
            made.map(|((_, to), at)| (*at, *to)).collect()
        };
        let mut blocks = Shown::all_edges(made(&world.blocks));
        blocks.retain(|id| world.finds(None, *id));
        let mut mutes = Shown::all_edges(made(&world.mutes));
        mutes.retain(|id| world.finds(Some(own), *id));
        let asked = world.follow_requests.iter();
        let asked = asked.filter(|((_, to), _)| *to == own);
        let asked = asked.map(|((from, _), at)| (*at, *from)).collect();
        let asked = self.shown.edges(Some(own), asked);
        for (path, expected) in [
            ("blocks", &blocks),
            ("mutes", &mutes),
            ("follow-requests", &asked),
        ] {
            self.account_pages(&format!("/v1/accounts/me/{path}"), expected, viewer)?;
        }
        let others = blocks.iter().chain(&mutes).chain(&asked);
        let mut others: Vec<Uuid> = others.copied().chain([own]).collect();
        others.truncate(BATCH_IDS_MAX);
        others.sort_unstable();
        others.dedup();
        others.retain(|id| world.finds(Some(own), *id));
        if others.is_empty() {
            return Ok(());
        }
        let path = format!("/v1/relationships?ids={}", joined(&others));
        let items = self.items(&path, viewer)?;
        self.findings.same(&path, &others.len(), &items.len());
        for (id, found) in others.iter().zip(&items) {
            let holds =
                |edges: &BTreeMap<(Uuid, Uuid), i64>, from, to| edges.contains_key(&(from, to));
            let expected = serde_json::json!({
                "account_id": id,
                "following": holds(&world.follows, own, *id),
                "followed_by": holds(&world.follows, *id, own),
                "requested": holds(&world.follow_requests, own, *id),
                "requested_by": holds(&world.follow_requests, *id, own),
                "blocking": holds(&world.blocks, own, *id),
                "muting": holds(&world.mutes, own, *id),
            });
            self.same_item(&path, &expected, found);
        }
        Ok(())
    }

    fn post(&mut self, viewer: &Viewer, id: Uuid) -> Result<(), Unreachable> {
        let world = self.shown.world;
        let post = world
            .posts
            .get(&id)
            .filter(|post| world.sees(viewer.id(), post));
        let path = format!("/v1/posts/{id}");
        let paths = ["", "/thread", "/replies", "/revisions", "/likes"];
        if post.is_none() {
            for rest in paths {
                let (status, _) = self.get(&format!("{path}{rest}"), viewer)?;
                let what = format_args!("{path}{rest} as {}", viewer.name());
                self.findings.same(what, &404, &status);
            }
            return Ok(());
        }
        let (status, body) = self.get(&path, viewer)?;
        self.findings.same(&path, &200, &status);
        self.same_item(&path, &self.shown.post(id, viewer.id()), &body);

        let replies = self.shown.seen(viewer.id(), |_, post| {
            post.parent == Some(id) && !world.mutes(viewer.id(), post.author)
        });
        let limit = limit_for(replies.len());
        self.post_pages(&format!("{path}/replies"), &replies, limit, viewer)?;

        let likers = world.likes.iter().filter(|((_, post), _)| *post == id);
        let likers = likers.map(|((id, _), at)| (*at, *id)).collect();
        let likers = self.shown.edges(viewer.id(), likers);
        self.account_pages(&format!("{path}/likes"), &likers, viewer)?;

        let items = self.items(&format!("{path}/revisions"), viewer)?;
        let revisions = world.revisions.range((id, 0)..=(id, u64::MAX)).rev();
        let expected = revisions.map(|((_, version), one)| Shown::revision(*version, one));
        let expected: Vec<Value> = expected.take(REVISIONS_MAX).collect();
        let what = format!("{path}/revisions");
        self.findings.same(&what, &expected.len(), &items.len());
        for (expected, found) in expected.iter().zip(&items) {
            self.same_item(&what, expected, found);
        }
        self.thread(viewer, id)
    }

    fn thread(&mut self, viewer: &Viewer, id: Uuid) -> Result<(), Unreachable> {
        let world = self.shown.world;
        let above = |id: &Uuid| world.posts.get(id).and_then(|post| post.parent);
        let ancestors: Vec<Uuid> = std::iter::successors(above(&id), above)
            .take(ANCESTORS_MAX)
            .filter(|id| {
                world
                    .posts
                    .get(id)
                    .is_some_and(|post| world.sees(viewer.id(), post))
            })
            .collect();
        let ancestors: Vec<Uuid> = ancestors.into_iter().rev().collect();
        let is_below = |other: &Uuid| std::iter::successors(above(other), above).any(|up| up == id);
        let below = self.shown.seen(viewer.id(), |other, post| {
            is_below(other) && !world.mutes(viewer.id(), post.author)
        });
        let path = format!("/v1/posts/{id}/thread");
        let pages = self.pages(&path, below.len(), limit_for(below.len()), viewer)?;
        let mut found = Vec::new();
        for page in pages {
            let above = page["ancestors"].as_array().cloned().unwrap_or_default();
            self.same_posts(&path, &ancestors, &above, viewer);
            self.same_item(&path, &self.shown.post(id, viewer.id()), &page["post"]);
            found.extend(page["descendants"].as_array().cloned().unwrap_or_default());
        }
        self.same_posts(&path, &below, &found, viewer);
        Ok(())
    }

    fn post_pages(
        &mut self,
        path: &str,
        expected: &[Uuid],
        limit: usize,
        viewer: &Viewer,
    ) -> Result<(), Unreachable> {
        let pages = self.pages(path, expected.len(), limit, viewer)?;
        let items: Vec<Value> = pages.iter().flat_map(items_of).collect();
        self.same_posts(path, expected, &items, viewer);
        Ok(())
    }

    fn account_pages(
        &mut self,
        path: &str,
        expected: &[Uuid],
        viewer: &Viewer,
    ) -> Result<(), Unreachable> {
        let pages = self.pages(path, expected.len(), limit_for(expected.len()), viewer)?;
        let items: Vec<Value> = pages.iter().flat_map(items_of).collect();
        self.same_accounts(path, expected, &items, viewer);
        Ok(())
    }

    /// Every page, which is full but for the last one, and links to the next.
    fn pages(
        &mut self,
        path: &str,
        expected: usize,
        limit: usize,
        viewer: &Viewer,
    ) -> Result<Vec<Value>, Unreachable> {
        let what = format!("{path}?limit={limit} as {}", viewer.name());
        let mut next = format!("{path}?limit={limit}");
        let (mut pages, mut rows) = (Vec::new(), 0);
        loop {
            let answer = self.http.get(&next, viewer.token())?;
            self.findings.count("answers", 1);
            self.findings.same(&what, &200, &answer.status);
            let cursor = answer.body["next_cursor"].as_str().map(str::to_owned);
            let list = match answer.body.get("descendants") {
                Some(descendants) => descendants.as_array().map_or(0, Vec::len),
                None => items_of(&answer.body).len(),
            };
            rows += list;
            pages.push(answer.body);
            let Some(cursor) = cursor else {
                return Ok(pages);
            };
            if list != limit {
                let violation = format!("{what}: a page before the last has {list} rows");
                self.findings.violation(violation);
            }
            let link = answer.headers.get("link").cloned().unwrap_or_default();
            next = format!("{path}?limit={limit}&cursor={cursor}");
            let wanted = format!("<{next}>; rel=\"next\"");
            self.findings
                .same(format_args!("the link of {what}"), &wanted, &link);
            if list == 0 || rows > expected + limit {
                let violation = format!("{what}: expected {expected} rows, there is no end");
                self.findings.violation(violation);
                return Ok(pages);
            }
        }
    }

    fn get(&mut self, path: &str, viewer: &Viewer) -> Result<(u16, Value), Unreachable> {
        let answer = self.http.get(path, viewer.token())?;
        self.findings.count("answers", 1);
        Ok((answer.status, answer.body))
    }

    fn items(&mut self, path: &str, viewer: &Viewer) -> Result<Vec<Value>, Unreachable> {
        let (status, body) = self.get(path, viewer)?;
        let what = format_args!("{path} as {}", viewer.name());
        self.findings.same(what, &200, &status);
        Ok(items_of(&body))
    }

    fn same_posts(&mut self, path: &str, expected: &[Uuid], found: &[Value], viewer: &Viewer) {
        let what = format!("{} as {}", short(path), viewer.name());
        if self.same_ids(&what, expected, found) {
            for (id, found) in expected.iter().zip(found) {
                self.same_item(&what, &self.shown.post(*id, viewer.id()), found);
            }
        }
    }

    fn same_accounts(&mut self, path: &str, expected: &[Uuid], found: &[Value], viewer: &Viewer) {
        let what = format!("{} as {}", short(path), viewer.name());
        if self.same_ids(&what, expected, found) {
            for (id, found) in expected.iter().zip(found) {
                self.same_item(&what, &self.shown.account(*id, viewer.id()), found);
            }
        }
    }

    /// In the same order, none more, none less, none twice.
    fn same_ids(&mut self, what: &str, expected: &[Uuid], found: &[Value]) -> bool {
        let found: Vec<Option<Uuid>> = found
            .iter()
            .map(|item| item["id"].as_str().and_then(|id| id.parse().ok()))
            .collect();
        let expected: Vec<Option<Uuid>> = expected.iter().copied().map(Some).collect();
        if expected == found {
            return true;
        }
        let at = (0..)
            .find(|at| expected.get(*at) != found.get(*at))
            .unwrap_or(0);
        let of = |all: &[Option<Uuid>]| match all.get(at).copied() {
            Some(Some(id)) => id.to_string(),
            Some(None) => "no id".into(),
            None => "the end".into(),
        };
        let (lengths, wanted, there) = (
            format!("{} rows, found {}", expected.len(), found.len()),
            of(&expected),
            of(&found),
        );
        self.findings.violation(format!(
            "{what}: expected {lengths}; row {at}: expected {wanted}, found {there}"
        ));
        false
    }

    fn same_item(&mut self, what: &str, expected: &Value, found: &Value) {
        if let Some(difference) = difference(expected, found) {
            let id = &found["id"];
            self.findings
                .violation(format!("{}, {id}{difference}", short(what)));
        }
    }
}

fn items_of(page: &Value) -> Vec<Value> {
    page["items"].as_array().cloned().unwrap_or_default()
}

fn joined(ids: &[Uuid]) -> String {
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    ids.join(",")
}

/// Without the ids of a batch.
fn short(path: &str) -> &str {
    path.split("?ids=").next().unwrap_or(path)
}

/// Small, so that there are many pages; not so small that it takes long.
fn limit_for(rows: usize) -> usize {
    (rows / PAGES_WANTED + 1).min(BATCH_IDS_MAX)
}
