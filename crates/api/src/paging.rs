//! Pages: a limit, a cursor, a link to the next page. A cursor is signed and
//! bound to its query; one that was changed, or is of another query, is
//! refused. It refuses to know what the key inside means.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use poem::{FromRequest, Request, RequestBody, http::Uri};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromParameter, ParseResult, ToJSON, Type},
};
use serde_json::Value;
use sha2::Sha256;

use crate::problem::{Code, Problem};

pub const LIMIT_MAX: u16 = 100;
pub const LIMIT_DEFAULT: u16 = 20;
/// The name of the query parameter in every operation that pages.
pub const CURSOR: &str = "cursor";
const VERSION: u8 = 1;
const SIGNATURE_BYTES: usize = 16;
/// Keys are a position or an id with a rank; a longer cursor is not ours.
const CURSOR_CHARACTERS_MAX: usize = 512;

/// Signs cursors; shared as `Arc<Cursors>` in the requests' data.
pub struct Cursors(Hmac<Sha256>);

#[derive(Debug, thiserror::Error)]
#[error("the cursor secret cannot be used as a key")]
pub struct CursorSecretError;

impl Cursors {
    pub fn new(secret: &[u8]) -> Result<Self, CursorSecretError> {
        let keyed = Hmac::new_from_slice(secret).map_err(|_| CursorSecretError)?;
        Ok(Self(keyed))
    }

    /// A digest that nobody without the secret can test guesses against.
    pub(crate) fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        let mut keyed = self.0.clone();
        keyed.update(b"digest\0");
        keyed.update(bytes);
        keyed.finalize().into_bytes().into()
    }

    /// `scope` says which query, with all of its filters: `followers:<id>`.
    pub fn seal(&self, scope: &str, key: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(1 + key.len() + SIGNATURE_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(key);
        let signature = self.sign(scope, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&signature[..SIGNATURE_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn open(&self, scope: &str, cursor: &str) -> Result<Vec<u8>, Problem> {
        let key = self.open_checked(scope, cursor);
        key.ok_or_else(|| {
            let detail = "Take the cursor from the last page of the same query, or leave it out.";
            Problem::new(Code::InvalidCursor, detail).with_parameter(CURSOR, "Not of this query.")
        })
    }

    fn open_checked(&self, scope: &str, cursor: &str) -> Option<Vec<u8>> {
        if cursor.len() > CURSOR_CHARACTERS_MAX {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let signature = bytes.split_off(bytes.len().checked_sub(SIGNATURE_BYTES)?);
        let signed = self.sign(scope, &bytes);
        signed.verify_truncated_left(&signature).ok()?;
        let (version, key) = bytes.split_first()?;
        (*version == VERSION).then(|| key.to_vec())
    }

    fn sign(&self, scope: &str, bytes: &[u8]) -> Hmac<Sha256> {
        let mut signed = self.0.clone();
        signed.update(b"cursor\0");
        signed.update(&(scope.len() as u64).to_be_bytes());
        signed.update(scope.as_bytes());
        signed.update(bytes);
        signed
    }
}

/// How many items a page has: `limit: Query<Limit>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u16);

impl Limit {
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(LIMIT_DEFAULT)
    }
}

impl Type for Limit {
    const IS_REQUIRED: bool = false;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "limit".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            minimum: Some(1.0),
            maximum: Some(LIMIT_MAX.into()),
            default: Some(LIMIT_DEFAULT.into()),
            ..MetaSchema::new_with_format("integer", "int32")
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromParameter for Limit {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        match value.parse::<u16>() {
            Ok(limit) if (1..=LIMIT_MAX).contains(&limit) && limit.to_string() == value => {
                Ok(Self(limit))
            }
            _ => Err(ParseError::custom(format!("Use 1 to {LIMIT_MAX}."))),
        }
    }

    fn parse_from_parameters<I: IntoIterator<Item = A>, A: AsRef<str>>(
        values: I,
    ) -> ParseResult<Self> {
        match values.into_iter().next() {
            Some(value) => Self::parse_from_parameter(value.as_ref()),
            None => Ok(Self::default()),
        }
    }
}

impl ToJSON for Limit {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.into())
    }
}

/// Where the request went, to link to its next page. The edge notes it down,
/// because routers cut the path.
#[derive(Clone, Debug)]
pub struct Here {
    path: String,
    query: String,
}

impl Here {
    pub(crate) fn of(uri: &Uri) -> Self {
        Self {
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The value of `Link` (RFC 8288) for the page at `cursor`.
    pub fn next(&self, cursor: &str) -> String {
        let prefix = format!("{CURSOR}=");
        let kept = self.query.split('&');
        // `part.is_empty()` would be `Type`'s, which says false.
        let kept = kept.filter(|part| !str::is_empty(part) && !part.starts_with(&prefix));
        let mut target = format!("{}?", self.path);
        for part in kept {
            target.push_str(part);
            target.push('&');
        }
        format!("<{target}{prefix}{cursor}>; rel=\"next\"")
    }
}

impl<'a> FromRequest<'a> for Here {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let here = request.data::<Self>().cloned();
        Ok(here.unwrap_or_else(|| Self::of(request.original_uri())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_only_in_its_own_query() -> Result<(), Box<dyn std::error::Error>> {
        let cursors = Cursors::new(b"a secret of this test, long enough")?;
        let cursor = cursors.seal("followers:1", b"key");
        assert_eq!(cursors.open("followers:1", &cursor)?, b"key");
        let mut changed = cursor.clone().into_bytes();
        changed[2] ^= 1;
        let other = Cursors::new(b"another secret")?.seal("followers:1", b"key");
        for (scope, cursor) in [
            ("followers:2", cursor.as_str()),
            ("followers:1", std::str::from_utf8(&changed)?),
            ("followers:1", &other),
            ("followers:1", "AQ"),
            ("followers:1", "not base64!"),
            ("followers:1", ""),
        ] {
            let code = cursors.open(scope, cursor).map_err(|p| p.code());
            assert_eq!(code, Err(Code::InvalidCursor), "{cursor}");
        }
        Ok(())
    }

    #[test]
    fn limits_are_bounded() {
        let parse = |text: &str| Limit::parse_from_parameter(text).ok().map(Limit::get);
        assert_eq!(parse("100"), Some(100));
        for bad in ["0", "101", "-1", "x", "", "1.5", "+5", "05"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let absent = Limit::parse_from_parameters(Vec::<String>::new());
        assert_eq!(absent.ok().map(Limit::get), Some(20));
    }

    #[test]
    fn the_next_page_keeps_the_query() {
        let here = Here {
            path: "/v1/posts".into(),
            query: "limit=2&cursor=old&tag=a%26b".into(),
        };
        let wanted = "</v1/posts?limit=2&tag=a%26b&cursor=new>; rel=\"next\"";
        assert_eq!(here.next("new"), wanted);
    }

    #[test]
    fn the_page_after_one_without_a_query_has_a_cursor_alone() {
        for query in ["", "&", "cursor=old", "&cursor=old&"] {
            let here = Here {
                path: "/v1/posts".into(),
                query: query.into(),
            };
            let wanted = "</v1/posts?cursor=new>; rel=\"next\"";
            assert_eq!(here.next("new"), wanted, "{query}");
        }
    }
}
