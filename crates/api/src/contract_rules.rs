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
use edge::contract_rules::{
    Link, List,
    Made::{Format, Of},
    OPAQUE, POSITION, PRINTED, Rules, TEXT, Text, WORD,
};
use serde_json::Value;
use vault::{Email, Password};

use crate::posts::TOMBSTONES_MAX;

pub(crate) const RULES: Rules = Rules {
    about: "An event-sourced backend for social products.",
    statuses: STATUSES,
    never: NEVER,
    texts: TEXTS,
    lists: LISTS,
    objects: &["metadata"],
    links: LINKS,
    meaning: wrong_meaning,
};

const STATUSES: &[(&str, u16)] = &[
    // Of an account that was deactivated meanwhile.
    ("getMyAccount", 404),
    ("updateMyProfile", 404),
    ("pinPost", 404),
    ("unpinPost", 404),
    ("publishPost", 404),
    // Where the folder is not mine.
    ("listBookmarks", 404),
    // Where the account is private.
    ("listFollowers", 403),
    ("listFollowing", 403),
    // Where the post is not for everybody.
    ("repostPost", 403),
    // For those who have a role alone.
    ("listProjections", 403),
    // A code that was mailed stands in for a token, and so does a password.
    ("resetPassword", 403),
    ("registerAccount", 403),
    ("signIn", 403),
];
const NEVER: &[(&str, u16)] = &[("signIn", 409), ("refreshSession", 409)];

const NOT_BLANK: &str = r"^[^\u0000]*[^\s\u0000][^\u0000]*$";
/// No control characters but tabs and line ends, and none that turn the direction.
const SHOWN: &str =
    r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]*$";
const LINE: &str = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$";
const ID_LIST: &str = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\
    (,[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})*$";
const HANDLE: &str = "^[A-Za-z0-9_]+$";
const LANGUAGE: &str = "^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$";

const TEXTS: &[Text] = &[
    ("access_token", 1_024, Of(OPAQUE)),
    ("address", 45, Of("^[0-9a-f.:]+$")),
    ("bio", 500, Of(SHOWN)),
    ("current_password", 512, Format("password")),
    ("description", 300, Of(TEXT)),
    ("device", 200, Of(TEXT)),
    ("device_token", 128, Of(TEXT)),
    ("display_name", 50, Of(LINE)),
    ("email", 254, Format("email")),
    ("folder_name", 50, Of(LINE)),
    ("handle", 30, Of(HANDLE)),
    ("hashtag", HASHTAG_CHARACTERS_MAX as u64, Of(NOT_BLANK)),
    ("hashtags", HASHTAG_CHARACTERS_MAX as u64, Of(NOT_BLANK)),
    ("head", 64, Of(POSITION)),
    ("ids", 3_699, Of(ID_LIST)),
    ("language", 35, Of(LANGUAGE)),
    ("last_active_on", 10, Format("date")),
    ("login", 254, Of(TEXT)),
    ("new_password", 512, Format("password")),
    ("one_time_code", 32, Of(TEXT)),
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
    ("text", 5_000, Of(NOT_BLANK)),
    ("token_type", 16, Of("^Bearer$")),
    ("trouble", 2_000, Of(TEXT)),
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
fn wrong_meaning(name: &str, schema: &Value, value: &Value) -> Option<String> {
    fn read<T: FromStr<Err: ToString>>(text: &str) -> Option<String> {
        text.parse::<T>().err().map(|error| error.to_string())
    }
    if name == "metadata" {
        let read = Metadata::try_from(value.clone());
        return read.err().map(|error| error.to_string());
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
