//! One spelling for each path, before anything is looked up by it: routes, limits,
//! metrics, idempotency keys and links all see the same (RFC 3986, 6.2.2). Not here:
//! which paths there are (see `surface`).

use poem::{
    Request,
    http::{Uri, uri::PathAndQuery},
};

use crate::{language::Text, text};

const BAD_ESCAPE: Text = text!(
    "Write two hexadecimal digits after each % in a path.",
    "Schreiben Sie in einem Pfad nach jedem % zwei hexadezimale Ziffern."
);
const NO_PATH: Text = text!(
    "Send a path that can be read.",
    "Senden Sie einen lesbaren Pfad."
);

/// Gives the request its path as it is looked up; else says what is wrong with it.
pub(crate) fn normalise(request: &mut Request) -> Result<(), Text> {
    let uri = request.uri();
    let Some(path) = normal(uri.path())? else {
        return Ok(());
    };
    let whole = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(whole).map_err(|_| NO_PATH)?);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| NO_PATH)?;
    Ok(())
}

/// None where it is so already.
fn normal(path: &str) -> Result<Option<String>, Text> {
    if !path.contains('%') && !path.contains("/.") {
        return Ok(None);
    }
    let decoded = decode_unreserved(path)?;
    let normal = remove_dot_segments(&decoded);
    Ok((normal != path).then_some(normal))
}

/// What needs no escape is written without (6.2.2.2), the others with capitals (6.2.2.1):
/// an escaped slash stays data, and what was escaped twice stays escaped once.
fn decode_unreserved(path: &str) -> Result<String, Text> {
    let mut pieces = path.split('%');
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.get(..2).ok_or(BAD_ESCAPE)?;
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let byte = u8::from_str_radix(digits, 16).ok();
        let byte = byte.filter(|_| hexadecimal).ok_or(BAD_ESCAPE)?;
        match byte {
            b'-' | b'.' | b'_' | b'~' => decoded.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => decoded.push(char::from(byte)),
            _ => {
                decoded.push('%');
                decoded.push_str(&digits.to_ascii_uppercase());
            }
        }
        decoded.push_str(&piece[2..]);
    }
    Ok(decoded)
}

/// As RFC 3986, 5.2.4, has it. Empty segments are segments.
fn remove_dot_segments(path: &str) -> String {
    let Some(rest) = path.strip_prefix('/') else {
        return path.to_owned();
    };
    let mut kept = Vec::new();
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => {
                kept.push(segment);
                continue;
            }
        }
        // The last one stands for a folder.
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str) -> Result<String, Text> {
        normal(path).map(|normal| normal.unwrap_or_else(|| path.to_owned()))
    }

    #[test]
    fn a_path_has_one_spelling() {
        for (path, normal) in [
            ("/v1/posts", "/v1/posts"),
            ("/v1/%70osts", "/v1/posts"),
            ("/%76%31/%70%6F%73%74%73", "/v1/posts"),
            ("/%761/%70%6f%73%74%73", "/v1/posts"),
            ("/openapi%2Ejson", "/openapi.json"),
            ("/v1/a%7eb%2d%5Fc", "/v1/a~b-_c"),
            // Reserved characters and what is no ASCII stay as they are.
            ("/v1%2fposts", "/v1%2Fposts"),
            ("/v1/%3a%40", "/v1/%3A%40"),
            ("/v1/%00", "/v1/%00"),
            ("/v1/%c3%a9", "/v1/%C3%A9"),
            ("/v1/%25zz", "/v1/%25zz"),
            ("/v1/%2570osts", "/v1/%2570osts"),
            // Dots are segments only where they are alone.
            ("/v1/./posts", "/v1/posts"),
            ("/v1/x/../posts", "/v1/posts"),
            ("/v1/%2e%2E/v1/%2e/posts", "/v1/posts"),
            ("/../../v1/posts", "/v1/posts"),
            ("/v1/posts/.", "/v1/posts/"),
            ("/v1/posts/..", "/v1/"),
            ("/v1/..%2Fposts", "/v1/..%2Fposts"),
            ("/.well-known/jwks.json", "/.well-known/jwks.json"),
            ("/v1/...", "/v1/..."),
            // Empty segments are segments, and a slash at the end is one.
            ("//v1/posts", "//v1/posts"),
            ("/v1/%70osts/", "/v1/posts/"),
            ("/v1//../posts", "/v1/posts"),
            ("*", "*"),
        ] {
            assert_eq!(told(path).as_deref(), Ok(normal), "{path}");
            assert_eq!(told(normal).as_deref(), Ok(normal), "{normal}");
        }
    }

    #[test]
    fn an_escape_has_two_hexadecimal_digits() {
        for path in [
            "/v1/%zz", "/v1/%", "/v1/%4", "/v1/%+1", "/v1/% 1", "/%4é", "/%é", "/%7/",
        ] {
            assert_eq!(told(path), Err(BAD_ESCAPE), "{path}");
        }
    }

    #[test]
    fn the_query_stays_as_it_was() -> Result<(), Text> {
        let mut request = Request::builder().uri_str("/v1/%70osts?ids=%61,b").finish();
        normalise(&mut request)?;
        assert_eq!(request.uri(), "/v1/posts?ids=%61,b");
        Ok(())
    }
}
