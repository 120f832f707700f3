//! What is measured, in the order in which it is. A figure says itself whether
//! a worker runs, and leaves nothing behind but more events.

mod apart;
mod archive;
mod bytes;
mod fairness;
mod fan_out;
mod fold;
mod footprint;
mod half_open;
mod homes;
mod mixed;
mod overload;
mod reads;
mod rebuild;
mod sustained;
mod swap;
mod visible;
mod writes;

use crate::{bench::Bench, line::Line};

/// Declares each figure once: its variant, its name, what it is, its function.
macro_rules! figures {
    ($($variant:ident $name:literal $about:literal $measure:path;)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Figure {
            $($variant),+
        }

        impl Figure {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }

            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => $about),+
                }
            }

            pub async fn measure(self, bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
                match self {
                    $(Self::$variant => $measure(bench).await),+
                }
            }
        }
    };
}

figures! {
    Post "post" "one post by id" reads::post;
    Known "known" "one post by id, 304 by its ETag" reads::known;
    Heavy "heavy" "readers with 20,000 likes, and who follow 5,000" reads::heavy;
    Home "home" "home timeline of 20 posts, warm" homes::warm;
    Dropped "dropped" "home timeline that has to be filled anew" homes::dropped;
    Generated "generated" "home timeline without the views server" homes::generated;
    Local "local" "T1: local timeline, 100 clients" reads::local;
    Overload "overload" "sign-in at 5 times its peak, and what stands beside it" overload::overload;
    HalfOpen "half_open" "local timeline beside 2,000 half-open connections" half_open::half_open;
    Refused "refused" "local timeline beside messages that are refused" half_open::refused;
    Footprint "memory" "resident memory of serve" footprint::footprint;
    Append "append" "ceiling of the log" writes::append;
    Like "like" "like, accepted, no worker" writes::like;
    Create "create" "create a post, accepted, no worker" writes::create;
    Whole "whole" "writes with the worker on, answered shortly and whole" writes::whole;
    Sustained "sustained" "like with the worker on, 60 s" sustained::sustained;
    Visible "visible" "from a write to its row" visible::visible;
    Mixed "mixed" "T2: 2,000 mixed requests a second" mixed::mixed;
    Apart "apart" "T5: writes while the fan-out stands still" apart::apart;
    FanOut "fan_out" "deliveries of a backlog of posts" fan_out::fan_out;
    Bytes "bytes" "bytes in Redis" bytes::bytes;
    Fold "fold" "folds and a rebuild of everything, with their ceilings" fold::fold;
    Rebuild "rebuild" "what reads and writes notice of a rebuild" rebuild::beside;
    Swap "swap" "what reads and writes notice of swaps there and back" swap::swap;
    Archive "archive" "sealing and reading the archive" archive::archive;
    Fairness "fairness" "a small author's post beside a celebrity's" fairness::fairness;
}
