//! Answers made smaller: zstd, brotli or gzip, as the client says. It refuses
//! streams of events, what is small, and answers to writes: those may hold
//! tokens, and the length of a compressed secret tells of it (BREACH).

use std::{
    io::{self, Write as _},
    sync::{Arc, LazyLock},
};

use flate2::write::GzEncoder;
use hyper::body::Bytes;
use poem::{
    Body, Response,
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{
            ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
        },
    },
};
use tokio::sync::{OnceCell, Semaphore};

/// Below it the headers outweigh what is saved.
const BYTES_MIN: usize = 1_024;
/// More than this is compressed on a thread that nobody else waits for.
const BYTES_INLINE_MAX: usize = 64 * 1_024;
/// Of such threads, at most.
const ENCODERS_MAX: usize = 4;
static ENCODERS: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(ENCODERS_MAX)));
const ZSTD_LEVEL: i32 = 3;
const BROTLI_QUALITY: i32 = 4;
/// Of brotli's window, as a power of two.
const BROTLI_WINDOW: i32 = 20;
const GZIP_LEVEL: flate2::Compression = flate2::Compression::new(5);
/// What is written as text, but for `text/…` itself.
const TEXTS: [&str; 3] = [
    "application/json",
    "application/problem+json",
    "application/openmetrics-text",
];
const EVENT_STREAM: &str = "text/event-stream";

/// In the order that we like them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Zstd,
    Brotli,
    Gzip,
}

impl Encoding {
    const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// What the client likes best; of those that it likes alike, what we do.
    /// None where it wants bytes as they are (RFC 9110, 12.5.3).
    fn wanted(headers: &HeaderMap) -> Option<Self> {
        let mut liked = [None; Self::ALL.len()];
        let (mut any, mut as_it_is) = (None, 0);
        for value in headers.get_all(ACCEPT_ENCODING) {
            for choice in value.to_str().ok()?.split(',') {
                let (name, weight) = weighed(choice)?;
                if name == "*" {
                    any = Some(weight);
                }
                if name.eq_ignore_ascii_case("identity") {
                    as_it_is = weight;
                }
                for (encoding, liked) in Self::ALL.into_iter().zip(&mut liked) {
                    let old_name = encoding == Self::Gzip && name.eq_ignore_ascii_case("x-gzip");
                    if old_name || name.eq_ignore_ascii_case(encoding.name()) {
                        *liked = Some(weight);
                    }
                }
            }
        }
        let mut best = None;
        for (encoding, liked) in Self::ALL.into_iter().zip(liked) {
            let weight = liked.or(any).unwrap_or(0);
            if weight > best.map_or(0, |(_, weight)| weight) {
                best = Some((encoding, weight));
            }
        }
        let (encoding, _) = best.filter(|(_, weight)| *weight >= as_it_is)?;
        Some(encoding)
    }

    fn encode(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
            Self::Brotli => {
                let parameters = brotli::enc::BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    lgwin: BROTLI_WINDOW,
                    size_hint: bytes.len(),
                    ..Default::default()
                };
                let mut encoded = Vec::with_capacity(bytes.len() / 2);
                brotli::BrotliCompress(&mut &bytes[..], &mut encoded, &parameters)?;
                Ok(encoded)
            }
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), GZIP_LEVEL);
                encoder.write_all(bytes)?;
                encoder.finish()
            }
        }
    }
}

/// `gzip;q=0.5`: the name and the weight in thousandths; none where it cannot
/// be read.
fn weighed(choice: &str) -> Option<(&str, u16)> {
    let mut parts = choice.split(';').map(str::trim);
    let name = parts.next()?;
    let Some(weight) = parts.next() else {
        return Some((name, 1_000));
    };
    let weight = weight.strip_prefix("q=").or(weight.strip_prefix("Q="))?;
    let weight: f32 = weight.parse().ok()?;
    (0.0..=1.0)
        .contains(&weight)
        .then_some((name, (weight * 1_000.0) as u16))
}

/// What a request says of how its answer may be sent.
pub(crate) struct Wanted {
    encoding: Encoding,
    /// The representations that it has.
    known: Vec<HeaderValue>,
}

impl Wanted {
    /// None where the answer goes as it is.
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        if *method != Method::GET && *method != Method::HEAD {
            return None;
        }
        let encoding = Encoding::wanted(headers)?;
        let known = headers.get_all(IF_NONE_MATCH).iter().cloned().collect();
        Some(Self { encoding, known })
    }

    /// Another encoding is another representation, and has a tag of its own:
    /// `"7-0123.br"` for `"7-0123"`.
    pub(crate) async fn apply(self, response: &mut Response) {
        if response.status() == StatusCode::NOT_MODIFIED {
            let tagged = tagged(response.headers(), self.encoding);
            let has = |tag: &HeaderValue| {
                let mut known = self.known.iter().filter_map(|known| known.to_str().ok());
                tag.to_str()
                    .is_ok_and(|tag| known.any(|known| known.contains(tag)))
            };
            if let Some(tag) = tagged.filter(has) {
                response.headers_mut().insert(ETAG, tag);
            }
            return;
        }
        if !is_text(response.headers()) || response.headers().contains_key(CONTENT_ENCODING) {
            return;
        }
        // Every answer that is not a stream is whole already.
        let Ok(bytes) = response.take_body().into_bytes().await else {
            return;
        };
        let encoding = self.encoding;
        let encoded = match (bytes.len(), response.data::<Forms>()) {
            (0..BYTES_MIN, _) => None,
            (_, Some(forms)) => forms.of(encoding, &bytes).await,
            (BYTES_MIN..=BYTES_INLINE_MAX, _) => encoding.encode(&bytes).ok().map(Bytes::from),
            _ => apart(encoding, &bytes).await,
        };
        let Some(encoded) = encoded.filter(|encoded| encoded.len() < bytes.len()) else {
            response.set_body(Body::from_bytes(bytes));
            return;
        };
        response.set_body(Body::from_bytes(encoded));
        let tagged = tagged(response.headers(), encoding);
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
        if let Some(tag) = tagged {
            headers.insert(ETAG, tag);
        }
    }
}

/// The encoded forms of an answer that never changes, each made once: data of the
/// answer.
#[derive(Clone, Default)]
pub(crate) struct Forms(Arc<[OnceCell<Bytes>; Encoding::ALL.len()]>);

impl Forms {
    /// None where it cannot be made now.
    async fn of(&self, encoding: Encoding, bytes: &Bytes) -> Option<Bytes> {
        let form = &self.0[encoding as usize];
        let make = async || apart(encoding, bytes).await.ok_or(());
        form.get_or_try_init(make).await.ok().cloned()
    }
}

/// On a thread that nobody else waits for; none where all of them are at work, since
/// it can be sent as it is.
async fn apart(encoding: Encoding, bytes: &Bytes) -> Option<Bytes> {
    let place = ENCODERS.clone().try_acquire_owned().ok()?;
    let bytes = bytes.clone();
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        encoding.encode(&bytes).ok()
    });
    work.await.ok().flatten().map(Bytes::from)
}

/// Leaves what it would be, and takes what it is: the answer to HEAD.
pub(crate) async fn strip(response: &mut Response) {
    let is_stream = response
        .content_type()
        .is_some_and(|text| text.starts_with(EVENT_STREAM));
    let body = response.take_body();
    if is_stream || response.status() == StatusCode::NOT_MODIFIED {
        return;
    }
    let length = body.into_bytes().await.map_or(0, |bytes| bytes.len());
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
}

/// The answer's tag as that of its encoded form.
fn tagged(headers: &HeaderMap, encoding: Encoding) -> Option<HeaderValue> {
    let tag = headers.get(ETAG)?.to_str().ok()?.strip_suffix('"')?;
    HeaderValue::from_str(&format!("{tag}.{}\"", encoding.name())).ok()
}

/// The tag of what is shown, whatever it was encoded with.
pub(crate) fn untagged(tag: &str) -> String {
    let encoded = |encoding: Encoding| tag.strip_suffix('"')?.strip_suffix(encoding.name());
    let plain = Encoding::ALL
        .into_iter()
        .find_map(|encoding| encoded(encoding)?.strip_suffix('.'));
    plain.map_or_else(|| tag.to_owned(), |plain| [plain, "\""].concat())
}

fn is_text(headers: &HeaderMap) -> bool {
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|text| text.to_str().ok());
    let media_type = media_type.and_then(|text| text.split(';').next());
    media_type.is_some_and(|text| {
        TEXTS.contains(&text) || (text.starts_with("text/") && text != EVENT_STREAM)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn wanted(text: &'static str) -> Option<Encoding> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(text));
        Encoding::wanted(&headers)
    }

    #[test]
    fn the_client_chooses_and_we_break_ties() {
        for (text, encoding) in [
            ("gzip", Some(Encoding::Gzip)),
            ("x-gzip", Some(Encoding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Encoding::Zstd)),
            ("gzip, BR", Some(Encoding::Brotli)),
            ("gzip;q=1.0, br;q=0.5", Some(Encoding::Gzip)),
            ("zstd;q=0, *", Some(Encoding::Brotli)),
            ("*;q=0.1", Some(Encoding::Zstd)),
            ("identity", None),
            ("identity, gzip;q=0.5", None),
            ("identity;q=1, *;q=0.1", None),
            ("identity;q=0.5, gzip", Some(Encoding::Gzip)),
            ("identity, gzip", Some(Encoding::Gzip)),
            ("gzip;q=0", None),
            ("*;q=0", None),
            ("gzip;q=2", None),
            ("", None),
        ] {
            assert_eq!(wanted(text), encoding, "{text}");
        }
    }

    fn answer(media_type: &'static str, text: &str) -> Response {
        Response::builder()
            .header(CONTENT_TYPE, media_type)
            .header(ETAG, "\"7-0123\"")
            .body(text.to_owned())
    }

    async fn sent(encoding: Encoding, mut response: Response) -> (Option<String>, String, Vec<u8>) {
        let known = Vec::new();
        Wanted { encoding, known }.apply(&mut response).await;
        let encoded = response.header(CONTENT_ENCODING.as_str());
        let encoded = encoded.map(str::to_owned);
        let tag = response
            .header(ETAG.as_str())
            .unwrap_or_default()
            .to_owned();
        let bytes = response.into_body().into_vec().await;
        (encoded, tag, bytes.unwrap_or_default())
    }

    #[tokio::test]
    async fn what_is_sent_is_smaller_and_the_same() -> io::Result<()> {
        for length in [BYTES_MIN, BYTES_INLINE_MAX + 1] {
            let text = "a post, ".repeat(length / 8);
            for encoding in Encoding::ALL {
                let answer = answer("application/json", &text);
                let (name, tag, bytes) = sent(encoding, answer).await;
                assert_eq!(name.as_deref(), Some(encoding.name()));
                assert_eq!(tag, format!("\"7-0123.{}\"", encoding.name()));
                assert_eq!(untagged(&tag), "\"7-0123\"");
                assert!(bytes.len() < text.len() / 4);
                let mut decoded = Vec::new();
                match encoding {
                    Encoding::Zstd => decoded = zstd::decode_all(&bytes[..])?,
                    Encoding::Brotli => {
                        brotli::BrotliDecompress(&mut &bytes[..], &mut decoded)?;
                    }
                    Encoding::Gzip => {
                        let mut decoder = flate2::read::GzDecoder::new(&bytes[..]);
                        decoder.read_to_end(&mut decoded)?;
                    }
                }
                assert_eq!(decoded, text.as_bytes());
            }
        }
        Ok(())
    }

    #[tokio::test]
    async fn what_never_changes_is_encoded_once() {
        let (text, forms) = (Bytes::from("word ".repeat(20_000)), Forms::default());
        let first = forms.of(Encoding::Zstd, &text).await;
        let again = forms.clone().of(Encoding::Zstd, &text).await;
        assert!(first.as_ref().is_some_and(|bytes| bytes.len() < 1_000));
        assert_eq!(
            first.map(|bytes| bytes.as_ptr()),
            again.map(|bytes| bytes.as_ptr())
        );
        let other = forms.of(Encoding::Gzip, &text).await;
        assert!(other.is_some_and(|bytes| bytes.starts_with(&[0x1f, 0x8b])));
    }

    #[tokio::test]
    async fn streams_small_and_foreign_things_go_as_they_are() {
        let long = "data: 1\n\n".repeat(BYTES_MIN);
        for (media_type, text) in [
            ("text/event-stream", long.as_str()),
            ("application/octet-stream", long.as_str()),
            ("application/json", "{}"),
        ] {
            let (name, tag, bytes) = sent(Encoding::Zstd, answer(media_type, text)).await;
            assert_eq!((name, tag.as_str()), (None, "\"7-0123\""));
            assert_eq!(bytes, text.as_bytes());
        }
    }
}
