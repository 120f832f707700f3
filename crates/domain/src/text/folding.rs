//! What a word is compared by: NFKC and full case folding, so that looks decide equality,
//! and without what is not seen where a script does not need it.

use icu_properties::{CodePointMapData, props::JoiningType};
use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};
use unicode_segmentation::UnicodeSegmentation;

use super::{characters::is_invisible, pieces::is_emoji};

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';
const MONGOLIAN_SEPARATOR: char = '\u{180e}';
const VIRAMA_CLASS: u8 = 9;

/// Emoji stay as they are, but for the selectors that ask for a picture or a letter.
pub(super) fn fold(text: &str) -> String {
    let (mut folded, mut word) = (String::new(), String::new());
    for cluster in text.graphemes(true) {
        if is_emoji(cluster) {
            folded.push_str(&fold_word(&word));
            word.clear();
            let picture = cluster.chars().filter(|c| !is_selector(*c));
            folded.extend(picture);
        } else {
            word.push_str(cluster);
        }
    }
    folded.push_str(&fold_word(&word));
    folded
}

fn is_selector(c: char) -> bool {
    matches!(c, '\u{fe0e}' | '\u{fe0f}')
}

fn fold_word(word: &str) -> String {
    // Two codes of one dash, one of which NFKC makes a tilde of.
    let dashed = word.chars().map(|c| if c == '～' { '〜' } else { c });
    let cased = dashed.nfkc().flat_map(fold_case).nfkc();
    without_what_is_not_seen(&cased.collect::<Vec<_>>())
}

/// Full case folding by the standard library's mappings: ẞ and ß are ss, and ς is σ. The
/// dotless ı alone is a letter of its own, whose capital is another one's.
fn fold_case(c: char) -> impl Iterator<Item = char> {
    let lower = c.to_lowercase();
    let upper = lower.flat_map(|c| {
        let (kept, raised) = match c {
            'ı' => (Some(c), None),
            _ => (None, Some(c.to_uppercase())),
        };
        kept.into_iter().chain(raised.into_iter().flatten())
    });
    upper.flat_map(|c| {
        let (kept, lowered) = match c {
            'ı' => (Some(c), None),
            _ => (None, Some(c.to_lowercase())),
        };
        kept.into_iter().chain(lowered.into_iter().flatten())
    })
}

/// Joiners stay where they change what is seen (UAX #31, 2.3): after a virama, and a
/// non-joiner between letters that would be joined.
fn without_what_is_not_seen(word: &[char]) -> String {
    let kept = |(at, c): (usize, &char)| {
        let keeps = !is_invisible(*c) || is_needed(*c, &word[..at], &word[at + 1..]);
        keeps.then_some(*c)
    };
    // What was apart may be one now.
    word.iter().enumerate().filter_map(kept).nfkc().collect()
}

fn is_needed(c: char, before: &[char], after: &[char]) -> bool {
    let seen = |c: &&char| !is_invisible(**c);
    let (Some(last), Some(_)) = (before.last().filter(seen), after.iter().find(seen)) else {
        return false;
    };
    match c {
        NON_JOINER | JOINER if canonical_combining_class(*last) == VIRAMA_CLASS => true,
        NON_JOINER | MONGOLIAN_SEPARATOR => {
            let types = CodePointMapData::<JoiningType>::new();
            let joins = |c: &char| Some(types.get(*c)).filter(|t| *t != JoiningType::Transparent);
            let to_the_left = before.iter().rev().find_map(joins);
            let to_the_right = after.iter().find_map(joins);
            let dual = JoiningType::DualJoining;
            to_the_left.is_some_and(|t| t == dual || t == JoiningType::LeftJoining)
                && to_the_right.is_some_and(|t| t == dual || t == JoiningType::RightJoining)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn looks_decide_whether_words_are_equal() {
        for (one, other) in [
            ("STRASSE", "Straße"),
            ("STRAẞE", "straße"),
            ("ΟΔΟΣ", "οδος"),
            ("Ｗｉｄｅ", "wide"),
            ("ﾊﾟﾋﾟ", "パピ"),
            ("Cafe\u{301}", "CAFÉ"),
            ("メ～テレ", "メ〜テレ"),
            ("il\u{387}lusió", "il·lusió"),
            ("ru\u{200d}st", "rust"),
            ("ru\u{34f}st\u{fe0f}", "rust"),
            ("❤\u{fe0f}", "❤"),
            ("가", "\u{1100}\u{1161}"),
            ("ŉ", "ʼn"),
            ("ſ\u{212a}", "sk"),
            ("Ⅷ", "viii"),
            ("ᾳ", "ΑΙ"),
            // A non-joiner after a letter that joins none.
            ("ر\u{200c}ا", "را"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
        for (one, other) in [
            ("İn", "in"),
            ("ın", "in"),
            ("می\u{200c}خواهم", "میخواهم"),
            ("ශ\u{dca}\u{200d}රී", "ශ\u{dca}රී"),
            ("👩\u{200d}💻", "👩💻"),
            ("👍🏽", "👍"),
        ] {
            assert_ne!(fold(one), fold(other), "{one} {other}");
        }
    }
}
