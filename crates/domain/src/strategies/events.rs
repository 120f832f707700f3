//! Every event of every feature, as the log holds it.

use proptest::{collection::vec, option, prelude::*, sample::select};
use uuid::Uuid;

use super::{EDGES, account, handle, language, post, stored, timestamp, visibility};
use crate::{
    Event,
    accounts::{
        AccountDeactivated, AccountEvent, AccountMadePrivate, AccountMadePublic,
        AccountReactivated, AccountRegistered, PostPinned, PostUnpinned, ProfileUpdated,
        RegistrationAbandoned,
    },
    bookmark_folders::{FolderDeleted, FolderEvent, FolderMade, FolderRenamed},
    follows::{
        FollowEvent, FollowRequestAccepted, FollowRequestRejected, FollowRequestWithdrawn,
        FollowRequested, FollowSevered, FollowerRemoved,
    },
    handles::{HandleEvent, HandleReleased, HandleReserved},
    operations::{OperationEvent, OperatorActed},
    posts::{PostCreated, PostDeleted, PostEdited, PostEvent, Reply},
};

pub fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => edge_event(),
        1 => follow_event().prop_map(Event::from),
        1 => post_event().prop_map(Event::from),
        1 => folder_event().prop_map(Event::from),
        1 => account_event().prop_map(Event::from),
        1 => handle_event().prop_map(Event::from),
        1 => operation_event().prop_map(Event::from),
    ]
}

fn operation_event() -> impl Strategy<Value = OperationEvent> {
    let text = || "[a-z ]{0,9}";
    (text(), text(), text(), option::of(text())).prop_map(|(operator, action, target, reason)| {
        let acted = OperatorActed {
            operator,
            action,
            target,
            reason,
        };
        acted.into()
    })
}

fn edge_event() -> impl Strategy<Value = Event> {
    (select(EDGES), any::<bool>(), account()).prop_map(|(edge, is_made, author)| match is_made {
        true => (edge.made)(author),
        false => (edge.ended)(author),
    })
}

/// Those that are not a plain edge's.
fn follow_event() -> impl Strategy<Value = FollowEvent> {
    select(vec![
        FollowRequested {}.into(),
        FollowRequestWithdrawn {}.into(),
        FollowRequestAccepted {}.into(),
        FollowRequestRejected {}.into(),
        FollowerRemoved {}.into(),
        FollowSevered {}.into(),
    ])
}

fn folder_event() -> impl Strategy<Value = FolderEvent> {
    prop_oneof![
        (account(), stored()).prop_map(|(owner, name)| FolderMade { owner, name }.into()),
        stored().prop_map(|name| FolderRenamed { name }.into()),
        Just(FolderDeleted {}.into()),
    ]
}

fn handle_event() -> impl Strategy<Value = HandleEvent> {
    let reserved = (handle(), account(), any::<u128>(), timestamp());
    prop_oneof![
        reserved.prop_map(|(handle, account, attempt, reserved_at)| {
            let attempt = Uuid::from_u128(attempt);
            HandleReserved {
                handle,
                account,
                attempt,
                reserved_at,
            }
            .into()
        }),
        (handle(), account())
            .prop_map(|(handle, account)| HandleReleased { handle, account }.into()),
    ]
}

fn account_event() -> impl Strategy<Value = AccountEvent> {
    let name = || option::of(stored());
    prop_oneof![
        (handle(), name()).prop_map(|(handle, display_name)| AccountRegistered {
            handle,
            display_name
        }
        .into()),
        Just(RegistrationAbandoned {}.into()),
        (name(), name())
            .prop_map(|(display_name, bio)| ProfileUpdated { display_name, bio }.into()),
        post().prop_map(|post| PostPinned { post }.into()),
        post().prop_map(|post| PostUnpinned { post }.into()),
        select(vec![
            AccountMadePrivate {}.into(),
            AccountMadePublic {}.into(),
            AccountDeactivated {}.into(),
            AccountReactivated {}.into(),
        ]),
    ]
}

fn post_event() -> impl Strategy<Value = PostEvent> {
    prop_oneof![
        (
            content(),
            option::of(language()),
            account(),
            visibility(),
            option::of(reply())
        )
            .prop_map(|(edited, language, author, visibility, reply)| {
                let created = PostCreated {
                    author,
                    text: edited.text,
                    hashtags: edited.hashtags,
                    metadata: edited.metadata,
                    language,
                    visibility,
                    mentions: edited.mentions,
                    reply,
                };
                created.into()
            }),
        content().prop_map(PostEvent::from),
        account().prop_map(|author| PostDeleted { author }.into()),
    ]
}

fn content() -> impl Strategy<Value = PostEdited> {
    let field = || option::of(stored());
    let mentions = vec(account(), 0..4);
    // A tag, or empty where it was cleared.
    let tag = language().prop_map(|language| language.as_str().to_owned());
    let tag = prop_oneof![3 => tag, 1 => Just(String::new())];
    (stored(), field(), field(), option::of(tag), mentions).prop_map(
        |(text, hashtags, metadata, language, mentions)| PostEdited {
            text,
            hashtags,
            metadata,
            language,
            mentions,
        },
    )
}

fn reply() -> impl Strategy<Value = Reply> {
    (post(), account(), post()).prop_map(|(parent, parent_author, root)| Reply {
        parent,
        parent_author,
        root,
    })
}
