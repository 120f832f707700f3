//! What the log adds up to: plain maps, one event after the other. It is meant
//! to be read and found right, and refuses to be quick.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::{
    entries::{Entries, Event, FOLLOW},
    findings::Findings,
    json::Json,
    message_pack::Value,
    sealed::Keys,
};

pub const DAY_MILLISECONDS: i64 = 24 * 60 * 60 * 1_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    pub handle: String,
    pub display_name: Option<String>,
    pub bio: Option<String>,
    pub pinned: Option<Uuid>,
    pub registered_at: i64,
    /// Days since 1970-01-01.
    pub active_on: i64,
    pub version: u64,
    pub private: bool,
    pub deactivated: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    pub author: Uuid,
    pub text: Option<String>,
    pub hashtags: Vec<String>,
    pub mentions: Vec<Uuid>,
    pub metadata: Option<Json>,
    pub language: Option<String>,
    pub followers_only: bool,
    pub parent: Option<Uuid>,
    pub root: Option<Uuid>,
    pub created_at: i64,
    pub edited_at: Option<i64>,
    pub deleted_at: Option<i64>,
    pub version: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    pub text: Option<String>,
    pub metadata: Option<Json>,
    pub language: Option<String>,
    pub written_at: i64,
}

/// Who holds a handle.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    pub account: Uuid,
    pub attempt: Uuid,
    pub reserved_at: i64,
}

#[derive(Debug, Default)]
pub struct World {
    pub accounts: BTreeMap<Uuid, Account>,
    /// Registrations that can't end any more.
    pub abandoned: BTreeSet<Uuid>,
    /// By the id of the handle's aggregate.
    pub handles: BTreeMap<Uuid, Option<Holder>>,
    /// Who holds which handle now.
    pub held: BTreeMap<String, Uuid>,
    pub posts: BTreeMap<Uuid, Post>,
    /// By post and its version then.
    pub revisions: BTreeMap<(Uuid, u64), Revision>,
    /// When, by who liked and what.
    pub likes: BTreeMap<(Uuid, Uuid), i64>,
    /// Since when, by follower and followed.
    pub follows: BTreeMap<(Uuid, Uuid), i64>,
    /// Since when, by who asked to follow and whom.
    pub follow_requests: BTreeMap<(Uuid, Uuid), i64>,
    /// Since when, by who blocks and whom.
    pub blocks: BTreeMap<(Uuid, Uuid), i64>,
    /// Since when, by who mutes and whom.
    pub mutes: BTreeMap<(Uuid, Uuid), i64>,
}

impl World {
    pub fn of(entries: &Entries, keys: &Keys, findings: &mut Findings) -> Self {
        let mut world = Self::default();
        for event in entries.all() {
            if let Err(why) = world.take(event, keys) {
                let (name, position) = (&event.name, event.position);
                findings.violation(format!("{name} at {position}: {why}"));
            }
        }
        // Handles are in partitions of their own, and say nothing of activity; no
        // more does what one does to the follow of another.
        for event in entries.all() {
            let another = event.aggregate.kind == FOLLOW && event.aggregate.id != event.actor;
            if !matches!(event.name.as_str(), "HandleReserved" | "HandleReleased")
                && !another
                && let Some(account) = world.accounts.get_mut(&event.actor)
            {
                let day = event.recorded_at.div_euclid(DAY_MILLISECONDS);
                account.active_on = account.active_on.max(day);
            }
        }
        world.check_handles(findings);
        world
    }

    /// Every account holds its handle, alone, whatever the letters' case.
    fn check_handles(&self, findings: &mut Findings) {
        let mut holders = BTreeMap::new();
        for (id, account) in &self.accounts {
            let handle = &account.handle;
            let what = format_args!("who holds the handle {handle}");
            findings.same(what, &Some(id), &self.held.get(handle));
            if let Some(other) = holders.insert(handle.to_ascii_lowercase(), id) {
                findings.violation(format!("{other} and {id} both have the handle {handle}"));
            }
        }
    }

    fn take(&mut self, event: &Event, keys: &Keys) -> Result<(), String> {
        if event.event_version != 1 {
            return Err(format!("its version {} is unknown", event.event_version));
        }
        let (data, id) = (&event.data, event.aggregate.id);
        let text = |name: &str| keys.open(event.actor, data.field(name));
        let member = || event.aggregate.member.ok_or("an edge without a far end");
        match event.name.as_str() {
            "EpochStarted" | "OperatorActed" => {}
            "HandleReserved" => {
                let holder = Holder {
                    account: uuid(data.field("account"))?,
                    attempt: uuid(data.field("attempt"))?,
                    reserved_at: (data.field("reserved_at").signed()).ok_or("no reserved_at")?,
                };
                let handle = data.field("handle").text().ok_or("no handle")?;
                self.held.insert(handle.to_owned(), holder.account);
                self.handles.insert(id, Some(holder));
            }
            "HandleReleased" => {
                let handle = data.field("handle").text().ok_or("no handle")?;
                self.held.remove(handle);
                self.handles.insert(id, None);
            }
            "RegistrationAbandoned" => drop(self.abandoned.insert(id)),
            "AccountRegistered" => {
                let account = Account {
                    handle: data.field("handle").text().ok_or("no handle")?.to_owned(),
                    display_name: text("display_name")?.filter(|name| !name.is_empty()),
                    registered_at: event.recorded_at,
                    version: event.version,
                    ..Account::default()
                };
                if self.accounts.insert(id, account).is_some() {
                    return Err("the account was registered before".into());
                }
            }
            "ProfileUpdated" | "PostPinned" | "PostUnpinned" | "AccountMadePrivate"
            | "AccountMadePublic" | "AccountDeactivated" | "AccountReactivated" => {
                let account = self.accounts.get_mut(&id).ok_or("no such account")?;
                account.version = event.version;
                match event.name.as_str() {
                    "PostPinned" => account.pinned = Some(uuid(data.field("post"))?),
                    "PostUnpinned" => account.pinned = None,
                    "AccountMadePrivate" => account.private = true,
                    "AccountMadePublic" => account.private = false,
                    "AccountDeactivated" => account.deactivated = true,
                    "AccountReactivated" => account.deactivated = false,
                    _ => {
                        if let Some(name) = text("display_name")? {
                            account.display_name = Some(name).filter(|name| !name.is_empty());
                        }
                        if let Some(bio) = text("bio")? {
                            account.bio = Some(bio).filter(|bio| !bio.is_empty());
                        }
                    }
                }
            }
            "PostCreated" => {
                let post = self.created(event, keys)?;
                if self.posts.insert(id, post).is_some() {
                    return Err("the post was made before".into());
                }
            }
            "PostEdited" => self.edited(event, keys)?,
            "PostDeleted" => {
                let post = self.posts.get_mut(&id).ok_or("no such post")?;
                post.text = None;
                post.hashtags.clear();
                post.mentions.clear();
                post.metadata = None;
                post.language = None;
                post.deleted_at = Some(event.recorded_at);
                post.version = event.version;
                self.revisions.retain(|(post, _), _| *post != id);
            }
            "Liked" => drop(self.likes.insert((id, member()?), event.recorded_at)),
            "Unliked" => drop(self.likes.remove(&(id, member()?))),
            "Followed" => drop(self.follows.insert((id, member()?), event.recorded_at)),
            "Unfollowed" | "FollowerRemoved" => drop(self.follows.remove(&(id, member()?))),
            "FollowRequested" => {
                let edge = (id, member()?);
                self.follow_requests.insert(edge, event.recorded_at);
            }
            "FollowRequestWithdrawn" | "FollowRequestRejected" => {
                self.follow_requests.remove(&(id, member()?));
            }
            "FollowRequestAccepted" => {
                let edge = (id, member()?);
                if self.follow_requests.remove(&edge).is_none() {
                    return Err("nobody had asked".into());
                }
                self.follows.insert(edge, event.recorded_at);
            }
            "FollowSevered" => {
                let edge = (id, member()?);
                self.follow_requests.remove(&edge);
                self.follows.remove(&edge);
            }
            "Blocked" => drop(self.blocks.insert((id, member()?), event.recorded_at)),
            "Unblocked" => drop(self.blocks.remove(&(id, member()?))),
            "Muted" => drop(self.mutes.insert((id, member()?), event.recorded_at)),
            "Unmuted" => drop(self.mutes.remove(&(id, member()?))),
            other => return Err(format!("nobody knows the event {other}")),
        }
        Ok(())
    }

    fn created(&self, event: &Event, keys: &Keys) -> Result<Post, String> {
        let data = &event.data;
        let author = uuid(data.field("author"))?;
        if author != event.actor {
            return Err("the author is not who acted".into());
        }
        let text = |name: &str| keys.open(author, data.field(name));
        let reply = data.field("reply");
        let is_reply = *reply != Value::Nil;
        let of_reply = |name: &str| is_reply.then(|| uuid(reply.field(name))).transpose();
        Ok(Post {
            author,
            text: text("text")?,
            hashtags: words(text("hashtags")?),
            mentions: uuids(data.field("mentions"))?,
            metadata: json(text("metadata")?)?,
            language: data.field("language").text().map(str::to_owned),
            followers_only: match data.field("visibility").text() {
                Some("public") => false,
                Some("followers") => true,
                other => return Err(format!("the visibility {other:?}")),
            },
            parent: of_reply("parent")?,
            root: of_reply("root")?,
            created_at: event.recorded_at,
            edited_at: None,
            deleted_at: None,
            version: event.version,
        })
    }

    fn edited(&mut self, event: &Event, keys: &Keys) -> Result<(), String> {
        let (id, data) = (event.aggregate.id, &event.data);
        let text = |name: &str| keys.open(event.actor, data.field(name));
        let post = self.posts.get_mut(&id).ok_or("no such post")?;
        let before = Revision {
            text: post.text.clone(),
            metadata: post.metadata.clone(),
            language: post.language.clone(),
            written_at: post.edited_at.unwrap_or(post.created_at),
        };
        self.revisions.insert((id, post.version), before);
        post.text = text("text")?;
        post.hashtags = words(text("hashtags")?);
        post.mentions = uuids(data.field("mentions"))?;
        if *data.field("metadata") != Value::Nil {
            post.metadata = json(text("metadata")?)?;
        }
        if let Some(language) = data.field("language").text() {
            post.language = Some(language.to_owned()).filter(|tag| !tag.is_empty());
        }
        post.edited_at = Some(event.recorded_at);
        post.version = event.version;
        Ok(())
    }

    pub fn follows(&self, follower: Uuid, followed: Uuid) -> bool {
        self.follows.contains_key(&(follower, followed))
    }

    pub fn blocks(&self, blocker: Option<Uuid>, blocked: Option<Uuid>) -> bool {
        let edge = blocker.zip(blocked);
        edge.is_some_and(|edge| self.blocks.contains_key(&edge))
    }

    /// Whether one of the two blocks the other.
    pub fn apart(&self, one: Option<Uuid>, other: Option<Uuid>) -> bool {
        self.blocks(one, other) || self.blocks(other, one)
    }

    pub fn mutes(&self, muter: Option<Uuid>, muted: Uuid) -> bool {
        muter.is_some_and(|muter| self.mutes.contains_key(&(muter, muted)))
    }

    /// Whether `viewer` finds an account: not one that blocks them, nor one that
    /// has left.
    pub fn finds(&self, viewer: Option<Uuid>, id: Uuid) -> bool {
        let there = self.accounts.get(&id);
        there.is_some_and(|account| !account.deactivated) && !self.blocks(Some(id), viewer)
    }

    pub fn is_deactivated(&self, id: Uuid) -> bool {
        self.accounts
            .get(&id)
            .is_some_and(|account| account.deactivated)
    }

    /// Whether what is for followers of `id` is for `viewer`.
    pub fn is_near(&self, viewer: Option<Uuid>, id: Uuid) -> bool {
        viewer.is_some_and(|viewer| viewer == id || self.follows(viewer, id))
    }

    /// Whether `viewer` may see a post; nobody is signed in where it is none.
    pub fn sees(&self, viewer: Option<Uuid>, post: &Post) -> bool {
        let Some(author) = self.accounts.get(&post.author) else {
            return false;
        };
        let for_all = !post.followers_only && !author.private;
        post.deleted_at.is_none()
            && !author.deactivated
            && !self.apart(viewer, Some(post.author))
            && (for_all || self.is_near(viewer, post.author))
    }

    /// Home: what `reader` sees of oneself and of whom one follows now and
    /// does not mute, the newest id first.
    pub fn home(&self, reader: Uuid) -> Vec<Uuid> {
        let wanted = |post: &Post| {
            self.sees(Some(reader), post)
                && !self.mutes(Some(reader), post.author)
                && (post.author == reader || self.follows(reader, post.author))
        };
        let posts = self.posts.iter().rev();
        posts
            .filter(|(_, post)| wanted(post))
            .map(|(id, _)| *id)
            .collect()
    }
}

fn uuid(value: &Value) -> Result<Uuid, String> {
    value.uuid().ok_or_else(|| format!("{value:?} is no id"))
}

fn uuids(value: &Value) -> Result<Vec<Uuid>, String> {
    let list = value.list().ok_or("mentions are no list")?;
    list.iter().map(uuid).collect()
}

fn words(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn json(text: Option<String>) -> Result<Option<Json>, String> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| Json::parse(&text)).transpose()
}
