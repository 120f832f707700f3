//! What holds of every text.

use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use super::{pieces::Piece, *};
use crate::any;

/// Words and signs that join, cut and mark, in any order.
fn busy_text() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "#",
        "@",
        "＃",
        "＠",
        "tag",
        "kim",
        "日本",
        "カー",
        "สวัสดี",
        "می\u{200c}خواهم",
        "·",
        "・",
        "👩🏽‍💻",
        "❤️",
        "1️⃣",
        "🇯🇵",
        "\u{301}",
        "\u{fe0f}",
        "\u{200d}",
        "https://",
        "example.org",
        "/",
        ".",
        " ",
        "\n",
        "(",
        ")",
        "mailto:",
        "&",
        "_",
        "é",
        "가",
        "\u{3164}",
        "\u{180e}",
        "\u{200b}",
        "\u{34f}",
        "\u{e0061}",
        "\u{e007f}",
        "\u{2800}",
        "🎉",
        "🏴",
        "ℹ️",
        "™",
        "ㅋ",
        "ﾻ",
        "。",
        "क्",
        "葛\u{e0100}",
    ]);
    prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::odd_text(300), busy_text()]
}

proptest! {
    #![proptest_config(any::config())]

    #[test]
    fn folding_twice_is_folding_once(text in any_text()) {
        let once = fold(&text);
        prop_assert_eq!(fold(&once), once);
    }

    #[test]
    fn every_hashtag_is_bounded_folded_and_finds_itself_again(text in any_text()) {
        let found = hashtags(&text);
        prop_assert!(found.len() <= HASHTAGS_MAX);
        for (at, tag) in found.iter().enumerate() {
            prop_assert!(!found[..at].contains(tag), "twice: {:?}", tag);
            prop_assert_eq!(&fold(tag), tag);
            prop_assert!(!tag.contains(char::is_whitespace), "{:?}", tag);
            prop_assert!(!is_blank(tag), "{:?}", tag);
            prop_assert!(tag.chars().count() <= HASHTAG_CHARACTERS_MAX, "{:?}", tag);
            for alone in [format!("#{tag}"), format!("日本#{tag} "), format!("🎉＃{tag}。")] {
                prop_assert_eq!(&hashtags(&alone), std::slice::from_ref(tag));
            }
        }
    }

    #[test]
    fn every_mention_is_in_the_text_after_its_mark(text in any_text()) {
        let found = mentions(&text);
        prop_assert!(found.len() <= MENTIONS_MAX);
        let lower = text.to_ascii_lowercase();
        for (at, handle) in found.iter().enumerate() {
            prop_assert!(!found[..at].contains(handle), "twice: {}", handle);
            let marked = ['@', '＠', '﹫'].map(|mark| format!("{mark}{handle}"));
            prop_assert!(marked.iter().any(|word| lower.contains(word)), "{}", handle);
        }
    }

    #[test]
    fn entities_stand_in_order_apart_and_are_what_is_found(text in any_text()) {
        let entities = entities(&text);
        prop_assert!(entities.len() <= ENTITIES_MAX);
        let (mut tags, mut handles, mut end) = (Vec::new(), Vec::new(), 0);
        for entity in &entities {
            prop_assert!(end <= entity.bytes.start && entity.bytes.start < entity.bytes.end);
            end = entity.bytes.end;
            let slice = &text[entity.bytes.clone()];
            let rest: String = slice.chars().skip(1).collect();
            match &entity.what {
                What::Hashtag(tag) => {
                    prop_assert_eq!(&fold(&rest), tag);
                    tags.push(tag.clone());
                }
                What::Mention(handle) => {
                    prop_assert_eq!(rest.to_ascii_lowercase(), handle.to_string());
                    handles.push(handle.clone());
                }
            }
        }
        // Those that are cut off are the last.
        if entities.len() < ENTITIES_MAX {
            prop_assert_eq!(first_different(tags.into_iter(), HASHTAGS_MAX), hashtags(&text));
            prop_assert_eq!(first_different(handles.into_iter(), MENTIONS_MAX), mentions(&text));
        }
    }

    #[test]
    fn what_is_alone_is_found_between_any_other_words(
        before in any_text(),
        after in any_text(),
        mark in 0..2_usize,
    ) {
        let (hash, at) = (['#', '＃'][mark], ['@', '＠'][mark]);
        let text = format!("{hash}Needle_1 {at}Needle_1 {after}");
        prop_assert!(hashtags(&text).contains(&"needle_1".to_owned()));
        prop_assert!(names(&text).contains(&"needle_1".to_owned()));
        let text = format!("{before} {hash}Needle_1 {at}Needle_1");
        let full = hashtags(&before).len() == HASHTAGS_MAX;
        prop_assert!(full || hashtags(&text).contains(&"needle_1".to_owned()));
        let full = mentions(&before).len() == MENTIONS_MAX;
        prop_assert!(full || names(&text).contains(&"needle_1".to_owned()));
    }

    #[test]
    fn what_is_glued_to_a_word_is_not_found(
        before in "[\\p{Latin}\\p{Greek}\\p{Cyrillic}\\p{Arabic}\\p{Hebrew}\\p{Devanagari}0-9_&]",
        mark in 0..2_usize,
    ) {
        prop_assume!(before.chars().all(|c| c == '&' || characters::is_word(c)));
        let (hash, at) = (['#', '＃'][mark], ['@', '＠'][mark]);
        prop_assert_eq!(hashtags(&format!("{before}{hash}tag")), Vec::<String>::new());
        prop_assert_eq!(mentions(&format!("{before}{at}ada")), Vec::new());
    }

    #[test]
    fn a_text_says_the_same_however_it_is_composed(text in any_text()) {
        let (composed, decomposed): (String, String) = (text.nfc().collect(), text.nfd().collect());
        prop_assert_eq!(hashtags(&composed), hashtags(&decomposed));
        prop_assert_eq!(mentions(&composed), mentions(&decomposed));
    }

    #[test]
    fn pieces_are_a_readers_signs_and_addresses_are_apart(text in any_text()) {
        let signs: Vec<_> = text.graphemes(true).collect();
        let pieces = pieces(&text);
        prop_assert_eq!(pieces.iter().map(|piece| piece.text).collect::<Vec<_>>(), signs);
        prop_assert_eq!(pieces.last().map_or(0, Piece::end), text.len());
        let mut end = 0;
        for address in addresses(&text) {
            prop_assert!(end <= address.start && address.start < address.end);
            end = address.end;
            prop_assert!(text.get(address).is_some());
        }
    }

    #[test]
    fn what_is_kept_is_kept_as_it_is(text in any_text()) {
        if let Some(kept) = lines(&text) {
            prop_assert_eq!(lines(&kept), Some(kept.clone()));
            prop_assert!(!kept.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')));
        }
        if let Some(kept) = line(&text) {
            prop_assert_eq!(line(kept), Some(kept));
            prop_assert!(!kept.chars().any(char::is_control));
        }
        if let Some(kept) = name(&text) {
            prop_assert_eq!(name(&kept), Some(kept.clone()));
        }
    }
}

fn names(text: &str) -> Vec<String> {
    mentions(text).iter().map(ToString::to_string).collect()
}
