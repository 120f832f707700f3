//! What a command ends with, as scripts see it.

use std::process::ExitCode;

/// Exit statuses; 1 is an error, 2 a command line that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 0
    Done,
    /// 3: it looked, and something has to be mended.
    Problems,
    /// 130: somebody stopped it before it was done, and it says how far it came.
    Interrupted,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Problems => Self::from(3),
            Outcome::Interrupted => Self::from(130),
        }
    }
}
