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
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::connections::Pulse;

pub struct Socket {
    stream: TcpStream,
    pulse: Arc<Pulse>,
    /// Of the head that is waited for: when it began, and when it has to be there.
    head: Option<(u64, Pin<Box<Sleep>>)>,
}

impl Socket {
    pub fn new(stream: TcpStream, pulse: Arc<Pulse>) -> Self {
        Self {
            stream,
            pulse,
            head: None,
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
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
