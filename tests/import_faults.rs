//! `headwater import` of files that are damaged, foreign or cut, and on servers
//! that go away: what can be read is done, and the rest is named.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use devservices::{Programs, Stack};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use tempfile::{TempDir, tempdir};
use testkit::Servers;

use crate::process::{Output, Running, command, environment, run};

/// A place to import from, and what is said of it.
struct Place {
    settings: Vec<(&'static str, String)>,
    folder: TempDir,
}

impl Place {
    async fn new() -> Self {
        Self::on(&Servers::shared().await).await
    }

    /// Workers make the log, which an import does not.
    async fn on(servers: &Servers) -> Self {
        let folder = tempdir().unwrap();
        let work = Running::work(servers, folder.path()).await;
        assert_eq!(work.stop().await, 0);
        let settings = environment(servers);
        Self { settings, folder }
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    async fn import(&self, arguments: &[&str]) -> Output {
        let arguments: Vec<_> = ["import"].iter().chain(arguments).copied().collect();
        run(&arguments, &self.settings, self.folder.path()).await
    }

    /// How many events of a type the log has.
    async fn events(&self, name: &str) -> usize {
        let tail = ["tail", "-o", "start", "-e", "-t", name];
        let told = run(&tail, &self.settings, self.folder.path()).await;
        assert_eq!(told.status, 0, "{}", told.err);
        told.out.lines().count()
    }
}

/// Accounts with a post each.
fn activity(prefix: &str, accounts: usize) -> String {
    let line = |n: usize| {
        format!(
            "{{\"op\":\"register\",\"user\":\"{prefix}{n}\"}}\n\
             {{\"op\":\"post\",\"user\":\"{prefix}{n}\",\"id\":\"p{n}\",\"text\":\"Post {n}.\"}}\n"
        )
    };
    (0..accounts).map(line).collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// The last line of what was printed into a pipe.
fn summary(output: &Output) -> Value {
    serde_json::from_str(output.out.lines().last().unwrap_or_default()).unwrap()
}

fn count(output: &Output, op: &str, field: &str) -> u64 {
    let lines = output.out.lines().map(serde_json::from_str::<Value>);
    let mut lines = lines.map(Result::unwrap);
    let of = lines.find(|line| line["op"] == op);
    of.map_or(0, |line| line[field].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_imported_is_named_with_status_1() {
    let place = Place::new().await;
    let text = activity("foreign", 2);
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let array = format!("[{}]", text.trim_end().replace('\n', ",\n"));
    let zeros = vec![0; 100_000];
    let noise: Vec<u8> = (0..200_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8 | 1)
        .collect();
    let mut tar = vec![b'x'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    for (name, bytes, said) in [
        ("a.zst", &b"\x28\xb5\x2f\xfd\x04\x00\x11"[..], "Zstandard"),
        ("a.bz2", b"BZh91AY&SY", "bzip2"),
        ("a.xz", b"\xfd7zXZ\0\0\x04", "xz"),
        ("a.lz4", b"\x04\x22\x4d\x18aa", "LZ4"),
        ("a.zip", b"PK\x03\x04\x14\0\0\0", "ZIP"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c\0\x04", "7z"),
        ("a.tar", &tar, "tar"),
        ("twice.gz", &gzip(&gzip(text.as_bytes())), "twice"),
        ("a.tar.gz", &gzip(&tar), "tar"),
        ("le", &[b"\xff\xfe", utf16.as_slice()].concat(), "UTF-16"),
        ("bare", &utf16, "UTF-16"),
        ("array.json", array.as_bytes(), "jq -c"),
        ("empty", b"", "no line of"),
        ("empty.gz", &gzip(b""), "no line of"),
        ("blank", b"\n \r\n\n", "no line of"),
        ("zeros", &zeros, "no line of"),
        ("noise", &noise, "no line of"),
        ("words.csv", b"op,user\nregister,ada\n", "no line of"),
    ] {
        let path = place.file(name, bytes);
        let refused = place.import(&[path.to_str().unwrap()]).await;
        assert_eq!(refused.status, 1, "{name}: {} {}", refused.out, refused.err);
        assert!(refused.err.contains(said), "{name}: {}", refused.err);
        assert!(refused.err.contains(name), "{name}: {}", refused.err);
    }
    let folder = place.folder.path().to_str().unwrap();
    for (arguments, said) in [
        (&["missing.ndjson"][..], "missing.ndjson cannot be read"),
        (&[folder], "is a folder"),
        (&["-", "-"], "once"),
        // Nothing is begun where a later file cannot be read.
        (&["fine", "missing.ndjson"], "missing.ndjson cannot be read"),
    ] {
        place.file("fine", &text);
        let refused = place.import(arguments).await;
        assert_eq!(refused.status, 1, "{}", refused.err);
        assert!(refused.err.contains(said), "{said}: {}", refused.err);
    }
    assert_eq!(place.events("HandleReserved").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_cannot_be_read_are_passed_over() {
    let place = Place::new().await;
    let register = |user: &str| format!("{{\"op\":\"register\",\"user\":\"{user}\"}}").into_bytes();
    let long = format!(
        "{{\"op\":\"register\",\"user\":\"{}\"}}",
        "x".repeat(1 << 20)
    );
    let deep = format!("{{\"op\":\"post\",\"text\":{}", "[".repeat(5_000));
    let mark = b"\xef\xbb\xbf".as_slice();
    let bytes = [
        [mark, &register("bom_1")].concat(),
        b"\n".to_vec(),
        [&register("crlf_2"), b"\r\n".as_slice()].concat(),
        [&register("cr_3"), b"\r".as_slice()].concat(),
        [long.as_bytes(), b"\n"].concat(),
        b"{\"op\":\"register\",\"user\":\"nul\0\"}\n".to_vec(),
        b"{\"op\":\"register\",\"user\":\"\xff\xfe\"}\n".to_vec(),
        [deep.as_bytes(), b"\n"].concat(),
        b"{\"op\":\"register\",\"user\":\"twice_a\",\"user\":\"twice_b\"}\n".to_vec(),
        // Of a file that another was appended to.
        [mark, &register("bom_9"), b"\n"].concat(),
        [&register("last_10"), b"\0\0\0\0".as_slice()].concat(),
    ]
    .concat();
    let file = place.file("mixed.ndjson", &bytes);
    let done = place.import(&[file.to_str().unwrap()]).await;
    assert_eq!(done.status, 3, "{}", done.err);
    assert_eq!(count(&done, "register", "accepted"), 5, "{}", done.out);
    let all = summary(&done);
    assert_eq!((&all["unreadable"], &all["lines"]), (&5.into(), &10.into()));
    let reasons: Vec<Value> = done.out.lines().map(|l| l.parse().unwrap()).collect();
    for (line, why) in [
        (4, "longer than 1 MiB"),
        (5, "control character"),
        (6, "unicode"),
        (7, "recursion limit"),
        (8, "duplicate"),
    ] {
        let named = reasons.iter().any(|told| {
            let reason = told["reason"].as_str().unwrap_or_default();
            told["line"] == line && reason.contains(why) && told["file"] == file.to_str().unwrap()
        });
        assert!(named, "line {line}: {why}: {}", done.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_file_is_done_up_to_its_cut_and_named() {
    let place = Place::new().await;
    let cases = 6;
    let second = b"{\"op\":\"register\",\"user\":\"second_member\"}\n";
    let text = |case: usize| activity(&format!("cut{case}_"), 400).into_bytes();
    let cut: Vec<(Vec<u8>, &str)> = vec![
        // In the data, in the trailer, before it.
        (
            {
                let whole = gzip(&text(0));
                whole[..whole.len() / 2].to_vec()
            },
            "a part is missing",
        ),
        (
            {
                let whole = gzip(&text(1));
                whole[..whole.len() - 3].to_vec()
            },
            "a part is missing",
        ),
        (
            {
                let whole = gzip(&text(2));
                whole[..whole.len() - 8].to_vec()
            },
            "a part is missing",
        ),
        // A wrong checksum.
        (
            {
                let mut whole = gzip(&text(3));
                let at = whole.len() - 6;
                whole[at] ^= 0xff;
                whole
            },
            "damaged",
        ),
        // Something else behind it, and a second member that is cut.
        (
            [gzip(&text(4)), b"rubbish".to_vec()].concat(),
            "is not gzip",
        ),
        (
            {
                let member = gzip(second);
                [gzip(&text(5)), member[..20].to_vec()].concat()
            },
            "a part is missing",
        ),
    ];
    assert_eq!(cut.len(), cases);
    for (case, (bytes, why)) in cut.into_iter().enumerate() {
        let name = format!("cut-{case}.ndjson.gz");
        let path = place.file(&name, bytes);
        let before = place.events("AccountRegistered").await;
        let done = place.import(&[path.to_str().unwrap()]).await;
        assert_eq!(done.status, 1, "{case}: {} {}", done.out, done.err);
        for said in [
            &name,
            "ends early, in line",
            why,
            "run the same command again",
        ] {
            assert!(done.err.contains(said), "{case}, {said}: {}", done.err);
        }
        assert_eq!(summary(&done)["end"], "cut");
        let accounts = place.events("AccountRegistered").await;
        assert!(accounts > before + 10, "{case}: {}", done.out);
        let handles = place.events("HandleReserved").await;
        assert_eq!(handles, accounts, "{case}: what was begun is finished");
        // The whole file goes on where the cut one ended.
        let rest = if case == 5 { second.as_slice() } else { b"" };
        let whole = place.file("whole.ndjson", [text(case).as_slice(), rest].concat());
        let whole = place.import(&[whole.to_str().unwrap()]).await;
        assert_eq!(whole.status, 0, "{case}: {} {}", whole.out, whole.err);
        let known = count(&whole, "register", "there_already");
        assert_eq!(known as usize, accounts - before, "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_padding_of_gzip_are_read_to_the_end() {
    let place = Place::new().await;
    let (first, second) = (activity("member_a", 3), activity("member_b", 3));
    let second = second.replace("\"id\":\"p", "\"id\":\"q");
    let all = [
        gzip(first.as_bytes()),
        gzip(second.as_bytes()),
        vec![0; 10_240],
    ]
    .concat();
    let path = place.file("members.gz", all);
    let done = place.import(&[path.to_str().unwrap()]).await;
    assert_eq!(done.status, 0, "{} {}", done.out, done.err);
    assert_eq!(count(&done, "register", "accepted"), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grew_and_the_parts_of_one_are_known_again() {
    let place = Place::new().await;
    let text = activity("grown", 50);
    let at = text[..text.len() / 2].rfind('\n').unwrap() + 1;
    let (early, late) = text.split_at(at);
    let file = place.file("grown.ndjson", early);
    let file = file.to_str().unwrap();
    let first = place.import(&[file]).await;
    assert_eq!(first.status, 0, "{}", first.err);
    let accounts = count(&first, "register", "accepted");

    // It grew; without a last line end, and with one.
    for grown in [text.trim_end(), &text] {
        place.file("grown.ndjson", grown);
        let again = place.import(&[file]).await;
        assert_eq!(again.status, 0, "{} {}", again.out, again.err);
    }
    let registered = place.events("AccountRegistered").await;
    assert_eq!((registered, place.events("PostCreated").await), (50, 50));
    assert!(accounts < 50);

    // Its parts in one run are the same lines.
    let parts = [place.file("part-a", early), place.file("part-b", late)];
    let parts = parts.each_ref().map(|part| part.to_str().unwrap());
    let again = place.import(&parts).await;
    assert_eq!(again.status, 0, "{} {}", again.out, again.err);
    assert_eq!(count(&again, "register", "there_already"), 50);

    // One alone is not known, and what helps is said.
    let alone = place.import(&["part-b", "--source", "x"]).await;
    assert_eq!(alone.status, 3, "{} {}", alone.out, alone.err);
    assert!(
        alone.err.contains("headwater import FIRST SECOND"),
        "{}",
        alone.err
    );
    assert_eq!(place.events("PostCreated").await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_with_two_texts_is_refused() {
    let place = Place::new().await;
    let post = |op: &str, text: &str| {
        format!("{{\"op\":\"{op}\",\"user\":\"twice_user\",\"id\":\"p1\",\"text\":\"{text}\"}}\n")
    };
    let text = [
        "{\"op\":\"register\",\"user\":\"twice_user\"}\n".to_owned(),
        post("post", "The first."),
        post("post", "Another."),
        post("post", "The first."),
        "{\"op\":\"reply\",\"user\":\"twice_user\",\"id\":\"p1\",\"to\":\"p1\",\"text\":\"x\"}\n"
            .to_owned(),
    ]
    .concat();
    place.file("twice.ndjson", text);
    for posts in ["accepted", "there_already"] {
        let done = place.import(&["twice.ndjson"]).await;
        assert_eq!(done.status, 3, "{} {}", done.out, done.err);
        assert!(count(&done, "post", posts) >= 1, "{}", done.out);
        assert_eq!(count(&done, "post", "refused"), 1, "{}", done.out);
        assert_eq!(count(&done, "reply", "refused"), 1, "{}", done.out);
        assert!(done.out.contains("says something else"), "{}", done.out);
    }
    assert_eq!(place.events("PostCreated").await, 1);
}

/// With standard input that stays open, so that it waits for more.
fn fed(place: &Place, text: &str) -> (tokio::process::Child, tokio::process::ChildStdin) {
    let command = command(&["import", "-"], &place.settings, place.folder.path());
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn();
    let mut child = child.unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = text.to_owned();
    let input = tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(async move {
            use tokio::io::AsyncWriteExt as _;
            input.write_all(text.as_bytes()).await.unwrap();
            input
        })
    });
    (child, input)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_says_how_far_it_came() {
    for signal in ["INT", "TERM", "HUP"] {
        let place = Place::new().await;
        // More than its first 64 KiB, and then silence.
        let (child, input) = fed(&place, &activity("stopped", 1_000));
        let registered = || async { place.events("AccountRegistered").await == 1_000 };
        testkit::until("all that came is done", 60, registered).await;
        let pid = child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status();
        assert!(sent.unwrap().success());
        let ended = child.wait_with_output().await.unwrap();
        drop(input);
        assert_eq!(ended.status.code(), Some(130), "{signal}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains("standard input, line 2000"), "{said}");
        let out = String::from_utf8(ended.stdout).unwrap();
        let last: Value = out.lines().last().unwrap().parse().unwrap();
        assert_eq!(
            (&last["end"], &last["lines"]),
            (&"stopped".into(), &2_000.into())
        );
    }
}

async fn own_servers() -> (Stack, Place) {
    let programs = Programs::find().unwrap();
    let stack = Stack::throwaway(&programs).await.unwrap();
    let servers = Servers::on(stack.urls()).await;
    (stack, Place::on(&servers).await)
}

async fn importing(place: &Place, arguments: &[&str]) -> Running {
    let arguments: Vec<_> = ["import"].iter().chain(arguments).copied().collect();
    let mut settings = place.settings.clone();
    // Thousands of lines try again: all that they do would slow them.
    settings.push(("TRACE_FILTER", "info".to_owned()));
    Running::start(&arguments, &settings, place.folder.path(), "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_waits_for_servers_and_goes_on_by_itself() {
    let (mut stack, place) = own_servers().await;
    place.file("long.ndjson", activity("waits", 6_000));
    let import = importing(&place, &["long.ndjson"]).await;
    let some = |n| {
        let place = &place;
        move || async move { place.events("AccountRegistered").await > n }
    };
    testkit::until("it has begun", 60, some(100)).await;
    stack.log().kill().await.unwrap();
    let waits = || async { import.said().contains("waits") };
    testkit::until("it says that it waits", 15, waits).await;
    stack.log().restart().await.unwrap();
    let goes_on = || async { import.said().contains("goes on\n") };
    testkit::until("it goes on", 30, goes_on).await;

    stack.postgres().kill().await.unwrap();
    let waits = || async { import.said().matches("waits").count() > 1 };
    testkit::until("it says that it waits for PostgreSQL", 30, waits).await;
    stack.postgres().restart().await.unwrap();
    assert_eq!(import.stop_after_signal().await, 0);
    assert_eq!(place.events("AccountRegistered").await, 6_000);
    assert_eq!(place.events("PostCreated").await, 6_000);
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_gives_up_a_server_that_stays_away() {
    let (mut stack, place) = own_servers().await;
    place.file("long.ndjson", activity("ends", 20_000));
    let import = importing(&place, &["long.ndjson", "--wait", "5"]).await;
    let begun = || async { place.events("AccountRegistered").await > 100 };
    testkit::until("it has begun", 60, begun).await;
    stack.log().kill().await.unwrap();
    let given_up = || async { import.said().contains("nothing is done twice") };
    testkit::until("it gives up", 25, given_up).await;
    assert!(import.said().contains("log server"), "{}", import.said());
    assert_eq!(import.stop_after_signal().await, 1);

    // Stopped while it waits, it does not wait on.
    stack.log().restart().await.unwrap();
    let before = place.events("AccountRegistered").await;
    let import = importing(&place, &["long.ndjson"]).await;
    let goes_on = || async { place.events("AccountRegistered").await > before };
    testkit::until("it goes on", 60, goes_on).await;
    stack.log().kill().await.unwrap();
    let waits = || async { import.said().contains("waits") };
    testkit::until("it waits", 15, waits).await;
    import.signal("INT");
    assert_eq!(import.stop_after_signal().await, 1);

    // Nothing is left half done.
    stack.log().restart().await.unwrap();
    let last = place.import(&["long.ndjson"]).await;
    assert_eq!(last.status, 0, "{} {}", last.out, last.err);
    assert_eq!(place.events("AccountRegistered").await, 20_000);
    assert_eq!(place.events("HandleReserved").await, 20_000);
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_is_no_fault_of_the_lines() {
    let (mut stack, place) = own_servers().await;
    place.file("long.ndjson", activity("full", 3_000));
    let url = stack.log().url().to_owned();
    let limit = |bytes: &'static str| {
        let url = url.clone();
        async move {
            let client = redis::Client::open(url).unwrap();
            let mut server = client.get_multiplexed_async_connection().await.unwrap();
            let mut set = redis::cmd("CONFIG");
            set.arg("SET").arg("maxmemory").arg(bytes);
            set.query_async::<()>(&mut server).await.unwrap();
        }
    };
    let import = importing(&place, &["long.ndjson"]).await;
    let begun = || async { place.events("AccountRegistered").await > 10 };
    testkit::until("it has begun", 60, begun).await;
    limit("1mb").await;
    let waits = || async { import.said().contains("too little memory left") };
    testkit::until("it says that the log is full", 30, waits).await;
    limit("0").await;
    assert_eq!(import.stop_after_signal().await, 0);
    assert_eq!(place.events("PostCreated").await, 3_000);
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn real_activity_that_is_cut_leaves_nothing_half_done() {
    let file = "../../../shared/data/activity.ndjson.gz";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let Ok(whole) = std::fs::read(&file) else {
        eprintln!("skipped: {} is not there", file.display());
        return;
    };
    let place = Place::new().await;
    place.file("cut.ndjson.gz", &whole[..20_000]);
    let done = place.import(&["cut.ndjson.gz"]).await;
    assert_eq!(done.status, 1, "{} {}", done.out, done.err);
    assert!(done.err.contains("ends early"), "{}", done.err);
    let accounts = place.events("AccountRegistered").await;
    assert!(accounts > 1_000, "{accounts}");
    assert_eq!(place.events("HandleReserved").await, accounts);
}
