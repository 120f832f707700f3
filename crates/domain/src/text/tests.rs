//! Which words are found in a text, and which are not.

use super::*;

/// In the way of the tables below: what is found, with a blank between.
fn tags(text: &str) -> String {
    hashtags(text).join(" ")
}

fn names(text: &str) -> String {
    let found = mentions(text);
    let names: Vec<_> = found.iter().map(Handle::as_str).collect();
    names.join(" ")
}

#[test]
fn hashtags_are_found_in_any_script_once_and_folded() {
    assert_eq!(
        hashtags("#Rust #rust, #ÉTÉ #日本語 (#हिन्दी) #2026 a#no &#39; ＃ｗｉｄｅ #"),
        ["rust", "été", "日本語", "हिन्दी", "wide"],
    );
}

#[test]
fn a_hashtag_that_folds_to_several_words_is_none() {
    assert_eq!(hashtags("#ﷺ #\u{37a}"), Vec::<String>::new());
    // What cannot be in one ends it.
    assert_eq!(hashtags("#a⑴ #b½"), ["a", "b"]);
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
    let found = names("@Ada, mail me@example.org or (@bob_2) @x @ada @ünal");
    assert_eq!(found, "ada bob_2");
}

#[test]
fn nothing_inside_an_address_is_found() {
    for text in [
        "https://example.org/#about",
        "https://example.org/@kim/1",
        "https://example.org/a?b=@kim&c=#about",
        "(https://example.org/#about)",
        "http://kim:@kim@example.org:80/",
        "example.org/#about www.example.org/@kim",
        "//example.org/@kim",
        "localhost:8080/#about",
        "詳しくはhttps://example.org/#about",
        "詳しくはexample.org/@kim",
        "https://bücher.example/#about",
        "https://ja.example/wiki/日本#歴史",
        "https://example.org/(@kim)#about",
        "mailto:kim@kim.example?subject=#about",
        "xmpp:kim@example.org/#about",
        "acct:kim@example.org",
        "me@kim.example a.b+c@kim.example.org",
        "#https://example.org @https://example.org",
        "@example.org/@kim",
        "https://example.org./@kim/1",
        "https://user@example.org./@kim",
        "https://example.org.:443/@kim",
        "http://localhost./@kim",
        "https://1.1.1.1./#x",
        "https://💩.la/@kim",
        "https://i❤.ws/@kim",
        "https://example%2Eorg/@kim",
        "https://example.org:/@kim",
        "https://例え。テスト/@kim",
        "https://example｡org/#x",
        "bitcoin:1A1zP1?label=#x",
        "spotify:user:@kim",
        "skype:@kim?call",
        "im:@kim",
        "javascript:alert(1)#x",
    ] {
        assert_eq!((tags(text), names(text)), Default::default(), "{text}");
    }
    for text in [
        "https://example.org #tag @kim",
        "(https://example.org/a)#tag @kim",
        "<https://example.org/#a>#tag @kim",
        "「example.org/#a」#tag「@kim」",
        "https://example.org/#a。#tag @kim",
        "https://example.org/#a\n#tag\n@kim",
        "example.org/#a\u{3000}#tag\u{3000}@kim",
        "and/or/#tag @kim",
        "https://example.org。#tag @kim",
        "https://example.org。次は#tag @kim",
        "note:#tag note:@kim",
        "bitcoin:#tag spotify:@kim",
    ] {
        assert_eq!(
            (tags(text), names(text)),
            ("tag".into(), "kim".into()),
            "{text}"
        );
    }
}

#[test]
fn a_name_that_goes_on_is_of_nobody_here() {
    for text in [
        "@kim@social.example",
        "@kim@localhost",
        "@kim\u{200b}@x.org",
        "@kim\u{2060}@x.org",
        "@kim\u{200c}@x.org",
        "@kim\u{200d}@x.org",
        "@kim\u{ad}@x.org",
        "@kim\u{200e}\u{feff}@x.org",
        "@kim\u{200b}.\u{200b}example",
        "@kim.\u{2060}example",
        "@kim:\u{200b}matrix.example",
        "@kim\u{200b}é",
        "@kim＠social.example",
        "@kim.example",
        "@kim.example.org hello",
        "@kim:matrix.example hello",
        "@josé",
        "@jose\u{301}",
        "@kimя",
        "@kimα",
        "@kim٣",
        "@kimｂ",
        "@kimع",
        "@kimש",
        "@kimह",
        "a@kim",
        "é@kim",
        "e\u{301}@kim",
        "я@kim",
        "1@kim",
        "_@kim",
        "@@kim",
        "#@kim",
        "f*@kim",
        "@kim://x",
        "@\u{301}kim",
        "@\u{fe0f}kim",
        "@k\u{301}im",
        "@ kim",
        "@\u{200b}kim",
        "@kim_and_many_more_characters_than_a_handle_has",
    ] {
        assert_eq!(names(text), "", "{text}");
    }
    for text in [
        "@kim",
        "＠kim",
        "@KIM.",
        "@kim. Then",
        "@kim...then",
        ".@kim",
        "great.@kim",
        "/@kim",
        "-@kim",
        "(@kim)",
        "@kim's",
        "@kim’s",
        "@kim-fans",
        "@kim: hi",
        "@kim:hi",
        "@kim:) hi",
        "@kim/",
        "@kim,@kim",
        "@kim…",
        "“@kim”",
        "@kim🎉",
        "🎉@kim",
        "❤️@kim",
        "1️⃣@kim1️⃣",
        "👩🏽‍💻@kim👨‍👩‍👧",
        "@kim。",
        "你好@kim你好",
        "の@kimに",
        "カー@kimさん",
        "สวัสดี@kimครับ",
        "ສະບາຍດີ@kimເດີ",
        "សួស្តី@kimបាទ",
        "မင်္ဂလာပါ@kimရေ",
        "안녕@kim은",
        "བཀྲ་ཤིས་@kimལགས",
        "葛\u{e0100}@kim",
        "\u{200f}@kim\u{200f}",
        "@kim\u{200b} @kim",
        "@kim\u{200b}です",
        "@kim\u{200b}.",
        "ℹ️@kimℹ️",
        "\u{2067}@kim\u{2069}",
    ] {
        assert_eq!(names(text), "kim", "{text}");
    }
}

#[test]
fn a_hashtag_may_follow_scripts_without_blanks_and_signs() {
    for before in [
        "你好",
        "東京は",
        "カー",
        "ｶｰ",
        "〇",
        "สวัสดี",
        "ปี๒๕๖๗",
        "ສະບາຍດີ",
        "សួស្តី",
        "မင်္ဂလာပါ",
        "한국",
        "བོད་",
        "ꀀ",
        "葛\u{e0100}",
        "か\u{3099}",
        "🎉",
        "❤️",
        "✌🏿️",
        "👩🏽‍💻",
        "1️⃣",
        "🇯🇵",
        "#️⃣",
        "🏴\u{e0067}\u{e0062}\u{e007f}",
        "(",
        "。",
        "/",
        ".",
        "-",
        "…",
        "\u{200b}",
        "\u{200f}",
        "\u{2068}",
        "，",
        "「",
        "’",
    ] {
        assert_eq!(tags(&format!("{before}#tag")), "tag", "{before}");
    }
    for before in [
        "a", "é", "e\u{301}", "1", "_", "я", "α", "ع", "ש", "ह", "क्", "ａ", "１", "&",
    ] {
        assert_eq!(tags(&format!("{before}#tag")), "", "{before}");
    }
}

#[test]
fn a_word_is_whole_with_what_its_script_joins_it_by() {
    for word in [
        "il·lusió",
        "می\u{200c}خواهم",
        "خانه\u{200c}ای",
        "ශ්\u{200d}රී",
        "क्\u{200d}ष",
        "ന്\u{200d}",
        "עַל־יְדֵי",
        "וכו׳",
        "מ״כ",
        "ســـلام",
        "ロミオ・と・ジュリエット",
        "サッカー",
        "メ〜テレ",
        "約翰·史密斯",
        "各〃",
        "いすゞ",
        "བོད་སྐད་",
        "བོད་སྐད",
        "ᠮᠣᠩᠭᠣᠯ\u{180e}ᠠ",
        "комп\u{2bc}ютер",
        "հայ֊հայ",
        "สวัสดี",
        "ภูมิๆ",
        "សួស្តី",
        "မြန်မာ",
        "ລາວ",
        "नमस्ते",
        "தமிழ்",
        "তৈরি_বই",
        "tiê\u{301}ng",
        "가나",
        "𠀡",
        "i❤rust",
        "🎉",
        "rust🦀",
        "🇯🇵",
        "👩🏽\u{200d}💻",
        "👨\u{200d}👩\u{200d}👧\u{200d}👦party",
        "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
        "top1\u{20e3}",
    ] {
        use unicode_normalization::UnicodeNormalization;
        let whole: String = word.nfkc().collect();
        let whole = match word.ends_with('\u{200d}') {
            // At the end it joins nothing.
            true => whole.trim_end_matches('\u{200d}').to_owned(),
            false => whole,
        };
        assert_eq!(tags(&format!("see #{word}, #{word}")), whole, "{word}");
        assert_eq!(tags(&format!("你好#{word} 👍#{word}。")), whole, "{word}");
    }
}

#[test]
fn no_half_of_a_sequence_is_a_hashtag() {
    for none in [
        "#️⃣",
        "#️⃣tag",
        "#️tag",
        "#⃣tag",
        "#\u{301}tag",
        "#\u{200d}tag",
        "#1️⃣",
        "#1️⃣2️⃣",
        "#\u{1f1ef}",
        "#\u{fe0f}",
        "#\u{200d}",
        "#\u{3164}",
        "#\u{200b}tag",
        "#\u{ad}tag",
        "# tag",
        "#_",
        "#1_2",
        "#１２",
        "#٣",
        "#〃",
        "#·",
        "#・",
        "#™",
        "#©",
        "#!",
        "#\u{2067}tag",
    ] {
        assert_eq!(tags(none), "", "{none}");
    }
    for (text, found) in [
        ("#tag™", "tag"),
        ("#tag·", "tag"),
        ("#tag· #a··b", "tag a"),
        ("#タグ・", "タグ"),
        ("#tag·https://example.org", "tag"),
        ("#a\u{200b}b", "a"),
        ("#a\u{3164}b", "a"),
        ("#a\u{2067}b\u{2069}", "a"),
        ("#kim's", "kim"),
        ("#kim’s", "kim"),
        ("#one-two", "one"),
        ("#one+two", "one"),
        ("#one/#two", "one two"),
        ("#日本#東京", "日本 東京"),
        ("#one#two", "one"),
        ("##one", "one"),
        ("#❤️ #❤", "❤"),
        ("#🎉\u{200d} #🎉\u{200c} #🎉\u{34f} #🎉", "🎉"),
        (
            "#🎉\u{e0061} #🎉\u{200d}\u{200d} #🎉\u{e0061}\u{e007f}",
            "🎉",
        ),
        ("#🏴\u{e0061} #🏴\u{fe0f} #🏴\u{e007f}", "🏴"),
        ("#👍🏽\u{200d} #👍🏽", "👍🏽"),
        ("#👩\u{34f}\u{200d}💻 #👩\u{200d}💻", "👩\u{200d}💻"),
        ("#ℹ️ #ℹ️info", "ℹ️ ℹ️info"),
        ("#top㊙️", "top㊙️"),
        ("#a™️b #A™️B", "a™️b"),
        ("#wow‼️", "wow‼️"),
        ("#Ⓜ️etro", "Ⓜ️etro"),
        ("#㊗️ #🈂️ #©️ #®️ #⁉️", "㊗️ 🈂️ ©️ ®️ ⁉️"),
        ("ℹ️#tag ™️#tag", "tag"),
        ("#ㅋㅋㅋ #ㅠㅠ", "ㅋㅋㅋ ㅠㅠ"),
        ("#ﾻﾻﾻ #ㅋㅋㅋ", "ㅋㅋㅋ"),
        ("#한글ㅋㅋ #ㅎㅏ", "한글ㅋㅋ ㅎㅏ"),
        ("#STRASSE #straße", "strasse"),
        ("#ΟΔΟΣ #οδος", "οδοσ"),
        ("#İn #ın #in", "i\u{307}n ın in"),
        ("#cafe\u{301} #CAFÉ", "café"),
    ] {
        assert_eq!(tags(text), found, "{text}");
    }
}

#[test]
fn the_first_so_many_are_found() {
    let numbered = |mark: char, count: usize| -> String {
        (0..count)
            .map(|n| format!("{mark}x{n} {mark}X{n} "))
            .collect()
    };
    assert_eq!(
        hashtags(&numbered('#', HASHTAGS_MAX + 9)).len(),
        HASHTAGS_MAX
    );
    assert_eq!(
        mentions(&numbered('@', MENTIONS_MAX + 9)).len(),
        MENTIONS_MAX
    );
}
