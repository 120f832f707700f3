//! What an edge costs in the server's memory.

use eventlog::{IdempotencyKey, Intent, Log, LogSettings};
use futures_util::future::join_all;
use kernel::{AccountId, AggregateId, Decider};
use redis::aio::MultiplexedConnection;

use super::{
    counter::{Edge, Like, NoSealer, by, id},
    setting::{ask, key, own_server, raw},
};

const EDGES: u64 = 10_000;
const ACCOUNTS: u64 = 200;
const ENTRY_BYTES_MAX: f64 = 156.0;
const STATE_BYTES_MAX: f64 = 40.0;
const RECEIPT_BYTES_MAX: f64 = 180.0;

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_costs_little_memory() {
    // Given
    let server = own_server().await;
    let log = Log::create(&LogSettings::new(server.url(), key()))
        .await
        .unwrap();
    let mut connection = raw(server.url()).await;
    let accounts: Vec<_> = (0..ACCOUNTS as u16).map(|r| AccountId(id(r))).collect();

    // When: half without a key, half with.
    like(&log, &accounts, false).await;
    let (entries, states, none) = usage(&mut connection).await;
    assert_eq!(none, 0);
    let used = used(&mut connection).await;
    like(&log, &accounts, true).await;
    let (twice_entries, twice_states, receipts) = usage(&mut connection).await;

    // Then
    let each = |bytes: u64| bytes as f64 / EDGES as f64;
    let (entry, state) = (each(entries), each(states));
    let keyed_entry = each(twice_entries - entries);
    let (packed, receipt) = (each(twice_states - states), each(receipts));
    let all = each(self::used(&mut connection).await - used);
    println!(
        "bytes: entry {entry:.0} (with a key {keyed_entry:.0}), state {state:.0} (in a hash that is there: {packed:.0}), \
         receipt {receipt:.0}; all of one command with a key {all:.0}"
    );
    assert!(entry > 50.0 && entry <= ENTRY_BYTES_MAX, "{entry}");
    // The envelope keeps the key's hash and the fingerprint.
    assert!(keyed_entry <= ENTRY_BYTES_MAX, "{keyed_entry}");
    assert!(state > 20.0 && state <= STATE_BYTES_MAX, "{state}");
    assert!(receipt > 50.0 && receipt <= RECEIPT_BYTES_MAX, "{receipt}");
}

async fn like(log: &Log, accounts: &[AccountId], keyed: bool) {
    let edges: Vec<_> = (0..EDGES)
        .map(|n| accounts[(n % ACCOUNTS) as usize])
        .collect();
    for some in edges.chunks(500) {
        let done = join_all(some.iter().map(|account| async move {
            let intent = by(*account);
            let text = intent.correlation.to_string();
            let key = IdempotencyKey::given(*account, "PUT", "/", &text, b"");
            let key = keyed.then_some(key);
            let edge = AggregateId::edge(Edge::KIND, account.0, id(7));
            log.execute(&Like(edge), &Intent { key, ..intent }, &NoSealer)
                .await
        }))
        .await;
        assert!(done.into_iter().all(|done| done.unwrap().appended));
    }
}

/// Of all events, states and receipts.
async fn usage(connection: &mut MultiplexedConnection) -> (u64, u64, u64) {
    let keys: Vec<Vec<u8>> = ask(connection, "KEYS *").await;
    let (mut entries, mut states, mut receipts) = (0, 0, 0);
    for key in keys {
        let family = key.splitn(3, |byte| *byte == b':').nth(2).unwrap();
        let sum = match family {
            [b'e', ..] => &mut entries,
            [b's', ..] => &mut states,
            [b'r', ..] => &mut receipts,
            _ => continue,
        };
        let mut command = redis::cmd("MEMORY");
        command.arg("USAGE").arg(&key).arg("SAMPLES").arg(0);
        *sum += command.query_async::<u64>(connection).await.unwrap();
    }
    (entries, states, receipts)
}

async fn used(connection: &mut MultiplexedConnection) -> u64 {
    let info: String = ask(connection, "INFO memory").await;
    let line = info.lines().find_map(|l| l.strip_prefix("used_memory:"));
    line.unwrap().parse().unwrap()
}
