//! Follows, and the requests to follow private accounts: both are one aggregate, whose
//! state is false, true, or 2 for a request.

use uuid::Uuid;

use super::{Feature, Kind, World, edges::Rows, unknown};
use crate::{
    Unreachable,
    counts::Counts,
    database::Database,
    entries::{Aggregate, Event},
    findings::Findings,
    looks::{About, Viewer},
    message_pack::Value,
    reader::Reader,
    sealed::Keys,
};

const REQUESTED: i128 = 2;
const ROWS: (&str, &str) = (
    "follows",
    "SELECT follower_id, followed_id, followed_at FROM social.follows",
);
const REQUEST_ROWS: (&str, &str) = (
    "requests to follow",
    "SELECT follower_id, followed_id, requested_at FROM social.follow_requests",
);

#[derive(Debug, Default)]
pub struct Follows {
    pub rows: Rows,
    requests: Rows,
}

impl Feature for Follows {
    fn kind(&self) -> Option<Kind> {
        Some((5, "follow"))
    }

    fn take(&mut self, event: &Event, _: &Keys) -> Result<(), String> {
        match event.name.as_str() {
            "Followed" => self.rows.make(event)?,
            "Unfollowed" | "FollowerRemoved" => {
                self.rows.end(event)?;
            }
            "FollowRequested" => self.requests.make(event)?,
            "FollowRequestWithdrawn" | "FollowRequestRejected" => {
                self.requests.end(event)?;
            }
            "FollowRequestAccepted" => {
                if !self.requests.end(event)? {
                    return Err("nobody had asked".into());
                }
                self.rows.make(event)?;
            }
            "FollowSevered" => {
                self.requests.end(event)?;
                self.rows.end(event)?;
            }
            _ => return Err(unknown(event)),
        }
        Ok(())
    }

    /// Not what somebody does to the follow of another.
    fn is_activity(&self, event: &Event) -> bool {
        event.aggregate.id == event.actor
    }

    fn state(&self, aggregate: Aggregate) -> Vec<Value> {
        vec![match self.requests.has(aggregate) {
            true => Value::Int(REQUESTED),
            false => Value::Bool(self.rows.has(aggregate)),
        }]
    }

    fn compare(&self, database: &mut Database, findings: &mut Findings) -> Result<(), Unreachable> {
        self.rows.compare(ROWS, database, findings)?;
        self.requests.compare(REQUEST_ROWS, database, findings)
    }

    fn count(&self, world: &World, counts: &mut Counts) {
        let counted = |(from, to): (Uuid, Uuid)| (!world.is_deactivated(from)).then_some(to);
        let followers = self.rows.pairs().filter_map(counted);
        counts.accounts.add("followers", followers);
        let following = self.rows.pairs().map(|(from, to)| (to, from));
        counts
            .accounts
            .add("following", following.filter_map(counted));
    }

    fn relationship(&self, own: Uuid, other: Uuid) -> Vec<(&'static str, bool)> {
        vec![
            ("following", self.rows.holds(own, other)),
            ("followed_by", self.rows.holds(other, own)),
            ("requested", self.requests.holds(own, other)),
            ("requested_by", self.requests.holds(other, own)),
        ]
    }

    fn pairs(&self) -> Vec<(Uuid, Uuid)> {
        self.requests.pairs().collect()
    }

    fn ask(
        &self,
        reader: &mut Reader<'_>,
        viewer: &Viewer,
        about: &About,
    ) -> Result<(), Unreachable> {
        match *about {
            About::Account(id) => self.ask_of(reader, viewer, id),
            About::Own(own) => {
                let asked = reader.shown.edges(Some(own), self.requests.to(own));
                reader.account_pages("/v1/accounts/me/follow-requests", &asked, viewer)
            }
            _ => Ok(()),
        }
    }
}

impl Follows {
    /// Who follows an account, and whom it follows.
    fn ask_of(
        &self,
        reader: &mut Reader<'_>,
        viewer: &Viewer,
        account: Uuid,
    ) -> Result<(), Unreachable> {
        let world = reader.shown.world;
        let is_private = world.account(account).is_some_and(|a| a.private);
        let refused = match world.finds(viewer.id(), account) {
            false => Some(404),
            true if is_private && !world.is_near(viewer.id(), account) => Some(403),
            true => None,
        };
        for (side, edges) in [
            ("followers", self.rows.to(account)),
            ("following", self.rows.of(account)),
        ] {
            let path = format!("/v1/accounts/{account}/{side}");
            match refused {
                Some(status) => reader.status(&path, status, viewer)?,
                None => {
                    let expected = reader.shown.edges(viewer.id(), edges);
                    reader.account_pages(&path, &expected, viewer)?;
                }
            }
        }
        Ok(())
    }
}
