//! How paths name accounts: by id, or by handle. It refuses a handle that is not one.

use std::{borrow::Cow, fmt};

use domain::handles::{Handle, Handles};
use kernel::{AccountId, Uuid};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromParameter, ParseResult, Type},
};
use readmodel::accounts;

use crate::{
    handlers::{Read, Write},
    identity::Viewer,
    problem::Problem,
};

/// An id, or a handle of one spelling or another.
const PATTERN: &str = "^(@[A-Za-z0-9_]{2,30}\
    |[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})$";
const CHARACTERS_MIN: usize = 3;
const CHARACTERS_MAX: usize = 36;

/// `account_id: Path<Named>`: an account's id, or `@` and its handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Id(AccountId),
    Handle(Handle),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Handle(handle) => write!(f, "@{handle}"),
        }
    }
}

impl Type for Named {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "account".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some("The id of an account, or @ and its handle."),
            pattern: Some(PATTERN.to_owned()),
            min_length: Some(CHARACTERS_MIN),
            max_length: Some(CHARACTERS_MAX),
            ..MetaSchema::new("string")
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromParameter for Named {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        let named = match value.strip_prefix('@') {
            Some(handle) => handle.parse().ok().map(Self::Handle),
            None => value.parse::<Uuid>().ok().map(|id| Self::Id(AccountId(id))),
        };
        named.ok_or_else(|| ParseError::custom("Use an id, or @ and a handle."))
    }
}

impl<W: Copy + Into<Viewer>> Read<W> {
    /// The account of that name where the reader finds it; an id is taken as it is.
    pub async fn named(&self, name: &Named) -> Result<AccountId, Problem> {
        let handle = match name {
            Named::Id(id) => return Ok(*id),
            Named::Handle(handle) => handle,
        };
        self.observe().await?;
        let viewer = self.viewer().account();
        let id = accounts::id_of(self.pool(), viewer, handle).await?;
        let id = id.filter(|id| !self.withheld().account(viewer, *id));
        id.ok_or_else(Problem::no_account)
    }
}

impl<E> Write<E> {
    /// The account of that name as the log has it: commands do not ask the read model.
    pub async fn named(&self, name: &Named) -> Result<AccountId, Problem> {
        match name {
            Named::Id(id) => Ok(*id),
            Named::Handle(handle) => {
                let state = self
                    .services
                    .log
                    .state::<Handles>(handle.aggregate())
                    .await?;
                let holder = state.state.holder.map(|holder| holder.account);
                holder.ok_or_else(Problem::no_account)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_named_by_its_id_or_its_handle() -> Result<(), Box<dyn std::error::Error>> {
        let parse = |text: &str| Named::parse_from_parameter(text).ok();
        let id = Uuid::from_u128(7);
        assert_eq!(parse(&id.to_string()), Some(Named::Id(AccountId(id))));
        let ada = Named::Handle("ada".parse()?);
        assert_eq!(parse("@ada"), Some(ada.clone()));
        assert_eq!(parse("@Ada"), Some(ada));
        for bad in [
            "",
            "@",
            "ada",
            "@a",
            "@a b",
            "@ada@example.org",
            "@@ada",
            "7",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        Ok(())
    }
}
