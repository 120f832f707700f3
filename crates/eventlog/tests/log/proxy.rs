//! A proxy between a log and its server that loses answers on demand.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use eventlog::LogSettings;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Clone, Default)]
struct Faults {
    /// Cut the next connections right after the server answered an append.
    answers_to_lose: Arc<AtomicU32>,
    /// Drop whatever comes through a connection that is there by now.
    silence: Arc<AtomicU32>,
    /// Give the next connections half an answer, and cut them.
    greetings_to_cut: Arc<AtomicU32>,
    connections: Arc<AtomicU32>,
    lost: Arc<AtomicBool>,
}

pub struct Proxy {
    port: u16,
    faults: Faults,
}

impl Proxy {
    pub async fn to(server_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Faults::default();
        let accepting = faults.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = accepting.connections.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::spawn(pass(client, server_port, number, accepting.clone()));
            }
        });
        Self { port, faults }
    }

    pub fn settings(&self, settings: &LogSettings) -> LogSettings {
        LogSettings {
            server: format!("redis://127.0.0.1:{}/", self.port).into(),
            ..settings.clone()
        }
    }

    pub fn lose_answers(&self, count: u32) {
        self.faults.answers_to_lose.store(count, Ordering::SeqCst);
    }

    /// Cuts what there is with the next answer, and the next connections in
    /// the middle of their first one.
    pub fn cut_greetings(&self, count: u32) {
        self.faults.greetings_to_cut.store(count, Ordering::SeqCst);
    }

    pub fn has_cut_greetings(&self) -> bool {
        self.faults.greetings_to_cut.load(Ordering::SeqCst) == 0
    }

    pub fn silence_the_present(&self) {
        let present = self.faults.connections.load(Ordering::SeqCst);
        self.faults.silence.store(present, Ordering::SeqCst);
    }

    pub fn has_lost(&self) -> bool {
        self.faults.lost.load(Ordering::SeqCst)
    }
}

async fn pass(mut client: TcpStream, server_port: u16, number: u32, faults: Faults) {
    let server = TcpStream::connect(("127.0.0.1", server_port)).await;
    let Ok(mut server) = server else { return };
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut append_under_way = false;
    loop {
        let silent = || number <= faults.silence.load(Ordering::SeqCst);
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                if silent() {
                    continue;
                }
                let asked = &asked[..length];
                append_under_way |= asked.windows(16).any(|w| w == b"headwater_append");
                if server.write_all(asked).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if silent() {
                    continue;
                }
                let left = &faults.greetings_to_cut;
                if left.load(Ordering::SeqCst) > 0 {
                    left.fetch_sub(1, Ordering::SeqCst);
                    let _ = client.write_all(b"*2\r\n$5\r\nhal").await;
                    return;
                }
                let left = &faults.answers_to_lose;
                if append_under_way && left.load(Ordering::SeqCst) > 0 {
                    left.fetch_sub(1, Ordering::SeqCst);
                    faults.lost.store(true, Ordering::SeqCst);
                    return;
                }
                append_under_way = false;
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
