//! Which servers are taken, and which are refused.

use devservices::RedisServer;
use eventlog::{IdempotencyKey, Intent, Log, LogError, LogSettings};

use super::{
    counter::{Increment, NoSealer, by, counter, events},
    setting::{ask, eventually, key, options, own_server, raw},
};

/// Why it is refused.
async fn refusal(server: &RedisServer) -> String {
    match Log::create(&LogSettings::new(server.url(), key()))
        .await
        .err()
    {
        Some(LogError::Unsafe(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn unsafe_allowed(server: &RedisServer) -> LogSettings {
    let mut settings = LogSettings::new(server.url(), key());
    settings.allow_unsafe = true;
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn each_unsafe_setting_is_refused_unless_it_is_allowed() {
    for line in [
        "appendonly no",
        "appendfsync everysec",
        "no-appendfsync-on-rewrite yes",
        "maxmemory-policy allkeys-lru",
    ] {
        // Given
        let server = RedisServer::start(options().line(line)).await.unwrap();

        // When
        let why = refusal(&server).await;

        // Then: it names this setting and no other, and nothing was made.
        let (name, found) = line.split_once(' ').unwrap();
        assert!(why.starts_with(&format!("{name} is {found} and")), "{why}");
        assert!(!why.contains(';'), "{why}");
        let mut connection = raw(server.url()).await;
        assert_eq!(ask::<u64>(&mut connection, "DBSIZE").await, 0);
        works(&Log::create(&unsafe_allowed(&server)).await.unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_settings_are_refused_unless_they_are_allowed() {
    let options = options().line("rename-command CONFIG \"\"");
    let server = RedisServer::start(options).await.unwrap();

    let why = refusal(&server).await;

    assert!(why.contains("CONFIG GET is refused"), "{why}");
    works(&Log::create(&unsafe_allowed(&server)).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_refused() {
    let primary = own_server().await;
    let line = format!("replicaof 127.0.0.1 {}", primary.port());
    let replica = RedisServer::start(options().line(&line)).await.unwrap();

    let why = refusal(&replica).await;

    assert!(why.contains("it is a replica"), "{why}");
    works(
        &Log::create(&LogSettings::new(primary.url(), key()))
            .await
            .unwrap(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_no_server_are_different_errors() {
    let options = options().random_password().unwrap();
    let mut server = RedisServer::start(options).await.unwrap();
    let connect = async |url: String| Log::create(&LogSettings::new(url, key())).await.err();
    let port = server.port();

    for url in [
        format!("redis://:wrong@127.0.0.1:{port}/"),
        format!("redis://127.0.0.1:{port}/"),
        "nonsense".into(),
    ] {
        let error = connect(url).await;
        assert!(matches!(error, Some(LogError::Refused(_))), "{error:?}");
    }
    assert!(connect(server.url().into()).await.is_none());
    server.kill().await.unwrap();
    let error = connect(server.url().into()).await;
    assert!(matches!(error, Some(LogError::Unavailable(_))), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_functions_pass_on_a_cluster_node() {
    // Given
    let options = options().line("cluster-enabled yes");
    let server = RedisServer::start(options).await.unwrap();
    let mut connection = raw(server.url()).await;
    ask::<()>(&mut connection, "CLUSTER ADDSLOTSRANGE 0 16383").await;
    eventually("the cluster is ready", || {
        let mut connection = connection.clone();
        async move {
            let info: String = ask(&mut connection, "CLUSTER INFO").await;
            info.contains("cluster_state:ok")
        }
    })
    .await;

    // When, then
    let log = Log::create(&LogSettings::new(server.url(), key()))
        .await
        .unwrap();
    works(&log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_so_and_works_again_with_more_memory() {
    let server = own_server().await;
    let log = Log::create(&LogSettings::new(server.url(), key()))
        .await
        .unwrap();
    let mut connection = raw(server.url()).await;
    ask::<()>(&mut connection, "CONFIG SET maxmemory 1").await;

    let (account, counter) = counter(0);
    let (command, intent) = (Increment(counter), by(account));
    let tried = log.execute(&command, &intent, &NoSealer).await;

    use eventlog::ExecuteError::Log as OfLog;
    assert!(matches!(tried, Err(OfLog(LogError::Full))), "{tried:?}");
    ask::<()>(&mut connection, "CONFIG SET maxmemory 0").await;
    works(&log).await;
}

/// All that an append can touch, in every partition.
async fn works(log: &Log) {
    let before = events(log).await.len();
    for route in 0..8 {
        let (account, counter) = counter(route);
        let key = IdempotencyKey::given(account, "POST", "/", "a", b"");
        let intent = Intent {
            key: Some(key),
            ..by(account)
        };
        for again in [false, true] {
            let command = Increment(counter);
            let receipt = log.execute(&command, &intent, &NoSealer).await.unwrap();
            assert_eq!((receipt.again, receipt.version), (again, 1));
        }
        assert!(log.last_position(account).await.unwrap().is_some());
    }
    assert_eq!(events(log).await.len(), before + 8);
}
