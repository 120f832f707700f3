//! What can be asked of the benchmark. It refuses to check that figures exist:
//! `figures.rs` knows them.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};

/// Measures the real binary's processes against ceilings of the same run
#[derive(Clone, Parser)]
#[command(version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub graph: Graph,
    /// Only these figures, with commas between (see --list)
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Print the figures' names and end
    #[arg(long)]
    pub list: bool,
    /// Connections of the load generator
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub connections: u16,
    /// How long each loop is measured, after a second of warming up
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// One JSON object a figure instead of the table
    #[arg(long)]
    pub json: bool,
    /// A small graph and short loops: to see that it works, not for figures
    #[arg(long)]
    pub quick: bool,
    /// Fail where a target is missed
    #[arg(long, conflicts_with = "pairs")]
    pub strict: bool,
    /// Show the change since the last accepted run
    #[arg(long)]
    pub compare: bool,
    /// Write this run down as the accepted one
    #[arg(long)]
    pub accept: bool,
    /// Take turns with another build of `headwater`, and print medians
    #[arg(long, value_name = "BINARY")]
    pub pairs: Option<PathBuf>,
    /// How many pairs of each figure
    #[arg(long, default_value_t = 5, requires = "pairs", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub rounds: u8,
    /// The build that is measured; by default it is built now
    #[arg(long, value_name = "BINARY")]
    pub headwater: Option<PathBuf>,
    /// Load the graph anew, though it was loaded before
    #[arg(long)]
    pub fresh: bool,
}

/// What the servers hold before anything is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Graph {
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub accounts: u32,
    #[arg(long, default_value_t = 500_000)]
    pub follows: u32,
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub posts: u32,
    /// The same seed gives the same graph
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Clone, Subcommand)]
pub enum Command {
    /// The ceiling: answers one small JSON, and tells its address
    #[command(hide = true)]
    Hello,
}

impl Arguments {
    pub fn settled(mut self) -> Self {
        if self.quick {
            self.graph.accounts = self.graph.accounts.min(300);
            self.graph.follows = self.graph.follows.min(6_000);
            self.graph.posts = self.graph.posts.min(1_500);
            self.seconds = 1;
        }
        self
    }

    pub fn measured(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    pub fn warm_up(&self) -> Duration {
        match self.quick {
            true => Duration::from_millis(300),
            false => Duration::from_secs(1),
        }
    }
}
