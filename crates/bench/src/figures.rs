//! What is measured, in the order in which it is. A figure leaves the workers
//! as `Bench` says, and nothing else behind but more events.

mod reads;
mod writes;

use crate::{bench::Bench, line::Line};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Post,
    Known,
    Home,
    Like,
    Create,
}

impl Figure {
    pub const ALL: [Self; 5] = [
        Self::Post,
        Self::Known,
        Self::Home,
        Self::Like,
        Self::Create,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Known => "known",
            Self::Home => "home",
            Self::Like => "like",
            Self::Create => "create",
        }
    }

    pub fn about(self) -> &'static str {
        match self {
            Self::Post => "one post by id",
            Self::Known => "one post by id, 304 by its ETag",
            Self::Home => "home timeline of 20 posts, warm",
            Self::Like => "like, accepted, no worker",
            Self::Create => "create a post, accepted, no worker",
        }
    }

    pub async fn measure(self, bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
        match self {
            Self::Post => reads::post(bench).await,
            Self::Known => reads::known(bench).await,
            Self::Home => reads::home(bench).await,
            Self::Like => writes::like(bench).await,
            Self::Create => writes::create(bench).await,
        }
    }
}
