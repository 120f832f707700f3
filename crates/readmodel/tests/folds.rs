//! What readers rely on: rows that depend on the log alone, queries that show
//! each viewer what is theirs to see, and home timelines that are exactly what
//! one query says. Needs the programs of PostgreSQL and Redis; waits for
//! effects with a deadline, never for a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod folds {
    mod checkpoints;
    mod history;
    mod home;
    mod hot;
    mod posts;
    mod properties;
    mod setting;
    mod standings;
    mod visibility;
    mod world;
}
