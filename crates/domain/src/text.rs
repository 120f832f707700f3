//! What is inside a text: hashtags and mentions, found once, here, whatever the script;
//! and which characters a text may have. Who is mentioned is a fact of the moment: see
//! `posts`.

mod addresses;
mod characters;
mod folding;
mod pieces;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod published;
#[cfg(test)]
mod tests;
mod unfit;

use std::ops::Range;

use addresses::{addresses, begins_with_domain};
use characters::is_invisible;
pub use characters::{MARKS_MAX, is_blank, line, lines, name, seen_line, straight_lines};
use folding::fold;
use pieces::{Kind, Piece, is_emoji, is_keycap, pieces};
pub use unfit::Unfit;
use unicode_segmentation::UnicodeSegmentation;

use crate::handles::Handle;

/// The first that are different; what follows stays in the text, and is no more than text.
pub const HASHTAGS_MAX: usize = 30;
pub const MENTIONS_MAX: usize = 20;
/// Of both, where they stand.
pub const ENTITIES_MAX: usize = 100;
/// Of a folded hashtag, in Unicode scalar values; a longer one is none.
pub const HASHTAG_CHARACTERS_MAX: usize = 100;

const HASHES: [&str; 3] = ["#", "＃", "﹟"];
const ATS: [&str; 3] = ["@", "＠", "﹫"];
/// No hashtag follows it: `&#39;`.
const BEFORE_NO_HASHTAG: [&str; 1] = ["&"];
/// No mention follows these: `f*@kim`, `@@kim`.
const BEFORE_NO_MENTION: [&str; 11] = ["!", "#", "$", "%", "&", "*", "@", "＃", "＠", "﹟", "﹫"];

/// Hashtags in order of appearance, folded, each once.
///
/// A hashtag is `#` not after a word (but after one of a script without blanks), then
/// letters, marks, digits, underscores and emoji with at least one letter or picture
/// (extended hashtags of UAX #31, without `+` and `-`). What is in an address is none.
pub fn hashtags(text: &str) -> Vec<String> {
    let found = Reading::of(text, &HASHES)
        .map(|reading| first_different(reading.hashtags().map(|(_, tag)| tag), HASHTAGS_MAX));
    found.unwrap_or_default()
}

/// Handles after an `@` in order of appearance, each once.
///
/// The handle ends where a word ends, or before letters of a script without blanks. One
/// that goes on (`@kim@example.org`, `@kim.example`, `@kimé`) is somebody else's name
/// elsewhere, or on another server. What is in an address is none.
pub fn mentions(text: &str) -> Vec<Handle> {
    let found = Reading::of(text, &ATS)
        .map(|reading| first_different(reading.mentions().map(|(_, handle)| handle), MENTIONS_MAX));
    found.unwrap_or_default()
}

/// Something of a text that is more than text, with its mark, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    pub bytes: Range<usize>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// As it is folded.
    Hashtag(String),
    Mention(Handle),
}

/// The places of all hashtags and mentions that [`hashtags`] and [`mentions`] give, in
/// order, repetitions included: the first [`ENTITIES_MAX`].
pub fn entities(text: &str) -> Vec<Entity> {
    let Some(reading) = Reading::of(text, &[HASHES, ATS].concat()) else {
        return Vec::new();
    };
    let tags: Vec<_> = reading.hashtags().collect();
    let counted = first_different(tags.iter().map(|(_, tag)| tag.clone()), HASHTAGS_MAX);
    let tags = tags.into_iter().filter(|(_, tag)| counted.contains(tag));
    let tags = tags.map(|(bytes, tag)| Entity {
        bytes,
        what: What::Hashtag(tag),
    });
    let handles: Vec<_> = reading.mentions().collect();
    let counted = first_different(handles.iter().map(|(_, h)| h.clone()), MENTIONS_MAX);
    let handles = handles.into_iter().filter(|(_, h)| counted.contains(h));
    let handles = handles.map(|(bytes, handle)| Entity {
        bytes,
        what: What::Mention(handle),
    });
    let mut entities: Vec<Entity> = tags.chain(handles).collect();
    entities.sort_by_key(|entity| entity.bytes.start);
    entities.truncate(ENTITIES_MAX);
    entities
}

fn first_different<T: PartialEq>(all: impl Iterator<Item = T>, most: usize) -> Vec<T> {
    let mut found = Vec::new();
    for one in all {
        if !found.contains(&one) {
            found.push(one);
        }
        if found.len() == most {
            break;
        }
    }
    found
}

/// A text with a mark in it.
struct Reading<'a> {
    text: &'a str,
    pieces: Vec<Piece<'a>>,
    addresses: Vec<Range<usize>>,
}

impl<'a> Reading<'a> {
    /// None where there is nothing to find.
    fn of(text: &'a str, marks: &[&str]) -> Option<Self> {
        marks.iter().any(|mark| text.contains(mark)).then(|| Self {
            text,
            pieces: pieces(text),
            addresses: addresses(text),
        })
    }

    /// The indexes of the pieces after each of `marks` that begins something.
    fn after(&self, marks: &[&str], barred: &[&str]) -> impl Iterator<Item = usize> {
        (1..self.pieces.len()).filter(move |first| {
            let mark = &self.pieces[first - 1];
            let before = first.checked_sub(2).map(|before| &self.pieces[before]);
            let glued =
                |before: &Piece<'_>| before.kind == Kind::Word || barred.contains(&before.text);
            // With a selector or a mark on it, a sign is another one: `#️⃣`.
            marks.contains(&mark.text) && !before.is_some_and(glued) && !self.is_in_address(mark.at)
        })
    }

    /// With their marks.
    fn hashtags(&self) -> impl Iterator<Item = (Range<usize>, String)> {
        let after = self.after(&HASHES, &BEFORE_NO_HASHTAG);
        after.filter_map(|first| self.hashtag(first))
    }

    /// With their marks.
    fn mentions(&self) -> impl Iterator<Item = (Range<usize>, Handle)> {
        let after = self.after(&ATS, &BEFORE_NO_MENTION);
        after.filter_map(|first| self.mention(first))
    }

    /// From the mark before the piece `first` to `last`.
    fn with_mark(&self, first: usize, last: &Piece<'_>) -> Range<usize> {
        self.pieces[first - 1].at..last.end()
    }

    fn hashtag(&self, first: usize) -> Option<(Range<usize>, String)> {
        let mut end = first;
        while let Some(piece) = self.pieces.get(end) {
            let inside = end > first;
            let of_it = |next: &Piece<'_>| next.is_word() && !self.is_in_address(next.at);
            let goes_on = || self.pieces.get(end + 1).is_some_and(of_it);
            let taken = piece.is_word()
                || piece.kind == Kind::Emoji
                || (inside && piece.belongs_to_words())
                || (inside && piece.is_between_parts() && goes_on());
            if !taken || self.is_in_address(piece.at) {
                break;
            }
            end += 1;
        }
        let last = self.pieces[first..end].last()?;
        let folded = fold(&self.text[self.pieces[first].at..last.end()]);
        let fits = folded.chars().count() <= HASHTAG_CHARACTERS_MAX && says_something(&folded);
        fits.then(|| (self.with_mark(first, last), folded))
    }

    fn mention(&self, first: usize) -> Option<(Range<usize>, Handle)> {
        let of_handle = |piece: &&Piece<'_>| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            matches!(piece.text.as_bytes(), [b] if plain(*b))
        };
        let handle = self.pieces[first..].iter().take_while(of_handle);
        let end = first + handle.count();
        let last = self.pieces[first..end].last()?;
        // What is not seen parts no name: a reader sees `@kim@example.org`.
        let seen = |piece: &&Piece<'_>| !piece.text.chars().all(is_invisible);
        let next: Vec<_> = self.pieces[end..].iter().filter(seen).take(2).collect();
        let goes_on = match next.as_slice() {
            [] => false,
            [next, ..] if next.kind == Kind::Word || ATS.contains(&next.text) => true,
            [dot, next] if dot.text == "." => next.kind == Kind::Word,
            [colon, next] if colon.text == ":" && next.is_word() => {
                begins_with_domain(&self.text[next.at..])
            }
            [..] => self.text[last.end()..].starts_with("://"),
        };
        let in_address = self.is_in_address(self.pieces[first].at);
        let handle = &self.text[self.pieces[first].at..last.end()];
        let handle = handle.parse().ok().filter(|_| !goes_on && !in_address)?;
        Some((self.with_mark(first, last), handle))
    }

    fn is_in_address(&self, at: usize) -> bool {
        let next = self.addresses.partition_point(|address| address.end <= at);
        (self.addresses.get(next)).is_some_and(|address| address.contains(&at))
    }
}

/// Not digits and connectors alone, as they are or on keys.
fn says_something(folded: &str) -> bool {
    let picture = |cluster: &str| is_emoji(cluster) && !is_keycap(cluster);
    folded.chars().any(char::is_alphabetic) || folded.graphemes(true).any(picture)
}
