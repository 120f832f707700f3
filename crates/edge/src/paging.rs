//! Pages: a limit, a cursor, links to the pages beside this one. A cursor is sealed and
//! bound to its query; one that was changed, or is of another query, is
//! refused. It refuses to know what the key inside means.

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use poem::{FromRequest, Request, RequestBody, http::Uri};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromParameter, ParseResult, ToJSON, Type},
};
use serde_json::Value;
use sha2::Sha256;

use crate::{
    problem::{Code, FieldCode, Problem},
    request::Head,
    sealing::{self, Seal},
};

pub use crate::sealing::CursorSecretError;

pub const LIMIT_MAX: u16 = 100;
pub const LIMIT_DEFAULT: u16 = 20;
/// The name of the query parameter in every operation that pages.
pub const CURSOR: &str = "cursor";
/// The name of the query parameter of what is counted: a cursor, too.
pub const NEWER_THAN: &str = "newer_than";
/// What the contract says of it.
pub(crate) const CURSOR_TOLD: &str = "The `next_cursor` of a page for the one after it, or its \
    `prev_cursor` for the one before it: both in the order of the list, with neither a gap nor a \
    repeat, whatever came and went meanwhile. With neither, the first page. Only of the same \
    path and filters; `limit` may be another.";
/// Keys are a position or an id with a rank; a longer cursor is not ours.
const CURSOR_CHARACTERS_MAX: usize = 512;

/// Seals cursors; shared in `EdgeServices`.
pub struct Cursors {
    seal: Seal,
    digests: Hmac<Sha256>,
}

impl Cursors {
    pub fn new(secret: &[u8]) -> Result<Self, CursorSecretError> {
        Ok(Self {
            seal: Seal::new(secret, "cursors")?,
            digests: sealing::keyed(secret)?,
        })
    }

    /// A digest that nobody without the secret can test guesses against.
    pub(crate) fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        let mut keyed = self.digests.clone();
        keyed.update(b"digest\0");
        keyed.update(bytes);
        keyed.finalize().into_bytes().into()
    }

    /// `scope` says which query, with all of its filters: `followers:<id>`.
    pub fn seal(&self, scope: &str, key: &[u8]) -> String {
        self.seal.seal(scope, key)
    }

    /// `parameter`: where it was sent.
    pub fn open(&self, parameter: &str, scope: &str, cursor: &str) -> Result<Vec<u8>, Problem> {
        let key = self.open_checked(scope, cursor);
        key.ok_or_else(|| invalid_cursor(parameter))
    }

    fn open_checked(&self, scope: &str, cursor: &str) -> Option<Vec<u8>> {
        match cursor.len() {
            ..=CURSOR_CHARACTERS_MAX => self.seal.open(scope, cursor),
            _ => None,
        }
    }
}

pub fn invalid_cursor(parameter: &str) -> Problem {
    Problem::from(Code::InvalidCursor).with_parameter(parameter, FieldCode::InvalidFormat)
}

/// How many items a page has: `limit: Query<Limit>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u16);

impl Limit {
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl From<Limit> for u32 {
    fn from(limit: Limit) -> Self {
        limit.0.into()
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

/// Where the request went, to link to the pages beside it.
#[derive(Clone, Debug)]
pub struct Here(Uri);

impl Here {
    /// The value of `Link` (RFC 8288) for the pages at these cursors.
    pub fn links(&self, next: Option<&str>, prev: &str) -> String {
        let prev = self.link(prev, "prev");
        match next {
            None => prev,
            Some(next) => self.link(next, "next") + ", " + &prev,
        }
    }

    fn link(&self, cursor: &str, relation: &str) -> String {
        let prefix = format!("{CURSOR}=");
        let kept = self.0.query().unwrap_or_default().split('&');
        // `part.is_empty()` would be `Type`'s, which says false.
        let kept = kept.filter(|part| !str::is_empty(part) && !part.starts_with(&prefix));
        let mut target = format!("{}?", self.0.path());
        for part in kept {
            target.push_str(part);
            target.push('&');
        }
        format!("<{target}{prefix}{cursor}>; rel=\"{relation}\"")
    }
}

impl<'a> FromRequest<'a> for Here {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let head = request.data::<Head>();
        let uri = head.map_or_else(|| request.uri(), |head| &head.uri);
        Ok(Self(uri.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_only_in_its_own_query() -> Result<(), Box<dyn std::error::Error>> {
        let cursors = Cursors::new(b"a secret of this test, long enough")?;
        let cursor = cursors.seal("followers:1", b"key");
        assert_eq!(cursors.open(CURSOR, "followers:1", &cursor)?, b"key");
        let mut changed = cursor.clone().into_bytes();
        changed[2] ^= 1;
        let other = Cursors::new(b"another secret")?.seal("followers:1", b"key");
        let longer = cursors.seal("followers:1", &[7; 24]);
        assert_eq!(cursor.len(), longer.len(), "lengths of keys are not told");
        for (scope, cursor) in [
            ("followers:2", cursor.as_str()),
            ("followers:1", std::str::from_utf8(&changed)?),
            ("followers:1", &other),
            ("followers:1", "AQ"),
            ("followers:1", "not base64!"),
            ("followers:1", ""),
        ] {
            let code = cursors.open(CURSOR, scope, cursor).map_err(|p| p.code());
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
    fn the_pages_beside_keep_the_query() {
        let here = Here(Uri::from_static("/v1/posts?limit=2&cursor=old&tag=a%26b"));
        let prev = "</v1/posts?limit=2&tag=a%26b&cursor=back>; rel=\"prev\"";
        assert_eq!(here.links(None, "back"), prev);
        let next = "</v1/posts?limit=2&tag=a%26b&cursor=new>; rel=\"next\"";
        assert_eq!(here.links(Some("new"), "back"), format!("{next}, {prev}"));
    }

    #[test]
    fn the_page_after_one_without_a_query_has_a_cursor_alone()
    -> Result<(), poem::http::uri::InvalidUri> {
        for query in ["", "&", "cursor=old", "&cursor=old&"] {
            let here = Here(format!("/v1/posts?{query}").parse()?);
            let wanted = "</v1/posts?cursor=new>; rel=\"prev\"";
            assert_eq!(here.links(None, "new"), wanted, "{query}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod properties {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    /// With a byte of padding after it, ten steps of 32 bytes: as many as fit.
    const KEY_BYTES_MAX: usize = 10 * 32 - 1;

    fn config() -> ProptestConfig {
        ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    fn cursors() -> Result<Cursors, TestCaseError> {
        Ok(Cursors::new(b"a secret of this test, long enough")?)
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 0..=KEY_BYTES_MAX)
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_cursor_gives_its_key_back_in_its_query_alone(
            scope in "\\PC{0,20}",
            other in "\\PC{0,20}",
            key in key(),
        ) {
            let cursors = cursors()?;
            let cursor = cursors.seal(&scope, &key);
            prop_assert!(cursor.len() <= CURSOR_CHARACTERS_MAX);
            prop_assert!(cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert_eq!(cursors.open_checked(&scope, &cursor), Some(key));
            prop_assert_eq!(cursors.open_checked(&other, &cursor).is_some(), other == scope);
            let foreign = Cursors::new(b"another secret")?;
            prop_assert_eq!(foreign.open_checked(&scope, &cursor), None);
        }

        #[test]
        fn a_longer_key_has_a_cursor_that_is_refused(key in vec(any::<u8>(), KEY_BYTES_MAX + 1..500)) {
            let cursors = cursors()?;
            prop_assert_eq!(cursors.open_checked("", &cursors.seal("", &key)), None);
        }

        #[test]
        fn what_a_key_ends_with_can_not_move_into_the_query(
            text in "[a-z:]{1,12}",
            cut in any::<Index>(),
            other in any::<Index>(),
        ) {
            let cursors = cursors()?;
            let (scope, key) = text.split_at(cut.index(text.len()));
            let cursor = cursors.seal(scope, key.as_bytes());
            let (scope, key) = text.split_at(other.index(text.len()));
            let expected = (cut.index(text.len()) == other.index(text.len())).then(|| key.into());
            prop_assert_eq!(cursors.open_checked(scope, &cursor), expected);
        }

        #[test]
        fn a_cursor_with_one_bit_changed_is_refused(key in key(), at in any::<Index>(), bit in 0..8_u32) {
            let cursors = cursors()?;
            let cursor = cursors.seal("query", &key);
            let mut bytes = URL_SAFE_NO_PAD.decode(&cursor)?;
            let place = at.index(bytes.len());
            bytes[place] ^= 1_u8 << bit;
            let changed = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(cursors.open_checked("query", &changed), None);
        }

        #[test]
        fn a_cursor_with_a_character_changed_cut_or_added_is_refused(
            key in key(),
            at in any::<Index>(),
            character in any::<char>(),
        ) {
            let cursors = cursors()?;
            let cursor = cursors.seal("query", &key);
            let place = at.index(cursor.len());
            let (before, after) = cursor.split_at(place);
            let rest = &after[1..];
            let spellings = [
                format!("{before}{character}{rest}"),
                format!("{before}{rest}"),
                format!("{before}{character}{after}"),
                format!("{cursor}{character}"),
                before.to_owned(),
            ];
            for changed in spellings.iter().filter(|changed| **changed != cursor) {
                prop_assert_eq!(cursors.open_checked("query", changed), None, "{}", changed);
            }
        }

        #[test]
        fn whatever_is_sent_as_a_cursor_is_refused(text in "\\PC{0,600}|[A-Za-z0-9_-]{0,600}") {
            prop_assert_eq!(cursors()?.open_checked("query", &text), None);
        }

        #[test]
        fn a_limit_is_a_number_as_it_is_written(text in "[0-9]{1,4}|[+-]?[0-9]{1,3}|\\PC{0,3}") {
            let parsed = Limit::parse_from_parameter(&text).ok().map(Limit::get);
            let expected = (1..=usize::from(LIMIT_MAX)).find(|limit| limit.to_string() == text);
            prop_assert_eq!(parsed, expected);
        }

        #[test]
        fn the_page_beside_keeps_every_other_parameter_and_has_one_cursor(
            parts in vec("(limit|cursor|cursors|tag|a)(=[a-z0-9%]{0,4})?", 0..6),
            next in "[A-Za-z0-9_-]{1,20}",
        ) {
            let here = Here(format!("/v1/posts?{}", parts.join("&")).parse()?);
            let link = here.links(None, &next);
            let target = link.strip_prefix("</v1/posts?").and_then(|l| l.strip_suffix(">; rel=\"prev\""));
            let Some(target) = target else {
                return Err(TestCaseError::fail(link));
            };
            let kept = parts.iter().filter(|part| !part.starts_with("cursor="));
            let mut expected: Vec<String> = kept.cloned().collect();
            expected.push(format!("cursor={next}"));
            prop_assert_eq!(target.split('&').collect::<Vec<_>>(), expected);
        }
    }
}
