//! What users of the log rely on, tried on real Redis servers. Needs the
//! programs of Redis; waits for effects with a deadline, never for a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod log {
    mod checks;
    mod counter;
    mod crash;
    mod fitness;
    mod lost_answers;
    mod memory;
    mod proxy;
    mod races;
    mod reading;
    mod receipts;
    mod servers;
    mod setting;
}
