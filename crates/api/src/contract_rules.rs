//! What the contract tells of our features that their types do not say. Each name means
//! one thing wherever it is.

use std::str::FromStr;

use domain::{
    accounts::{Bio, DisplayName},
    bookmark_folders::FolderName,
    handles::Handle,
    posts::{Language, Metadata, Text as PostText},
    text::{ENTITIES_MAX, HASHTAG_CHARACTERS_MAX, HASHTAGS_MAX, MENTIONS_MAX},
};
use edge::{
    contract_rules::{
        Ending, LINE, Link, List,
        Made::{Format, Of},
        OPAQUE, POSITION, PRINTED, Refusals, Rules, TEXT, Text, WORD,
    },
    problem::{Code::*, Wrong},
};
use serde_json::Value;
use vault::{Email, Password};

use crate::{explained::Explained, posts::TOMBSTONES_MAX};

pub(crate) const RULES: Rules = Rules {
    about: "An event-sourced backend for social products.",
    guide: include_str!("guide.html"),
    refusals: REFUSALS,
    endings: ENDINGS,
    // A valid token belongs to an account.
    pays_later: &["refreshSession"],
    texts: TEXTS,
    lists: LISTS,
    objects: &["metadata"],
    links: LINKS,
    meaning: wrong_meaning,
};

/// What each operation refuses besides what all of its kind do. A test client of every
/// story holds each refusal against them.
const REFUSALS: &[Refusals] = &[
    (
        "registerAccount",
        &[
            HandleTaken,
            EmailTaken,
            RegistrationExpired,
            Conflict,
            // Sent again, it signs in.
            InvalidCredentials,
            SecondFactorRequired,
            AccountSuspended,
        ],
    ),
    (
        "signIn",
        &[
            InvalidCredentials,
            SecondFactorRequired,
            InvalidCode,
            AccountSuspended,
        ],
    ),
    ("refreshSession", &[InvalidRefreshToken, SessionEnded]),
    ("resetPassword", &[InvalidCode]),
    ("changePassword", &[WrongPassword, PasswordChanged]),
    ("deactivateAccount", &[WrongPassword]),
    (
        "changeEmail",
        &[
            WrongPassword,
            SecondFactorRequired,
            InvalidCode,
            EmailVerified,
            UndeliverableEmail,
        ],
    ),
    ("sendEmailCode", &[EmailVerified, UndeliverableEmail]),
    ("verifyEmail", &[InvalidCode, EmailTaken]),
    ("addSecondFactor", &[WrongPassword, SecondFactorExists]),
    ("enableSecondFactor", &[InvalidCode, EmailUnverified]),
    ("removeSecondFactor", &[WrongPassword, InvalidCode]),
    // Of an account that was deactivated meanwhile.
    ("getMyAccount", &[NotFound]),
    ("updateMyProfile", &[NotFound]),
    ("pinPost", &[NotFound, NotPinnable]),
    ("unpinPost", &[NotFound]),
    ("publishPost", &[NotFound]),
    ("makeBookmarkFolder", &[NotFound, TooManyFolders]),
    ("editPost", &[NotAuthor]),
    ("deletePost", &[NotAuthor]),
    // Where the post is not for everybody.
    ("repostPost", &[NotRepostable]),
    // Where the folder is not mine.
    ("listBookmarks", &[NotFound]),
    ("followAccount", &[SelfFollow, AccountBlocked]),
    ("blockAccount", &[SelfBlock]),
    ("muteAccount", &[SelfMute]),
    ("listFollowers", &[AccountPrivate]),
    ("listFollowing", &[AccountPrivate]),
    ("listAccountPosts", &[AccountPrivate]),
    ("countAccountPosts", &[AccountPrivate]),
    // For those who have a role alone.
    ("listProjections", &[Forbidden]),
    ("endAccountSessions", &[Forbidden]),
];

/// Operations that will end: none yet.
const ENDINGS: &[Ending] = &[];

const SEEN: &str = r"\S";
const ID_LIST: &str = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\
    (,[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})*$";
const HANDLE: &str = "^[A-Za-z0-9_]+$";
const LANGUAGE: &str = "^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$";

const TEXTS: &[Text] = &[
    ("access_token", 1_024, Of(OPAQUE)),
    ("address", 45, Of("^[0-9a-f.:]+$")),
    ("bio", 500, TEXT),
    ("current_password", 512, Format("password")),
    ("description", 300, TEXT),
    ("device", 200, TEXT),
    ("device_token", 128, TEXT),
    ("display_name", 50, LINE),
    ("email", 254, Format("email")),
    ("folder_name", 50, LINE),
    ("handle", 30, Of(HANDLE)),
    ("hashtag", HASHTAG_CHARACTERS_MAX as u64, Of(SEEN)),
    ("hashtags", HASHTAG_CHARACTERS_MAX as u64, Of(SEEN)),
    ("head", 64, Of(POSITION)),
    ("ids", 3_699, Of(ID_LIST)),
    ("language", 35, Of(LANGUAGE)),
    ("last_active_on", 10, Format("date")),
    ("login", 254, TEXT),
    ("new_password", 512, Format("password")),
    ("one_time_code", 32, TEXT),
    ("otpauth_uri", 1_024, Format("uri")),
    ("owner", 255, Of(PRINTED)),
    ("part", 16, Of(WORD)),
    ("password", 512, Format("password")),
    ("position", 64, Of(POSITION)),
    ("projection", 32, Of(WORD)),
    ("recovery_codes", 32, Of("^[0-9A-Z-]+$")),
    ("refresh_token", 128, Of("^[A-Za-z0-9_-]+$")),
    ("role", 16, Of(WORD)),
    ("secret", 64, Of("^[A-Z2-7]+$")),
    ("state", 16, Of(WORD)),
    ("text", 5_000, Of(SEEN)),
    ("token_type", 16, Of("^Bearer$")),
    ("trouble", 2_000, TEXT),
];

/// Lists that are not pages.
const LISTS: &[List] = &[
    ("entities", ENTITIES_MAX as u64),
    ("hashtags", HASHTAGS_MAX as u64),
    ("mention_ids", MENTIONS_MAX as u64),
    ("projections", 64),
    ("recovery_codes", vault::RECOVERY_CODES as u64),
    ("tombstones", TOMBSTONES_MAX as u64),
];

const LINKS: &[Link] = &[
    (
        "registerAccount",
        "/id",
        &[
            ("getAccount", "account_id"),
            ("listAccountPosts", "account_id"),
        ],
    ),
    (
        "publishPost",
        "/id",
        &[
            ("getPost", "post_id"),
            ("getThread", "post_id"),
            ("listReplies", "post_id"),
            ("listLikers", "post_id"),
            ("bookmarkPost", "post_id"),
            ("listReposters", "post_id"),
            ("editPost", "post_id"),
            ("deletePost", "post_id"),
        ],
    ),
    (
        "makeBookmarkFolder",
        "/id",
        &[
            ("getBookmarkFolder", "folder_id"),
            ("renameBookmarkFolder", "folder_id"),
            ("deleteBookmarkFolder", "folder_id"),
            ("listBookmarks", "folder_id"),
        ],
    ),
    (
        "signIn",
        "/session_id",
        &[("getSession", "session_id"), ("endSession", "session_id")],
    ),
];

/// What handlers would say of a field, had they been asked: a name means one thing in
/// all bodies. None where there is nothing to say.
fn wrong_meaning(name: &str, schema: &Value, value: &Value) -> Option<Wrong> {
    fn read<T: FromStr<Err: Explained>>(text: &str) -> Option<Wrong> {
        text.parse::<T>().err().map(|error| error.explained())
    }
    if name == "metadata" {
        let read = Metadata::try_from(value.clone());
        return read.err().map(|error| error.explained());
    }
    let text = value.as_str()?;
    match name {
        "bio" => read::<Bio>(text),
        "display_name" => read::<DisplayName>(text),
        "email" => read::<Email>(text),
        "folder_name" => read::<FolderName>(text),
        "handle" => read::<Handle>(text),
        "language" => read::<Language>(text),
        "text" => read::<PostText>(text),
        // A new one: those that are shown may be any.
        "new_password" => read::<Password>(text),
        "password" if schema["minLength"].as_u64() > Some(1) => read::<Password>(text),
        _ => None,
    }
}
