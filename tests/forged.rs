//! Whoever can write to the log's Redis, and has no key of ours, can stop a partition and
//! show nothing to anybody.

use std::time::Duration;

use kernel::{AccountId, AggregateId, Envelope, Kind, Position, Recorded, Timestamp, Uuid};
use serde_json::{Value, json};
use testkit::{App, Person, secrets::log_key, until};
use worker::Engine;

use crate::process::{Output, environment, run};

const PROBLEMS: i32 = 3;
const SECRET: &str = "what ada told her followers alone";

async fn headwater(app: &App, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    run(arguments, &environment(&app.servers), folder.path()).await
}

/// Ada has a post for her followers alone, bob a public one; all is folded.
struct Forging {
    app: App,
    ada: Person,
    bob: Person,
    of_ada: String,
    of_bob: String,
}

impl Forging {
    async fn new() -> Self {
        let app = App::start().await;
        let ada = app.client().register("ada").await;
        let bob = app.client().register("bob").await;
        let body = json!({"text": SECRET, "visibility": "followers"});
        let made = ada.client.post("/v1/posts", body).await.expect(201);
        let of_ada = made.body["id"].as_str().unwrap().to_owned();
        let of_bob = bob.publish("what anybody may read").await;
        app.settle().await;
        Self {
            app,
            ada,
            bob,
            of_ada,
            of_bob,
        }
    }

    /// The event that made a post, and its entry as it stands in Redis.
    async fn created(&self, post: &str) -> Recorded {
        let id: Uuid = post.parse().unwrap();
        for partition in self.app.log.partitions() {
            let beginning = eventlog::Log::beginning(partition);
            let events = self.app.log.read(beginning, 1_000).await.unwrap();
            let found = events.into_iter().find(|recorded| {
                let envelope = &recorded.envelope;
                envelope.aggregate.id == id && envelope.event_type == "PostCreated"
            });
            if let Some(found) = found {
                return found;
            }
        }
        panic!("{post} was never made");
    }

    /// As anybody does who can reach Redis. Gives where it stands.
    async fn write(&self, near: Position, entry: &[u8]) -> String {
        let partition = near.partition.0;
        let key = format!("{}:{{p{partition:02}}}:events", self.app.servers.prefix);
        let client = redis::Client::open(self.app.servers.redis_log.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut add = redis::cmd("XADD");
        add.arg(key)
            .arg(format!("{}-*", near.epoch))
            .arg("e")
            .arg(entry);
        let id: String = add.query_async(&mut connection).await.unwrap();
        format!("{partition}:{id}")
    }

    /// Works until the partition of `at` stands still before it, and everybody says why.
    async fn stops_at(&self, at: &str, why: &str) {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let engine: Engine = self.app.engine();
        let working = tokio::spawn(async move { engine.run(stopped).await });
        until("it stands still", 20, || async {
            let listed = headwater(&self.app, &["projections"]).await;
            listed.out.contains(why) && listed.out.contains(at)
        })
        .await;
        let doctor = headwater(&self.app, &["doctor"]).await;
        assert_eq!(doctor.status, PROBLEMS, "{}", doctor.out);
        let said = format!("{}{}", doctor.out, doctor.err);
        assert!(said.contains(why) && said.contains(at), "{said}");
        stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(5), working)
            .await
            .unwrap()
            .unwrap();
        self.app.services.look_again().await;
    }

    /// What a stranger and bob see of bob's post: never what ada wrote.
    async fn bobs_post(&self) -> Value {
        let path = format!("/v1/posts/{}", self.of_bob);
        for client in [&self.app.client(), &self.bob.client] {
            for path in [&path, "/v1/timelines/local", &format!("{path}/revisions")] {
                let answer = client.get(path).await;
                assert!(!answer.body.to_string().contains(SECRET), "{path}");
            }
        }
        self.app.client().get(&path).await.expect(200).body
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sealed_text_of_one_is_never_shown_under_the_post_of_another() {
    let forging = Forging::new().await;
    let (secret, public) = (
        forging.created(&forging.of_ada).await,
        forging.created(&forging.of_bob).await,
    );
    let edited = Envelope {
        event_type: "PostEdited".into(),
        version: 2,
        data: edit_of(&secret.envelope),
        ..public.envelope.clone()
    };
    // With the MAC that bob's event has, which is not one of this.
    let forged = Recorded {
        envelope: edited.clone(),
        ..public.clone()
    };
    let entry = forged.to_entry().unwrap();
    let at = forging.write(public.position, &entry).await;
    forging.stops_at(&at, "its MAC is wrong").await;
    assert_eq!(forging.bobs_post().await["text"], "what anybody may read");
    let verified = headwater(&forging.app, &["tail", "-o", "start", "-e"]).await;
    assert!(verified.err.contains(&at), "{}", verified.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_text_opens_in_no_other_event_even_where_that_is_signed() {
    let forging = Forging::new().await;
    let (secret, public) = (
        forging.created(&forging.of_ada).await,
        forging.created(&forging.of_bob).await,
    );
    let edited = |actor| Envelope {
        event_type: "PostEdited".into(),
        version: 2,
        actor,
        data: edit_of(&secret.envelope),
        ..public.envelope.clone()
    };
    let ada = AccountId(forging.ada.id.parse().unwrap());
    for actor in [public.envelope.actor, ada] {
        let entry = log_key().entry(&edited(actor)).unwrap();
        forging.write(public.position, &entry).await;
    }
    forging.app.settle().await;
    // Parked: it waits for an operator, and nobody is shown an old text for the new one.
    let path = format!("/v1/posts/{}", forging.of_bob);
    let refused = forging.app.client().get(&path).await;
    refused.problem(503, "parked");
    let letters = headwater(&forging.app, &["dead-letters", "list", "social"]).await;
    assert_eq!(letters.out.lines().count(), 2, "{}", letters.out);
    assert!(
        letters.out.contains("it is not of the event's account"),
        "{}",
        letters.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_somebody_made_up_stops_its_partition() {
    let forging = Forging::new().await;
    let public = forging.created(&forging.of_bob).await;
    let (bob, post) = (
        forging.bob.id.parse().unwrap(),
        forging.of_bob.parse().unwrap(),
    );
    let liked = Envelope {
        event_type: "Liked".into(),
        event_version: 1,
        aggregate: AggregateId::edge(domain::kinds::LIKE, bob, post),
        version: 1,
        recorded_at: Timestamp(1_790_000_000_000),
        actor: AccountId(bob),
        correlation: Uuid::from_u128(1),
        causation: None,
        receipt: None,
        data: public.envelope.data.clone(),
        trace: None,
    };
    // Without any MAC.
    let at = forging
        .write(public.position, &liked.to_bytes().unwrap())
        .await;
    forging.stops_at(&at, &at).await;
    assert_eq!(forging.bobs_post().await["likes_count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_copied_elsewhere_stops_its_partition() {
    let forging = Forging::new().await;
    let public = forging.created(&forging.of_bob).await;
    // Under another post, with the MAC that it had.
    let elsewhere = Envelope {
        aggregate: AggregateId {
            kind: Kind(public.envelope.aggregate.kind.0),
            id: Uuid::from_u128(public.envelope.aggregate.id.as_u128() ^ (1 << 40)),
            member: None,
        },
        ..public.envelope.clone()
    };
    let moved = Recorded {
        envelope: elsewhere,
        ..public.clone()
    };
    let at = forging
        .write(public.position, &moved.to_entry().unwrap())
        .await;
    forging.stops_at(&at, "its MAC is wrong").await;
    let listed = forging.app.client().get("/v1/timelines/local").await;
    assert_eq!(
        listed.expect(200).ids(),
        std::slice::from_ref(&forging.of_bob)
    );

    // As it was, in another partition.
    let forging = Forging::new().await;
    let public = forging.created(&forging.of_bob).await;
    let partitions = forging.app.log.partitions().count() as u16;
    let mut near = public.position;
    near.partition.0 = (near.partition.0 + 1) % partitions;
    let at = forging.write(near, &public.to_entry().unwrap()).await;
    forging.stops_at(&at, "belongs to partition").await;
}

/// What `PostEdited` holds, with the sealed text of another event.
fn edit_of(created: &Envelope) -> Vec<u8> {
    let domain::Event::Post(domain::posts::PostEvent::PostCreated(created)) =
        domain::Event::decode(created).unwrap()
    else {
        panic!("it made no post");
    };
    let edited = domain::posts::PostEdited {
        text: created.text,
        hashtags: None,
        metadata: None,
        language: None,
        mentions: Vec::new(),
    };
    kernel::encode(&edited).unwrap()
}
