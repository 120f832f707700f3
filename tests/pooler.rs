//! A pooler in transaction mode, as PgBouncer is one: all clients share one
//! connection of the server, each for the length of a transaction. It refuses, as
//! that does, what a start-up message may not set.

use std::{collections::BTreeMap, io, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Mutex, OnceCell},
};

const SSL_REQUEST: u32 = 80_877_103;
const PROTOCOL: u32 = 196_608;
const TAKEN: [&str; 6] = [
    "user",
    "database",
    "application_name",
    "client_encoding",
    "DateStyle",
    "TimeZone",
];

struct Shared {
    server_port: u16,
    server: OnceCell<Mutex<TcpStream>>,
}

/// Its port.
pub async fn before(server_port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = OnceCell::new();
    let shared = Arc::new(Shared {
        server_port,
        server,
    });
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let shared = shared.clone();
            // A client that goes away is no matter.
            tokio::spawn(async move { serve(client, &shared).await.ok() });
        }
    });
    port
}

async fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let wants = loop {
        let length = client.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        client.read_exact(&mut body).await?;
        match u32::from_be_bytes([body[0], body[1], body[2], body[3]]) {
            SSL_REQUEST => client.write_all(b"N").await?,
            _ => break parameters(&body[4..]),
        }
    };
    if let Some(name) = wants.keys().find(|name| !TAKEN.contains(&name.as_str())) {
        let fields = format!("SFATAL\0C08P01\0Munsupported startup parameter: {name}\0\0");
        return client.write_all(&message(b'E', fields.as_bytes())).await;
    }
    let server = shared
        .server
        .get_or_try_init(|| connect(shared.server_port, &wants))
        .await?;
    client.write_all(&message(b'R', &[0; 4])).await?;
    client
        .write_all(&message(b'S', b"server_version\x0015.0\0"))
        .await?;
    client.write_all(&message(b'K', &[7; 8])).await?;
    client.write_all(&message(b'Z', b"I")).await?;
    loop {
        let mut said = read(&mut client).await?;
        let mut server = server.lock().await;
        // Until the transaction ends.
        loop {
            if said.0 == b'X' {
                return Ok(());
            }
            server.write_all(&message(said.0, &said.1)).await?;
            if matches!(said.0, b'Q' | b'S') {
                loop {
                    let answer = read(&mut server).await?;
                    client.write_all(&message(answer.0, &answer.1)).await?;
                    if answer.0 == b'Z' {
                        said = answer;
                        break;
                    }
                }
                if said.1 == b"I" {
                    break;
                }
            }
            said = read(&mut client).await?;
        }
    }
}

async fn connect(port: u16, wants: &BTreeMap<String, String>) -> io::Result<Mutex<TcpStream>> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut start = PROTOCOL.to_be_bytes().to_vec();
    for name in ["user", "database", "client_encoding"] {
        start.extend(format!("{name}\0{}\0", wants[name]).as_bytes());
    }
    start.push(0);
    server.write_u32(start.len() as u32 + 4).await?;
    server.write_all(&start).await?;
    while read(&mut server).await?.0 != b'Z' {}
    Ok(Mutex::new(server))
}

fn parameters(body: &[u8]) -> BTreeMap<String, String> {
    let text = |part: &[u8]| String::from_utf8(part.to_vec()).unwrap();
    let parts: Vec<_> = body.split(|byte| *byte == 0).map(text).collect();
    let pairs = parts.chunks_exact(2).filter(|pair| !pair[0].is_empty());
    pairs
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect()
}

async fn read(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    let length = stream.read_u32().await?;
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[kind], &length[..], body].concat()
}
