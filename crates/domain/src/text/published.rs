//! The rules beside those of `twitter-text`, whose conformance suite is published: the
//! same kinds of input, in words of our own. Where the rules differ, the table says why.

use super::*;

/// Hashtags of one text, in their order: by both rules the same.
const HASHTAGS: &[(&str, &[&str])] = &[
    ("at the end #word", &["word"]),
    ("#word1 and #1word", &["word1", "1word"]),
    ("bus #42, and #0", &[]),
    ("#_ #4_2 #〃", &[]),
    (
        "(#a1 )#b1 [#c1 ]#d1 ’#e1’#f1",
        &["a1", "b1", "c1", "d1", "e1", "f1"],
    ),
    ("#niño #thé #köln", &["niño", "thé", "köln"]),
    ("# 会議 は", &[]),
    (
        "#서울 #город #カナ #ひら #京都 #日本語テスト",
        &["서울", "город", "カナ", "ひら", "京都", "日本語テスト"],
    ),
    ("試験。#京都", &["京都"]),
    ("#京都。", &["京都"]),
    ("すごい！＃京都。", &["京都"]),
    ("長い。#ビール", &["ビール"]),
    (
        "#佐々木 #すゝめ #いすゞ #各〻",
        &["佐々木", "すゝめ", "いすゞ", "各〻"],
    ),
    ("#Ateş #ştu", &["ateş", "ştu"]),
    ("#a: #b; #c, #d. #e! #f?", &["a", "b", "c", "d", "e", "f"]),
    (":#a ;#b ,#c .#d !#e ?#f", &["a", "b", "c", "d", "e", "f"]),
    ("#a\ntext\n#b\n", &["a", "b"]),
    ("#http://example.org #https://example.org", &[]),
    ("http://example.org/#word example.org/#word", &[]),
    ("text#word", &[]),
    ("&#word;", &[]),
    ("one/#two #three/#four", &["two", "three", "four"]),
    ("#Čeština #Azərbaycan", &["čeština", "azərbaycan"]),
    ("#سیاست #لس_آنجلس #۳۴هشتگ", &["سیاست", "لس_آنجلس", "۳۴هشتگ"]),
    ("#می\u{200c}رود", &["می\u{200c}رود"]),
    ("#עַל־פִּי #וכו׳ #מ״כ", &["עַל־פִּי", "וכו׳", "מ״כ"]),
    (
        "#ภาษาไทย #ບ້ານ #ខ្មែរ #မြန်မာ",
        &["ภาษาไทย", "ບ້ານ", "ខ្មែរ", "မြန်မာ"],
    ),
    ("#हिन्दी_१२ #१२", &["हिन्दी_१२"]),
    ("#বাংলা #தமிழ் #తెలుగు #ಕನ್ನಡ", &["বাংলা", "தமிழ்", "తెలుగు", "ಕನ್ನಡ"]),
    ("#ශ්\u{200d}රී", &["ශ්\u{200d}රී"]),
    ("#བོད་སྐད་", &["བོད་སྐད་"]),
    (
        "#አማርኛ #Հայաստան #საქართველო",
        &["አማርኛ", "հայաստան", "საქართველო"],
    ),
    ("#il·lusió", &["il·lusió"]),
    ("#メ〜テレ", &["メ〜テレ"]),
    ("#𠀡", &["𠀡"]),
    (
        "✌#a ✌︎#b ✌️#c ✌🏿#d ✌🏿️#e 👨‍👩‍👧#f",
        &["a", "b", "c", "d", "e", "f"],
    ),
    ("#️word #⃣word", &[]),
    ("text\u{3000}#word\u{3000}text", &["word"]),
    ("#wordの", &["wordの"]),
];

/// Mentions of one text: by both rules the same.
const MENTIONS: &[(&str, &[&str])] = &[
    ("@name hello", &["name"]),
    ("hello @na_me and @12345", &["na_me", "12345"]),
    ("の@nameに着いた", &["name"]),
    ("at work: @_@ (with @name)", &["name"]),
    ("@alicéx", &[]),
    ("@name write to @test@example.com", &["name"]),
    ("@http://example.org", &[]),
    ("@one\n@two", &["one", "two"]),
    ("RT: @name RT:@other", &["name", "other"]),
    ("f!@kn f@@kn f#@kn f$@kn f%@kn f&@kn f*@kn", &[]),
    ("meet@the beach", &[]),
    ("great.@name", &["name"]),
    ("@name&^$%^", &["name"]),
    ("write to support@example.com", &[]),
    ("＠name", &["name"]),
    ("@name: @other", &["name", "other"]),
    ("@name îs here", &["name"]),
    ("@MixedCase", &["mixedcase"]),
    ("@name/ list", &["name"]),
];

/// Where the rules differ: the text, what is found here, and why.
const DIFFERENT: &[(&str, &[&str], &[&str], &str)] = &[
    (
        "京都旅行#京都",
        &["京都"],
        &[],
        "Japanese puts no blank before a hashtag",
    ),
    (
        "#ｗｏｒｄ１２",
        &["word12"],
        &[],
        "hashtags are folded, so that looks decide",
    ),
    ("#ｶﾅ", &["カナ"], &[], "likewise"),
    (
        "#メ～テレ",
        &["メ〜テレ"],
        &[],
        "two codes of one dash are one hashtag",
    ),
    (
        "#İn #ın",
        &["i\u{307}n", "ın"],
        &[],
        "folded by Unicode, without a language",
    ),
    (
        "#word🎉",
        &["word🎉"],
        &[],
        "emoji are of hashtags by UAX #31",
    ),
    ("RT@name", &[], &[], "a word goes right before it"),
    (
        "@name.com",
        &[],
        &[],
        "a name that goes on is of another server",
    ),
    (
        "@name/list",
        &[],
        &["name"],
        "there are no lists: it is the account",
    ),
    ("#one #One", &["one"], &[], "each is told once"),
    (
        "@name9012345678901234567890123456789",
        &[],
        &[],
        "a name that is too long is nobody's, not the name it begins with",
    ),
];

fn found(text: &str) -> (Vec<String>, Vec<String>) {
    let names = mentions(text).iter().map(ToString::to_string).collect();
    (hashtags(text), names)
}

#[test]
fn what_both_rules_find_is_found() {
    for (text, expected) in HASHTAGS {
        assert_eq!(found(text).0, *expected, "{text}");
    }
    for (text, expected) in MENTIONS {
        assert_eq!(found(text).1, *expected, "{text}");
    }
}

#[test]
fn where_the_rules_differ_ours_hold() {
    for (text, tags, names, why) in DIFFERENT {
        let (found_tags, found_names) = found(text);
        assert_eq!(found_tags, *tags, "{text}: {why}");
        assert_eq!(found_names, *names, "{text}: {why}");
    }
}
