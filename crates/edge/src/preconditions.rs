//! Headers that a request sets conditions with: `If-Match`, `If-None-Match`,
//! `Idempotency-Key`, `Min-Position`. Handlers take them as arguments, and the
//! contract then shows them. It refuses values that cannot be read: a
//! condition that is not understood must not be dropped.

use eventlog::IdempotencyKey;
use kernel::{AccountId, ExpectedVersion, Positions};
use poem::{
    Request, RequestBody, Result,
    http::{HeaderName, HeaderValue, Method, header},
};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    body::RawBody,
    compression,
    problem::{Code, FieldCode, Problem, Wrong},
    request::Head,
    services::EdgeServices,
    text,
};

pub const IF_MATCH: &str = "If-Match";
/// A second parameter of this name, which must be there.
pub(crate) const IF_MATCH_REQUIRED: &str = "If-Match-Required";
pub const IF_NONE_MATCH: &str = "If-None-Match";
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
pub const MIN_POSITION: &str = "Min-Position";
/// A second parameter of this name, of operations that nobody signs in to.
pub(crate) const IDEMPOTENCY_KEY_UNAUTHENTICATED: &str = "Idempotency-Key-Unauthenticated";
const IDEMPOTENCY_KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const MIN_POSITION_HEADER: HeaderName = HeaderName::from_static("min-position");
const IDEMPOTENCY_KEY_CHARACTERS_MAX: usize = 255;
/// No account scopes such a key, so it must be hard to guess.
const UNAUTHENTICATED_KEY_CHARACTERS_MIN: usize = 16;
/// An extractor can tell the document of a security scheme and of nothing
/// else; `contract` turns names with this prefix into header parameters.
pub(crate) const HEADER_MARK: &str = "header:";

/// The `ETag` of an aggregate at `version`.
pub fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

/// The `ETag` of one representation of it: what is shown depends on more than
/// the aggregate (counters, who looks), so that the bytes are part of the tag.
/// `If-Match` reads the version out of either.
pub(crate) fn representation_etag(version: u64, bytes: &[u8]) -> String {
    format!("\"{version}-{}\"", representation_digest(bytes))
}

/// The `ETag` of a page, which has no version: no edit meets it.
pub fn page_etag(digest: Digest) -> String {
    format!("\"page-{digest}\"")
}

pub fn representation_digest(bytes: &[u8]) -> Digest {
    let mut pieces = Pieces::default();
    pieces.add(bytes);
    pieces.digest()
}

/// What a digest is made of, piece by piece.
#[derive(Default)]
pub struct Pieces(Sha256);

impl Pieces {
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn digest(self) -> Digest {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.finalize()[..8]);
        Digest(u64::from_be_bytes(first))
    }
}

/// The first bytes of a SHA-256, shown in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub u64);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

pub fn version_mismatch(current: u64) -> Problem {
    let detail = text!(
        "Read it again, then edit: it is at version {0}. A weak ETag (W/, as a proxy that \
         compresses makes it) matches nothing: send it without.",
        "Lesen Sie es neu, und ändern Sie es dann: Es ist in Version {0}. Ein schwacher ETag (W/, \
         wie ihn ein komprimierender Proxy macht) passt auf nichts: Senden Sie ihn ohne."
    );
    Problem::new(Code::VersionMismatch, detail.with([current.into()]))
}

/// The versions that an edit wants to meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfMatch(pub ExpectedVersion);

impl IfMatch {
    /// A weak ETag matches nothing, nor does one that is not ours (RFC 9110, 13.1.1).
    fn parse(request: &Request) -> Result<Self, Problem> {
        let strong = |tag: Tag| version(&tag.plain).filter(|_| !tag.weak);
        Ok(Self(
            match Tags::parse(request, IF_MATCH, header::IF_MATCH)? {
                Tags::Unsaid | Tags::Any => ExpectedVersion::Any,
                Tags::List(tags) => {
                    ExpectedVersion::OneOf(tags.into_iter().filter_map(strong).collect())
                }
            },
        ))
    }
}

/// As [`IfMatch`], and it must be said: what is replaced whole would else undo what
/// somebody else wrote meanwhile (RFC 6585, 3). `*` says that any version will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MustMatch(pub ExpectedVersion);

impl MustMatch {
    fn parse(request: &Request) -> Result<Self, Problem> {
        if !request.headers().contains_key(header::IF_MATCH) {
            return Err(Code::PreconditionRequired.into());
        }
        IfMatch::parse(request).map(|version| Self(version.0))
    }
}

/// The representations that a reader has already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IfNoneMatch {
    tags: Vec<String>,
    any: bool,
}

impl IfNoneMatch {
    pub fn has(&self, tag: &str) -> bool {
        self.any || self.tags.iter().any(|known| known == tag)
    }

    /// A tag that is not ours matches nothing, as RFC 9110 has it; a cache on
    /// the way may have made it weak.
    pub(crate) fn parse(request: &Request) -> Result<Self, Problem> {
        Ok(
            match Tags::parse(request, IF_NONE_MATCH, header::IF_NONE_MATCH)? {
                Tags::Unsaid => Self::default(),
                Tags::Any => Self {
                    any: true,
                    ..Self::default()
                },
                Tags::List(tags) => Self {
                    tags: tags.into_iter().map(|tag| tag.plain).collect(),
                    any: false,
                },
            },
        )
    }
}

/// What `If-Match` and `If-None-Match` say.
enum Tags {
    Unsaid,
    Any,
    List(Vec<Tag>),
}

struct Tag {
    weak: bool,
    /// Without what names its encoding.
    plain: String,
}

impl Tags {
    fn parse(request: &Request, name: &'static str, header: HeaderName) -> Result<Self, Problem> {
        let lines = request.headers().get_all(header);
        // Tags of others may have any bytes; they match nothing.
        let lines = lines
            .iter()
            .map(|line| String::from_utf8_lossy(line.as_bytes()));
        // Several lines are one list (RFC 9110, 5.3).
        let lines: Vec<_> = lines.collect();
        let text = lines.join(",");
        match text.trim_matches([' ', '\t']) {
            _ if lines.is_empty() => Ok(Self::Unsaid),
            "*" => Ok(Self::Any),
            text => tags(text).map(Self::List).ok_or_else(|| {
                let wrong = FieldCode::InvalidFormat.saying(text!(
                    "Send *, or ETags in quotes with commas between: \"7\".",
                    "Senden Sie *, oder ETags in Anführungszeichen mit Kommas dazwischen: \"7\"."
                ));
                malformed(name, wrong)
            }),
        }
    }
}

const BETWEEN: [char; 3] = [' ', '\t', ','];

/// `"…", W/"…"`, as RFC 9110 has it; commas may stand inside. Elements that are empty
/// are none (5.6.1.2).
fn tags(text: &str) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    let mut text = text.trim_start_matches(BETWEEN);
    loop {
        let strong = text.strip_prefix("W/").unwrap_or(text);
        let (inner, rest) = strong.strip_prefix('"')?.split_once('"')?;
        let of_a_tag = |character: char| character > ' ' && character != '\x7f';
        inner.chars().all(of_a_tag).then_some(())?;
        tags.push(Tag {
            weak: strong.len() < text.len(),
            plain: compression::untagged(&strong[..inner.len() + 2]),
        });
        let next = rest.trim_start_matches(BETWEEN);
        if next.is_empty() {
            return Some(tags);
        }
        rest[..rest.len() - next.len()]
            .contains(',')
            .then_some(())?;
        text = next;
    }
}

/// The key of a write that may be sent again, and what it is of; none where the
/// client gave none.
#[derive(Clone)]
pub struct Idempotency(Option<Given>);

#[derive(Clone)]
struct Given {
    key: String,
    method: Method,
    path: String,
    /// Keyed: a body may hold a password, and fingerprints are kept.
    body_digest: [u8; 32],
}

impl Idempotency {
    /// The log's key in `account`'s scope; none where the client gave none.
    pub fn of(&self, account: AccountId) -> Option<IdempotencyKey> {
        let given = self.0.as_ref()?;
        let (method, path) = (given.method.as_str(), &given.path);
        let (key, body) = (&given.key, &given.body_digest);
        Some(IdempotencyKey::given(account, method, path, key, body))
    }

    fn parse(request: &Request) -> Result<Self, Problem> {
        Self::parse_from(1, request)
    }

    /// A key of at least `min` characters.
    fn parse_from(min: usize, request: &Request) -> Result<Self, Problem> {
        let Some(key) = only(request, IDEMPOTENCY_KEY, &IDEMPOTENCY_KEY_HEADER)? else {
            return Ok(Self(None));
        };
        let max = IDEMPOTENCY_KEY_CHARACTERS_MAX;
        let fits =
            (min..=max).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            let detail = text!(
                "Use {0} to {1} visible ASCII characters, such as a UUID.",
                "Verwenden Sie {0} bis {1} sichtbare ASCII-Zeichen, etwa eine UUID."
            );
            let detail = detail.with([(min as u64).into(), (max as u64).into()]);
            let wrong = FieldCode::InvalidFormat.saying(detail);
            return Err(malformed(IDEMPOTENCY_KEY, wrong));
        }
        let services = EdgeServices::of(request).ok_or_else(EdgeServices::missing)?;
        let body = request.data::<RawBody>().cloned().unwrap_or_default();
        let head = request.data::<Head>();
        let uri = head.map_or_else(|| request.uri(), |head| &head.uri);
        Ok(Self(Some(Given {
            key: key.to_owned(),
            method: request.method().clone(),
            path: canonical(uri.path()),
            body_digest: services.cursors.digest(&body.0),
        })))
    }
}

/// As [`Idempotency`], of an operation that nobody signs in to.
#[derive(Clone)]
pub struct UnauthenticatedIdempotency(pub Idempotency);

impl UnauthenticatedIdempotency {
    fn parse(request: &Request) -> Result<Self, Problem> {
        Idempotency::parse_from(UNAUTHENTICATED_KEY_CHARACTERS_MIN, request).map(Self)
    }
}

/// One spelling for all paths to one resource: ids can be written in several.
fn canonical(path: &str) -> String {
    let segment = |segment: &str| match segment.parse::<Uuid>() {
        Ok(id) => id.to_string(),
        Err(_) => segment.to_owned(),
    };
    let segments: Vec<_> = path.split('/').map(segment).collect();
    segments.join("/")
}

/// What a read must have seen; empty where it may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MinPosition(pub Positions);

impl MinPosition {
    fn parse(request: &Request) -> Result<Self, Problem> {
        let Some(text) = only(request, MIN_POSITION, &MIN_POSITION_HEADER)? else {
            return Ok(Self::default());
        };
        let services = EdgeServices::of(request).ok_or_else(EdgeServices::missing)?;
        let positions = services.positions.open(text);
        positions.map(Self).ok_or_else(Problem::unknown_position)
    }
}

/// The header's value; refused where there are two, or where it is no text.
fn only<'a>(
    request: &'a Request,
    name: &'static str,
    header: &HeaderName,
) -> Result<Option<&'a str>, Problem> {
    let mut values = request.headers().get_all(header).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(malformed(name, FieldCode::Duplicate));
    }
    first.map(|value| text(name, value)).transpose()
}

fn text<'a>(name: &'static str, value: &'a HeaderValue) -> Result<&'a str, Problem> {
    let text = value.to_str().map(str::trim);
    text.map_err(|_| {
        let wrong = FieldCode::InvalidCharacters.saying(text!(
            "Use visible ASCII characters.",
            "Verwenden Sie sichtbare ASCII-Zeichen."
        ));
        malformed(name, wrong)
    })
}

/// The version in a tag as it was given: digits alone, or before a hyphen.
fn version(tag: &str) -> Option<u64> {
    let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
    let digits = tag.split('-').next()?;
    let version = digits.parse().ok()?;
    (etag(version) == format!("\"{digits}\"")).then_some(version)
}

fn malformed(name: &'static str, wrong: impl Into<Wrong>) -> Problem {
    let detail = text!(
        "Correct the headers that errors lists.",
        "Korrigieren Sie die Header, die errors aufzählt."
    );
    Problem::new(Code::MalformedRequest, detail).with_parameter(name, wrong)
}

macro_rules! header_extractors {
    ($($extractor:ident = $mark:literal;)+) => {$(
        impl<'a> ApiExtractor<'a> for $extractor {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
            type ParamType = ();
            type ParamRawType = ();

            fn security_schemes() -> Vec<&'static str> {
                vec![$mark]
            }

            async fn from_request(
                request: &'a Request,
                _: &mut RequestBody,
                _: ExtractParamOptions<()>,
            ) -> Result<Self> {
                Ok(Self::parse(request)?)
            }
        }
    )+};
}

header_extractors! {
    IfMatch = "header:If-Match";
    MustMatch = "header:If-Match-Required";
    IfNoneMatch = "header:If-None-Match";
    Idempotency = "header:Idempotency-Key";
    UnauthenticatedIdempotency = "header:Idempotency-Key-Unauthenticated";
    MinPosition = "header:Min-Position";
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tokens::{SigningKey, TokenSettings, Tokens};

    fn request(name: &str, value: &str) -> Request {
        Request::builder().header(name, value).finish()
    }

    #[test]
    fn an_edit_meets_its_version_or_is_refused() {
        let parse = |value: &str| IfMatch::parse(&request(IF_MATCH, value)).map_err(|p| p.code());
        let one_of = |versions: &[u64]| Ok(IfMatch(ExpectedVersion::OneOf(versions.to_vec())));
        for tag in [etag(7), representation_etag(7, b"shown")] {
            assert_eq!(parse(&tag), one_of(&[7]));
        }
        for any in ["*", " * "] {
            assert_eq!(parse(any), Ok(IfMatch(ExpectedVersion::Any)));
        }
        for (list, versions) in [
            ("\"99\", \"1\"", &[99, 1][..]),
            ("\"99\",\"1\"", &[99, 1]),
            (" ,\t\"3\" ,, \"a,b\",", &[3]),
            ("W/\"7\", \"8\"", &[8]),
            // Tags, and none of ours: they match nothing.
            ("W/\"7\"", &[]),
            ("\"x\"", &[]),
            ("\"page-0123456789abcdef\"", &[]),
            ("\"\"", &[]),
            ("\"+1\"", &[]),
            ("\"001\"", &[]),
            ("\"1,2\"", &[]),
        ] {
            assert_eq!(parse(list), one_of(versions), "{list}");
        }
        let lines = Request::builder().header(IF_MATCH, "\"5\"");
        let lines = lines.header(IF_MATCH, "\"6\"").finish();
        let both = IfMatch::parse(&lines).map_err(|p| p.code());
        assert_eq!(both, one_of(&[5, 6]));
        for bad in [
            "7",
            "W/7",
            "w/\"7\"",
            "",
            ",",
            "\"1\" \"2\"",
            "\"1",
            "1\"",
            "\"1\", 2",
            "*, \"1\"",
            "\"1\", *",
            "**",
            "\"a b\"",
            "\"1\";\"2\"",
        ] {
            assert_eq!(parse(bad), Err(Code::MalformedRequest), "{bad}");
        }
        let must = |request| MustMatch::parse(&request).map_err(|p| p.code());
        assert_eq!(must(Request::default()), Err(Code::PreconditionRequired));
        let any = must(request(IF_MATCH, "*"));
        assert_eq!(any, Ok(MustMatch(ExpectedVersion::Any)));
        let seven = must(request(IF_MATCH, &etag(7)));
        assert_eq!(seven, Ok(MustMatch(7.into())));
    }

    #[test]
    fn a_reader_has_what_it_names() -> Result<(), Problem> {
        let parse = |value: &str| IfNoneMatch::parse(&request(IF_NONE_MATCH, value));
        let tag = representation_etag(7, b"shown");
        assert!(parse(&format!("\"1\", W/{tag}"))?.has(&tag));
        assert!(parse("*")?.has(&tag));
        assert!(parse(&format!("\"a,b\" ,W/\",\",{tag}"))?.has(&tag));
        assert!(parse(&format!(", \"a\", ,{tag},"))?.has(&tag));
        let lines = Request::builder().header(IF_NONE_MATCH, "\"a\"");
        let lines = lines.header(IF_NONE_MATCH, &tag).finish();
        assert!(IfNoneMatch::parse(&lines)?.has(&tag));
        for other in [etag(7), representation_etag(7, b"other")] {
            assert!(!parse(&other)?.has(&tag), "{other}");
        }
        assert!(!IfNoneMatch::parse(&Request::default())?.has(&tag));
        for bad in [
            "{}",
            "7",
            "\"7",
            "\"a\" \"b\"",
            "\"1\",,7",
            "W/",
            "\"a b\"",
            ",",
            "*, \"a\"",
        ] {
            let code = parse(bad).map(|_| ()).map_err(|problem| problem.code());
            assert_eq!(code, Err(Code::MalformedRequest), "{bad}");
        }
        Ok(())
    }

    #[test]
    fn a_key_is_visible_and_bounded() -> Result<(), Problem> {
        let ada = AccountId(uuid::Uuid::from_u128(1));
        let tokens = Tokens::new(TokenSettings {
            issuer: "headwater".into(),
            audience: "headwater".into(),
            signing: SigningKey::Secret(vec![7; 32]),
            accepted: Vec::new(),
            session_secret: vec![8; 32],
        });
        let services = EdgeServices::new(
            Arc::new(tokens.map_err(Problem::internal)?),
            Arc::default(),
            b"a secret of this test, long enough",
        );
        let services = Arc::new(services.map_err(Problem::internal)?);
        let parse = |key: &str| {
            let mut request = request(IDEMPOTENCY_KEY, key);
            request.set_data(services.clone());
            Idempotency::parse(&request)
        };
        assert!(parse("a-key")?.of(ada).is_some());
        assert!(Idempotency::parse(&Request::default())?.of(ada).is_none());
        for bad in ["", "a b", &"x".repeat(256)] {
            let code = parse(bad).map(|_| ()).map_err(|p| p.code());
            assert_eq!(code, Err(Code::MalformedRequest), "{bad}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod properties {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn config() -> ProptestConfig {
        ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    /// The spellings of one id that parse.
    fn spellings(id: Uuid) -> [String; 4] {
        let plain = id.to_string();
        [
            plain.to_uppercase(),
            id.simple().to_string(),
            id.braced().to_string(),
            plain,
        ]
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_tag_gives_its_version_back(version_number in any::<u64>(), shown in vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(version(&etag(version_number)), Some(version_number));
            let tag = representation_etag(version_number, &shown);
            prop_assert_eq!(version(&tag), Some(version_number));
            let mut other = shown.clone();
            other.push(0);
            prop_assert_ne!(representation_etag(version_number, &other), tag);
        }

        #[test]
        fn a_version_is_read_only_as_it_is_written(text in "\"?[W/+0-9-]{0,22}\"?|\\PC{0,20}") {
            if let Some(version) = version(&text) {
                let plain = etag(version);
                let tagged = format!("\"{version}-");
                prop_assert!(text == plain || text.starts_with(&tagged), "{}", text);
            }
        }

        #[test]
        fn a_path_has_one_spelling_whatever_its_ids_look_like(
            id in any::<u128>().prop_map(Uuid::from_u128),
            name in "[a-z0-9_]{2,30}",
        ) {
            let wanted = format!("/v1/accounts/{id}/{name}");
            for spelling in spellings(id) {
                let path = canonical(&format!("/v1/accounts/{spelling}/{name}"));
                prop_assert_eq!(&path, &wanted);
                prop_assert_eq!(canonical(&path), path);
            }
        }

        #[test]
        fn other_paths_stay_other_paths(path in "(/[a-z0-9_.%]{0,8}){0,4}") {
            prop_assert_eq!(canonical(&path), path);
        }
    }
}
