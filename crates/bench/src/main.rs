#![doc = include_str!("../README.md")]

mod hello;
mod load;

use testkit::{App, Person};

use load::{Figure, Request, drive};

const CONNECTIONS: usize = 64;
const POSTS: usize = 500;

#[tokio::main]
async fn main() -> load::Result<()> {
    eprintln!("starts servers, registers {CONNECTIONS} accounts, publishes {POSTS} posts …");
    let app = App::start().await;
    let mut people = Vec::new();
    for _ in 0..CONNECTIONS {
        people.push(app.client().register("bench").await);
    }
    for person in &people {
        for followed in people.iter().take(8).filter(|other| other.id != person.id) {
            person.follow(followed).await;
        }
    }
    let mut posts = Vec::new();
    for number in 0..POSTS {
        let author = &people[number % CONNECTIONS];
        posts.push(
            author
                .publish(&format!("post {number} of the benchmark"))
                .await,
        );
    }
    app.settle().await;

    let hello = drive("hello", hello::start().await?, CONNECTIONS, |_, _| {
        Request::get("/hello")
    })
    .await?;
    print_header();
    print(&hello, &hello);
    let address = app.address();
    let token = |person: &Person| person.token().unwrap_or_default().to_owned();
    let tokens: Vec<String> = people.iter().map(token).collect();

    let one = drive("one post by id", address, CONNECTIONS, |_, turn| {
        Request::get(&format!("/v1/posts/{}", posts[turn % POSTS]))
    });
    print(&one.await?, &hello);
    let known = drive("one post, 304 by ETag", address, CONNECTIONS, |_, turn| {
        Request::get(&format!("/v1/posts/{}", posts[turn % POSTS])).with("If-None-Match: *")
    });
    print(&known.await?, &hello);
    let home = drive("home, 20 posts, warm", address, CONNECTIONS, |who, _| {
        Request::get("/v1/timelines/home").signed(&tokens[who])
    });
    print(&home.await?, &hello);
    let like = drive("like, accepted", address, CONNECTIONS, |who, turn| {
        let path = format!("/v1/posts/{}/like", posts[(turn / 2) % POSTS]);
        // Each like is taken back, so that every request makes an event.
        let method = if turn % 2 == 0 { "PUT" } else { "DELETE" };
        Request::new(method, &path, None).signed(&tokens[who])
    });
    print(&like.await?, &hello);
    let publish = drive(
        "create post, accepted",
        address,
        CONNECTIONS,
        |who, turn| {
            let body = format!("{{\"text\":\"post {turn} while it is measured\"}}");
            Request::new("POST", "/v1/posts", Some(&body)).signed(&tokens[who])
        },
    );
    print(&publish.await?, &hello);
    Ok(())
}

fn print_header() {
    println!(
        "{:24} {:>10} {:>9} {:>9} {:>7}",
        "figure", "a second", "p50 ms", "p99 ms", "ratio"
    );
}

fn print(figure: &Figure, ceiling: &Figure) {
    println!(
        "{:24} {:>10.0} {:>9.2} {:>9.2} {:>7.2}",
        figure.name,
        figure.rate,
        figure.p50_milliseconds,
        figure.p99_milliseconds,
        figure.rate / ceiling.rate
    );
}
