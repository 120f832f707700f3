//! Who looks at what: all accounts and posts once, a sample of them in every way.

use uuid::Uuid;

use crate::{Target, features::World, reader::BATCH_IDS_MAX, sample::Sample, tokens::token};

/// Local is long, and much the same for everybody.
const LOCAL_READERS: usize = 2;

/// Who looks, with a token of theirs; nobody where it is none.
#[derive(Clone, Debug)]
pub struct Viewer(Option<(Uuid, String)>);

pub const NOBODY: Viewer = Viewer(None);

impl Viewer {
    pub fn id(&self) -> Option<Uuid> {
        self.0.as_ref().map(|(id, _)| *id)
    }

    pub fn token(&self) -> Option<&str> {
        self.0.as_ref().map(|(_, token)| token.as_str())
    }

    pub fn name(&self) -> String {
        self.id().map_or("nobody".into(), |id| id.to_string())
    }
}

/// What a look is about. Features answer to those that concern them.
#[derive(Clone, Debug)]
pub enum About {
    Accounts(Vec<Uuid>),
    Posts(Vec<Uuid>),
    /// An account, and who and what is around it.
    Account(Uuid),
    /// What the viewer alone is told of oneself and others.
    Own(Uuid),
    /// A post, and who and what is around it.
    Post(Uuid),
    ByAuthor(Uuid),
    Home(Uuid),
    Local,
}

#[derive(Clone, Debug)]
pub struct Look {
    pub viewer: Viewer,
    pub about: About,
}

struct Looks<'a> {
    target: &'a Target,
    world: &'a World,
    accounts: Vec<Uuid>,
    sample: Sample,
    chosen: Vec<Look>,
}

pub fn looks(target: &Target, world: &World) -> Vec<Look> {
    let mut looks = Looks {
        target,
        world,
        accounts: world.accounts.all.keys().copied().collect(),
        sample: Sample::new(target.seed),
        chosen: Vec::new(),
    };
    looks.everything_once();
    looks.accounts();
    looks.pairs();
    looks.posts();
    looks.chosen
}

impl Looks<'_> {
    fn add(&mut self, viewer: &Viewer, about: About) {
        let viewer = viewer.clone();
        self.chosen.push(Look { viewer, about });
    }

    /// None where nobody can sign in.
    fn signed(&self, account: Uuid) -> Option<Viewer> {
        let secret = self.target.token_secret.as_deref()?;
        let session_secret = self.target.cursor_secret.as_deref()?;
        let token = token(secret, session_secret, &self.target.token_issuer, account)?;
        Some(Viewer(Some((account, token))))
    }

    fn somebody(&mut self) -> Option<Viewer> {
        let one = self.sample.one_of(&self.accounts)?;
        self.signed(one)
    }

    fn everything_once(&mut self) {
        self.add(&NOBODY, About::Local);
        for ids in self.accounts.clone().chunks(BATCH_IDS_MAX) {
            self.add(&NOBODY, About::Accounts(ids.into()));
        }
        let posts: Vec<Uuid> = self.world.posts.all.keys().copied().collect();
        for ids in posts.chunks(BATCH_IDS_MAX) {
            self.add(&NOBODY, About::Posts(ids.into()));
            if let Some(viewer) = self.somebody() {
                self.add(&viewer, About::Posts(ids.into()));
            }
        }
        let readers = self.sample.some_of(self.accounts.clone(), LOCAL_READERS);
        for viewer in readers
            .into_iter()
            .filter_map(|one| self.signed(one))
            .collect::<Vec<_>>()
        {
            self.add(&viewer, About::Local);
        }
    }

    /// As nobody, as themselves and as somebody.
    fn accounts(&mut self) {
        let accounts = self.accounts.clone();
        for account in self.sample.some_of(accounts, self.target.home_sample) {
            self.add(&NOBODY, About::Account(account));
            if let Some(viewer) = self.signed(account) {
                self.add(&viewer, About::Home(account));
                self.add(&viewer, About::Account(account));
                self.add(&viewer, About::Own(account));
            }
            if let Some(viewer) = self.somebody() {
                self.add(&viewer, About::Account(account));
            }
        }
    }

    /// From both sides of what keeps two apart.
    fn pairs(&mut self) {
        for feature in self.world.features() {
            let pairs = self
                .sample
                .some_of(feature.pairs(), self.target.home_sample);
            for (from, to) in pairs {
                for (id, other) in [(from, to), (to, from)] {
                    let Some(viewer) = self.signed(id) else {
                        continue;
                    };
                    self.add(&viewer, About::Account(other));
                    self.add(&viewer, About::ByAuthor(other));
                    self.add(&viewer, About::Home(id));
                    self.add(&viewer, About::Own(id));
                    let posts = self.world.posts.all.iter();
                    let by_other = posts.filter(|(_, post)| post.author == other).take(2);
                    for (post, _) in by_other {
                        self.add(&viewer, About::Post(*post));
                    }
                }
            }
        }
    }

    /// As nobody, as the author, as a follower and as a stranger; rather those that not
    /// everybody sees as they were written.
    fn posts(&mut self) {
        let world = self.world;
        let (telling, plain): (Vec<_>, Vec<_>) = (world.posts.all.iter()).partition(|(_, post)| {
            post.followers_only || post.deleted_at.is_some() || post.edited_at.is_some()
        });
        let most = self.target.home_sample;
        let mut chosen = self.sample.some_of(telling, most);
        chosen.extend(self.sample.some_of(plain, most / 2));
        for (id, post) in chosen {
            let author = post.author;
            let (followers, strangers): (Vec<Uuid>, Vec<Uuid>) =
                (self.accounts.iter()).partition(|id| world.follows.rows.holds(**id, author));
            let strangers = strangers.into_iter().filter(|one| *one != author);
            let strangers: Vec<Uuid> = strangers.collect();
            let others = [
                Some(author),
                self.sample.one_of(&followers),
                self.sample.one_of(&strangers),
            ];
            let others = others.into_iter().flatten();
            let others: Vec<Viewer> = others.filter_map(|one| self.signed(one)).collect();
            for viewer in others.iter().chain([&NOBODY]) {
                self.add(viewer, About::ByAuthor(author));
                self.add(viewer, About::Post(*id));
            }
        }
    }
}
