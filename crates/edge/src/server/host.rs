//! Which server a request is for: one `Host`, or one `:authority` of HTTP/2, that can be
//! a host (RFC 9112, 3.2; RFC 9110, 4.2; RFC 9113, 8.3.1). What it names decides nothing
//! here, but proxies choose by it, and must not be told something else than the server.

use std::net::Ipv6Addr;

use poem::http::{HeaderMap, Uri, Version, header::HOST};

use crate::{language::Text, text};

/// Why a request is for nobody; in the data of what the edge refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unaddressed(pub Text);

const NONE: Unaddressed = Unaddressed(text!(
    "Send one Host header: the name of this server.",
    "Senden Sie einen Host-Header: den Namen dieses Servers."
));
const SEVERAL: Unaddressed = Unaddressed(text!(
    "Send one Host header, not several.",
    "Senden Sie einen Host-Header, nicht mehrere."
));
const INVALID: Unaddressed = Unaddressed(text!(
    "Send a host name or an address as Host, and a port after a colon if need be.",
    "Senden Sie als Host einen Namen oder eine Adresse, und bei Bedarf einen Port nach einem Doppelpunkt."
));
const INVALID_TARGET: Unaddressed = Unaddressed(text!(
    "Send a target whose authority is one.",
    "Senden Sie ein Ziel, dessen Authority eine ist."
));
const DIFFERENT: Unaddressed = Unaddressed(text!(
    "Name the same server in Host and :authority.",
    "Nennen Sie in Host und :authority denselben Server."
));

pub fn check(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Unaddressed> {
    let authority = uri.authority().map(|authority| authority.as_str());
    if authority.is_some_and(|authority| !is_host(authority.as_bytes())) {
        return Err(INVALID_TARGET);
    }
    let mut hosts = headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(SEVERAL);
    }
    let Some(host) = host else {
        // What is older than the header, and what has another place for it.
        let needless = match version {
            Version::HTTP_09 | Version::HTTP_10 => true,
            Version::HTTP_2 | Version::HTTP_3 => authority.is_some(),
            _ => false,
        };
        return if needless { Ok(()) } else { Err(NONE) };
    };
    if !is_host(host.as_bytes()) {
        return Err(INVALID);
    }
    // In HTTP/1 a target with an authority counts, and Host does not.
    let both = authority.filter(|_| version == Version::HTTP_2);
    match both.is_some_and(|authority| !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()))
    {
        true => Err(DIFFERENT),
        false => Ok(()),
    }
}

/// `uri-host [":" port]` of RFC 3986, 3.2, with a host that is not empty: for `http` it
/// must not be.
fn is_host(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let (host, port) = match text.rfind(']') {
        Some(end) => text.split_at(end + 1),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| {
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            digits && (port.is_empty() || port.parse::<u16>().is_ok())
        });
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    is_port
        && match literal {
            Some(literal) => literal.parse::<Ipv6Addr>().is_ok() || is_future(literal),
            None => is_name(host),
        }
}

/// `IPvFuture`: a version in hexadecimal, a dot, and an address of that.
fn is_future(literal: &str) -> bool {
    let rest = literal.strip_prefix(['v', 'V']);
    let parts = rest.and_then(|rest| rest.split_once('.'));
    parts.is_some_and(|(version, address)| {
        let is_version = version.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_address = !address.contains('%') && is_name(&address.replace(':', "_"));
        !version.is_empty() && is_version && is_address
    })
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        let escaped = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        let fits = match byte {
            b'%' => escaped(bytes.next()) && escaped(bytes.next()),
            b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            byte => byte.is_ascii_alphanumeric(),
        };
        if !fits {
            return false;
        }
    }
    !name.is_empty()
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn headers(hosts: &[&[u8]]) -> Result<HeaderMap, Box<dyn std::error::Error>> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_bytes(host)?);
        }
        Ok(headers)
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port() {
        for host in [
            "h",
            "example.org",
            "example.org:80",
            "example.org:",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:65535",
            "[v1.a]",
            "[v1.a]:80",
            "[VFf.a:b;c]",
            "a_b~c",
            "%41",
            "xn--bcher-kva.example",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for wrong in [
            "",
            ":80",
            "user@example.org",
            "user:word@example.org:80",
            "example.org:http",
            "example.org:65536",
            "example.org:-1",
            "example.org:80:80",
            "a b",
            "a/b",
            "a\\b",
            "http://h",
            "[::1",
            "::1",
            "[::1]x",
            "[h]",
            "[]",
            "[v1]",
            "[v1.]",
            "[v.a]",
            "[vg.a]",
            "[v1.%41]",
            "[v1.a/b]",
            "v1.[a]",
            "h?",
            "h#",
            "%4",
            "%zz",
            "é",
            "<h>",
            "h\t",
        ] {
            assert!(!is_host(wrong.as_bytes()), "{wrong}");
        }
        assert!(!is_host(b"\xff"));
    }

    #[test]
    fn one_host_is_asked_of_http_1_1_and_no_wrong_one_of_any() -> TestResult {
        let origin = Uri::from_static("/v1/posts");
        let of = |version, hosts: &[&[u8]]| -> Result<_, Box<dyn std::error::Error>> {
            Ok(check(version, &origin, &headers(hosts)?))
        };
        assert_eq!(of(Version::HTTP_11, &[])?, Err(NONE));
        assert_eq!(of(Version::HTTP_10, &[])?, Ok(()));
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert_eq!(of(version, &[b"h"])?, Ok(()));
            assert_eq!(of(version, &[b"h", b"h"])?, Err(SEVERAL));
            assert_eq!(of(version, &[b""])?, Err(INVALID));
            assert_eq!(of(version, &[b"a@h"])?, Err(INVALID));
        }
        Ok(())
    }

    #[test]
    fn an_absolute_target_needs_a_host_too() -> TestResult {
        let absolute = Uri::from_static("http://other.example/v1/posts");
        let version = Version::HTTP_11;
        assert_eq!(check(version, &absolute, &headers(&[b"h"])?), Ok(()));
        assert_eq!(check(version, &absolute, &headers(&[])?), Err(NONE));
        assert_eq!(
            check(version, &absolute, &headers(&[b"a b"])?),
            Err(INVALID)
        );
        let named = Uri::from_static("http://a:b@other.example/v1/posts");
        assert_eq!(
            check(version, &named, &headers(&[b"h"])?),
            Err(INVALID_TARGET)
        );
        Ok(())
    }

    #[test]
    fn http_2_has_an_authority_or_a_host_and_no_two_of_them() -> TestResult {
        let of = |uri: &'static str, hosts: &[&[u8]]| -> Result<_, Box<dyn std::error::Error>> {
            Ok(check(
                Version::HTTP_2,
                &Uri::from_static(uri),
                &headers(hosts)?,
            ))
        };
        assert_eq!(of("/v1/posts", &[])?, Err(NONE));
        assert_eq!(of("/v1/posts", &[b"h"])?, Ok(()));
        assert_eq!(of("http://h:80/v1/posts", &[])?, Ok(()));
        assert_eq!(of("http://h:80/v1/posts", &[b"H:80"])?, Ok(()));
        assert_eq!(of("http://h/v1/posts", &[b"other"])?, Err(DIFFERENT));
        assert_eq!(of("http://a@h/v1/posts", &[])?, Err(INVALID_TARGET));
        Ok(())
    }
}
