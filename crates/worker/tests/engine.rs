//! What operators rely on: workers share, stop, vanish and come back, and what
//! cannot be folded stops its own partition, loudly, and nothing else. Needs the
//! programs of PostgreSQL and Redis; waits for effects with a deadline.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod engine {
    mod damage;
    mod rebuilding;
    mod second;
    mod setting;
    mod sharing;
    mod tally;
}
