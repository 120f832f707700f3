//! Black-box stories, over HTTP and the command line only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounts;
mod archive;
mod attacks;
mod authorisation;
mod blocks;
mod collector;
mod command_line;
mod dead_letters;
mod doctor;
mod examination;
mod fitness;
mod folders;
mod follows;
mod identity;
mod import;
mod import_faults;
mod likes;
mod limits;
mod posts;
mod private;
mod process;
mod projections;
mod reading;
mod rebuild;
mod refusals;
mod replay;
mod secrecy;
mod sessions;
mod spans;
mod stopping;
mod suspensions;
mod tail;
mod throttle;
mod timelines;
mod up;
