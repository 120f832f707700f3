//! The stories in Rust, told with the generated client alone: see `../../../README.md`.
//! The first argument is the server's address.

use std::{
    error::Error,
    fmt::Debug,
    sync::atomic::{AtomicU32, Ordering},
    time::SystemTime,
};

use headwater_client::{Client, Error as Refusal, ResponseValue, types};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use uuid::Uuid;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;
type Answer<T> = Result<ResponseValue<T>, Refusal<types::Problem>>;

const PASSWORD: &str = "correct horse battery";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let server = std::env::args().nth(1).ok_or("stories SERVER")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let here = &Here {
        nobody: Client::new(&server),
        run: now.as_millis(),
        people: AtomicU32::new(0),
        server,
    };
    macro_rules! tell {
        ($($story:ident)*) => {$(
            $story(here).await.map_err(|error| format!("{}: {error}", stringify!($story)))?;
            println!(stringify!($story));
        )*};
    }
    tell!(
        register_and_read_oneself
        sign_in_refresh_and_sign_out
        publish_and_read_back
        reply_and_read_the_thread
        edit_without_losing_an_update
        like_and_unlike
        follow_a_private_account
        page_through_home
        read_typed_problems
        retry_with_an_idempotency_key
        wait_when_it_was_too_much
    );
    Ok(())
}

async fn register_and_read_oneself(here: &Here) -> Outcome {
    let ada = here.register().await?;
    let me = ada.client.get_my_account().send().await?;
    let found = (me.id, me.handle.as_str(), me.private, me.posts_count);
    same(found, (ada.id, &*ada.handle, false, 0))?;
    let email = format!("{}@example.org", ada.handle);
    same(me.email.as_ref().map(|email| email.as_str()), Some(&*email))
}

async fn sign_in_refresh_and_sign_out(here: &Here) -> Outcome {
    let ada = here.register().await?;
    let login = types::SignIn::builder()
        .login(&*ada.handle)
        .password(PASSWORD);
    let first = here.nobody.sign_in().body(login).send().await?;
    let token = types::Refresh::builder().refresh_token(first.refresh_token.as_str());
    let next = here.nobody.refresh_session().body(token).send().await?;
    same(*next.refresh_token == *first.refresh_token, false)?;

    let client = here.signed_in(&next)?;
    let sessions = client.list_sessions().send().await?;
    let current = sessions.items.iter().filter(|session| session.current);
    let current: Vec<_> = current.map(|session| session.id).collect();
    same((sessions.items.len(), current), (2, vec![first.session_id]))?;
    client.sign_out().send().await?;
    refused(client.list_sessions().send().await, 401, "session_ended")?;
    let left = ada.client.list_sessions().send().await?;
    same(left.items.len(), 1)
}

async fn publish_and_read_back(here: &Here) -> Outcome {
    let (ada, bob) = (here.register().await?, here.register().await?);
    let metadata = [("category".to_owned(), "greetings".into())];
    let metadata = serde_json::Map::from_iter(metadata);
    let body = types::NewPost::builder()
        .text("Hello #world")
        .metadata(Some(metadata.clone()));
    let written = ada.client.publish_post().body(body).send().await?;
    // One reads what one wrote; others wait for it where they are told its position.
    let read = bob.client.get_post().post_id(written.id);
    let post = read.min_position(position(&written)?).send().await?;
    same(text(&post), Some("Hello #world"))?;
    let hashtags: Vec<_> = post
        .hashtags
        .iter()
        .map(|hashtag| hashtag.as_str())
        .collect();
    let found = (post.author.handle.as_str(), hashtags);
    same(found, (&*ada.handle, vec!["world"]))?;
    same(
        (&post.metadata, post.visibility.as_str()),
        (&metadata, "public"),
    )
}

async fn reply_and_read_the_thread(here: &Here) -> Outcome {
    let (ada, bob) = (here.register().await?, here.register().await?);
    let question = ada.publish("Who is there?").await?;
    let body = types::NewPost::builder().text("Bob.").reply_to_id(question);
    let reply = bob.client.publish_post().body(body).send().await?;
    let read = ada.client.get_thread().post_id(question);
    let thread = read.min_position(position(&reply)?).send().await?;
    same((thread.post.id, thread.post.replies_count), (question, 1))?;
    let descendants = thread.descendants.iter();
    let descendants: Vec<_> = descendants
        .map(|post| (post.id, post.reply_to_id))
        .collect();
    same(descendants, vec![(reply.id, Some(question))])?;
    same(thread.ancestors.len(), 0)
}

async fn edit_without_losing_an_update(here: &Here) -> Outcome {
    let ada = here.register().await?;
    let id = ada.publish("Frist").await?;
    let read = ada.client.get_post().post_id(id).send().await?;
    let etag = read.headers().get("etag").ok_or("no ETag")?.to_str()?;
    let edit = |text| {
        let edit = ada.client.edit_post().post_id(id).if_match(etag);
        edit.body(types::PostEdit::builder().text(text)).send()
    };
    edit("First").await?;
    refused(edit("Second").await, 412, "version_mismatch")?;
    let edited = ada.client.get_post().post_id(id).send().await?;
    same(
        (text(&edited), edited.edited_at.is_some()),
        (Some("First"), true),
    )
}

async fn like_and_unlike(here: &Here) -> Outcome {
    let (ada, bob) = (here.register().await?, here.register().await?);
    let id = ada.publish("Like me").await?;
    let liked = async || -> Outcome<_> {
        let post = bob.client.get_post().post_id(id).send().await?;
        let viewer = post.viewer.as_ref().ok_or("no viewer")?;
        Ok((viewer.liked, post.likes_count))
    };
    bob.client.like_post().post_id(id).send().await?;
    same(liked().await?, (true, 1))?;
    bob.client.unlike_post().post_id(id).send().await?;
    same(liked().await?, (false, 0))
}

async fn follow_a_private_account(here: &Here) -> Outcome {
    let (ada, bob) = (here.register().await?, here.register().await?);
    let private = types::ProfileChange::builder().private(true);
    ada.client.update_my_profile().body(private).send().await?;
    let standing = async |after: Option<String>| -> Outcome<_> {
        let mut read = bob.client.list_relationships().ids(ada.id.to_string());
        if let Some(after) = after {
            read = read.min_position(after);
        }
        let found = read.send().await?;
        let found = found.items.first().ok_or("no relationship")?;
        Ok((found.requested, found.following))
    };
    let follow = bob
        .client
        .follow_account()
        .account_id(ada.id.to_string())
        .send()
        .await?;
    same(standing(None).await?, (true, false))?;

    let requests = ada.client.list_follow_requests();
    let requests = requests.min_position(position(&follow)?).send().await?;
    let from: Vec<_> = requests.items.iter().map(|account| account.id).collect();
    same(from, vec![bob.id])?;
    let accept = ada
        .client
        .accept_follower()
        .account_id(bob.id.to_string())
        .send()
        .await?;
    same(standing(Some(position(&accept)?)).await?, (false, true))
}

async fn page_through_home(here: &Here) -> Outcome {
    let ada = here.register().await?;
    let mut published = Vec::new();
    for text in ["one", "two", "three", "four", "five"] {
        published.insert(0, ada.publish(text).await?);
    }
    let (mut sizes, mut found) = (Vec::new(), Vec::new());
    let mut cursor = None;
    while sizes.is_empty() || cursor.is_some() && sizes.len() < 5 {
        let mut read = ada.client.get_home_timeline().limit(2);
        if let Some(cursor) = cursor.take() {
            read = read.cursor(cursor);
        }
        let page = read.send().await?.into_inner();
        sizes.push(page.items.len());
        found.extend(page.items.iter().map(|post| post.id));
        cursor = page.next_cursor.map(String::from);
    }
    same((sizes, found), (vec![2, 2, 1], published))
}

async fn read_typed_problems(here: &Here) -> Outcome {
    let ada = here.register().await?;
    let nowhere: Uuid = "0198b5a2-9c4e-7f00-8123-456789ab7b8a".parse()?;
    let missing = ada.client.get_post().post_id(nowhere).send().await;
    let missing = refused(missing, 404, "not_found")?;
    let request_id = missing.headers().get("x-request-id").ok_or("no id")?;
    let told = missing.request_id.ok_or("no request_id")?;
    same(told.to_string().as_str(), request_id.to_str()?)?;

    let body = types::NewPost::builder()
        .text("To nobody")
        .reply_to_id(nowhere);
    let invalid = ada.client.publish_post().body(body).send().await;
    let invalid = refused(invalid, 422, "invalid_field")?;
    let pointers = invalid.errors.iter().flat_map(|error| &error.pointer);
    let pointers: Vec<_> = pointers.map(|pointer| pointer.as_str()).collect();
    same(pointers, vec!["/reply_to_id"])
}

async fn retry_with_an_idempotency_key(here: &Here) -> Outcome {
    let ada = here.register().await?;
    let key = Uuid::new_v4().to_string();
    let send = |text| {
        let send = ada.client.publish_post().idempotency_key(&*key);
        send.body(types::NewPost::builder().text(text)).send()
    };
    let first = send("Once").await?;
    same(send("Once").await?.id, first.id)?;
    refused(send("Twice").await, 422, "idempotency_key_reused")?;
    let mine = ada.client.list_my_posts().send().await?;
    same(mine.items.len(), 1)
}

async fn wait_when_it_was_too_much(here: &Here) -> Outcome {
    let ada = here.register().await?;
    let sign_in = || {
        let login = types::SignIn::builder().login(&*ada.handle);
        let login = login.password("not this one");
        here.nobody.sign_in().body(login).send()
    };
    for _ in 0..5 {
        refused(sign_in().await, 401, "invalid_credentials")?;
    }
    let stopped = refused(sign_in().await, 429, "too_many_requests")?;
    let seconds = stopped.headers().get("retry-after").ok_or("no wait")?;
    let seconds: u64 = seconds.to_str()?.parse()?;
    same((1..=300).contains(&seconds), true)
}

struct Here {
    server: String,
    nobody: Client,
    run: u128,
    people: AtomicU32,
}

impl Here {
    async fn register(&self) -> Outcome<Person> {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        let handle = format!("rs_{:x}_{number}", self.run);
        let body = types::Registration::builder()
            .handle(Some(handle.parse()?))
            .email(format!("{handle}@example.org"))
            .password(PASSWORD);
        let registered = self.nobody.register_account().body(body).send().await?;
        let client = self.signed_in(&registered.session)?;
        Ok(Person {
            id: registered.id,
            handle,
            client,
        })
    }

    fn signed_in(&self, session: &types::Session) -> Outcome<Client> {
        let mut headers = HeaderMap::new();
        let bearer = format!("Bearer {}", session.access_token.as_str());
        headers.insert(AUTHORIZATION, bearer.parse()?);
        let client = reqwest::Client::builder().default_headers(headers);
        Ok(Client::new_with_client(&self.server, client.build()?))
    }
}

struct Person {
    id: Uuid,
    handle: String,
    client: Client,
}

impl Person {
    async fn publish(&self, text: &str) -> Outcome<Uuid> {
        let body = types::NewPost::builder().text(text);
        Ok(self.client.publish_post().body(body).send().await?.id)
    }
}

fn text(post: &types::Post) -> Option<&str> {
    post.text.as_deref().map(String::as_str)
}

fn position<T>(answer: &ResponseValue<T>) -> Outcome<String> {
    let position = answer.headers().get("event-position");
    Ok(position.ok_or("no position")?.to_str()?.to_owned())
}

fn refused<T>(
    answer: Answer<T>,
    status: u16,
    code: &str,
) -> Outcome<ResponseValue<types::Problem>> {
    match answer {
        Err(Refusal::ErrorResponse(problem)) => {
            let found = (
                problem.status().as_u16(),
                problem.status,
                problem.code.as_str(),
            );
            same(found, (status, status.into(), code))?;
            Ok(problem)
        }
        Err(error) => Err(error.into()),
        Ok(answer) => Err(format!("{}, and not refused", answer.status()).into()),
    }
}

fn same<T: PartialEq + Debug>(found: T, wanted: T) -> Outcome {
    match found == wanted {
        true => Ok(()),
        false => Err(format!("found {found:?}, wanted {wanted:?}").into()),
    }
}
