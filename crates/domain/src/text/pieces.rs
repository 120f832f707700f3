//! A text in pieces: what a reader takes for one sign each (extended grapheme clusters,
//! UAX #29), and what each is for finding words.

use icu_properties::{
    CodePointSetData,
    props::{Emoji, EmojiPresentation, ExtendedPictographic, RegionalIndicator},
};
use unicode_normalization::is_nfkc;
use unicode_segmentation::UnicodeSegmentation;

use super::characters::{is_unspaced, is_word};

/// Signs between two parts of one word: dots, and hyphens of Armenian, Hebrew, Mongolian
/// and Japanese (UAX #31, table 3). Not those of ASCII: `#kim's`, `#one-two`.
const BETWEEN_PARTS: [char; 11] = [
    '\u{b7}', '\u{387}', '\u{58a}', '\u{5be}', '\u{180e}', '\u{2027}', '\u{301c}', '\u{30a0}',
    '\u{30fb}', '\u{ff5e}', '\u{ff65}',
];
/// Signs that belong to words of a script and are no letters: of Hebrew, Tibetan, and a
/// Japanese repetition.
const OF_WORDS: [char; 5] = ['\u{5f3}', '\u{5f4}', '\u{f0b}', '\u{f0c}', '\u{3003}'];

const KEYCAP: char = '\u{20e3}';
pub(super) const PICTURE_SELECTOR: char = '\u{fe0f}';

#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub at: usize,
    pub text: &'a str,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole sequence (UTS #51).
    Emoji,
    /// A letter, digit or connector, with its marks.
    Word,
    /// The same, of a script that puts no blanks between words.
    Unspaced,
    Other,
}

impl Piece<'_> {
    pub fn end(&self) -> usize {
        self.at + self.text.len()
    }

    /// A letter, digit or connector of any script.
    pub fn is_word(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Unspaced)
    }

    pub fn is_between_parts(&self) -> bool {
        self.text.starts_with(is_between_parts)
    }

    pub fn belongs_to_words(&self) -> bool {
        self.text.starts_with(OF_WORDS)
    }
}

fn is_between_parts(c: char) -> bool {
    BETWEEN_PARTS.contains(&c)
}

pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let piece = |(at, text)| Piece {
        at,
        text,
        kind: kind(text),
    };
    text.grapheme_indices(true).map(piece).collect()
}

fn kind(cluster: &str) -> Kind {
    let Some(first) = cluster.chars().next() else {
        return Kind::Other;
    };
    match first {
        _ if is_emoji(cluster) => Kind::Emoji,
        _ if !is_word(first) || is_between_parts(first) => Kind::Other,
        _ if is_unspaced(first) => Kind::Unspaced,
        _ => Kind::Word,
    }
}

/// Pictures, flags and keycaps; what is a letter in a circle, or © and ™, where its
/// selector asks for a picture.
pub(super) fn is_emoji(cluster: &str) -> bool {
    let mut characters = cluster.chars();
    let Some(first) = characters.next() else {
        return false;
    };
    if is_keycap(cluster) {
        return true;
    }
    if first.is_ascii() {
        return false;
    }
    let picture = is_picture(first)
        || (CodePointSetData::new::<Emoji>().contains(first)
            && characters.clone().next() == Some(PICTURE_SELECTOR));
    let flags = CodePointSetData::new::<RegionalIndicator>();
    match flags.contains(first) {
        // One alone is half a flag.
        true => characters
            .next()
            .is_some_and(|second| flags.contains(second)),
        false => picture,
    }
}

/// Without a selector.
pub(super) fn is_picture(c: char) -> bool {
    has_emoji_presentation(c)
        || (is_pictographic(c) && c > '\u{ff}' && is_nfkc(c.encode_utf8(&mut [0; 4])))
}

/// In colours without a selector.
pub(super) fn has_emoji_presentation(c: char) -> bool {
    CodePointSetData::new::<EmojiPresentation>().contains(c)
}

pub(super) fn is_pictographic(c: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(c)
}

pub(super) fn is_keycap(cluster: &str) -> bool {
    let on_a_key = |c: char| c.is_ascii_digit() || matches!(c, '#' | '*');
    cluster.starts_with(on_a_key) && cluster.contains(KEYCAP)
}
