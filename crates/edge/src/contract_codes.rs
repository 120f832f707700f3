//! Which codes each operation answers with, and so which statuses: what follows from its
//! method, its parameters and who may ask, and what its feature adds ([`Rules`]).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    contract_parts::{self, problem_reference},
    contract_rules::Rules,
    limits,
    problem::Code,
};

/// What the codes of an operation follow from.
pub(crate) struct Shape<'a> {
    pub id: &'a str,
    pub path: &'a str,
    /// Whether it accepts a token without requiring one; a wrong one is refused.
    pub signed_in: bool,
    pub may_sign_in: bool,
    pub has_body: bool,
    /// Of lists.
    pub has_cursor: bool,
    pub has_key: bool,
    pub may_match: bool,
    pub must_match: bool,
    /// It is read from a view, which may be behind.
    pub waits: bool,
}

/// The codes that all answers of a status have in most operations: those that have just
/// these share a response.
const SHARED: &[&[Code]] = &[
    &[Code::MalformedRequest, Code::InvalidParameter],
    &[
        Code::Unauthenticated,
        Code::InvalidToken,
        Code::TokenExpired,
        Code::SessionEnded,
    ],
    &[Code::NotFound],
    &[Code::NotAcceptable],
    &[Code::VersionMismatch],
    &[Code::PayloadTooLarge],
    &[Code::UnsupportedMediaType],
    &[Code::PreconditionRequired],
    &[Code::InvalidField],
    &[Code::TooManyRequests],
    &[Code::HeadTooLarge],
    &[Code::Internal],
    &[Code::Unavailable, Code::Overloaded, Code::DeadlineExceeded],
];

impl Shape<'_> {
    fn codes(&self, rules: &Rules) -> BTreeSet<Code> {
        let mut codes = BTreeSet::from([
            Code::MalformedRequest,
            Code::InvalidParameter,
            Code::HeadTooLarge,
            Code::PayloadTooLarge,
            Code::Internal,
            Code::Unavailable,
            Code::Overloaded,
            Code::DeadlineExceeded,
        ]);
        let mut add = |holds: bool, more: &[Code]| {
            if holds {
                codes.extend(more);
            }
        };
        let counted = !limits::always_answered(self.path);
        add(counted, &[Code::NotAcceptable, Code::TooManyRequests]);
        add(self.signed_in, &[Code::Unauthenticated]);
        let refuses_tokens = [Code::InvalidToken, Code::TokenExpired, Code::SessionEnded];
        add(self.signed_in || self.may_sign_in, &refuses_tokens);
        add(self.path.contains('{'), &[Code::NotFound]);
        let of_body = [Code::UnsupportedMediaType, Code::InvalidField];
        add(self.has_body, &of_body);
        add(self.has_cursor, &[Code::InvalidCursor]);
        add(self.has_key, &[Code::IdempotencyKeyReused]);
        add(self.may_match || self.must_match, &[Code::VersionMismatch]);
        add(self.must_match, &[Code::PreconditionRequired]);
        let of_views = [Code::UnknownPosition, Code::ProjectionBehind, Code::Parked];
        add(self.waits, &of_views);
        let own = rules.refusals.iter().filter(|(id, _)| *id == self.id);
        own.for_each(|(_, more)| add(true, more));
        codes
    }

    /// Puts them into the operation: all of them as `x-codes`, and each status with its
    /// own.
    pub fn describe(&self, rules: &Rules, operation: &mut Value) {
        let codes = self.codes(rules);
        let names: BTreeSet<_> = codes.iter().map(|code| code.name()).collect();
        operation["x-codes"] = json!(names);
        let mut statuses = BTreeMap::<u16, Vec<Code>>::new();
        for code in codes {
            statuses
                .entry(code.status().as_u16())
                .or_default()
                .push(code);
        }
        for (status, codes) in statuses {
            operation["responses"][status.to_string()] = match SHARED.contains(&&*codes) {
                true => problem_reference(status),
                false => contract_parts::response(&codes),
            };
        }
    }
}

/// The responses that operations share, by status.
pub(crate) fn shared() -> impl Iterator<Item = (u16, Value)> {
    SHARED.iter().filter_map(|codes| {
        let status = codes.first()?.status().as_u16();
        Some((status, contract_parts::response(codes)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_of_one_status_and_in_order() {
        let mut statuses = BTreeSet::new();
        for codes in SHARED {
            assert!(codes.is_sorted(), "{codes:?}");
            let of: BTreeSet<_> = codes.iter().map(|code| code.status().as_u16()).collect();
            assert_eq!(of.len(), 1, "{codes:?}");
            assert!(of.iter().all(|status| statuses.insert(*status)));
        }
    }
}
