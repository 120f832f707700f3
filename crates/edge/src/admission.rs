//! How many requests are answered at once. More of them wait, and not for long:
//! what cannot be done soon is refused at once, so that what is begun is done
//! in time (503 `overloaded`). It refuses to look at what is asked.

use std::time::Duration;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::problem::{Code, Problem};

/// Each may hold a body, and most of them wait for a server or a processor.
pub const REQUESTS_AT_ONCE_MAX: usize = 2_048;
/// Requests that wait for a place.
const WAITING_MAX: usize = 2_048;
const WAITING_MILLISECONDS_MAX: u64 = 250;

pub(crate) struct Admission {
    places: Semaphore,
    waiting: Semaphore,
}

impl Admission {
    pub(crate) const fn new() -> Self {
        Self::with(REQUESTS_AT_ONCE_MAX, WAITING_MAX)
    }

    const fn with(places: usize, waiting: usize) -> Self {
        Self {
            places: Semaphore::const_new(places),
            waiting: Semaphore::const_new(waiting),
        }
    }

    /// A place, until it is dropped.
    pub(crate) async fn enter(&self) -> Result<SemaphorePermit<'_>, Problem> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let _waiting = self.waiting.try_acquire().map_err(|_| overloaded())?;
        let patience = Duration::from_millis(WAITING_MILLISECONDS_MAX);
        let place = timeout(patience, self.places.acquire()).await;
        place.ok().and_then(Result::ok).ok_or_else(overloaded)
    }
}

fn overloaded() -> Problem {
    Code::Overloaded.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_late_waits_a_moment_or_is_refused_at_once() -> Result<(), Problem> {
        let admission = Admission::with(1, 1);
        let inside = admission.enter().await?;
        let refused = |entered: Result<_, Problem>| entered.err().map(|problem| problem.code());
        let (waited, turned_away) = tokio::join!(admission.enter(), admission.enter());
        assert_eq!(refused(turned_away), Some(Code::Overloaded));
        assert_eq!(refused(waited), Some(Code::Overloaded));
        let (waited, ()) = tokio::join!(admission.enter(), async { drop(inside) });
        assert!(waited.is_ok());
        Ok(())
    }
}
