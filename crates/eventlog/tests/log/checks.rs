//! A command that cannot be written whole is not written at all, and takes no
//! other with it.

use eventlog::{ExecuteError, IdempotencyKey, Intent, Log, LogError, LogSettings};
use futures_util::future::join_all;
use kernel::{AccountId, AggregateId, Decider};

use super::{
    counter::{Counter, Increment, NoSealer, by, count, counter, id},
    setting::{raw, settings},
};

struct Spoiled {
    log: Log,
    settings: LogSettings,
}

async fn one_partition() -> Spoiled {
    let mut settings = settings().await;
    settings.partitions = 1;
    let log = Log::create(&settings).await.unwrap();
    Spoiled { log, settings }
}

impl Spoiled {
    fn key(&self, family: &str, id: &[u8]) -> Vec<u8> {
        let mut key = format!("{}:{{p00}}:{family}", self.settings.prefix).into_bytes();
        key.extend_from_slice(id);
        key
    }

    /// Makes the key hold a set, which nobody expects there.
    async fn spoil(&self, key: &[u8]) {
        let mut connection = raw(self.settings.server.clone()).await;
        let mut command = redis::cmd("SADD");
        command.arg(key).arg("wrong type");
        let added: u64 = command.query_async(&mut connection).await.unwrap();
        assert_eq!(added, 1);
    }

    async fn entries(&self) -> u64 {
        let mut connection = raw(self.settings.server.clone()).await;
        let mut command = redis::cmd("XLEN");
        command.arg(self.key("events", b""));
        command.query_async(&mut connection).await.unwrap()
    }

    /// The spoiled command fails among 16 others, which do not.
    async fn only_this_one_fails(&self, account: AccountId, intent: Intent) {
        let before = self.entries().await;
        let spoiled = AggregateId::single(Counter::KIND, account.0);
        let mut commands: Vec<_> = (0..16).map(|_| counter(0)).collect();
        let sound: Vec<_> = commands.iter().map(|(_, counter)| *counter).collect();
        commands.insert(8, (account, spoiled));

        let results = join_all(commands.iter().map(|(actor, counter)| async {
            let intent = if *actor == account {
                intent
            } else {
                by(*actor)
            };
            let command = Increment(*counter);
            self.log.execute(&command, &intent, &NoSealer).await
        }))
        .await;

        for (index, result) in results.into_iter().enumerate() {
            if index == 8 {
                let Err(ExecuteError::Log(LogError::Refused(why))) = &result else {
                    panic!("{result:?}");
                };
                assert!(why.contains("WRONGTYPE"), "{why}");
            } else {
                assert_eq!(result.unwrap().version, 1);
            }
        }
        assert_eq!(self.entries().await, before + 16);
        assert_eq!(count(&self.log, spoiled).await, 0);
        for counter in sound {
            assert_eq!(count(&self.log, counter).await, 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_cannot_be_read_fails_its_command_alone() {
    let spoiled = one_partition().await;
    let account = AccountId(id(0));
    let key = IdempotencyKey::given(account, "POST", "/v1", "a", b"");
    let bytes = key.hash.to_be_bytes();
    spoiled.spoil(&spoiled.key("r:", &bytes)).await;
    let intent = Intent {
        key: Some(key),
        ..by(account)
    };
    spoiled.only_this_one_fails(account, intent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn last_positions_that_cannot_be_read_are_written_anew() {
    let spoiled = one_partition().await;
    let account = AccountId(id(0));
    let last = spoiled.key("l:", account.0.as_bytes());
    spoiled.spoil(&last).await;
    let before = spoiled.entries().await;
    let counter = AggregateId::single(Counter::KIND, account.0);
    let (command, intent) = (Increment(counter), by(account));
    let done = spoiled.log.execute(&command, &intent, &NoSealer);
    let position = done.await.unwrap().position;
    assert!(position.is_some());
    assert_eq!(spoiled.log.last_position(account).await.unwrap(), position);
    assert_eq!(spoiled.entries().await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_spoiled_after_it_was_looked_up_fails_its_command_alone() {
    // Given: the key of an internal resend, which only the append looks at.
    use sha2::{Digest, Sha256};
    let spoiled = one_partition().await;
    let account = AccountId(id(0));
    let correlation = id(0);
    let mut hash = Sha256::new();
    hash.update(correlation.as_bytes());
    hash.update([Counter::KIND.0]);
    hash.update(account.0.as_bytes());
    spoiled
        .spoil(&spoiled.key("r:", &hash.finalize()[..16]))
        .await;
    let intent = Intent {
        key: Some(IdempotencyKey::internal(correlation)),
        ..by(account)
    };
    spoiled.only_this_one_fails(account, intent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn states_that_cannot_be_read_fail_their_command_alone() {
    let spoiled = one_partition().await;
    let account = AccountId(id(0));
    let states = spoiled.key("s1:", account.0.as_bytes());
    spoiled.spoil(&states).await;

    // A state is loaded first: nobody else's load fails with it.
    let (other, of_other) = counter(0);
    let of_account = AggregateId::single(Counter::KIND, account.0);
    let (spoilt, command) = (Increment(of_account), Increment(of_other));
    let (one, two) = (by(account), by(other));
    let (failed, done) = tokio::join!(
        spoiled.log.execute(&spoilt, &one, &NoSealer),
        spoiled.log.execute(&command, &two, &NoSealer),
    );

    let refused = matches!(&failed, Err(ExecuteError::Log(LogError::Refused(_))));
    assert!(refused, "{failed:?}");
    assert!(done.unwrap().appended);
    assert_eq!(spoiled.entries().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_gone_does_not_begin_again() {
    // Given
    let spoiled = one_partition().await;
    let (account, of_account) = counter(0);
    let mut connection = raw(spoiled.settings.server.clone()).await;
    let mut delete = redis::cmd("DEL");
    delete.arg(spoiled.key("events", b""));
    delete.query_async::<()>(&mut connection).await.unwrap();

    // When
    let command = Increment(of_account);
    let tried = spoiled.log.execute(&command, &by(account), &NoSealer).await;

    // Then
    let refused = matches!(&tried, Err(ExecuteError::Log(LogError::Incomplete(_))));
    assert!(refused, "{tried:?}");
    assert_eq!(spoiled.entries().await, 0);
    // No state was written either: what is not known may be there.
    let state = spoiled.log.state::<Counter>(of_account).await.err();
    assert!(matches!(state, Some(LogError::Missing)), "{state:?}");
}
