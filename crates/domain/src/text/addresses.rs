//! Where addresses (URLs) are in a text: what is inside one is neither a hashtag nor a
//! mention. Wide rather than narrow: `example.org/#about` is one without a scheme too,
//! whether or not there is such a domain.

use std::ops::Range;

use icu_properties::{
    CodePointMapData,
    props::{EastAsianWidth, GeneralCategory, GeneralCategoryGroup},
};

use super::characters::{is_unspaced, is_word};

/// Schemes whose addresses have no `//`. None has a `#` directly after it, so that
/// `bitcoin:#tag` is a word before a hashtag.
const OF_NAMES: [&str; 14] = [
    "mailto:",
    "xmpp:",
    "acct:",
    "sip:",
    "sips:",
    "matrix:",
    "tel:",
    "sms:",
    "im:",
    "pres:",
    "skype:",
    "callto:",
    "facetime:",
    "aim:",
];
/// The same, where no name follows: `spotify:@kim` is a word before a mention.
const OF_THINGS: [&str; 15] = [
    "magnet:",
    "urn:",
    "geo:",
    "data:",
    "javascript:",
    "vbscript:",
    "blob:",
    "view-source:",
    "bitcoin:",
    "ethereum:",
    "litecoin:",
    "monero:",
    "spotify:",
    "did:",
    "doi:",
];
/// Dots between the parts of a name beside that of ASCII (UTS #46).
const WIDE_DOTS: [char; 3] = ['\u{3002}', '\u{ff0e}', '\u{ff61}'];

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
    let name = &rest[..host(rest, is_label)];
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
        if scheme.is_some_and(|scheme| goes_on(&scheme, &rest[word + 1..])) {
            return Some(word + 1 + path(&rest[word + 1..]));
        }
    }
    // `#t.co/x` is a hashtag of its own; in `見てexample.org/x` the name begins later.
    let host = host(rest, is_label);
    let marked = before.is_some_and(|before| matches!(before, '#' | '＃'));
    if marked || begins_later(&rest[..host]) || !is_domain(&rest[..host]) {
        return None;
    }
    let end = host + root_and_port(&rest[host..]);
    let path_follows = rest[end..].starts_with(['/', '?']);
    path_follows.then(|| end + path(&rest[end..]))
}

/// Whether an address without `//` goes on after its scheme.
fn goes_on(scheme: &str, rest: &str) -> bool {
    let of_names = OF_NAMES.contains(&scheme);
    let begins = |c: char| c != '#' && (of_names || c != '@') && !ends_address(c);
    (of_names || OF_THINGS.contains(&scheme)) && rest.starts_with(begins)
}

/// What is before `/` or `?` is the authority, whatever it is made of. Before `#` or the
/// end it is no more than a name, so that `https://example.org,#tag` has a hashtag.
fn authority_and_path(rest: &str) -> usize {
    let delimited = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let end = path(&rest[..delimited]);
    let wide = match rest[end..].starts_with(WIDE_DOTS) {
        true => end + names_after_wide_dots(&rest[end..delimited]),
        false => end,
    };
    if rest[wide..].starts_with(['/', '?']) {
        return wide + path(&rest[wide..]);
    }
    let named = rest[..end].rfind('@').map_or(0, |at| at + 1);
    let authority = &rest[named..end];
    let literal = authority.starts_with('[').then(|| authority.find(']'));
    let host = match literal.flatten() {
        Some(end) => end + 1,
        None => host_with_signs(authority),
    };
    let end = named + host;
    let end = end + root_and_port(&rest[end..]);
    match rest[end..].starts_with(['/', '?', '#']) {
        true => end + path(&rest[end..]),
        false => end,
    }
}

/// Each a dot and a part of a name, then a port.
fn names_after_wide_dots(rest: &str) -> usize {
    let mut end = 0;
    while rest[end..].starts_with(WIDE_DOTS) {
        let dot = rest[end..].chars().next().map_or(0, char::len_utf8);
        match host(&rest[end + dot..], is_label) {
            0 => break,
            name => end += dot + name,
        }
    }
    end + root_and_port(&rest[end..])
}

/// The same as `host`, after a scheme: with signs and pictures before the last dot
/// (`💩.la`), and bytes in percents.
fn host_with_signs(authority: &str) -> usize {
    let last_dot = authority.rmatch_indices('.').find(|(at, dot)| {
        let after = &authority[at + dot.len()..];
        after.starts_with(is_label)
    });
    let signs = last_dot.map_or("", |(at, _)| &authority[..at]);
    let label = |c: char| is_label(c) || c == '%' || !c.is_ascii();
    let plain = signs.chars().all(|c| c == '.' || label(c));
    match plain && signs.contains(|c: char| !is_label(c) && c != '.') {
        true => signs.len() + host(&authority[signs.len()..], |c| c == '.' || is_label(c)),
        false => host(authority, |c| is_label(c) || c == '%'),
    }
}

/// Letters, digits and hyphens of any script with dots between. A name in ASCII ends
/// before letters of a script without blanks.
fn host(rest: &str, is_label: impl Fn(char) -> bool) -> usize {
    let mut before = None;
    let mut dotted = false;
    for (number, (at, c)) in rest.char_indices().enumerate() {
        let next = rest[at + c.len_utf8()..].chars().next();
        match c {
            _ if number == HOST_CHARACTERS_MAX => return at,
            '.' if next.is_some_and(&is_label) && before != Some('.') && at > 0 => dotted = true,
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

/// The dot of the root, `:` and digits, each where the address goes on after them.
fn root_and_port(rest: &str) -> usize {
    let root = usize::from(rest.starts_with('.'));
    let port = rest[root..].strip_prefix(':').map_or(0, |rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        1 + digits.unwrap_or(rest.len())
    });
    let end = root + port;
    match port > 1 || rest[end..].starts_with(['/', '?', '#']) {
        true => end,
        false => 0,
    }
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
            "https://💩.la/@kim",
            "https://i❤.ws/@kim",
            "https://i❤.ws#x",
            "https://👩🏽‍💻.❤.la#x",
            "https://example.org./@kim/1",
            "https://user@example.org./@kim",
            "https://example.org.:443/@kim",
            "https://example.org.?x=@kim",
            "https://example.org.#x",
            "http://localhost./@kim",
            "https://1.1.1.1./#x",
            "example.org./@kim",
            "example.org.:80/@kim",
            "example.org:/@kim",
            "https://example%2Eorg/@kim",
            "https://example%2Eorg#x",
            "https://example.org:/@kim",
            "https://example.org:#x",
            "https://user:p*ss!@example.org/@kim",
            "https://exa_mple.org~/@kim",
            "file:///home/@kim",
            "https://例え。テスト/@kim",
            "https://例え。テスト:80/@kim",
            "https://user@例え．テスト/@kim",
            "https://例え｡テスト｡jp?x=@kim",
            "https://example｡org/#x",
            "bitcoin:1A1zP1?label=#x",
            "spotify:user:@kim",
            "skype:@kim?call",
            "im:@kim",
            "IM:@kim",
            "javascript:alert(1)#x",
            "data:text/html,#x",
            "did:web:example.org#key",
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
            assert_eq!(at_first, [whole]);
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
            ("https://example.org。次は#tag", "https://example.org"),
            ("https://example.org。次は@kim", "https://example.org"),
            ("https://例え.テスト。#tag", "https://例え.テスト"),
            ("https://example.org. #tag", "https://example.org"),
            ("https://example.org: #tag", "https://example.org"),
            ("https://example.org...#tag", "https://example.org"),
            ("(https://example.org)/@kim", "https://example.org"),
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
            "note:@kim",
            "bitcoin:#tag",
            "data:#tag",
            "javascript:@kim",
            "spotify: #tag",
            "mailto: @kim",
            "im:#tag",
            "dim:@kim",
            "example.org. #tag",
            "the end./ #tag",
            "a ://#tag",
            "end. #tag",
            "#t.co/x",
            "example.org #tag",
        ] {
            assert_eq!(found(none), Vec::<&str>::new(), "{none}");
        }
    }
}
