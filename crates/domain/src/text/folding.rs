//! What a word is compared by: NFKC and full case folding, so that looks decide equality,
//! and without what is not seen where a script does not need it.

use icu_properties::{
    CodePointMapData,
    props::{JoiningType, Script},
};
use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};
use unicode_segmentation::UnicodeSegmentation;

use super::{
    characters::is_invisible,
    pieces::{
        PICTURE_SELECTOR, has_emoji_presentation, is_emoji, is_keycap, is_pictographic, is_picture,
    },
};

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';
const MONGOLIAN_SEPARATOR: char = '\u{180e}';
const VIRAMA_CLASS: u8 = 9;
const LETTER_SELECTOR: char = '\u{fe0e}';
const BLACK_FLAG: char = '\u{1f3f4}';
const END_OF_TAGS: char = '\u{e007f}';

/// Emoji stay as they are seen, but for the selectors that ask for a picture or a letter.
/// One selector makes a picture of what NFKC would make letters of, and stays: `™️`.
pub(super) fn fold(text: &str) -> String {
    by_kind(text, fold_word, |cluster| {
        let of_letter = !cluster.starts_with(is_picture) && !is_keycap(cluster);
        let stays = |at: usize, _: char, _: char| at == 1 && of_letter;
        picture(cluster, stays)
    })
}

/// As it looks, without what is not seen: selectors, joiners and tags stay where emoji or
/// a script need them.
pub(super) fn without_unseen(text: &str) -> String {
    let word = |word: &str| {
        let word: Vec<_> = word.chars().collect();
        let kept = |(at, c): (usize, &char)| {
            let (before, after) = (&word[..at], &word[at + 1..]);
            let keeps = !is_invisible(*c)
                || is_needed(*c, before, after)
                || is_of_letter(*c, before.last().copied());
            keeps.then_some(*c)
        };
        word.iter().enumerate().filter_map(kept).collect()
    };
    by_kind(text, word, |cluster| {
        picture(cluster, |_, before, c| {
            c == LETTER_SELECTOR || !has_emoji_presentation(before)
        })
    })
}

fn by_kind(text: &str, word: impl Fn(&str) -> String, emoji: impl Fn(&str) -> String) -> String {
    let (mut done, mut letters) = (String::new(), String::new());
    for cluster in text.graphemes(true) {
        if is_emoji(cluster) {
            done.push_str(&word(&letters));
            letters.clear();
            done.push_str(&emoji(cluster));
        } else {
            letters.push_str(cluster);
        }
    }
    done.push_str(&word(&letters));
    done
}

/// An emoji without what is not seen: joiners stay between two pictures, tags in a flag
/// (UTS #51), and selectors directly after a sign where `stays` says so, which is given
/// the place, the sign and the selector.
fn picture(cluster: &str, stays: impl Fn(usize, char, char) -> bool) -> String {
    let characters: Vec<_> = cluster.chars().collect();
    let is_tag = |c: char| ('\u{e0020}'..=END_OF_TAGS).contains(&c);
    let tags = match characters.split_first() {
        Some((&BLACK_FLAG, rest)) => rest.iter().take_while(|c| is_tag(**c)).count(),
        _ => 0,
    };
    let of_flag = tags > 1 && characters.get(tags) == Some(&END_OF_TAGS);
    let kept = |(at, c): (usize, &char)| {
        let before = at.checked_sub(1).and_then(|before| characters.get(before));
        let keeps = match (*c, before) {
            (LETTER_SELECTOR | PICTURE_SELECTOR, Some(before)) => {
                !is_invisible(*before) && stays(at, *before, *c)
            }
            (JOINER, _) => characters.get(at + 1).is_some_and(|c| is_pictographic(*c)),
            _ => !is_invisible(*c) || (of_flag && at <= tags),
        };
        keeps.then_some(*c)
    };
    characters.iter().enumerate().filter_map(kept).collect()
}

/// Selectors of ideographs and of Mongolian letters, and the joiner that makes half a
/// letter, or a letter of its own, at the end of a word.
fn is_of_letter(c: char, before: Option<char>) -> bool {
    let of = |script| {
        before.is_some_and(|before| CodePointMapData::<Script>::new().get(before) == script)
    };
    match c {
        '\u{e0100}'..='\u{e01ef}' => of(Script::Han),
        '\u{180b}'..='\u{180d}' | '\u{180f}' => of(Script::Mongolian),
        JOINER => before.is_some_and(|c| canonical_combining_class(c) == VIRAMA_CLASS),
        _ => false,
    }
}

fn fold_word(word: &str) -> String {
    let (mut folded, mut run) = (Vec::new(), String::new());
    for c in word.chars() {
        match hangul_letter(c) {
            Some(letter) => {
                folded.extend(fold_run(&run));
                run.clear();
                folded.push(letter);
            }
            // Two codes of one dash, one of which NFKC makes a tilde of.
            None => run.push(if c == '～' { '〜' } else { c }),
        }
    }
    folded.extend(fold_run(&run));
    without_what_is_not_seen(&folded)
}

fn fold_run(run: &str) -> Vec<char> {
    run.nfkc().flat_map(fold_case).nfkc().collect()
}

/// A letter of Hangul on its own (`ㅋㅋㅋ`), of full width: NFKC would make parts of
/// syllables of them, which are drawn one over another.
fn hangul_letter(c: char) -> Option<char> {
    let moved = |first: u32, to: u32| char::from_u32(u32::from(c) - first + to);
    match c {
        '\u{3131}'..='\u{3163}' | '\u{3165}'..='\u{318e}' => Some(c),
        '\u{ffa1}'..='\u{ffbe}' => moved(0xffa1, 0x3131),
        '\u{ffc2}'..='\u{ffc7}' => moved(0xffc2, 0x314f),
        '\u{ffca}'..='\u{ffcf}' => moved(0xffca, 0x3155),
        '\u{ffd2}'..='\u{ffd7}' => moved(0xffd2, 0x315b),
        '\u{ffda}'..='\u{ffdc}' => moved(0xffda, 0x3161),
        _ => None,
    }
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
    word.iter().enumerate().filter_map(kept).nfc().collect()
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
            ("🎉\u{200d}\u{200c}\u{34f}\u{e0061}", "🎉"),
            ("ﾡ ﾾ ￂ ￇ ￊ ￏ ￒ ￗ ￚ ￜ", "ㄱ ㅎ ㅏ ㅔ ㅕ ㅚ ㅛ ㅠ ㅡ ㅣ"),
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
            ("™\u{fe0f}", "tm"),
            ("ㅋ", "\u{110f}"),
        ] {
            assert_ne!(fold(one), fold(other), "{one} {other}");
        }
    }
}
