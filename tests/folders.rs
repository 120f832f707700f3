//! Where `headwater up` keeps its servers: any folder that they can work in, for
//! its user alone. What it cannot work in is named at once, with what mends it.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
    time::{Duration, Instant},
};

use tempfile::tempdir;
use testkit::Client;

use crate::process::{Output, Running, environment, run};

/// Long before a server that does not start is given up.
const AT_ONCE: Duration = Duration::from_secs(20);

async fn refused_at_once(folder: &Path) -> Output {
    let began = Instant::now();
    let refused = run(&["up"], &[], folder).await;
    assert_eq!(refused.status, 1, "{folder:?}: {}", refused.err);
    assert!(
        began.elapsed() < AT_ONCE,
        "{folder:?}: {:?}",
        began.elapsed()
    );
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_servers_cannot_work_in_are_refused_at_once() {
    let outer = tempdir().unwrap();
    let deep: std::path::PathBuf = (0..10).map(|_| "d".repeat(100)).collect();
    for (name, said) in [
        (OsStr::from_bytes(b"caf\xe9"), "not UTF-8"),
        (OsStr::new("two\nlines"), "line end"),
        (deep.as_os_str(), "longer than"),
    ] {
        let folder = outer.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        let refused = refused_at_once(&folder).await;
        assert!(refused.err.contains(said), "{said}: {}", refused.err);
        assert!(refused.err.contains("another folder"), "{}", refused.err);
        assert!(!folder.join(".headwater").exists(), "{name:?}");
    }

    // A file, and a link to nothing, where its own folder belongs.
    let folder = outer.path().join("taken");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(".headwater"), "").unwrap();
    let refused = refused_at_once(&folder).await;
    assert!(refused.err.contains("in its place"), "{}", refused.err);
    fs::remove_file(folder.join(".headwater")).unwrap();
    std::os::unix::fs::symlink("nowhere/at/all", folder.join(".headwater")).unwrap();
    let refused = refused_at_once(&folder).await;
    assert!(refused.err.contains(".headwater"), "{}", refused.err);
}

/// The folder as another user has it; root alone can try.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_another_user_is_named_with_what_mends_it() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: it takes root to be another user");
        return;
    }
    let outer = tempdir().unwrap();
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(outer.path(), everybody).unwrap();
    // Where the user may read the program.
    let program = outer.path().join("headwater");
    fs::copy(crate::process::PROGRAM, &program).unwrap();
    let up = |folder: &Path| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(&program).arg("up").current_dir(folder);
        command
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (own, others) = (outer.path().join("own"), outer.path().join("others"));
    for folder in [&own, &others] {
        fs::create_dir(folder).unwrap();
    }
    let said = up(&others);
    assert!(said.contains("another user's"), "{said}");

    let home = own.join(".headwater");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("servers.json"), "{}").unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let said = up(&own);
    assert!(said.contains("another user's"), "{said}");
}

/// A disk of its own, where this process may have one.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_or_read_only_disk_is_named() {
    let outer = tempdir().unwrap();
    for (options, said) in [("size=8m", "Free space"), ("ro,size=8m", "read-only")] {
        let script = format!(
            "mount -t tmpfs -o {options} none \"$1\" || exit 77\ncd \"$1\"\nexec \"$0\" up"
        );
        let mut command = tokio::process::Command::new("unshare");
        command.args(["-m", "/bin/sh", "-c", &script, crate::process::PROGRAM]);
        command.arg(outer.path()).env_clear();
        command.env("PATH", std::env::var("PATH").unwrap());
        let began = Instant::now();
        let Ok(output) = command.output().await else {
            eprintln!("skipped: there is no unshare");
            return;
        };
        let err = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(77) || err.contains("unshare failed") {
            eprintln!("skipped: no disk can be mounted: {err}");
            return;
        }
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains(said), "{options}: {err}");
        assert!(began.elapsed() < AT_ONCE, "{options}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn up_in_an_odd_folder_keeps_all_for_its_user() {
    let outer = tempdir().unwrap();
    let odd = format!("it's a \"b\" %41#é {}", "long ".repeat(30));
    let folder = outer.path().join(odd.trim_end());
    fs::create_dir(&folder).unwrap();
    let settings = [
        ("ARCHIVE_SECONDS", "1".to_owned()),
        ("LISTEN_ADDRESS", "127.0.0.1:0".to_owned()),
    ];
    // Everything is open to everybody, unless it is closed.
    let up = Running::start_after("umask 000", &["up"], &settings, &folder, "Ctrl-C").await;
    let home = folder.join(".headwater");
    let ada = Client::new(up.api.clone()).register("ada").await;
    ada.publish("archived").await;
    let archived = run(&["log", "archive"], &[], &folder).await;
    assert_eq!(archived.status, 0, "{}", archived.err);
    let some = |name: &'static str| files(&home.join(name));
    testkit::until("letters are written", 30, || async {
        !some("mail").is_empty()
    })
    .await;
    assert!(
        !some("archive").is_empty(),
        "{archived:?}",
        archived = archived.out
    );

    for name in ["archive", "mail", "redis-log", "redis-views"] {
        assert_eq!(mode(&home.join(name)), 0o700, "{name}");
    }
    for path in files(&home) {
        let told = path.strip_prefix(&home).unwrap();
        if !told.starts_with("postgres") && !told.ends_with(".gitignore") {
            assert_eq!(mode(&path) & 0o077, 0, "{told:?}");
        }
    }
    // PostgreSQL's user passes through, and lists nothing.
    assert_eq!(mode(&home) & 0o066, 0);
    assert_eq!(up.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_workers_archive_is_for_their_user() {
    let (servers, folder) = (testkit::Servers::shared().await, tempdir().unwrap());
    let archive = folder.path().join("kept/archive");
    let mut settings = environment(&servers);
    settings.push(("ARCHIVE_URL", format!("file://{}", archive.display())));
    settings.push(("ARCHIVE_SECONDS", "1".to_owned()));
    let (open, place) = ("umask 000", folder.path());
    let serve = Running::start_after(open, &["serve"], &settings, place, "documentation").await;
    let work = Running::start_after(open, &["work"], &settings, place, "works on the log").await;
    Client::new(serve.api.clone()).register("kept").await;
    testkit::until("something is archived", 60, || async {
        !files(&archive).is_empty()
    })
    .await;
    for path in files(&archive) {
        assert_eq!(mode(&path) & 0o077, 0, "{path:?}");
    }
    assert_eq!(mode(&archive), 0o700);
    assert_eq!(mode(archive.parent().unwrap()), 0o700);
    for running in [serve, work] {
        assert_eq!(running.stop().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_of_another_process_is_no_running_up() {
    let folder = tempdir().unwrap();
    let up = Running::start(&["up"], &[], folder.path(), "Ctrl-C").await;
    let note = folder.path().join(".headwater/up.json");
    let written = fs::read_to_string(&note).unwrap();
    up.kill().await;
    assert!(note.exists());
    let tail = || run(&["tail", "-o", "start", "-e"], &[], folder.path());

    // The number is another process's now: this one's.
    let mut other: serde_json::Value = serde_json::from_str(&written).unwrap();
    other["process"] = std::process::id().into();
    for stale in [&other.to_string(), "{ broken", "", "\0\0\0"] {
        fs::write(&note, stale).unwrap();
        let none = tail().await;
        assert_eq!(none.status, 1, "{}", none.out);
        let said = "no `headwater up` runs in this folder";
        assert!(none.err.contains(said), "{stale}: {}", none.err);
    }

    // While one runs, what is wrong with its note is told.
    let up = Running::start(&["up"], &[], folder.path(), "Ctrl-C").await;
    assert_eq!(tail().await.status, 0);
    let right = fs::read_to_string(&note).unwrap();
    fs::write(&note, other.to_string()).unwrap();
    assert_eq!(tail().await.status, 1);
    fs::write(&note, "{ broken").unwrap();
    let damaged = tail().await;
    assert!(damaged.err.contains("is damaged"), "{}", damaged.err);
    if rustix::process::geteuid().is_root() {
        fs::write(&note, &right).unwrap();
        std::os::unix::fs::chown(&note, Some(65_534), None).unwrap();
        let foreign = tail().await;
        assert_eq!(foreign.status, 1);
        assert!(foreign.err.contains("another user's"), "{}", foreign.err);
    }
    assert_eq!(up.stop().await, 0);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// All below `folder`, folders too; nothing where it is not there.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        }
        all.push(path);
    }
    all
}
