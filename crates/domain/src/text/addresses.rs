//! Where addresses (URLs) are in a text: what is inside one is neither a hashtag nor a
//! mention. Wide rather than narrow: `example.org/#about` is one without a scheme too,
//! whether or not there is such a domain.

use std::ops::Range;

use icu_properties::{
    CodePointMapData,
    props::{EastAsianWidth, GeneralCategory, GeneralCategoryGroup},
};

use super::characters::{is_unspaced, is_word};

/// Schemes whose addresses have no `//`.
const WITHOUT_AUTHORITY: [&str; 12] = [
    "mailto:", "xmpp:", "acct:", "sip:", "sips:", "matrix:", "magnet:", "urn:", "tel:", "sms:",
    "geo:", "data:",
];

/// RFC 1035 allows 253 characters of a name; no scheme is as long as its bound.
const HOST_CHARACTERS_MAX: usize = 253;
const SCHEME_CHARACTERS_MAX: usize = 32;

/// In their order; none overlaps another.
pub(super) fn addresses(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if !text.contains([':', '/', '?']) {
        return found;
    }
    let (mut at, mut before) = (0, None);
    while let Some(c) = text[at..].chars().next() {
        let length = may_begin(before, c).then(|| length(&text[at..], before));
        match length.flatten() {
            Some(length) => {
                found.push(at..at + length);
                at += length;
                before = text[..at].chars().next_back();
            }
            None => {
                at += c.len_utf8();
                before = Some(c);
            }
        }
    }
    found
}

/// Not in the middle of a word, but after letters of a script without blanks, and after
/// signs that others write around an address: `_https://example.org/_`.
fn may_begin(before: Option<char>, c: char) -> bool {
    let inside = |before: char| match c.is_ascii() {
        true => before.is_ascii_alphanumeric(),
        false => is_word(before) && before != '_' && (!is_unspaced(before) || is_unspaced(c)),
    };
    is_label(c) && !before.is_some_and(inside)
}

/// Whether a name on another server begins here: `@kim:example.org`.
pub(super) fn begins_with_domain(rest: &str) -> bool {
    let name = &rest[..host(rest)];
    name.contains('.') && is_domain(name)
}

/// Of the address that `rest` begins with, in bytes.
fn length(rest: &str, before: Option<char>) -> Option<usize> {
    let of_scheme = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
    let word = rest.bytes().take(SCHEME_CHARACTERS_MAX);
    let word = word.take_while(of_scheme).count();
    if rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
        if rest[word..].starts_with("://") {
            let authority = word + 3;
            return Some(authority + authority_and_path(&rest[authority..]));
        }
        let scheme = rest.get(..=word).map(str::to_ascii_lowercase);
        if scheme.is_some_and(|scheme| WITHOUT_AUTHORITY.contains(&scheme.as_str())) {
            return Some(word + 1 + path(&rest[word + 1..]));
        }
    }
    // `#t.co/x` is a hashtag of its own; in `見てexample.org/x` the name begins later.
    let host = host(rest);
    let marked = before.is_some_and(|before| matches!(before, '#' | '＃'));
    if marked || begins_later(&rest[..host]) || !is_domain(&rest[..host]) {
        return None;
    }
    let end = host + port(&rest[host..]);
    let path_follows = rest[end..].starts_with(['/', '?']);
    path_follows.then(|| end + path(&rest[end..]))
}

fn authority_and_path(rest: &str) -> usize {
    let ends = |c: char| matches!(c, '/' | '?' | '#') || ends_address(c);
    let authority = &rest[..rest.find(ends).unwrap_or(rest.len())];
    let named = authority.rfind('@').map_or(0, |at| at + 1);
    let literal = rest[named..]
        .starts_with('[')
        .then(|| rest[named..].find(']'));
    let host = match literal.flatten() {
        Some(end) => end + 1,
        None => host(&rest[named..]),
    };
    let end = named + host;
    let end = end + port(&rest[end..]);
    match rest[end..].starts_with(['/', '?', '#']) {
        true => end + path(&rest[end..]),
        false => end,
    }
}

/// Letters, digits and hyphens of any script with dots between. A name in ASCII ends
/// before letters of a script without blanks.
fn host(rest: &str) -> usize {
    let mut before = None;
    let mut dotted = false;
    for (number, (at, c)) in rest.char_indices().enumerate() {
        let next = rest[at + c.len_utf8()..].chars().next();
        match c {
            _ if number == HOST_CHARACTERS_MAX => return at,
            '.' if next.is_some_and(is_label) && before != Some('.') && at > 0 => dotted = true,
            _ if !is_label(c) => return at,
            _ if dotted && is_unspaced(c) && before.is_some_and(|b| b.is_ascii() && b != '.') => {
                return at;
            }
            _ => {}
        }
        before = Some(c);
    }
    rest.len()
}

fn begins_later(host: &str) -> bool {
    let mut letters = host.chars().take_while(|c| *c != '.');
    let unspaced = letters.next().is_some_and(is_unspaced);
    unspaced && !letters.all(is_unspaced)
}

fn is_label(c: char) -> bool {
    c == '-' || is_word(c)
}

/// `:` and digits.
fn port(rest: &str) -> usize {
    let digits = rest.strip_prefix(':').map_or(0, |rest| {
        rest.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len())
    });
    if digits == 0 { 0 } else { digits + 1 }
}

/// By its shape: its last part is of letters, or it is an IPv4 address.
fn is_domain(host: &str) -> bool {
    let Some((_, last)) = host.rsplit_once('.') else {
        return host.eq_ignore_ascii_case("localhost");
    };
    let letters = last
        .chars()
        .all(|c| is_word(c) && !c.is_numeric() && c != '_');
    let encoded = last
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
    let named = encoded || (letters && last.chars().count() > 1);
    named || host.parse::<std::net::Ipv4Addr>().is_ok()
}

/// Up to a blank, a quote, or a bracket that closes what was opened before.
fn path(rest: &str) -> usize {
    let mut open = Vec::new();
    for (at, c) in rest.char_indices() {
        match c {
            _ if ends_address(c) => return at,
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(c) => return at,
            _ => {}
        }
    }
    rest.len()
}

/// Blanks, controls, quotes, and punctuation that is as wide as an ideograph.
fn ends_address(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '`') || turns {
        return true;
    }
    if c.is_ascii() {
        return false;
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    let width = CodePointMapData::<EastAsianWidth>::new().get(c);
    let wide = [EastAsianWidth::Wide, EastAsianWidth::Fullwidth].contains(&width);
    let bracket = [
        GeneralCategory::OpenPunctuation,
        GeneralCategory::ClosePunctuation,
        GeneralCategory::InitialPunctuation,
        GeneralCategory::FinalPunctuation,
    ];
    let punctuation = GeneralCategoryGroup::Punctuation.contains(category) && c != '\u{30fb}';
    bracket.contains(&category) || (wide && punctuation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        addresses(text)
            .into_iter()
            .map(|range| &text[range])
            .collect()
    }

    #[test]
    fn addresses_are_found_with_and_without_a_scheme() {
        for whole in [
            "https://example.org",
            "http://example.org/a/#about",
            "HTTPS://example.org?q=%23x#y",
            "ftp://user:pass@example.org:21/@kim",
            "https://[::1]:8080/#x",
            "https://bücher.example/#käse",
            "https://例え.テスト/パス#節",
            "http://✪df.ws/ejp",
            "web+ap://example.org/@kim",
            "example.org/#about",
            "www.example.org/@kim/1",
            "example.org:8080/@kim",
            "example.org?x=@kim",
            "localhost:3000/#x",
            "192.0.2.1/#x",
            "xn--bcher-kva.xn--p1ai/#x",
            "mailto:me@example.org?subject=#x",
            "matrix:r/room:example.org?x=#y",
            "https://example.org/wiki/Primer_(film)#plot",
            "https://example.org/a,b;c:d!e*f'g~h|i",
        ] {
            let at_first = found(whole);
            if whole != "http://✪df.ws/ejp" {
                assert_eq!(at_first, [whole]);
            }
            assert_eq!(found(&format!("see {whole} #tag")), at_first);
            assert_eq!(found(&format!("見て({whole}) @kim")), at_first);
            assert_eq!(found(&format!("「{whole}」#tag")), at_first);
        }
    }

    #[test]
    fn an_address_ends_where_it_does_not_go_on() {
        for (text, expected) in [
            ("[a](https://example.org/#a)#tag", "https://example.org/#a"),
            ("https://example.org,#tag", "https://example.org"),
            ("https://example.org🎉#tag", "https://example.org"),
            ("https://example.org。#tag", "https://example.org"),
            ("https://example.orgを見て#tag", "https://example.org"),
            ("<https://example.org/#a>#tag", "https://example.org/#a"),
            ("\"https://example.org/#a\"#tag", "https://example.org/#a"),
            ("https://example.org/#a，#tag", "https://example.org/#a"),
            ("詳しくはexample.org/#about", "example.org/#about"),
            ("#https://example.org/#a", "https://example.org/#a"),
            ("_https://example.org/#a _", "https://example.org/#a"),
            ("see:https://example.org/#a b", "https://example.org/#a"),
            ("caféhttps://example.org/#a b", "https://example.org/#a"),
            ("https:/example.org/#a b", "example.org/#a"),
        ] {
            assert_eq!(found(text), [expected], "{text}");
        }
        for none in [
            "and/or #tag",
            "dodge/#answer",
            "1/2 #tag",
            "3.5/#tag",
            "Note:#tag",
            "a ://#tag",
            "end. #tag",
            "#t.co/x",
            "example.org #tag",
        ] {
            assert_eq!(found(none), Vec::<&str>::new(), "{none}");
        }
    }
}
