//! The ceiling: a bare poem-openapi program with one small JSON answer.

use std::net::SocketAddr;

use poem::{Route, Server, listener::TcpAcceptor};
use poem_openapi::{Object, OpenApi, OpenApiService, payload::Json};
use tokio::net::TcpListener;

use crate::load::Result;

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

pub async fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let service = OpenApiService::new(Hello, "Hello", "1");
    let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?);
    tokio::spawn(server.run(Route::new().nest("/", service)));
    Ok(address)
}
