//! The one place that judges what is behind a connection: whether the server keeps what
//! it acknowledges, and whether it has this log. Every connection is judged when it is
//! made, and again every few seconds, since settings change under a living one too.

use std::{collections::BTreeSet, time::Duration};

use kernel::Uuid;
use redis::{RedisResult, aio::ConnectionLike};

use crate::{
    connection::Connection,
    log::{Found, LogError, find_pipeline, found},
    server::{self, ServerFinding},
};

/// How long a server that was made weaker can go unnoticed.
pub const FITNESS_SECONDS: u64 = 2;

/// What is expected behind a connection.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    pub prefix: String,
    pub partitions: u16,
    pub id: Uuid,
    pub allow_unsafe: bool,
    /// False while the log is made or restored.
    pub whole: bool,
}

/// What was seen, and so why nothing may be written, or read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    not_written: Option<LogError>,
    not_read: Option<LogError>,
    /// It has so little memory left that clients may write no more.
    is_crowded: bool,
}

impl Verdict {
    pub fn check_written(&self) -> Result<(), LogError> {
        self.not_written.clone().map_or(Ok(()), Err)
    }

    pub fn check_room(&self) -> Result<(), LogError> {
        match self.is_crowded {
            true => Err(LogError::Full),
            false => Ok(()),
        }
    }

    pub fn check_read(&self) -> Result<(), LogError> {
        self.not_read.clone().map_or(Ok(()), Err)
    }
}

impl Judge {
    pub async fn look(&self, connection: &mut impl ConnectionLike) -> RedisResult<Verdict> {
        let (findings, info) = server::look(connection).await?;
        let pipeline = find_pipeline(&self.prefix, self.partitions);
        let replies = pipeline.query_async(connection).await?;
        let there = self.check_log(found(replies));
        let not_read = there.clone().err().filter(|error| {
            // What another log says at our positions is not ours. One that lost
            // partitions still has the others.
            matches!(error, LogError::Another { .. } | LogError::Damaged(_))
        });
        // A server that is not as it must be may only look as if the log were gone.
        let not_written = self.check_server(&findings).and(there).err();
        Ok(Verdict {
            not_written,
            not_read,
            is_crowded: info.is_crowded(),
        })
    }

    fn check_log(&self, found: Result<Option<Found>, LogError>) -> Result<(), LogError> {
        match found? {
            None if self.whole => Err(LogError::Missing),
            None => Ok(()),
            Some(found) if self.whole => found.check(self.partitions, Some(self.id)),
            Some(found) if found.id != self.id => Err(LogError::Another {
                found: found.id,
                wanted: self.id,
            }),
            Some(_) => Ok(()),
        }
    }

    fn check_server(&self, findings: &[ServerFinding]) -> Result<(), LogError> {
        let counts = |finding: &&ServerFinding| !(self.allow_unsafe && finding.can_be_allowed());
        let all = findings.iter().filter(counts).map(ToString::to_string);
        let all: Vec<_> = all.collect();
        match all.is_empty() {
            true => Ok(()),
            false => Err(LogError::Unsafe(all.join("; "))),
        }
    }
}

/// Judges each connection again and again, and says when the verdict changes.
pub(crate) async fn watch(connections: Vec<Connection>) {
    let mut said = BTreeSet::new();
    loop {
        tokio::time::sleep(Duration::from_secs(FITNESS_SECONDS)).await;
        let mut seen = BTreeSet::new();
        for connection in &connections {
            // A server that does not answer is told of by those who use it.
            if let Ok(verdict) = connection.judge().await
                && let Err(why) = verdict.check_written().and_then(|()| verdict.check_room())
            {
                seen.insert(why.to_string());
            }
        }
        for why in seen.difference(&said) {
            tracing::error!(why, "nothing is written to the log");
        }
        if seen.is_empty() && !said.is_empty() {
            tracing::info!("the log is written to again");
        }
        said = seen;
    }
}
