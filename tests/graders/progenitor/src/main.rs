//! Ten calls with a client that is generated from the contract as it is, against a
//! server: those of `../client.ts`. Run by `../run`; the first argument is the
//! server's address.

use std::{error::Error, time::SystemTime};

use futures_util::TryStreamExt;
use reqwest::header::{AUTHORIZATION, HeaderMap};

use client::{ByteStream, Client, ResponseValue, types};

mod client {
    progenitor::generate_api!(spec = "../../../openapi/openapi.json", interface = Builder);
}

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Person {
    id: uuid::Uuid,
    session: types::Session,
    client: Client,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let server = std::env::args()
        .nth(1)
        .ok_or("the server's address is missing")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let number = now.as_millis();
    let ada = register(&server, &format!("rada_{number}")).await?;
    let bob = register(&server, &format!("rbob_{number}")).await?;

    let post = types::NewPost::builder().text("Hello #world");
    let written = ada.client.publish_post().body(post).send().await?;
    let position = written.headers().get("event-position");
    let position = position.ok_or("no position")?.to_str()?.to_owned();

    bob.client
        .follow_account()
        .account_id(ada.id)
        .send()
        .await?;
    bob.client.like_post().post_id(written.id).send().await?;

    let home = bob.client.get_home_timeline().limit(10).send().await?;
    let first = home.items.first().ok_or("home is empty")?;
    let liked = first.viewer.as_ref().map(|viewer| viewer.liked);
    same(&(first.id, liked), &(written.id, Some(true)))?;

    let read = bob.client.get_post().post_id(written.id);
    let read = read.min_position(position).send().await?;
    same(
        &read.text.as_deref().map(String::as_str),
        &Some("Hello #world"),
    )?;

    let refresh = types::Refresh::builder().refresh_token(ada.session.refresh_token.to_string());
    ada.client.refresh_session().body(refresh).send().await?;
    let sessions = ada.client.list_sessions().send().await?;
    let current = sessions.items.iter().filter(|session| session.current);
    same(&current.count(), &1)?;

    ada.client.sign_out().send().await?;
    let refused = ada.client.list_sessions().send().await;
    same(&problem(refused).await?.code.as_str(), &"session_ended")?;
    println!("ten calls, as the contract says");
    Ok(())
}

async fn register(server: &str, handle: &str) -> Outcome<Person> {
    let registration = types::Registration::builder()
        .handle(Some(handle.parse()?))
        .email(format!("{handle}@example.org"))
        .password("correct horse battery");
    let nobody = Client::new(server);
    let registered = nobody.register_account().body(registration).send().await?;
    let types::Registered { id, session, .. } = registered.into_inner();
    let mut headers = HeaderMap::new();
    let bearer = format!("Bearer {}", session.access_token.as_str());
    headers.insert(AUTHORIZATION, bearer.parse()?);
    let client = reqwest::Client::builder()
        .default_headers(headers)
        .build()?;
    let client = Client::new_with_client(server, client);
    Ok(Person {
        id,
        session,
        client,
    })
}

/// Progenitor has types for `application/json` alone: other bodies are streams.
async fn problem<T>(
    answer: Result<ResponseValue<T>, client::Error<ByteStream>>,
) -> Outcome<types::Problem> {
    match answer {
        Err(client::Error::ErrorResponse(refused)) => {
            let parts: Vec<_> = refused.into_inner_stream().try_collect().await?;
            Ok(serde_json::from_slice(&parts.concat())?)
        }
        Err(error) => Err(error.into()),
        Ok(answer) => Err(format!("{}, and not refused", answer.status()).into()),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(found: &T, wanted: &T) -> Outcome<()> {
    match found == wanted {
        true => Ok(()),
        false => Err(format!("found {found:?}, wanted {wanted:?}").into()),
    }
}
