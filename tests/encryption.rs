//! TLS to the three servers: what is asked for is kept, and what is in the way is
//! said with what mends it.

use serde_json::Value;
use tempfile::tempdir;
use testkit::{
    Client, Servers,
    encrypted::{Authority, Encrypted, NAME},
    secrets::TOKEN_SECRET,
};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::process::{Output, Running, run};

const ADDRESS: &str = "127.0.0.1";

/// Settings of one process; later ones win.
struct Settings(Vec<(&'static str, String)>);

impl Settings {
    fn of(servers: &Servers) -> Self {
        Self(crate::process::environment(servers))
    }

    fn with(&self, name: &'static str, value: impl Into<String>) -> Self {
        let mut all = self.0.clone();
        all.retain(|(known, _)| *known != name);
        all.push((name, value.into()));
        Self(all)
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        run(arguments, &self.0, tempdir().unwrap().path()).await
    }

    /// What is seen of a part and what mends it, in one text.
    async fn problem(&self, part: &str) -> Option<String> {
        let told = self.run(&["doctor", "--json"]).await;
        let findings = told
            .out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut of_it = findings.filter(|one| one["part"] == part && one["grade"] == "problem");
        of_it
            .next()
            .map(|one| format!("{}: {}", one["seen"], one["mend"]))
    }
}

/// On servers of its own, all three with TLS, and a database of its own.
async fn encrypted() -> (Encrypted, Servers, Settings) {
    let servers = Encrypted::start().await;
    let own = Servers::on(&servers.plain()).await;
    let database = format!(
        "{}?sslmode=verify-full",
        own.database.replace(ADDRESS, NAME)
    );
    let settings = Settings::of(&own)
        .with("DATABASE_URL", database)
        .with("REDIS_LOG_URL", servers.log_url(NAME))
        .with("REDIS_VIEWS_URL", servers.views_url(NAME))
        .with("TLS_CA_FILE", servers.authority.file.to_str().unwrap());
    (servers, own, settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_with_tls_to_all_three_servers() {
    // Given servers that take nothing else.
    let (servers, _own, settings) = encrypted().await;
    servers.refuse_plain_connections().await;
    let folder = tempdir().unwrap();
    assert_eq!(settings.run(&["migrate"]).await.status, 0);
    let serve = Running::start(&["serve"], &settings.0, folder.path(), "documentation").await;
    let work = Running::start(&["work"], &settings.0, folder.path(), "works on the log").await;
    // When somebody writes and reads.
    let ada = Client::new(serve.api.clone()).register("ada").await;
    let post = ada.publish("nobody listens").await;
    let home = ada.client.get("/v1/timelines/home").await.expect(200);
    // Then
    assert_eq!(home.ids(), [post]);
    let tail = settings.run(&["tail", "-o", "start", "-e"]).await;
    assert_eq!(tail.status, 0, "{}", tail.err);
    assert!(tail.out.contains("PostCreated"), "{}", tail.out);
    for part in ["log server", "views server", "workers"] {
        assert_eq!(settings.problem(part).await, None);
    }
    // Servers of tests are made for speed.
    let problem = settings.problem("database").await.unwrap_or_default();
    assert!(
        problem.is_empty() || problem.contains("fsync is off"),
        "{problem}"
    );
    let verified = settings.run(&["verify"]).await;
    assert_eq!(verified.status, 0, "{}", verified.err);
    assert_eq!(work.stop().await, 0);
    assert_eq!(serve.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_of_tls_to_redis_is_said() {
    let (servers, own, settings) = encrypted().await;
    let other = Authority::new("somebody else");
    for (setting, part, port) in [
        ("REDIS_LOG_URL", "log server", servers.log_port),
        ("REDIS_VIEWS_URL", "views server", servers.views_port),
    ] {
        let plain = if part == "log server" {
            &own.redis_log
        } else {
            &own.redis_views
        };
        let plain_with_tls = plain
            .replace("redis://", "rediss://")
            .replace(ADDRESS, NAME);
        for (settings, why) in [
            (
                settings.with("TLS_CA_FILE", other.file.to_str().unwrap()),
                "not known here",
            ),
            (settings.with("TLS_CA_FILE", ""), "TLS_CA_FILE"),
            (
                settings.with(setting, format!("rediss://{ADDRESS}:{port}")),
                "localhost",
            ),
            (
                settings.with(setting, format!("redis://{NAME}:{port}")),
                "rediss://",
            ),
            (settings.with(setting, plain_with_tls), "takes no TLS"),
        ] {
            let problem = settings.problem(part).await.unwrap_or_default();
            assert!(problem.contains(why), "{setting}: {why}: {problem}");
            assert!(!problem.contains("start it"), "{problem}");
        }
    }
    // A process that cannot begin says the same.
    let wrong = settings.with("TLS_CA_FILE", other.file.to_str().unwrap());
    let wrong = wrong.with("DATABASE_URL", own.database.clone());
    for command in [&["serve"][..], &["tail"], &["work"]] {
        let told = wrong.run(command).await;
        assert_eq!(told.status, 1);
        assert!(
            told.err.contains("TLS_CA_FILE"),
            "{command:?}: {}",
            told.err
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_said_to_be_expired() {
    let (servers, _own, settings) = encrypted().await;
    let signed = servers.authority.sign_expired("expired");
    let client = redis::Client::open(servers.log.url()).unwrap();
    let mut log = client.get_multiplexed_async_connection().await.unwrap();
    let certificate = signed.certificate.to_str().unwrap();
    let key = signed.key.to_str().unwrap();
    let set = ["SET", "tls-cert-file", certificate, "tls-key-file", key];
    let () = redis::cmd("CONFIG")
        .arg(&set)
        .query_async(&mut log)
        .await
        .unwrap();
    let problem = settings.problem("log server").await.unwrap_or_default();
    assert!(problem.contains("has expired"), "{problem}");
    servers.give_to_database(&signed).await;
    testkit::until("the certificate is taken", 10, || async {
        let problem = settings.problem("database").await.unwrap_or_default();
        problem.contains("has expired")
    })
    .await;
    let told = settings.run(&["migrate"]).await;
    assert!(
        told.status == 1 && told.err.contains("has expired"),
        "{}",
        told.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_to_servers_that_ask_for_one() {
    let (servers, _own, settings) = encrypted().await;
    let client = redis::Client::open(servers.log.url()).unwrap();
    let mut log = client.get_multiplexed_async_connection().await.unwrap();
    let ask = ["SET", "tls-auth-clients", "yes"];
    let () = redis::cmd("CONFIG")
        .arg(&ask)
        .query_async(&mut log)
        .await
        .unwrap();
    let problem = settings.problem("log server").await.unwrap_or_default();
    assert!(problem.contains("TLS_CERTIFICATE_FILE"), "{problem}");
    let own = servers.authority.sign("who-we-are");
    let settings = settings
        .with("TLS_CERTIFICATE_FILE", own.certificate.to_str().unwrap())
        .with("TLS_KEY_FILE", own.key.to_str().unwrap());
    assert_eq!(settings.problem("log server").await, None);
    let half = settings.with("TLS_KEY_FILE", "");
    let told = half.run(&["config"]).await;
    assert!(
        told.status == 1 && told.err.contains("TLS_KEY_FILE"),
        "{}",
        told.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_modes_of_postgresql_are_kept() {
    let (servers, own, settings) = encrypted().await;
    let other = Authority::new("somebody else");
    let (ours, theirs) = (servers.authority.file.display(), other.file.display());
    servers.refuse_plain_connections().await;
    let none = settings.with("TLS_CA_FILE", "");
    let wrong = settings.with("TLS_CA_FILE", other.file.to_str().unwrap());
    for (settings, host, asked, why) in [
        // Encrypted, without a look at who it is.
        (&none, ADDRESS, "sslmode=require".to_owned(), None),
        (&none, ADDRESS, "sslmode=prefer".to_owned(), None),
        (&none, ADDRESS, String::new(), None),
        (
            &none,
            ADDRESS,
            "sslmode=disable".to_owned(),
            Some("sslmode=require"),
        ),
        // Its authority.
        (&settings, ADDRESS, "sslmode=verify-ca".to_owned(), None),
        (
            &none,
            ADDRESS,
            "sslmode=verify-ca".to_owned(),
            Some("TLS_CA_FILE"),
        ),
        (
            &wrong,
            ADDRESS,
            "sslmode=verify-ca".to_owned(),
            Some("not known here"),
        ),
        (
            &none,
            ADDRESS,
            format!("sslmode=verify-ca&sslrootcert={ours}"),
            None,
        ),
        (
            &wrong,
            ADDRESS,
            format!("sslmode=verify-ca&sslrootcert={ours}"),
            None,
        ),
        // As libpq has it, where there is a root.
        (
            &none,
            ADDRESS,
            format!("sslmode=require&sslrootcert={theirs}"),
            Some("not known here"),
        ),
        // Its name too.
        (&settings, NAME, "sslmode=verify-full".to_owned(), None),
        (
            &settings,
            ADDRESS,
            "sslmode=verify-full".to_owned(),
            Some("localhost"),
        ),
        (
            &wrong,
            NAME,
            "sslmode=verify-full".to_owned(),
            Some("not known here"),
        ),
    ] {
        let url = format!("{}?{asked}", own.database.replace(ADDRESS, host));
        let settings = settings
            .with("DATABASE_URL", url)
            .with("REDIS_LOG_URL", own.redis_log.clone())
            .with("REDIS_VIEWS_URL", own.redis_views.clone());
        let told = settings.run(&["migrate"]).await;
        match why {
            None => assert_eq!(told.status, 0, "{host} {asked}: {}", told.err),
            Some(why) => {
                assert_eq!(told.status, 1, "{host} {asked}: {}", told.err);
                assert!(told.err.contains(why), "{host} {asked}: {}", told.err);
                let problem = settings.problem("database").await.unwrap_or_default();
                assert!(problem.contains(why), "{host} {asked}: {problem}");
                assert!(!problem.contains("start it"), "{problem}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_without_tls_and_what_is_no_server_are_told_apart() {
    let servers = Servers::shared().await;
    let settings = Settings::of(&servers);
    let asked = format!("{}?sslmode=require", servers.database);
    let problem = settings
        .with("DATABASE_URL", asked)
        .problem("database")
        .await;
    let problem = problem.unwrap_or_default();
    assert!(problem.contains("takes no TLS"), "{problem}");
    let listener = TcpListener::bind((ADDRESS, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut other, _)) = listener.accept().await {
            let _ = other.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    for scheme in ["redis", "rediss"] {
        let settings = settings.with("REDIS_LOG_URL", format!("{scheme}://{ADDRESS}:{port}"));
        let problem = settings.problem("log server").await.unwrap_or_default();
        assert!(problem.contains("what listens at"), "{scheme}: {problem}");
    }
    for mode in ["require", "prefer", "disable"] {
        let url = format!("postgres://h@{ADDRESS}:{port}/h?sslmode={mode}");
        let problem = settings.with("DATABASE_URL", url).problem("database").await;
        let problem = problem.unwrap_or_default();
        assert!(problem.contains("PostgreSQL"), "{mode}: {problem}");
        assert!(!problem.contains("migrate"), "{mode}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_cannot_be_kept_are_named_by_every_command() {
    let servers = Servers::shared().await;
    let settings = Settings::of(&servers);
    for (name, url, why) in [
        (
            "DATABASE_URL",
            "postgres://u:hidden@h/d?channel_binding=require",
            "verify-full",
        ),
        ("DATABASE_URL", "postgres://u:hid/den@h/d", "%2F"),
        (
            "REDIS_LOG_URL",
            "rediss://:hidden@h/#insecure",
            "TLS_CA_FILE",
        ),
        (
            "REDIS_VIEWS_URL",
            "redis://:hidden@h?ssl_cert_reqs=none",
            "ssl_cert_reqs",
        ),
        ("TLS_CA_FILE", "/not/there.pem", "/not/there.pem"),
    ] {
        let settings = settings.with(name, url);
        for command in ["config", "migrate", "tail", "doctor"] {
            let told = settings.run(&[command]).await;
            assert_ne!(told.status, 0);
            let told = format!("{}{}", told.out, told.err);
            assert!(
                told.contains(name) && told.contains(why),
                "{command}: {told}"
            );
            assert!(!told.contains("hid"), "{command}: {told}");
        }
    }
    let taken = format!("{}?connect_timeout=5&pgbouncer=true", servers.database);
    let settings = settings.with("DATABASE_URL", taken);
    assert_eq!(settings.run(&["migrate"]).await.status, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_an_example_holds_are_refused_by_every_command() {
    let servers = Servers::shared().await;
    let settings = Settings::of(&servers);
    let example = "change-me-change-me-change-me-change-me";
    let repeated = "x".repeat(40);
    for (name, secret) in [
        ("TOKEN_SECRET", example),
        ("CURSOR_SECRET", example),
        ("LOG_SECRET", example),
        ("VAULT_SECRET", example),
        ("TOKEN_SECRET", "31 bytes are not enough, really"),
        ("TOKEN_SECRET", &repeated),
    ] {
        let settings = settings.with(name, secret);
        for command in ["serve", "work", "config", "doctor", "migrate"] {
            let told = settings.run(&[command]).await;
            assert_ne!(told.status, 0, "{name} {command}");
            let told = format!("{}{}", told.out, told.err);
            assert!(
                told.contains("openssl rand -base64 48"),
                "{command}: {told}"
            );
            assert!(
                told.contains(name) && !told.contains(secret),
                "{command}: {told}"
            );
        }
    }
    let accepted = format!("{TOKEN_SECRET},{example}");
    let told = settings
        .with("TOKEN_SECRETS_ACCEPTED", accepted)
        .run(&["config"])
        .await;
    assert!(
        told.status == 1 && told.err.contains("TOKEN_SECRETS_ACCEPTED"),
        "{}",
        told.err
    );
}

#[test]
fn one_provider_of_tls_is_built() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--edges", "all", "--prefix", "none"])
        .args(["--format", "{p}", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "{error}");
    let tree = String::from_utf8(tree.stdout).unwrap();
    let names: Vec<_> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(names.contains(&"aws-lc-rs") && names.contains(&"rustls"));
    for other in [
        "ring",
        "openssl",
        "openssl-sys",
        "native-tls",
        "boring",
        "mbedtls",
    ] {
        assert!(!names.contains(&other), "{other} is built");
    }
}
