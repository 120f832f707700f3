//! What users of the servers rely on, tried with real ones. Needs the programs
//! of Redis and PostgreSQL; waits for effects with a deadline, never for a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use devservices::{Error, PostgresServer, Programs, RedisOptions, RedisRole, RedisServer, Stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Set for the process that is to be killed: a folder, or nothing for throw-away.
const CHILD_FOLDER: &str = "DEVSERVICES_TEST_CHILD_FOLDER";

#[tokio::test]
async fn a_throwaway_stack_answers_and_leaves_nothing() {
    let mut stack = Stack::throwaway(&programs()).await.unwrap();

    assert!(ask(stack.log().url(), "PING").await.contains("+PONG"));
    assert!(ask(stack.views().url(), "PING").await.contains("+PONG"));
    assert_eq!(query(stack.postgres().url(), "SELECT 1"), "1");
    let urls = stack.urls().clone();
    assert_eq!(urls.database, stack.postgres().url());
    let fsync = ask(stack.log().url(), "CONFIG GET appendfsync").await;
    assert!(fsync.contains("always"), "{fsync}");

    let pids = pids(&mut stack);
    let directories = directories(&mut stack);
    stack.stop().await.unwrap();
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    assert!(directories.iter().all(|directory| !directory.exists()));
}

#[tokio::test]
async fn a_dropped_server_ends_with_its_data() {
    let server = PostgresServer::throwaway(&programs()).await.unwrap();
    let (pid, directory) = (server.pid(), server.directory().to_owned());

    drop(server);

    until("the server ends", || !is_alive(pid)).await;
    until("its data is deleted", || !directory.exists()).await;
}

#[tokio::test]
async fn a_killed_parent_leaves_no_servers() {
    let mut parent = parent_with_servers(Path::new(""));
    let (pids, directories) = (parent.pids(), parent.directories());
    assert!(pids.iter().all(|pid| is_alive(*pid)));

    parent.kill();

    until("the servers end", || pids.iter().all(|pid| !is_alive(*pid))).await;
    until("their data is deleted", || {
        directories.iter().all(|directory| !directory.exists())
    })
    .await;
}

#[tokio::test]
async fn a_folder_keeps_its_data_after_a_stop_and_after_a_kill() {
    let folder = folder(0o755);
    let programs = programs();
    let mut first_stack = Stack::start(folder.path(), &programs, &|_| {})
        .await
        .unwrap();
    let first = first_stack.urls().clone();
    let set = ask(&first.redis_log, "SET kept yes").await;
    assert!(set.contains("+OK"), "{set}");
    query(&first.database, "CREATE TABLE kept AS SELECT 'yes' AS word");
    let password = first.redis_log.split([':', '@']).nth(2).unwrap();
    let line = std::fs::read(format!("/proc/{}/cmdline", first_stack.log().pid())).unwrap();
    assert!(!String::from_utf8_lossy(&line).contains(password));

    // When: another wants the same folder.
    let refused = Stack::start(folder.path(), &programs, &|_| {}).await;
    let Err(error) = refused.map(drop) else {
        panic!("two stacks in one folder");
    };
    let own = std::process::id();
    assert!(matches!(error, Error::AlreadyRunning { pid, .. } if pid == Some(own)));

    // When: stopped, moved, and killed.
    first_stack.stop().await.unwrap();
    let moved = folder.path().join("moved");
    std::fs::create_dir(&moved).unwrap();
    std::fs::set_permissions(&moved, PermissionsExt::from_mode(0o755)).unwrap();
    let home = moved.join(".headwater");
    std::fs::rename(folder.path().join(".headwater"), &home).unwrap();
    let mut parent = parent_with_servers(&moved);
    let orphans = parent.pids();
    parent.kill();

    // Then: it starts at once, on the same ports, with the data.
    let stack = Stack::start(&moved, &programs, &|_| {}).await.unwrap();
    assert!(orphans.iter().all(|pid| !is_alive(*pid)));
    assert!(stack.urls() == &first);
    assert!(ask(&first.redis_log, "GET kept").await.contains("yes"));
    assert_eq!(query(&first.database, "TABLE kept"), "yes");
    for secret in ["servers.json", "redis-log/redis.conf"] {
        let mode = home.join(secret).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    stack.stop().await.unwrap();

    // When the passwords are lost, then new ones open the same data.
    std::fs::remove_file(home.join("servers.json")).unwrap();
    let stack = Stack::start(&moved, &programs, &|_| {}).await.unwrap();
    assert_eq!(query(&stack.urls().database, "TABLE kept"), "yes");
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_crashed_server_restarts_on_its_port_with_its_data() {
    let mut stack = Stack::throwaway(&programs()).await.unwrap();
    let urls = stack.urls().clone();
    ask(&urls.redis_log, "SET kept yes").await;
    query(&urls.database, "CREATE TABLE kept AS SELECT 'yes' AS word");
    let postmaster = stack.postgres().pid();

    stack.log().kill().await.unwrap();
    stack.postgres().kill().await.unwrap();
    assert!(!is_alive(stack.log().pid()) && !is_alive(postmaster));
    stack.log().restart().await.unwrap();
    stack.postgres().restart().await.unwrap();

    assert!(ask(&urls.redis_log, "GET kept").await.contains("yes"));
    assert_eq!(query(&urls.database, "TABLE kept"), "yes");
    assert_ne!(stack.postgres().pid(), postmaster);
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn an_unsafe_log_and_a_cluster_node_can_be_had() {
    let options = RedisOptions::throwaway(&programs(), RedisRole::Log)
        .and_then(RedisOptions::random_password)
        .unwrap()
        .line("appendonly no")
        .line("maxmemory-policy allkeys-lru")
        .line("cluster-enabled yes");
    let server = RedisServer::start(options).await.unwrap();

    let policy = ask(server.url(), "CONFIG GET maxmemory-policy").await;
    assert!(policy.contains("allkeys-lru"), "{policy}");
    let info = ask(server.url(), "INFO cluster").await;
    assert!(info.contains("cluster_enabled:1"), "{info}");
}

#[tokio::test]
async fn a_folder_that_looks_like_a_pattern_has_its_configuration() {
    for name in ["my [project]", "a?b*c", r"x[y\z"] {
        let folder = folder(0o755);
        let directory = folder.path().join(name);
        let options = RedisOptions::new(&programs(), RedisRole::Log, directory);
        let server = RedisServer::start(options.random_password().unwrap());
        let mut server = server.await.unwrap();
        let fsync = ask(server.url(), "CONFIG GET appendfsync").await;
        assert!(fsync.contains("always"), "{name}: {fsync}");
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let options = RedisOptions::throwaway(&programs(), RedisRole::Views).unwrap();

    let Err(error) = RedisServer::start(options.line("no-such-setting 1")).await else {
        panic!("started with a wrong setting");
    };

    assert!(error.to_string().contains("no-such-setting"), "{error}");
}

/// Only root is refused by PostgreSQL, so only root has this problem.
#[tokio::test]
async fn a_folder_that_postgres_cannot_enter_has_its_data_elsewhere() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let closed = folder(0o700);
    let said = std::sync::Mutex::new(String::new());
    let say = |text: &str| said.lock().unwrap().push_str(text);
    let programs = programs();

    let mut stack = Stack::start(closed.path(), &programs, &say).await.unwrap();
    let outside = stack.postgres().directory().to_owned();
    let cleanup = Cleanup(vec![outside.parent().unwrap().to_owned()]);

    assert!(outside.starts_with("/var/lib/headwater"), "{outside:?}");
    assert!(said.lock().unwrap().contains(outside.to_str().unwrap()));
    assert_eq!(query(stack.postgres().url(), "SELECT 1"), "1");
    query(
        &stack.urls().database,
        "CREATE TABLE kept AS SELECT 'yes' AS word",
    );
    stack.stop().await.unwrap();

    // A copy of the folder gets a copy of the database, not the same one.
    let copied = folder(0o700);
    let copy = Command::new("cp")
        .args([
            "-Rp".into(),
            closed.path().join(".headwater"),
            copied.path().to_owned(),
        ])
        .status();
    assert!(copy.unwrap().success());
    let mut second = Stack::start(copied.path(), &programs, &say).await.unwrap();
    let own = second.postgres().directory().to_owned();
    let _cleanup = (cleanup, Cleanup(vec![own.parent().unwrap().to_owned()]));
    let mut first = Stack::start(closed.path(), &programs, &say).await.unwrap();

    assert_ne!(own, outside);
    assert_eq!(first.postgres().directory(), outside);
    query(&second.urls().database, "UPDATE kept SET word = 'changed'");
    assert_eq!(query(&second.urls().database, "TABLE kept"), "changed");
    assert_eq!(query(&first.urls().database, "TABLE kept"), "yes");
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

/// Not a test of its own: the process that `parent_with_servers` starts and kills.
#[tokio::test]
async fn child_process() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else {
        return;
    };
    let mut stack = match folder.as_str() {
        "" => Stack::throwaway(&programs()).await.unwrap(),
        folder => Stack::start(Path::new(folder), &programs(), &|_| {})
            .await
            .unwrap(),
    };
    for pid in pids(&mut stack) {
        println!("pid={pid}");
    }
    for directory in directories(&mut stack) {
        println!("directory={}", directory.display());
    }
    println!("ready");
    std::future::pending::<()>().await;
}

struct Parent {
    process: Child,
    lines: Vec<String>,
}

fn parent_with_servers(folder: &Path) -> Parent {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(process.stdout.take().unwrap());
    let lines = output.lines().map(Result::unwrap);
    let lines = lines.take_while(|line| line != "ready").collect();
    Parent { process, lines }
}

impl Parent {
    fn pids(&self) -> Vec<u32> {
        let pids: Vec<u32> = self
            .values("pid=")
            .map(|pid| pid.parse().unwrap())
            .collect();
        assert_eq!(pids.len(), 3, "{:?}", self.lines);
        pids
    }

    fn directories(&self) -> Vec<PathBuf> {
        self.values("directory=").map(PathBuf::from).collect()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let parts = self
            .lines
            .iter()
            .filter_map(move |line| line.split_once(name));
        parts.map(|(_, value)| value)
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

struct Cleanup(Vec<PathBuf>);

impl Drop for Cleanup {
    fn drop(&mut self) {
        for directory in &self.0 {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

fn programs() -> Programs {
    Programs::find().expect("Redis and PostgreSQL are needed for this test")
}

fn folder(mode: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
    folder
}

fn pids(stack: &mut Stack) -> Vec<u32> {
    vec![
        stack.log().pid(),
        stack.views().pid(),
        stack.postgres().pid(),
    ]
}

fn directories(stack: &mut Stack) -> Vec<PathBuf> {
    vec![
        stack.log().options().directory.clone(),
        stack.views().options().directory.clone(),
        stack.postgres().directory().to_owned(),
    ]
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends one command to the Redis of this URL and gives its whole answer.
async fn ask(url: &str, command: &str) -> String {
    let rest = url.strip_prefix("redis://").unwrap().trim_end_matches('/');
    let (password, address) = rest.rsplit_once('@').unwrap_or(("", rest));
    let mut stream = TcpStream::connect(address).await.unwrap();
    if let Some(password) = password.strip_prefix(':') {
        stream
            .write_all(format!("AUTH {password}\r\n").as_bytes())
            .await
            .unwrap();
    }
    let lines = format!("{command}\r\nQUIT\r\n");
    stream.write_all(lines.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Runs SQL in the database of this URL, by its password.
fn query(url: &str, sql: &str) -> String {
    let output = Command::new(programs().postgres_bin.join("psql"))
        .args([url, "--no-password", "--no-psqlrc", "-qtAc", sql])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said.trim().to_owned()
}
