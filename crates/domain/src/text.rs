//! What stands inside a text: hashtags and mentions, found once, here,
//! whatever the script. It refuses to know who is mentioned: that is a fact.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::handles::Handle;

/// More than this in one text are not linked.
pub const HASHTAGS_MAX: usize = 30;
pub const MENTIONS_MAX: usize = 20;
pub const HASHTAG_CHARACTERS_MAX: usize = 100;

/// Hashtags in order of appearance, folded (NFKC, lower case), each once.
/// A hashtag is `#` not after a word character, then letters, marks, digits
/// and underscores with at least one letter (the shape of UAX #31's hashtags).
pub fn hashtags(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for word in marked_words(text, ['#', '＃'], is_tag_character) {
        let folded = fold(word);
        if is_tag(&folded) && !found.contains(&folded) {
            found.push(folded);
        }
        if found.len() == HASHTAGS_MAX {
            break;
        }
    }
    found
}

/// Handles after an `@` in order of appearance, each once.
pub fn mentions(text: &str) -> Vec<Handle> {
    let mut found = Vec::new();
    for word in marked_words(text, ['@', '＠'], |c| {
        c.is_ascii_alphanumeric() || c == '_'
    }) {
        if let Ok(handle) = word.parse::<Handle>()
            && !found.contains(&handle)
        {
            found.push(handle);
        }
        if found.len() == MENTIONS_MAX {
            break;
        }
    }
    found
}

/// Compatibility-composed and lower-cased, so that looks decide equality.
pub fn fold(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).nfc().collect()
}

/// Folding makes one letter many and some letters blanks and brackets.
fn is_tag(folded: &str) -> bool {
    folded.chars().any(char::is_alphabetic)
        && folded.chars().all(is_tag_character)
        && folded.chars().count() <= HASHTAG_CHARACTERS_MAX
}

fn is_tag_character(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || is_combining_mark(c)
}

/// The words that directly follow one of `marks`, where the mark does not
/// itself follow a word character (so that `a@b` and `x#y` are no words).
fn marked_words(text: &str, marks: [char; 2], inside: impl Fn(char) -> bool) -> Vec<&str> {
    let mut words = Vec::new();
    let mut before = None;
    for (at, c) in text.char_indices() {
        if marks.contains(&c) && !before.is_some_and(|b| is_tag_character(b) || b == '&') {
            let rest = &text[at + c.len_utf8()..];
            let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
            if end > 0 {
                words.push(&rest[..end]);
            }
        }
        before = Some(c);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashtags_are_found_in_any_script_once_and_folded() {
        assert_eq!(
            hashtags("#Rust #rust, #ÉTÉ #日本語 (#हिन्दी) #2026 a#no &#39; ＃ｗｉｄｅ #"),
            ["rust", "été", "日本語", "हिन्दी", "wide"],
        );
    }

    #[test]
    fn a_hashtag_that_folds_to_several_words_is_none() {
        assert_eq!(hashtags("#ﷺ #\u{37a} #a⑴ #a½"), Vec::<String>::new());
    }

    #[test]
    fn a_hashtag_is_bounded_as_it_is_folded() {
        let grows = |count| format!("#{}", "ﬃ".repeat(count));
        assert_eq!(hashtags(&grows(33)), ["ffi".repeat(33)]);
        assert_eq!(hashtags(&grows(34)), Vec::<String>::new());
        let shrinks = |count| format!("#{}", "e\u{301}".repeat(count));
        assert_eq!(hashtags(&shrinks(100)), ["é".repeat(100)]);
        assert_eq!(hashtags(&shrinks(101)), Vec::<String>::new());
    }

    #[test]
    fn mentions_are_handles_and_not_mail_addresses() {
        let found = mentions("@Ada, mail me@example.org or (@bob_2) @x @ada @ünal");
        let names: Vec<_> = found.iter().map(Handle::as_str).collect();
        assert_eq!(names, ["ada", "bob_2"]);
    }
}

#[cfg(test)]
mod properties {
    use proptest::prelude::*;

    use super::*;
    use crate::any;

    proptest! {
        #![proptest_config(any::config())]

        #[test]
        fn folding_twice_is_folding_once(text in any::odd_text(40)) {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn every_hashtag_is_bounded_folded_and_finds_itself_again(text in any::odd_text(300)) {
            let found = hashtags(&text);
            prop_assert!(found.len() <= HASHTAGS_MAX);
            for (at, tag) in found.iter().enumerate() {
                prop_assert!(!found[..at].contains(tag), "twice: {:?}", tag);
                prop_assert_eq!(&fold(tag), tag);
                prop_assert!(tag.chars().all(is_tag_character), "{:?}", tag);
                prop_assert!(tag.chars().any(char::is_alphabetic), "{:?}", tag);
                prop_assert!(tag.chars().count() <= HASHTAG_CHARACTERS_MAX, "{:?}", tag);
                prop_assert_eq!(&hashtags(&format!("#{tag}")), std::slice::from_ref(tag));
            }
        }

        #[test]
        fn every_mention_stands_in_the_text_after_its_mark(text in any::odd_text(300)) {
            let found = mentions(&text);
            prop_assert!(found.len() <= MENTIONS_MAX);
            let lower = text.to_ascii_lowercase();
            for (at, handle) in found.iter().enumerate() {
                prop_assert!(!found[..at].contains(handle), "twice: {}", handle);
                let marked = ['@', '＠'].map(|mark| format!("{mark}{handle}"));
                prop_assert!(marked.iter().any(|word| lower.contains(word)), "{}", handle);
            }
        }

        #[test]
        fn what_stands_alone_is_found_between_any_other_words(
            before in any::odd_text(20),
            after in any::odd_text(20),
            mark in 0..2_usize,
        ) {
            let (hash, at) = (['#', '＃'][mark], ['@', '＠'][mark]);
            let text = format!("{before} {hash}Needle_1 {at}Needle_1 {after}");
            prop_assert!(hashtags(&text).contains(&"needle_1".to_owned()));
            let found = mentions(&text);
            prop_assert!(found.iter().any(|handle| handle.as_str() == "needle_1"));
        }

        #[test]
        fn what_is_glued_to_a_word_is_not_found(
            before in prop::char::any().prop_filter("a word", |c| is_tag_character(*c) || *c == '&'),
            mark in 0..2_usize,
        ) {
            let (hash, at) = (['#', '＃'][mark], ['@', '＠'][mark]);
            prop_assert_eq!(hashtags(&format!("{before}{hash}tag")), Vec::<String>::new());
            prop_assert_eq!(mentions(&format!("{before}{at}ada")), Vec::new());
        }
    }
}
