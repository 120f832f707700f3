//! What characters are, by Unicode's own properties, and which of them a text may have.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        DefaultIgnorableCodePoint, GeneralCategory, NoncharacterCodePoint, Script, XidContinue,
    },
    script::ScriptWithExtensions,
};

use super::folding::without_unseen;

/// Marks on one letter (Vietnamese has 2, pointed Hebrew up to 4): a pile of them covers
/// what is above and below the text.
pub const MARKS_MAX: usize = 10;

/// Blank, though no property says so: the empty Braille cell, a place for what is not
/// there, an empty note head, empty hieroglyphs.
const BLANK: [char; 5] = [
    '\u{2800}',
    '\u{fffc}',
    '\u{1d159}',
    '\u{13441}',
    '\u{13442}',
];

/// Scripts that put no blank between words, or none between a word and what is attached
/// to it: a mark may follow their letters, and a handle ends before them.
const UNSPACED: [Script; 22] = [
    Script::Han,
    Script::Hiragana,
    Script::Katakana,
    Script::Bopomofo,
    Script::Hangul,
    Script::Yi,
    Script::Thai,
    Script::Lao,
    Script::Khmer,
    Script::Myanmar,
    Script::Tibetan,
    Script::TaiLe,
    Script::NewTaiLue,
    Script::TaiTham,
    Script::TaiViet,
    Script::Javanese,
    Script::Balinese,
    Script::Cham,
    Script::Sundanese,
    Script::Batak,
    Script::Tangut,
    Script::Nushu,
];

/// Neither seen nor a blank: joiners, selectors, fillers, tags and the like.
pub(super) fn is_invisible(c: char) -> bool {
    !c.is_ascii() && CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// A part of words of any script (UAX #31): letters, marks, digits, connectors.
pub(super) fn is_word(c: char) -> bool {
    match c.is_ascii() {
        true => c.is_ascii_alphanumeric() || c == '_',
        false => CodePointSetData::new::<XidContinue>().contains(c) && !is_invisible(c),
    }
}

pub(super) fn is_unspaced(c: char) -> bool {
    if c.is_ascii() {
        return false;
    }
    match CodePointMapData::<Script>::new().get(c) {
        // Of several scripts, as the long vowel of both Japanese syllabaries.
        Script::Common | Script::Inherited => {
            let scripts = ScriptWithExtensions::new();
            UNSPACED.iter().any(|script| scripts.has_script(c, *script))
        }
        script => UNSPACED.contains(&script),
    }
}

/// A mark that is drawn on the letter before it.
fn is_drawn_on(c: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    let mark = [
        GeneralCategory::NonspacingMark,
        GeneralCategory::EnclosingMark,
    ];
    !c.is_ascii() && mark.contains(&category)
}

fn is_seen(c: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    let hidden = [
        GeneralCategory::Control,
        GeneralCategory::Format,
        GeneralCategory::NonspacingMark,
        GeneralCategory::EnclosingMark,
    ];
    c.is_ascii_graphic()
        || !(c.is_whitespace()
            || is_invisible(c)
            || hidden.contains(&category)
            || is_noncharacter(c)
            || BLANK.contains(&c))
}

fn is_noncharacter(c: char) -> bool {
    CodePointSetData::new::<NoncharacterCodePoint>().contains(c)
}

/// Nothing to see.
pub fn is_blank(text: &str) -> bool {
    !text.chars().any(is_seen)
}

/// Turns the direction of what follows, until it is turned back (UAX #9).
fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text of one line as it is kept, trimmed: no control characters or ends of lines,
/// nothing that turns the direction, no piles of marks.
pub fn line(text: &str) -> Option<&str> {
    let text = text.trim();
    let bad = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || is_noncharacter(c) || turns(c)
    };
    (!text.chars().any(bad) && !has_piles(text)).then_some(text)
}

/// A name of one line as it is kept: the same, without what is not seen, so that no two
/// names differ by that alone.
pub fn name(text: &str) -> Option<String> {
    let seen: String = line(text)?.chars().filter(|c| !is_empty_cell(*c)).collect();
    line(&without_unseen(&seen)).map(str::to_owned)
}

/// The same as `line`, of what is all seen: nothing that `name` would leave out.
pub fn seen_line(text: &str) -> Option<&str> {
    line(text).filter(|line| name(line).as_deref() == Some(*line))
}

/// Blanks that are no spaces, and the signs around annotations.
fn is_empty_cell(c: char) -> bool {
    BLANK.contains(&c) || matches!(c, '\u{fff9}'..='\u{fffb}')
}

/// Text of several lines as it is kept: `\n` ends each, tabs are its only other control
/// characters, what turns the direction is turned back in the same line, and there are no
/// piles of marks.
pub fn lines(text: &str) -> Option<String> {
    let text = with_plain_line_ends(text);
    let bad = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || is_noncharacter(c);
    let fits = !text.chars().any(bad) && text.split('\n').all(turns_back) && !has_piles(&text);
    fits.then_some(text)
}

/// The same, of what may not turn the direction at all.
pub fn straight_lines(text: &str) -> Option<String> {
    lines(text.trim()).filter(|text| !text.chars().any(turns))
}

/// Every mandatory break of UAX #14 is `\n`.
fn with_plain_line_ends(text: &str) -> String {
    let others = ['\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];
    match text.contains(others) {
        true => text.replace("\r\n", "\n").replace(others, "\n"),
        false => text.to_owned(),
    }
}

fn turns_back(line: &str) -> bool {
    let mut open = Vec::new();
    for c in line.chars().filter(|c| turns(*c)) {
        match c {
            '\u{202c}' | '\u{2069}' if open.pop() != Some(c) => return false,
            '\u{202c}' | '\u{2069}' => {}
            '\u{2066}'..='\u{2068}' => open.push('\u{2069}'),
            _ => open.push('\u{202c}'),
        }
    }
    open.is_empty()
}

fn has_piles(text: &str) -> bool {
    let mut marks = 0;
    text.chars().any(|c| {
        marks = match is_drawn_on(c) {
            // Whoever joins marks by what is not seen piles them up as well.
            _ if is_invisible(c) => marks,
            true => marks + 1,
            false => 0,
        };
        marks > MARKS_MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_can_see_is_blank() {
        for blank in [
            "",
            " \t\r\n\u{b}\u{c}\u{85}",
            "\u{a0}\u{2003}\u{202f}\u{3000}\u{2028}\u{2029}",
            "\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{ad}",
            // Hangul's fillers, Khmer's inherent vowels, the combining grapheme joiner.
            "\u{115f}\u{1160}\u{3164}\u{ffa0}\u{17b4}\u{17b5}\u{34f}",
            "\u{180b}\u{180e}\u{fe0f}\u{e0100}\u{e0067}\u{e007f}",
            "\u{200e}\u{200f}\u{61c}\u{202a}\u{202c}\u{2066}\u{2069}",
            "\u{2800}\u{fffc}\u{1d159}\u{1d173}",
            // Marks on nothing.
            "\u{301}\u{20e3}\u{fe0f}",
            "\0\u{7f}\u{fdd0}",
        ] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for seen in [
            "a",
            "\u{3164}.",
            "़क",
            "🏴",
            "☺\u{fe0e}",
            "\u{ac00}",
            "\u{e000}",
        ] {
            assert!(!is_blank(seen), "{seen:?}");
        }
    }

    #[test]
    fn a_line_has_no_controls_ends_or_turns() {
        for bad in [
            "Ada\nAdministrator",
            "Ada\r\nAdministrator",
            "a\tb",
            "a\0b",
            "a\u{1b}[31mb",
            "a\u{7f}b",
            "a\u{85}b",
            "a\u{2028}b",
            "a\u{2029}b",
            "a\u{202e}b",
            "\u{2067}a\u{2069}",
            "a\u{ffff}b",
            "a\u{1fffe}b",
            &format!("a{}", "\u{301}".repeat(MARKS_MAX + 1)),
            &format!("a{}", "\u{301}\u{34f}".repeat(MARKS_MAX + 1)),
        ] {
            assert_eq!(line(bad), None, "{bad:?}");
        }
        for good in [
            "Ada",
            "नमस्ते क्‍ष",
            "می‌خواهم",
            "👩🏽‍💻 👨‍👩‍👧 🏴\u{e0067}\u{e0062}\u{e007f}",
            "\u{200f}שלום\u{200e}",
            "Nguyễn",
            "בְּרֵאשִׁ֖ית",
            &format!("a{}", "\u{301}".repeat(MARKS_MAX)),
        ] {
            assert_eq!(line(&format!("\u{3000}{good}\n")), Some(good), "{good:?}");
        }
    }

    #[test]
    fn a_name_has_nothing_that_is_not_seen() {
        for hidden in [
            "\u{200b}",
            "\u{feff}",
            "\u{ad}",
            "\u{3164}",
            "\u{ffa0}",
            "\u{115f}",
            "\u{2800}",
            "\u{34f}",
            "\u{e0041}",
            "\u{e0100}",
            "\u{180e}",
            "\u{180b}",
            "\u{2060}",
            "\u{2063}",
            "\u{61c}",
            "\u{200e}",
            "\u{200f}",
            "\u{200c}",
            "\u{200d}",
            "\u{fe0e}",
            "\u{fe0f}",
            "\u{fffc}",
            "\u{fff9}",
            "\u{200d}\u{200b}\u{200d}",
        ] {
            for place in [
                format!("Ad{hidden}a"),
                format!("{hidden}Ada"),
                format!("Ada{hidden}"),
                format!("{hidden} Ada {hidden}"),
            ] {
                assert_eq!(name(&place).as_deref(), Some("Ada"), "{place:?}");
            }
            assert_eq!(name(&format!("Ада{hidden}🎉")).as_deref(), Some("Ада🎉"));
        }
        for hidden in ["\u{200d}", "\u{200c}", "\u{34f}", "\u{e0061}", "\u{fe0f}"] {
            assert_eq!(name(&format!("🎉{hidden}")).as_deref(), Some("🎉"));
        }
        for kept in [
            "नमस्ते क्‍ष",
            "ന്\u{200d}",
            "می‌خواهم",
            "👩🏽‍💻 👨‍👩‍👧 🏴\u{e0067}\u{e0062}\u{e007f}",
            "❤\u{fe0f} ❤ ☺\u{fe0e} ™\u{fe0f} 1\u{fe0f}\u{20e3} 👩\u{200d}❤\u{fe0f}\u{200d}👨",
            "葛\u{e0100}城",
            "ᠮᠣᠩᠭᠣᠯ\u{180e}ᠠ",
            "שלום",
        ] {
            assert_eq!(name(kept).as_deref(), Some(kept), "{kept:?}");
        }
        for bad in [
            "a\nb",
            "a\u{202e}b",
            &format!("a{0}\u{2800}{0}", "\u{301}".repeat(MARKS_MAX)),
        ] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn every_end_of_a_line_is_kept_as_one_sign() {
        let kept = lines("a\r\nb\rc\u{b}d\u{c}e\u{85}f\u{2028}g\u{2029}h\n\r\n\ti");
        assert_eq!(kept.as_deref(), Some("a\nb\nc\nd\ne\nf\ng\nh\n\n\ti"));
        for bad in ["a\0", "a\u{1b}", "a\u{9b}", "a\u{fffe}"] {
            assert_eq!(lines(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_turned_direction_is_turned_back_in_its_line() {
        for good in [
            "\u{2067}a\u{2069}",
            "\u{202b}a\u{2066}b\u{2069}\u{202c}",
            "\u{2066}\u{202a}https://example.org/\u{202c}\u{2069} \u{2068}b\u{2069}",
        ] {
            assert_eq!(lines(good).as_deref(), Some(good), "{good:?}");
        }
        for bad in [
            "\u{202e}a",
            "a\u{202c}",
            "a\u{2069}",
            "\u{2067}a\n\u{2069}",
            "\u{2067}a\u{202c}",
            "\u{2067}\u{202a}a\u{2069}\u{202c}",
        ] {
            assert_eq!(lines(bad), None, "{bad:?}");
        }
    }
}
