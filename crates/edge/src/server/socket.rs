//! A connection's socket, whose bytes keep its pulse. One that was ended, or whose
//! head takes too long, answers with an error, at once. Each such head has a timer of
//! its own: thousands that began together, looked through together, would be put out
//! together, and honest requests would wait for that.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::{connections::Pulse, unread};

/// How long, and of how much, what is still sent after a refusal is taken in.
const LINGERING: Duration = Duration::from_secs(3);
const THROWN_AWAY_BYTES_MAX: usize = 8 * 1_024 * 1_024;
const SCRATCH_BYTES: usize = 4_096;

pub struct Socket {
    stream: TcpStream,
    pulse: Arc<Pulse>,
    /// Of the head that is waited for: when it began, and when it has to be there.
    head: Option<(u64, Pin<Box<Sleep>>)>,
    /// What is told to who sent no request: what of it is sent.
    refusal: Option<(Vec<u8>, usize)>,
    /// Since when what such a one still sends is thrown away.
    lingers: Option<Pin<Box<Sleep>>>,
    thrown_away: usize,
}

impl Socket {
    pub fn new(stream: TcpStream, pulse: Arc<Pulse>) -> Self {
        Self {
            stream,
            pulse,
            head: None,
            refusal: None,
            lingers: None,
            thrown_away: 0,
        }
    }

    /// Whether the head that is waited for took longer than it may; otherwise
    /// whoever waits is woken when it has.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let Some((began, max)) = self.pulse.head() else {
            self.head = None;
            return false;
        };
        let timed = self.head.take().filter(|(of, _)| *of == began);
        let (_, timer) = self
            .head
            .insert(timed.unwrap_or_else(|| (began, Box::pin(sleep(max)))));
        timer.as_mut().poll(context).is_ready()
    }

    /// Where `polled` has to wait: until there are bytes, or the end.
    fn or_ended<T>(
        &self,
        context: &Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            self.pulse.wakes(context.waker());
            if self.pulse.ended() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        polled
    }

    fn sent(
        &self,
        context: &Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.pulse.sent();
        }
        self.or_ended(context, polled)
    }

    /// Sends what is told instead of `bytes`, where something is.
    fn poll_refusal(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        if self.refusal.is_none() {
            self.refusal = Some((unread::instead_of(bytes)?, 0));
        }
        let (text, sent) = self.refusal.as_mut()?;
        while *sent < text.len() {
            match Pin::new(&mut self.stream).poll_write(context, &text[*sent..]) {
                Poll::Ready(Ok(0)) => {
                    return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(more)) => *sent += more,
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(self.or_ended(context, Poll::Pending)),
            }
        }
        self.refusal = None;
        self.lingers = Some(Box::pin(sleep(LINGERING)));
        Some(self.sent(context, Poll::Ready(Ok(bytes.len()))))
    }

    /// Takes in what is still sent by whoever was refused, and not for long: a
    /// connection that is closed with bytes unread is reset, and its answer may be lost
    /// (RFC 9112, 9.6).
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(timer) = &mut self.lingers else {
            return Poll::Ready(());
        };
        let mut scratch = [0; SCRATCH_BYTES];
        while self.thrown_away < THROWN_AWAY_BYTES_MAX && timer.as_mut().poll(context).is_pending()
        {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.thrown_away += buffer.filled().len();
                }
                Poll::Ready(_) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        self.lingers = None;
        Poll::Ready(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_pending() && self.is_late(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(self.or_ended(context, polled))?;
        let received = &buffer.filled()[before..];
        if !received.is_empty() {
            self.pulse.received(received);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(polled) = self.poll_refusal(context, bytes) {
            return polled;
        }
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [alone] = slices
            && let Some(polled) = self.poll_refusal(context, alone)
        {
            return polled;
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.sent(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        self.poll_linger(context).map(Ok)
    }
}
