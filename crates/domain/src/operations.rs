//! Operations: what operators did to the system, kept where everything else is
//! kept. It refuses to do anything: an operation is recorded when it is asked
//! for, before it begins.

use kernel::{AggregateId, Command, Decider, Facts, Kind, Versioned};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{PersonalFields, event::events, kinds};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorActed {
    /// `user@host`, or the account that asked over the API.
    pub operator: String,
    /// The command, such as `projections rebuild`.
    pub action: String,
    /// What it was done to, such as `social`.
    pub target: String,
    pub reason: Option<String>,
}

events!(OperationEvent { OperatorActed = 1 });

impl PersonalFields for OperatorActed {}

/// The aggregate: one operation.
pub struct Operations;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationState(pub bool);

impl Decider for Operations {
    const KIND: Kind = kinds::OPERATION;
    const SHAPE: u8 = 1;
    const SHOWN: bool = false;
    type State = OperationState;
    type Event = OperationEvent;

    fn evolve(_: OperationState, event: &OperationEvent) -> OperationState {
        match event {
            OperationEvent::OperatorActed(_) => OperationState(true),
        }
    }
}

#[derive(Clone, Debug)]
pub struct RecordOperation {
    pub operation: Uuid,
    pub acted: OperatorActed,
}

impl Command for RecordOperation {
    type Decider = Operations;
    type Error = std::convert::Infallible;

    fn aggregate(&self) -> AggregateId {
        AggregateId::single(kinds::OPERATION, self.operation)
    }

    fn decide(
        &self,
        current: &Versioned<OperationState>,
        _: &Facts,
    ) -> Result<Vec<OperationEvent>, Self::Error> {
        Ok(match current.state.0 {
            true => Vec::new(),
            false => vec![self.acted.clone().into()],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_recorded_once() {
        let acted = OperatorActed {
            operator: "ada@host".into(),
            action: "projections pause".into(),
            target: "social".into(),
            reason: Some("upgrade".into()),
        };
        let command = RecordOperation {
            operation: Uuid::from_u128(1),
            acted: acted.clone(),
        };
        let new = Versioned::default();
        assert_eq!(
            command.decide(&new, &Facts::default()),
            Ok(vec![acted.into()])
        );
        let done = Versioned {
            version: 1,
            state: OperationState(true),
        };
        assert_eq!(command.decide(&done, &Facts::default()), Ok(vec![]));
    }
}
