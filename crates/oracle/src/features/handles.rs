//! Handles: who holds which, reserved before an account is registered.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Feature, Kind, World, unknown};
use crate::{
    entries::{Aggregate, Event},
    findings::Findings,
    message_pack::Value,
    sealed::Keys,
};

#[derive(Debug)]
struct Holder {
    account: Uuid,
    attempt: Uuid,
    reserved_at: i64,
}

#[derive(Debug, Default)]
pub struct Handles {
    /// By the id of the handle's aggregate; none where it was released.
    holders: BTreeMap<Uuid, Option<Holder>>,
    /// Who holds which handle now.
    held: BTreeMap<String, Uuid>,
}

impl Feature for Handles {
    fn kind(&self) -> Option<Kind> {
        Some((2, "handle"))
    }

    fn take(&mut self, event: &Event, _: &Keys) -> Result<(), String> {
        let (data, id) = (&event.data, event.aggregate.id);
        let handle = || data.field("handle").text().ok_or("no handle");
        match event.name.as_str() {
            "HandleReserved" => {
                let holder = Holder {
                    account: data.field("account").id()?,
                    attempt: data.field("attempt").id()?,
                    reserved_at: (data.field("reserved_at").signed()).ok_or("no reserved_at")?,
                };
                self.held.insert(handle()?.to_owned(), holder.account);
                self.holders.insert(id, Some(holder));
            }
            "HandleReleased" => {
                self.held.remove(handle()?);
                self.holders.insert(id, None);
            }
            _ => return Err(unknown(event)),
        }
        Ok(())
    }

    /// They are in partitions of their own.
    fn is_activity(&self, _: &Event) -> bool {
        false
    }

    /// Every account holds its handle, alone, whatever the letters' case.
    fn check(&self, world: &World, findings: &mut Findings) {
        let mut holders = BTreeMap::new();
        for (id, account) in &world.accounts.all {
            let handle = &account.handle;
            let what = format_args!("who holds the handle {handle}");
            findings.same(what, &Some(id), &self.held.get(handle));
            if let Some(other) = holders.insert(handle.to_ascii_lowercase(), id) {
                findings.violation(format!("{other} and {id} both have the handle {handle}"));
            }
        }
    }

    fn state(&self, aggregate: Aggregate) -> Vec<Value> {
        match self.holders.get(&aggregate.id).and_then(Option::as_ref) {
            Some(holder) => vec![
                Value::of_id(holder.account),
                Value::of_id(holder.attempt),
                Value::Int(holder.reserved_at.into()),
            ],
            None => vec![Value::Nil, Value::Nil, Value::Nil],
        }
    }

    fn stored_state(&self, state: &Value) -> Vec<Value> {
        let holder = state.field("holder");
        holder.fields(&["account", "attempt", "reserved_at"])
    }
}
