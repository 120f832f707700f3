//! The ceiling of HTTP: a bare poem-openapi program with one small JSON answer,
//! in a process of its own.

use std::{net::SocketAddr, process::Stdio};

use anyhow::Context;
use poem::{Route, Server, listener::TcpAcceptor};
use poem_openapi::{Object, OpenApi, OpenApiService, payload::Json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

#[derive(Object)]
struct Greeting {
    message: String,
}

struct Hello;

#[OpenApi]
impl Hello {
    #[oai(path = "/hello", method = "get")]
    async fn hello(&self) -> Json<Greeting> {
        Json(Greeting {
            message: "hello".into(),
        })
    }
}

/// The program: says its address and serves until it is killed.
pub async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    let service = OpenApiService::new(Hello, "Hello", "1");
    let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?);
    server.run(Route::new().nest("/", service)).await?;
    Ok(())
}

/// Starts this program again as `hello`. The child ends when it is dropped.
pub async fn start() -> anyhow::Result<(Child, SocketAddr)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("hello")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = child.stdout.take().context("hello has no output")?;
    let line = BufReader::new(output).lines().next_line().await?;
    let address = line.context("hello ended at once")?.parse()?;
    Ok((child, address))
}
