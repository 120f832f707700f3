//! Random but legal histories, made by a generator of our own: the same seed,
//! the same history.

use domain::{
    Event,
    accounts::{
        AccountDeactivated, AccountEvent, AccountMadePrivate, AccountMadePublic,
        AccountReactivated, AccountRegistered, Accounts, PostPinned, PostUnpinned, ProfileUpdated,
        RegistrationAbandoned,
    },
    bookmark_folders::{BookmarkFolders, FolderId, FolderMade},
    follows::{
        FollowRequestAccepted, FollowRequestRejected, FollowRequested, FollowSevered, Follows,
    },
    handles::HandleReserved,
    kinds,
    posts::{PostCreated, PostDeleted, PostEdited, PostId, Posts, Reply, Visibility},
    reposts::{RepostEvent, RepostId},
    strategies::{AnyEdge, BEGINNING, EDGES, Far, edge},
};
use kernel::{
    AccountId, AggregateId, Partition, Personal, Position, Route, Timestamp, Uuid, compose_id,
};
use readmodel::Happened;
use std::collections::BTreeMap;

pub use domain::strategies::PARTITIONS;

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Copy)]
pub struct Post {
    pub id: PostId,
    pub author: AccountId,
    pub reply: Option<Reply>,
    pub deleted: bool,
}

/// A history while it is made.
pub struct World {
    pub random: Random,
    pub accounts: Vec<AccountId>,
    pub posts: Vec<Post>,
    pub now: i64,
    versions: BTreeMap<AggregateId, u64>,
    edges: BTreeMap<AggregateId, bool>,
    /// Whether it is private, and whether it is away.
    standing: BTreeMap<AccountId, (bool, bool)>,
    pinned: BTreeMap<AccountId, PostId>,
    ends: [u64; PARTITIONS as usize],
    made: Vec<Happened>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            accounts: Vec::new(),
            posts: Vec::new(),
            now: BEGINNING,
            versions: BTreeMap::new(),
            edges: BTreeMap::new(),
            standing: BTreeMap::new(),
            pinned: BTreeMap::new(),
            ends: [0; PARTITIONS as usize],
            made: Vec::new(),
        }
    }

    /// A whole history of about `steps` steps.
    pub fn history(seed: u64, steps: usize) -> Vec<Happened> {
        let mut world = Self::new(seed);
        for _ in 0..6 {
            world.register();
        }
        for _ in 0..steps {
            world.step();
        }
        world.take()
    }

    /// What happened since the last time, in order.
    pub fn take(&mut self) -> Vec<Happened> {
        std::mem::take(&mut self.made)
    }

    pub fn happens(&mut self, aggregate: AggregateId, actor: AccountId, event: impl Into<Event>) {
        let partition = aggregate.route().partition(PARTITIONS);
        let end = &mut self.ends[usize::from(partition.0)];
        *end += 1;
        let version = self.versions.entry(aggregate).or_default();
        *version += 1;
        self.made.push(Happened {
            position: Position {
                partition,
                epoch: 1,
                seq: *end,
            },
            aggregate,
            version: *version,
            recorded_at: Timestamp(self.now),
            actor,
            event: event.into(),
        });
    }

    /// Time goes on, mostly; now and then by hours or a day, now and then a bit back.
    fn tick(&mut self) {
        self.now += match self.random.below(20) {
            0 => 86_400_000,
            1..5 => 0,
            5 => -3_000,
            6 => self.random.below(8 * 3_600_000) as i64,
            _ => 1 + self.random.below(60_000) as i64,
        };
    }

    pub fn id(&mut self, at: i64, route: Route) -> Uuid {
        compose_id(at as u64, self.random.next().to_be_bytes(), route)
    }

    pub fn register(&mut self) -> AccountId {
        let number = self.accounts.len();
        let bits = self.random.next() as u16;
        let route = Route(bits - bits % PARTITIONS + number as u16 % PARTITIONS);
        let account = AccountId(self.id(self.now, route));
        let handle: domain::handles::Handle = format!("person_{number}").parse().unwrap();
        let reserved = HandleReserved {
            handle: handle.clone(),
            account,
            attempt: account.0,
            reserved_at: Timestamp(self.now),
        };
        self.happens(handle.aggregate(), account, Event::Handle(reserved.into()));
        if number % 7 == 6 {
            let abandoned = RegistrationAbandoned {};
            let ghost = AccountId(self.id(self.now, route));
            self.happens(Accounts::id(ghost), ghost, Event::Account(abandoned.into()));
        }
        let display_name = self.random.chance(50).then(|| self.text("name"));
        let registered = AccountRegistered {
            handle,
            display_name,
        };
        self.happens(
            Accounts::id(account),
            account,
            Event::Account(registered.into()),
        );
        self.make_folder(account);
        self.accounts.push(account);
        account
    }

    /// With the account's own id, so that bookmarks name it.
    fn make_folder(&mut self, owner: AccountId) {
        let name = Personal::plain("to read");
        let made = FolderMade { owner, name };
        let folder = BookmarkFolders::id(FolderId(owner.0));
        self.happens(folder, owner, Event::Folder(made.into()));
    }

    /// Some words; a few nobody can read any more.
    fn text(&mut self, what: &str) -> Personal {
        match self.random.below(20) {
            0 => Personal::Erased,
            n => Personal::plain(format!("{what} {n}, 'quoted' \\ {{,}} ü\n")),
        }
    }

    pub fn somebody(&mut self) -> AccountId {
        self.accounts[self.random.below(self.accounts.len())]
    }

    fn some_post(&mut self) -> Option<usize> {
        (!self.posts.is_empty()).then(|| self.random.below(self.posts.len()))
    }

    pub fn publish(
        &mut self,
        author: AccountId,
        id_at: i64,
        visibility: Visibility,
        parent: Option<Post>,
    ) -> PostId {
        let post = PostId(self.id(id_at, author.route()));
        let reply = parent.map(|parent| Reply {
            parent: parent.id,
            parent_author: parent.author,
            root: parent.reply.map_or(parent.id, |reply| reply.root),
        });
        let (text, hashtags, metadata, mentions) = self.words();
        let created = PostCreated {
            author,
            text,
            hashtags,
            metadata,
            language: self.random.chance(30).then(|| "de".parse().unwrap()),
            visibility,
            mentions,
            reply,
        };
        self.happens(Posts::id(post), author, Event::Post(created.into()));
        self.posts.push(Post {
            id: post,
            author,
            reply,
            deleted: false,
        });
        post
    }

    fn words(&mut self) -> (Personal, Option<Personal>, Option<Personal>, Vec<AccountId>) {
        let text = self.text("words");
        let hashtags = self.random.chance(40).then(|| Personal::plain("rust wald"));
        let metadata = match self.random.below(4) {
            0 => Some(Personal::plain(r#"{"b": 1, "a": [true, "x"]}"#)),
            1 => Some(self.text("{}")).filter(|text| text.text().is_none()),
            2 => Some(Personal::plain("")),
            _ => None,
        };
        let mentions = (0..self.random.below(3)).map(|_| self.somebody()).collect();
        (text, hashtags, metadata, mentions)
    }

    pub fn edit(&mut self, place: usize) {
        let post = self.posts[place];
        let (text, hashtags, metadata, mentions) = self.words();
        let edited = PostEdited {
            text,
            hashtags,
            metadata,
            language: match self.random.below(4) {
                0 => Some("pt-BR".to_owned()),
                1 => Some(String::new()),
                _ => None,
            },
            mentions,
        };
        self.happens(Posts::id(post.id), post.author, Event::Post(edited.into()));
    }

    pub fn delete(&mut self, place: usize) {
        let post = self.posts[place];
        if post.deleted {
            return;
        }
        let deleted = PostDeleted {
            author: post.author,
        };
        self.happens(Posts::id(post.id), post.author, Event::Post(deleted.into()));
        self.posts[place].deleted = true;
    }

    /// Makes an edge to a post where there is none, and ends one that there is. What is
    /// deleted gets no edge.
    pub fn toggle_of_post(&mut self, edge: &AnyEdge, account: AccountId, post: Post) {
        let is_held = self.edges.get(&(edge.id)(account, post.id.0));
        if is_held == Some(&true) || !post.deleted {
            self.toggle(edge, account, post.id.0, post.author);
        }
    }

    /// The same of an account, but of one's own.
    pub fn toggle_of_account(&mut self, edge: &AnyEdge, account: AccountId, other: AccountId) {
        if account != other {
            self.toggle(edge, account, other.0, other);
        }
    }

    /// A block ends the follows between the two.
    fn toggle(&mut self, edge: &AnyEdge, account: AccountId, to: Uuid, author: AccountId) {
        let id = (edge.id)(account, to);
        let held = self.edges.entry(id).or_default();
        *held = !*held;
        if !*held {
            self.happens(id, account, (edge.ended)(author));
            return;
        }
        let mut made = (edge.made)(author);
        if let Event::Repost(RepostEvent::Reposted(reposted)) = &mut made {
            let drawn = self.id(self.now, account.route());
            reposted.repost = RepostId::of(drawn, PostId(to));
        }
        self.happens(id, account, made);
        if id.kind == kinds::BLOCK {
            for edge in [Follows::id(account, author), Follows::id(author, account)] {
                self.edges.insert(edge, false);
                self.happens(edge, account, Event::Follow(FollowSevered {}.into()));
            }
        }
    }

    pub fn toggle_like(&mut self, account: AccountId, post: Post) {
        self.toggle_of_post(edge(kinds::LIKE).unwrap(), account, post);
    }

    pub fn toggle_repost(&mut self, account: AccountId, post: Post) {
        self.toggle_of_post(edge(kinds::REPOST).unwrap(), account, post);
    }

    /// Somebody reposts one of the latest posts, or takes that back.
    pub fn repost_lately(&mut self) {
        let latest = self.posts.len().min(6);
        if latest > 0 {
            let place = self.posts.len() - 1 - self.random.below(latest);
            let (account, post) = (self.somebody(), self.posts[place]);
            self.toggle_repost(account, post);
        }
    }

    pub fn follows(&self, follower: AccountId, followed: AccountId) -> bool {
        let edge = Follows::id(follower, followed);
        self.edges.get(&edge).copied().unwrap_or_default()
    }

    pub fn toggle_follow(&mut self, follower: AccountId, followed: AccountId) {
        self.toggle_of_account(edge(kinds::FOLLOW).unwrap(), follower, followed);
    }

    /// Asks to follow, and is let in or refused, where nobody follows.
    fn request(&mut self, follower: AccountId, followed: AccountId) {
        if follower == followed || self.follows(follower, followed) {
            return;
        }
        let edge = Follows::id(follower, followed);
        self.happens(edge, follower, Event::Follow(FollowRequested {}.into()));
        match self.random.below(4) {
            0 => {
                self.edges.insert(edge, true);
                let accepted = FollowRequestAccepted {};
                self.happens(edge, followed, Event::Follow(accepted.into()));
            }
            1 => {
                let rejected = FollowRequestRejected {};
                self.happens(edge, followed, Event::Follow(rejected.into()));
            }
            // It waits.
            _ => {}
        }
    }

    /// Becomes private or public, or leaves or comes back.
    pub fn toggle_standing(&mut self, account: AccountId, leaves: bool) {
        let (private, away) = self.standing.entry(account).or_default();
        let event: AccountEvent = match leaves {
            true => {
                *away = !*away;
                match *away {
                    true => AccountDeactivated {}.into(),
                    false => AccountReactivated {}.into(),
                }
            }
            false => {
                *private = !*private;
                match *private {
                    true => AccountMadePrivate {}.into(),
                    false => AccountMadePublic {}.into(),
                }
            }
        };
        self.happens(Accounts::id(account), account, Event::Account(event));
    }

    pub fn visibility(&mut self) -> Visibility {
        match self.random.chance(25) {
            true => Visibility::Followers,
            false => Visibility::Public,
        }
    }

    /// One step of anybody: mostly about posts, else an edge.
    pub fn step(&mut self) {
        self.tick();
        let account = self.somebody();
        let edges: u32 = EDGES.iter().map(often).sum();
        match self.random.below(60 + edges as usize) {
            0..4 => drop(self.register()),
            4..9 => self.update(account),
            9..14 => self.toggle_pin(account),
            14..26 => {
                let visibility = self.visibility();
                let skew = self.random.below(3_600_000) as i64;
                self.publish(account, self.now - skew, visibility, None);
            }
            26..36 => {
                let parent = self.some_post().map(|place| self.posts[place]);
                if let Some(parent) = parent.filter(|parent| !parent.deleted) {
                    let visibility = self.visibility();
                    self.publish(account, self.now, visibility, Some(parent));
                }
            }
            36..50 => {
                if let Some(place) = self.some_post() {
                    for _ in 0..=self.random.below(4) {
                        if !self.posts[place].deleted {
                            self.edit(place);
                        }
                    }
                }
            }
            50..56 => {
                if let Some(place) = self.some_post() {
                    self.delete(place);
                }
            }
            56 | 57 => {
                let other = self.somebody();
                self.request(account, other);
            }
            58 => self.toggle_standing(account, false),
            59 => self.toggle_standing(account, true),
            drawn => self.step_of_edge(account, drawn as u32 - 60),
        }
    }

    /// Toggles the edge that `drawn` falls on, now and then several times.
    fn step_of_edge(&mut self, account: AccountId, mut drawn: u32) {
        let mut edges = EDGES.iter();
        let edge = edges.find(|edge| match drawn.checked_sub(often(edge)) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        });
        let edge = edge.unwrap();
        let times = 1 + self.random.below(3);
        match edge.far {
            Far::Account => {
                let other = self.somebody();
                (0..times).for_each(|_| self.toggle_of_account(edge, account, other));
            }
            Far::Post => {
                if let Some(place) = self.some_post() {
                    let post = self.posts[place];
                    (0..times).for_each(|_| self.toggle_of_post(edge, account, post));
                }
            }
        }
    }

    fn update(&mut self, account: AccountId) {
        let updated = ProfileUpdated {
            display_name: self.random.chance(60).then(|| self.text("name")),
            bio: match self.random.below(3) {
                0 => None,
                1 => Some(Personal::plain("")),
                _ => Some(self.text("bio")),
            },
        };
        self.happens(
            Accounts::id(account),
            account,
            Event::Account(updated.into()),
        );
    }

    fn toggle_pin(&mut self, account: AccountId) {
        let own = |post: &&Post| post.author == account && !post.deleted;
        let own = self.posts.iter().rev().find(own).map(|post| post.id);
        let event = match (self.pinned.remove(&account), own) {
            (Some(post), _) => Event::Account(PostUnpinned { post }.into()),
            (None, Some(post)) => {
                self.pinned.insert(account, post);
                Event::Account(PostPinned { post }.into())
            }
            (None, None) => return,
        };
        self.happens(Accounts::id(account), account, event);
    }
}

/// Steps about this edge, beside 60 others: twice as many as commands that make it.
fn often(edge: &AnyEdge) -> u32 {
    2 * edge.weights.0
}

/// The events of each partition, in order.
pub fn by_partition(history: &[Happened]) -> Vec<Vec<Happened>> {
    let of = |partition| {
        let there = history
            .iter()
            .filter(move |happened| happened.position.partition == Partition(partition));
        there.cloned().collect()
    };
    (0..PARTITIONS).map(of).collect()
}

/// Cuts a partition's events into batches of up to `events_max`.
pub fn cut(random: &mut Random, mut events: &[Happened], events_max: usize) -> Vec<Vec<Happened>> {
    let mut batches = Vec::new();
    while !events.is_empty() {
        let at = (1 + random.below(events_max)).min(events.len());
        batches.push(events[..at].to_vec());
        events = &events[at..];
    }
    batches
}

/// The batches of several partitions, each partition's in its order, in any
/// order between them.
pub fn interleave(random: &mut Random, partitions: Vec<Vec<Vec<Happened>>>) -> Vec<Vec<Happened>> {
    let mut left: Vec<_> = partitions.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    while !left.is_empty() {
        let place = random.below(left.len());
        match left[place].next() {
            Some(batch) => all.push(batch),
            None => drop(left.swap_remove(place)),
        }
    }
    all
}
