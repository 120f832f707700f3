//! Accepts connections and serves each in a task of its own. Whoever comes is
//! counted, those who only keep a place are put out, and a lack of descriptors
//! is waited out. It refuses to know what is served.

use std::{
    convert::Infallible, future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration,
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use poem::{
    Addr, Endpoint, IntoResponse, Response,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    connections::{Connections, SWEEP_SECONDS},
    host,
    socket::Socket,
    taken::Taken,
    unread::HEAD_BYTES_MAX,
};

/// Where descriptors or memory ran out, accepting again at once would only
/// keep a core busy.
const ACCEPT_PAUSE_MILLISECONDS: u64 = 100;
/// Of one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;
/// More than a head may have: one that is a little too long is refused by the edge, with
/// a word, and what is longer still by the library, without one.
const HEADER_LIST_BYTES_MAX: u32 = 2 * HEAD_BYTES_MAX as u32;
/// An HTTP/2 connection is asked whether it lives, and has as long to answer.
const PING_SECONDS: u64 = 20;

/// Serves until `stopped`, then lets what is under way come to its end.
pub async fn serve<E>(
    listener: TcpListener,
    endpoint: Arc<E>,
    stopped: impl Future<Output = ()>,
    connections: Arc<Connections>,
) where
    E: Endpoint + 'static,
    E::Output: IntoResponse,
{
    let (stop, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut sweep = interval(Duration::from_secs(SWEEP_SECONDS));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopped = pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let served = connection(stream, peer, &connections, &endpoint, &stopping);
                    if let Some(served) = served {
                        tasks.spawn(served);
                    }
                }
                Err(error) => pause(&error).await,
            },
            _ = sweep.tick() => connections.sweep(),
            Some(_) = tasks.join_next() => {}
        }
    }
    drop(listener);
    // All receivers live in this function or in tasks that it waits for.
    let _ = stop.send(true);
    let drained = async { while tasks.join_next().await.is_some() {} };
    let patience = connections.patience.drain;
    if timeout(patience, drained).await.is_err() {
        tracing::warn!(
            connections = tasks.len(),
            "requests under way took more than {patience:?} and are cut off"
        );
        tasks.shutdown().await;
    }
}

/// The whole life of one connection; none where there are too many.
fn connection<E>(
    stream: TcpStream,
    peer: SocketAddr,
    connections: &Arc<Connections>,
    endpoint: &Arc<E>,
    stopping: &watch::Receiver<bool>,
) -> Option<impl Future<Output = ()> + Send + use<E>>
where
    E: Endpoint + 'static,
    E::Output: IntoResponse,
{
    let place = connections.admit(peer.ip())?;
    // Answers are written whole: nothing is gained by waiting for more.
    let local = stream
        .set_nodelay(true)
        .and_then(|()| stream.local_addr())
        .ok()?;
    let endpoint = endpoint.clone();
    let mut stopping = stopping.clone();
    Some(async move {
        let pulse = place.pulse();
        let socket = TokioIo::new(Socket::new(stream, pulse.clone()));
        let service = hyper::service::service_fn(move |mut request: hyper::Request<_>| {
            let (version, uri) = (request.version(), request.uri());
            if let Err(wrong) = host::check(version, uri, request.headers()) {
                request.extensions_mut().insert(wrong);
            }
            // The head is complete now: the answer's future is looked at later.
            let (answering, endpoint) = (pulse.answering(), endpoint.clone());
            let local = LocalAddr(Addr::SocketAddr(local));
            let remote = RemoteAddr(Addr::SocketAddr(peer));
            let pulse = pulse.clone();
            async move {
                let _answering = answering;
                let request = (request, local, remote, Scheme::HTTP).into();
                let response: Response = match endpoint.call(request).await {
                    Ok(response) => response.into_response(),
                    Err(error) => error.into_response(),
                };
                let response: hyper::Response<_> = response.into();
                Ok::<_, Infallible>(response.map(|body| Taken::new(body, pulse.answered())))
            }
        });
        let builder = builder();
        // Nothing here upgrades: what did would have to keep its place, and to drain.
        let mut served = pin!(builder.serve_connection(socket, service));
        // An error is the client's: it went away, or spoke something else.
        tokio::select! {
            biased;
            _ = &mut served => return,
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        served.as_mut().graceful_shutdown();
        let _ = served.await;
        drop(place);
    })
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // `Socket` is the timer of heads.
    builder
        .http1()
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .keep_alive_interval(Duration::from_secs(PING_SECONDS))
        .keep_alive_timeout(Duration::from_secs(PING_SECONDS));
    builder
}

async fn pause(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    ) {
        return;
    }
    tracing::warn!(%error, "no connection can be accepted; is the limit of open files too low?");
    sleep(Duration::from_millis(ACCEPT_PAUSE_MILLISECONDS)).await;
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use poem::endpoint::make;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::oneshot,
    };

    use super::*;
    use crate::{caller::Proxies, server::connections::Patience};

    const SHORT: Patience = Patience {
        head: Duration::from_millis(200),
        idle: Duration::from_millis(500),
        drain: Duration::from_millis(1_500),
    };

    type Failure = Box<dyn std::error::Error + Send + Sync>;

    #[tokio::test]
    async fn half_a_head_is_put_out_and_an_answer_under_way_is_not() -> Result<(), Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let slow = make(|_| async {
            sleep(5 * SHORT.head).await;
            Ok::<_, poem::Error>("done")
        });
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let connections = Arc::new(Connections::with(SHORT, Proxies::default()));
        let serving = tokio::spawn(serve(listener, Arc::new(slow), stopped, connections));

        let mut whole = TcpStream::connect(address).await?;
        let head = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        whole.write_all(head).await?;
        let mut half = TcpStream::connect(address).await?;
        let began = Instant::now();
        half.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nX: ").await?;
        let (mut read, mut write) = half.split();
        // Whoever goes on saying more gets no more time.
        let more = async {
            while write.write_all(b"x").await.is_ok() {
                sleep(SHORT.head / 10).await;
            }
        };
        let mut told = String::new();
        let end = async { read.read_to_string(&mut told).await };
        let gone = tokio::select! {
            gone = timeout(4 * SHORT.head, end) => gone?,
            () = more => Ok(0),
        };
        assert!(gone.is_err() || told.is_empty(), "{told}");
        assert!(began.elapsed() >= SHORT.head, "{:?}", began.elapsed());
        // It is answered though the server is stopping.
        let _ = stop.send(());
        whole.read_to_string(&mut told).await?;
        assert!(told.ends_with("done"), "{told}");
        Ok(serving.await?)
    }

    #[tokio::test]
    async fn whoever_takes_longer_than_stopping_may_is_cut_off() -> Result<(), Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let endless = make(|_| async {
            sleep(Duration::from_secs(3_600)).await;
            Ok::<_, poem::Error>("done")
        });
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let connections = Arc::new(Connections::with(SHORT, Proxies::default()));
        let serving = tokio::spawn(serve(listener, Arc::new(endless), stopped, connections));
        let mut waits = TcpStream::connect(address).await?;
        waits
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await?;
        sleep(SHORT.head).await;
        let began = Instant::now();
        let _ = stop.send(());
        timeout(4 * SHORT.drain, serving).await??;
        assert!(began.elapsed() >= SHORT.drain, "{:?}", began.elapsed());
        let mut told = Vec::new();
        let _ = waits.read_to_end(&mut told).await;
        assert!(told.is_empty());
        Ok(())
    }

    /// A GET of `/` as the first stream, whose names and values stand in HPACK's static
    /// table (RFC 7541, appendix A): method, scheme, path.
    const HTTP_2_GET: &[u8] = b"\x00\x00\x03\x01\x05\x00\x00\x00\x01\x82\x86\x84";
    const SETTINGS: &[u8] = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    /// SETTINGS_INITIAL_WINDOW_SIZE.
    const WINDOW_OF_NONE: &[u8] = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00";
    const WINDOW_OF_ONE: &[u8] = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x01";
    const PING: &[u8] = b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678";
    const HEADERS: u8 = 1;

    #[tokio::test]
    async fn http_2_is_spoken_to_who_begins_with_it() -> Result<(), Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let done = make(|_| async { Ok::<_, poem::Error>("done") });
        let (_stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        // Longer than a head may take: its heads are no such ones.
        let connections = Arc::new(Connections::with(SHORT, Proxies::default()));
        tokio::spawn(serve(listener, Arc::new(done), stopped, connections));
        let mut stream = http_2(address, SETTINGS).await?;
        sleep(2 * SHORT.head).await;
        stream.write_all(HTTP_2_GET).await?;
        let answer = async {
            loop {
                let (sort, payload) = frame(&mut stream).await?;
                if sort == HEADERS {
                    return Ok::<_, io::Error>(payload);
                }
            }
        };
        let answer = timeout(Duration::from_secs(5), answer).await??;
        // `:status: 200`, of the static table.
        assert_eq!(answer.first(), Some(&0x88));
        Ok(())
    }

    async fn http_2(address: SocketAddr, settings: &[u8]) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(address).await?;
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        stream.write_all(&[preface, settings].concat()).await?;
        Ok(stream)
    }

    /// The sort of the next frame, and what is in it.
    async fn frame(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        Ok((head[3], payload))
    }

    #[tokio::test]
    async fn whoever_only_keeps_http_2_open_is_put_out() -> Result<(), Failure> {
        for length in [2, 1 << 20] {
            keeps_http_2_open(length).await?;
        }
        Ok(())
    }

    /// Where answers are so long.
    async fn keeps_http_2_open(length: usize) -> Result<(), Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let answer = make(move |_| async move { Ok::<_, poem::Error>("x".repeat(length)) });
        let (_stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let connections = Arc::new(Connections::with(SHORT, Proxies::default()));
        tokio::spawn(serve(listener, Arc::new(answer), stopped, connections));
        // One who says that it is there and nothing else, and one who asks on and on, and
        // takes nothing of an answer (or a byte of it).
        for (settings, asks) in [
            (SETTINGS, false),
            (WINDOW_OF_NONE, true),
            (WINDOW_OF_ONE, true),
        ] {
            let mut stream = http_2(address, settings).await?;
            let began = Instant::now();
            let (mut read, mut write) = stream.split();
            let pings = async {
                for stream in (1..).step_by(2) {
                    let mut get = HTTP_2_GET.to_vec();
                    get[8] = stream;
                    let sent = if asks { &get } else { PING };
                    if write.write_all(sent).await.is_err() {
                        break;
                    }
                    sleep(SHORT.idle / 5).await;
                }
            };
            let end = async { while read.read_u8().await.is_ok() {} };
            let both = async { tokio::join!(pings, end) };
            timeout(Duration::from_secs(10), both).await?;
            assert!(began.elapsed() >= SHORT.idle, "{:?}", began.elapsed());
        }
        Ok(())
    }
}
