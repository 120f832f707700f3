//! A proxy in front of a server or of the API that delays, cuts or resets each
//! connection while it is told to. What it does is drawn from a seed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::plan::Disturbance;

const CHUNK_BYTES: usize = 16 * 1_024;

#[derive(Default)]
struct State {
    active: AtomicBool,
    disturbed: AtomicU64,
}

/// Ends with its connections when it is dropped.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    pub async fn start(to: u16, disturbance: Disturbance, seed: u64) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State::default());
        let accepting = {
            let state = state.clone();
            tokio::spawn(async move {
                let mut connections = tokio::task::JoinSet::new();
                let mut number = 0;
                while let Ok((client, _)) = listener.accept().await {
                    number += 1;
                    let random = ChaCha8Rng::seed_from_u64(seed.wrapping_add(number));
                    connections.spawn(pass(client, to, disturbance, random, state.clone()));
                    while connections.try_join_next().is_some() {}
                }
            })
        };
        Ok(Self {
            port,
            state,
            accepting,
        })
    }

    pub fn disturb(&self, on: bool) {
        self.state.active.store(on, Ordering::SeqCst);
    }

    /// Connections cut or reset, or chunks delayed.
    pub fn disturbed(&self) -> u64 {
        self.state.disturbed.load(Ordering::SeqCst)
    }
}

async fn pass(
    mut client: TcpStream,
    to: u16,
    disturbance: Disturbance,
    mut random: ChaCha8Rng,
    state: Arc<State>,
) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)).await else {
        return;
    };
    // Without it small chunks wait for each other, which nobody ordered.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut left = match disturbance {
        Disturbance::Delay { .. } => u64::MAX,
        Disturbance::Cut { bytes_max } | Disturbance::Reset { bytes_max } => {
            random.random_range(0..bytes_max)
        }
    };
    let (mut asked, mut answered) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        let (length, from_client) = tokio::select! {
            read = client.read(&mut asked) => (read.unwrap_or(0), true),
            read = server.read(&mut answered) => (read.unwrap_or(0), false),
        };
        if length == 0 {
            return;
        }
        let mut passed = length;
        if state.active.load(Ordering::SeqCst) {
            match disturbance {
                Disturbance::Delay { milliseconds_max } => {
                    state.disturbed.fetch_add(1, Ordering::SeqCst);
                    let pause = random.random_range(0..=milliseconds_max);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                Disturbance::Cut { .. } | Disturbance::Reset { .. } => {
                    passed = length.min(usize::try_from(left).unwrap_or(length));
                    left -= passed as u64;
                }
            }
        }
        let sent = match from_client {
            true => server.write_all(&asked[..passed]).await,
            false => client.write_all(&answered[..passed]).await,
        };
        if sent.is_err() {
            return;
        }
        if passed < length {
            state.disturbed.fetch_add(1, Ordering::SeqCst);
            if matches!(disturbance, Disturbance::Reset { .. }) {
                // A reset where the system lets us, else an end.
                let _ = (client.set_zero_linger(), server.set_zero_linger());
            }
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        port
    }

    async fn send(port: u16, bytes: usize) -> usize {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut read, mut write) = stream.split();
        let text = vec![7; bytes];
        let sending = async {
            let _ = write.write_all(&text).await;
        };
        let mut got = vec![0; bytes];
        let mut count = 0;
        let receiving = async {
            while count < bytes {
                match read.read(&mut got[count..]).await {
                    Ok(0) | Err(_) => return,
                    Ok(length) => count += length,
                }
            }
        };
        tokio::join!(sending, receiving);
        count
    }

    #[tokio::test]
    async fn connections_are_cut_only_while_it_is_told_to() {
        let to = echo().await;
        for disturbance in [
            Disturbance::Cut { bytes_max: 1_000 },
            Disturbance::Reset { bytes_max: 1_000 },
        ] {
            let proxy = Proxy::start(to, disturbance, 1).await.unwrap();
            assert_eq!(send(proxy.port, 5_000).await, 5_000);
            proxy.disturb(true);
            assert!(send(proxy.port, 5_000).await < 1_000);
            proxy.disturb(false);
            assert_eq!(send(proxy.port, 5_000).await, 5_000);
            assert_eq!(proxy.disturbed(), 1);
        }
    }
}
