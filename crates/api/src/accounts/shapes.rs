//! What accounts look like on the wire. It refuses to ask anybody.

use domain::{accounts::DisplayName, handles::Handle};
use edge::{
    identity::Viewer,
    instant::{self, Instant},
};
use kernel::Uuid;
use poem_openapi::{
    Enum, Object,
    types::{Example, MaybeUndefined},
};
use readmodel::accounts::AccountRow;
use vault::{Email, Password};

use crate::{
    examples::{ACCOUNT_ID, CURSOR},
    posts::Post,
    problem::{Fields, Problem},
    registration::Wanted,
    relationships::AccountViewerState,
    sessions::Session,
};

/// Somebody who joins.
#[derive(Object)]
#[oai(deny_unknown_fields, example, skip_serializing_if_is_none)]
pub struct Registration {
    /// Letters a-z, digits and underscores; one is made up where none is given.
    #[oai(validator(min_length = 2, max_length = 30))]
    handle: Option<String>,
    /// Never shown to others. A name before the @ in ASCII, without quotes, and a domain,
    /// which is kept in the form of the domain name system (`xn--…`).
    #[oai(validator(max_length = 254))]
    email: String,
    /// 8 to 128 characters: code points, after they are composed (NFC) and every blank is
    /// a space (RFC 8265, OpaqueString). None that control, or cannot be seen.
    #[oai(validator(min_length = 8, max_length = 512))]
    pub(super) password: String,
    /// One line with something to see; characters are code points.
    #[oai(validator(max_length = 50))]
    display_name: Option<String>,
}

impl Registration {
    pub(super) fn read(&self) -> Result<Wanted, Problem> {
        let mut fields = Fields::default();
        let handle = self.handle.as_deref().map(str::parse::<Handle>);
        let handle = fields.take_at("/handle", handle.transpose());
        let email = fields.take_at("/email", self.email.parse::<Email>());
        let password = fields.take_at("/password", self.password.parse::<Password>());
        let name = self.display_name.as_deref().map(str::parse::<DisplayName>);
        let name = fields.take_at("/display_name", name.transpose());
        match (handle, email, password, name) {
            (Some(handle), Some(email), Some(password), Some(display_name)) => Ok(Wanted {
                handle,
                email,
                password,
                display_name,
            }),
            _ => Err(fields.problem()),
        }
    }
}

impl Example for Registration {
    fn example() -> Self {
        Self {
            handle: Some("ada".into()),
            email: "ada@example.org".into(),
            password: "correct horse battery".into(),
            display_name: Some("Ada".into()),
        }
    }
}

/// Who joined, signed in.
#[derive(Object)]
#[oai(example)]
pub struct Registered {
    pub(super) id: Uuid,
    pub(super) handle: String,
    pub(super) session: Session,
}

impl Example for Registered {
    fn example() -> Self {
        let session = Session::example();
        Self {
            id: session.account_id,
            handle: "ada".into(),
            session,
        }
    }
}

/// Fields that are left out stay; null clears.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct ProfileChange {
    /// One line with something to see; characters are code points.
    #[oai(nullable, validator(max_length = 50))]
    pub(super) display_name: MaybeUndefined<String>,
    /// Lines with something to see; characters are code points, and `\n` ends a line.
    #[oai(nullable, validator(max_length = 500))]
    pub(super) bio: MaybeUndefined<String>,
    /// Only followers see what a private account publishes, earlier posts too, and
    /// who wants to follow it asks.
    #[oai(skip_serializing_if_is_none)]
    pub(super) private: Option<bool>,
}

impl Example for ProfileChange {
    fn example() -> Self {
        Self {
            display_name: MaybeUndefined::Value("Ada".into()),
            bio: MaybeUndefined::Value("Engines.".into()),
            private: Some(false),
        }
    }
}

/// An account. One that blocks whoever looks, or is deactivated, is not found.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct Account {
    id: Uuid,
    handle: String,
    display_name: Option<String>,
    bio: Option<String>,
    pinned_post_id: Option<Uuid>,
    /// Whether only followers see what it publishes.
    private: bool,
    created_at: Instant,
    /// As many as the list has for a reader who blocks none of them and is blocked by
    /// none; deactivated accounts are in neither.
    followers_count: i64,
    /// As many as the list has for a reader who blocks none of them and is blocked by
    /// none; deactivated accounts are in neither.
    following_count: i64,
    /// Posts and replies that are not deleted, those for followers too: who may not see
    /// them finds fewer.
    posts_count: i64,
    /// The day of the account's last activity; of a private account, for those alone who
    /// see what it publishes.
    last_active_on: Option<String>,
    /// The relationship between the reader and this account. Missing for anonymous readers
    /// and in the reader's own account.
    viewer: Option<AccountViewerState>,
    /// The post that is pinned, where `include` asks for it and the reader may see it.
    pinned_post: Option<Post>,
}

impl Example for Account {
    fn example() -> Self {
        Self {
            id: ACCOUNT_ID,
            handle: "ada".into(),
            display_name: Some("Ada".into()),
            bio: Some("Engines.".into()),
            pinned_post_id: None,
            private: false,
            created_at: instant::EXAMPLE,
            followers_count: 3,
            following_count: 2,
            posts_count: 1,
            last_active_on: Some("2026-11-20".into()),
            viewer: Some(AccountViewerState::example()),
            pinned_post: None,
        }
    }
}

impl Account {
    /// As `viewer` sees it.
    pub(crate) fn of(row: AccountRow, viewer: Viewer) -> Self {
        let of_another = viewer.account().is_some_and(|account| account != row.id);
        Self {
            id: row.id.0,
            handle: row.handle,
            display_name: row.display_name,
            bio: row.bio,
            pinned_post_id: row.pinned_post_id,
            private: row.private,
            created_at: row.registered_at.into(),
            followers_count: row.counts.followers,
            following_count: row.counts.following,
            posts_count: row.counts.posts,
            last_active_on: (row.active_on)
                .map(|active| active.to_offset_date_time().date().to_string()),
            viewer: of_another.then(|| row.relationship.into()),
            pinned_post: None,
        }
    }

    #[must_use]
    pub(super) fn with_pinned(mut self, post: Option<Post>) -> Self {
        self.pinned_post = post;
        self
    }
}

/// One's own account, with what others do not see.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct OwnAccount {
    #[oai(flatten)]
    pub(super) account: Account,
    /// Null where it was not verified, and somebody else registered with it since.
    pub(super) email: Option<String>,
    /// Whether a code that was sent to it came back.
    pub(super) email_verified: bool,
    /// How many ask to follow me and wait, as their list has them; 100 where there are as
    /// many or more.
    pub(super) follow_requests_count: u32,
}

impl Example for OwnAccount {
    fn example() -> Self {
        let mut account = Account::example();
        account.viewer = None;
        Self {
            account,
            email: Some("ada@example.org".into()),
            email_verified: true,
            follow_requests_count: 0,
        }
    }
}

/// What an account is asked for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub enum AccountInclude {
    PinnedPost,
}

/// Accounts in the order that they were asked for.
#[derive(Object)]
#[oai(example)]
pub struct AccountBatch {
    pub(super) items: Vec<Account>,
}

impl Example for AccountBatch {
    fn example() -> Self {
        Self {
            items: vec![Account::example()],
        }
    }
}

/// A page of accounts.
#[derive(Object)]
#[oai(example, skip_serializing_if_is_none)]
pub struct AccountPage {
    pub items: Vec<Account>,
    /// Send it as `cursor` for the next page; missing on the last one. A page may have fewer
    /// items than `limit`, and none, and yet go on: where much is hidden from the reader.
    pub next_cursor: Option<String>,
    /// Send it as `cursor` for the page before this one, in the same order: on the first
    /// page, for what came since. A page without items that gives it back as it was sent
    /// says that nothing is there for now.
    pub prev_cursor: String,
}

impl Example for AccountPage {
    fn example() -> Self {
        Self {
            items: vec![Account::example()],
            next_cursor: None,
            prev_cursor: CURSOR.into(),
        }
    }
}

/// What is pinned.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub struct Pin {
    pub(super) post_id: Uuid,
}

impl Example for Pin {
    fn example() -> Self {
        Self {
            post_id: ACCOUNT_ID,
        }
    }
}
