//! What a read leaves out though its rows are still there: events that take something
//! away from readers count from the log, before they are folded.

use std::{collections::BTreeSet, sync::Arc};

use domain::{posts::PostId, withdrawals::Withdrawal};
use kernel::AccountId;

use crate::{
    posts::PostRow,
    visibility::{Audience, Viewer},
};

/// What the log withdrew and no fold has taken in, at one moment. A read keeps to the one
/// of its beginning, so that nothing that is folded meanwhile comes back.
#[derive(Clone, Debug, Default)]
pub struct Withheld(BTreeSet<Withdrawal>);

impl FromIterator<Withdrawal> for Withheld {
    fn from_iter<I: IntoIterator<Item = Withdrawal>>(withdrawals: I) -> Self {
        Self(withdrawals.into_iter().collect())
    }
}

impl Withheld {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the account, and all that it made, is not there for `viewer`.
    pub fn account(&self, viewer: Option<AccountId>, account: AccountId) -> bool {
        let blocks = |viewer| self.has(Withdrawal::Sight(account, viewer));
        self.has(Withdrawal::Account(account)) || viewer.is_some_and(blocks)
    }

    /// Whether the account is for its followers alone, whatever its row says.
    pub fn public(&self, account: AccountId) -> bool {
        self.has(Withdrawal::Public(account))
    }

    /// Whether `follower` follows `followed` no more, whatever its row says.
    pub fn follow(&self, follower: Option<AccountId>, followed: AccountId) -> bool {
        follower.is_some_and(|follower| self.has(Withdrawal::Follow(follower, followed)))
    }

    /// Whether `viewer` is not to see the post. What an account published that was made
    /// private, its followers see again when that is folded.
    pub fn post(&self, viewer: Option<AccountId>, row: &PostRow) -> bool {
        if self.is_empty() {
            return false;
        }
        let author = row.author.id;
        let is_own = viewer == Some(author);
        let is_closed = self.public(author)
            || row.audience == Audience::Followers && self.follow(viewer, author);
        self.deleted(row.id) || !is_own && (self.account(viewer, author) || is_closed)
    }

    pub fn deleted(&self, post: PostId) -> bool {
        self.has(Withdrawal::Post(post))
    }

    /// Takes from what is known of a viewer. `accounts`: those in question, of whom it is
    /// known whom the viewer follows.
    pub(crate) fn narrow(&self, viewer: &mut Viewer, accounts: &BTreeSet<AccountId>) {
        viewer
            .follows
            .retain(|followed| !self.follow(viewer.id, *followed));
        let is_gone = |account: &&AccountId| {
            let is_closed = self.public(**account) && !viewer.follows.contains(*account);
            viewer.id != Some(**account) && (self.account(viewer.id, **account) || is_closed)
        };
        let gone: Vec<AccountId> = accounts.iter().filter(is_gone).copied().collect();
        Arc::make_mut(&mut viewer.hidden.blocked).extend(gone);
    }

    fn has(&self, withdrawal: Withdrawal) -> bool {
        !self.is_empty() && self.0.contains(&withdrawal)
    }
}

#[cfg(test)]
mod tests {
    use kernel::Uuid;

    use super::*;

    #[test]
    fn what_is_withdrawn_is_hidden_from_those_it_is_withdrawn_from() {
        let [ada, bob, eve] = [1, 2, 3].map(|id| AccountId(Uuid::from_u128(id)));
        let withheld: Withheld = [
            Withdrawal::Sight(ada, bob),
            Withdrawal::Follow(eve, ada),
            Withdrawal::Public(bob),
        ]
        .into_iter()
        .collect();
        assert!(withheld.account(Some(bob), ada) && !withheld.account(Some(ada), bob));
        assert!(!withheld.account(None, ada) && !withheld.account(Some(eve), ada));
        let mut viewer = Viewer {
            id: Some(eve),
            follows: [ada, bob].into(),
            ..Viewer::default()
        };
        withheld.narrow(&mut viewer, &[ada, bob].into());
        assert_eq!(viewer.follows, [bob].into());
        assert!(viewer.hidden.blocked.is_empty());
        let mut stranger = Viewer::default();
        withheld.narrow(&mut stranger, &[ada, bob].into());
        assert_eq!(*stranger.hidden.blocked, [bob].into());
    }
}
