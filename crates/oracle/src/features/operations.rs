//! What operators did: events that are kept, and shown nowhere.

use super::{Feature, Kind, unknown};
use crate::{
    entries::{Aggregate, Event},
    message_pack::Value,
    sealed::Keys,
};

#[derive(Debug, Default)]
pub struct Operations;

impl Feature for Operations {
    fn kind(&self) -> Option<Kind> {
        Some((6, "operation"))
    }

    fn take(&mut self, event: &Event, _: &Keys) -> Result<(), String> {
        match event.name.as_str() {
            "OperatorActed" => Ok(()),
            _ => Err(unknown(event)),
        }
    }

    fn state(&self, _: Aggregate) -> Vec<Value> {
        vec![Value::Bool(true)]
    }
}
