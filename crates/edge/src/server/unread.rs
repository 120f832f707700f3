//! What cannot be read as a request. The HTTP library refuses it by itself, without a
//! word; here it is told what every refusal tells. Of HTTP/2 the library takes more
//! than a request may have, and the edge refuses it.

use std::io::Write as _;

use poem::{Request, http::Version};

use crate::{
    language::{Language, Value},
    problem::{Code, PROBLEM_MEDIA_TYPE, Problem},
    request::{RequestId, X_REQUEST_ID},
    text,
};

/// Of a request's line and headers.
pub const HEAD_BYTES_MAX: usize = 32 * 1_024;
/// As many as the library takes of HTTP/1.
const HEADERS_MAX: usize = 100;
/// Of each header, besides its name and its value (RFC 9113, 6.5.2).
const HEADER_BYTES: usize = 32;
/// What the library says without a word is shorter.
const REFUSAL_BYTES_MAX: usize = 256;

/// Whether the head is longer than the library lets one of HTTP/1 be.
pub fn has_too_long_a_head(request: &Request) -> bool {
    if request.version() != Version::HTTP_2 {
        return false;
    }
    let headers = request.headers();
    let lengths = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES);
    headers.len() > HEADERS_MAX || lengths.sum::<usize>() > HEAD_BYTES_MAX
}

pub fn too_long_a_head() -> Problem {
    let detail = text!(
        "Send at most {0} bytes and {1} headers before the body.",
        "Senden Sie vor dem Inhalt höchstens {0} Bytes und {1} Header."
    );
    let values = [HEAD_BYTES_MAX as u64, HEADERS_MAX as u64].map(Value::from);
    Problem::new(Code::HeadTooLarge, detail.with(values))
}

/// What is sent in place of `written`, if that is such a refusal: every other answer
/// names its request.
pub fn instead_of(written: &[u8]) -> Option<Vec<u8>> {
    if !written.starts_with(b"HTTP/1.1 4") || written.len() > REFUSAL_BYTES_MAX {
        return None;
    }
    let head = std::str::from_utf8(written).ok()?;
    let head = head.strip_suffix("\r\n\r\n")?;
    if head.contains(X_REQUEST_ID.as_str()) || !head.contains("content-length: 0") {
        return None;
    }
    let problem = match head.get(9..12)? {
        "431" | "414" => too_long_a_head(),
        "400" => Problem::new(
            Code::MalformedRequest,
            text!(
                "Send an HTTP request: look at its first line, its headers and its lengths.",
                "Senden Sie eine HTTP-Anfrage: Prüfen Sie erste Zeile, Header und Längen."
            ),
        ),
        _ => return None,
    };
    let id = RequestId::draw().0;
    let (status, body) = (
        problem.code().status(),
        problem.document(Some(id), Language::default()),
    );
    tracing::debug!(request_id = %id, status = status.as_u16(), "a request that cannot be read");
    let date = head.lines().find(|line| line.starts_with("date: "));
    let date = date.map(|date| format!("{date}\r\n")).unwrap_or_default();
    let mut answer = Vec::new();
    let written = write!(
        answer,
        "HTTP/1.1 {status}\r\ncontent-type: {PROBLEM_MEDIA_TYPE}\r\ncontent-language: {}\r\ncontent-length: {}\r\n\
         {X_REQUEST_ID}: {id}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n\
         connection: close\r\n{date}\r\n",
        Language::default().tag(),
        body.len()
    );
    written.ok()?;
    answer.extend(body);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_without_a_word_are_replaced() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                    content-length: 0\r\ndate: Sat, 28 Nov 2026 11:00:00 GMT\r\n\r\n";
        let told = instead_of(bare.as_bytes());
        let told = told.and_then(|told| String::from_utf8(told).ok());
        let told = told.unwrap_or_default();
        assert!(told.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
        assert!(told.contains("\r\ndate: Sat, 28 Nov 2026 11:00:00 GMT\r\n"));
        assert!(told.contains("\"code\":\"head_too_large\""), "{told}");
        let body = told.split("\r\n\r\n").nth(1).map(str::len);
        let length = format!("\r\ncontent-length: {}\r\n", body.unwrap_or_default());
        assert!(told.contains(&length), "{told}");
        for other in [
            bare.replace("content-length: 0", "content-length: 0\r\nx-request-id: 1"),
            bare.replace(" 431", " 404"),
            bare.replace("content-length: 0", "content-length: 7"),
            format!("{bare}more"),
        ] {
            assert_eq!(instead_of(other.as_bytes()), None, "{other}");
        }
    }
}
