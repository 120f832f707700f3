//! An answer's body that tells when its client takes something of it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::connections::Answer;

/// HTTP/2 lets go of a piece as soon as a byte of it fits in the client's window. So the
/// last byte is a piece of its own, and an answer is known of until all before it fits.
const PIECE_BYTES: usize = 16 * 1_024;

pub struct Taken<B> {
    body: B,
    /// None where nobody asks.
    answer: Option<Answer>,
    /// Of a frame, what was not given on.
    rest: Bytes,
}

impl<B> Taken<B> {
    pub fn new(body: B, answer: Option<Answer>) -> Self {
        Self {
            body,
            answer,
            rest: Bytes::new(),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Taken<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(answer) = &self.answer else {
            return Pin::new(&mut self.body).poll_frame(context);
        };
        answer.is_taken();
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.rest = bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let before_the_last = self.rest.len().saturating_sub(1);
        let length = before_the_last.clamp(1, PIECE_BYTES).min(self.rest.len());
        // A copy: a slice would keep all of it.
        let piece = Bytes::copy_from_slice(&self.rest.split_to(length));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.size_hint();
        let rest = self.rest.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
