//! What is sent to break in or to wear out: messages whose boundaries two
//! readers see in two places, and connections that only keep a place.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;
use testkit::{App, Client, Servers, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::process::Running;

/// Behind each attack stands what must not be taken for a request.
const SMUGGLED: &str = "GET /v1/limits HTTP/1.1\r\nHost: smuggled\r\n\r\n";

/// Heads and bodies, `|` where the smuggled request would begin.
const CORPUS: [(&str, &str); 24] = [
    (
        "CL and TE",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n|",
    ),
    (
        "TE and CL",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2b\r\n|\r\n0\r\n\r\n",
    ),
    (
        "two lengths",
        "Content-Length: 0\r\nContent-Length: 44\r\n\r\n|",
    ),
    ("a list of lengths", "Content-Length: 0, 44\r\n\r\n|"),
    ("a signed length", "Content-Length: +0\r\n\r\n|"),
    ("a negative length", "Content-Length: -1\r\n\r\n|"),
    ("a hexadecimal length", "Content-Length: 0x2c\r\n\r\n|"),
    (
        "a length with a blank inside",
        "Content-Length: 4 4\r\n\r\n|",
    ),
    (
        "a length too long for 64 bits",
        "Content-Length: 18446744073709551616\r\n\r\n|",
    ),
    ("an empty length", "Content-Length:\r\n\r\n|"),
    ("a blank before the colon", "Content-Length : 44\r\n\r\n|"),
    (
        "TE with a blank before the colon",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n|",
    ),
    (
        "TE of another kind",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n|",
    ),
    (
        "TE that does not end in chunked",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n|",
    ),
    (
        "TE with a vertical tab",
        "Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n|",
    ),
    (
        "TE in quotes",
        "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n|",
    ),
    (
        "two TEs",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n|",
    ),
    (
        "a folded line",
        "X-Folded: a\r\n Content-Length: 44\r\n\r\n|",
    ),
    ("a line without a colon", "Transfer-Encoding\r\n\r\n|"),
    ("NUL in a value", "X-Nul: a\0b\r\n\r\n|"),
    (
        "a bare carriage return",
        "X-Bare: a\rContent-Length: 44\r\n\r\n|",
    ),
    (
        "a chunk of no number",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n|",
    ),
    (
        "a chunk longer than 64 bits",
        "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n|",
    ),
    (
        "a chunk without its end",
        "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n|",
    ),
];

/// All that comes back until the server is done, or says nothing more.
async fn told(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let read = stream.read_to_end(&mut all);
    // What was read stays, whether it ended or not.
    let _ = timeout(Duration::from_millis(500), read).await;
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_two_boundaries_is_refused_whole() {
    let app = App::start().await;
    let mut wrong = Vec::new();
    for (name, attack) in CORPUS {
        let attack = attack.replace('|', SMUGGLED);
        let sent = format!(
            "POST /v1/sessions HTTP/1.1\r\nHost: here\r\n\
             Content-Type: application/json\r\n{attack}"
        );
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let told = told(&mut stream).await;
        let answers: Vec<_> = told.match_indices("HTTP/1.1 ").collect();
        let statuses: Vec<_> = answers
            .iter()
            .map(|(at, _)| &told[at + 9..at + 12])
            .collect();
        let refused = statuses.iter().all(|status| status.starts_with('4'));
        if statuses.len() != 1 || !refused {
            wrong.push(format!("{name}: {statuses:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Nothing is left behind for others.
    app.client().get("/v1/limits").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_long_are_refused() {
    let app = App::start().await;
    let (many, above) = ("X-Many: 1\r\n".repeat(2_000), "x".repeat(33 * 1_024));
    let long = format!("X-Long: {}\r\n", "x".repeat(1 << 20));
    let path = "/v1/limits";
    let far = format!("/{}", "x".repeat(1 << 20));
    let above = format!("X-Long: {above}\r\n");
    for (path, headers) in [
        (path, many),
        (path, above),
        (path, long),
        (far.as_str(), String::new()),
    ] {
        let sent = format!("GET {path} HTTP/1.1\r\nHost: here\r\n{headers}\r\n");
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        // The server may stop reading, and close, before all is sent.
        let _ = stream.write_all(sent.as_bytes()).await;
        let told = told(&mut stream).await;
        assert!(told.starts_with("HTTP/1.1 431 "), "{told}");
        assert!(told.contains("\r\nx-request-id: "), "{told}");
        let problem = told.split("\r\n\r\n").nth(1).unwrap_or_default();
        let problem: Value = serde_json::from_str(problem).unwrap();
        assert_eq!(problem["code"], "head_too_large");
    }
    let near = format!("X-Near: {}\r\n", "x".repeat(30 * 1_024));
    let sent = format!("GET {path} HTTP/1.1\r\nHost: here\r\n{near}\r\n");
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    assert!(told(&mut stream).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_told_so() {
    let app = App::start().await;
    for sent in [
        "nonsense\r\n\r\n",
        "GET /v1/limits HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /v1/limits HTTP/3.1\r\nHost: here\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let told = told(&mut stream).await;
        assert!(told.starts_with("HTTP/1.1 400 "), "{sent}: {told}");
        assert!(told.contains("application/problem+json"), "{told}");
        assert!(told.contains("\"code\":\"malformed_request\""), "{told}");
    }
}

/// Ticks of 10 ms that a process took of processors so far.
fn ticks(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = text.rsplit_once(')').unwrap().1;
    let fields: Vec<_> = after_name.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_it_waits_and_then_goes_on() {
    let servers = Servers::shared().await;
    let folder = tempfile::tempdir().unwrap();
    let running = Running::serve(&servers, folder.path()).await;
    let process = running.child.id().unwrap();
    let client = Client::new(running.api.clone());
    client.get("/health/live").await.expect(200);
    // What this process may, it may too.
    let all = getrlimit(Resource::Nofile);
    let limit = |files| {
        let limit = Rlimit {
            current: files,
            maximum: all.maximum,
        };
        let before = prlimit(Pid::from_raw(process as i32), Resource::Nofile, limit);
        before.unwrap().current
    };
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let before = limit(Some(open.count() as u64 + 3));
    assert_eq!(before, all.maximum, "it opens as many as it may");
    let address = running.api.trim_start_matches("http://").to_owned();
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(TcpStream::connect(&address).await.unwrap());
    }
    let told = "no connection can be accepted";
    until(told, 10, || async { running.said().contains(told) }).await;
    let tries = || running.said().matches(told).count();
    let (began, before_it) = (ticks(process), tries());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (took, tried) = (ticks(process) - began, tries() - before_it);
    assert!(took < 60, "{took} of 200 ticks");
    assert!(tried < 50, "it tried {tried} times in two seconds");
    limit(before);
    // Over another connection, which was not there before.
    let client = Client::new(running.api.clone());
    client.get("/health/live").await.expect(200);
}

/// It costs queries, and is never refused: they are made twice a second at most.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_looked_at_now_and_then() {
    let app = App::start().await;
    let ada = app.client().register("ada").await;
    app.settle().await;
    let lag = async || {
        let ready = app.client().get("/health/ready").await.expect(200);
        ready.number("/lag_events")
    };
    let mut kept = false;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        let (began, before) = (Instant::now(), lag().await);
        ada.publish("not folded yet").await;
        let after = lag().await;
        if began.elapsed() < Duration::from_millis(450) {
            assert_eq!(after, before);
            kept = true;
            break;
        }
    }
    assert!(kept, "this machine is too slow to see it");
    until("another look", 5, || async { lag().await > 0 }).await;
}
