//! What may happen thousands of times a second, and is told of once a second: a line
//! for each would make it more than it is.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const TOLD_EVERY: Duration = Duration::from_secs(1);

/// How often it happened, and when that was told of last.
pub(crate) struct Repeated(Mutex<(u64, Option<Instant>)>);

impl Repeated {
    pub const fn new() -> Self {
        Self(Mutex::new((0, None)))
    }

    /// How often it happened since it was told of last, and how long ago that was;
    /// where that is to be told: the first, and then once a second.
    pub fn one_more(&self) -> Option<(u64, Option<Duration>)> {
        let (count, told) = &mut *self.0.lock();
        *count += 1;
        let since = told.map(|told| told.elapsed());
        if since.is_some_and(|since| since < TOLD_EVERY) {
            return None;
        }
        *told = Some(Instant::now());
        Some((std::mem::take(count), since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_of_once_a_second() {
        let refusals = Repeated::new();
        assert_eq!(refusals.one_more(), Some((1, None)));
        assert_eq!(refusals.one_more(), None);
        assert_eq!(refusals.one_more(), None);
        refusals.0.lock().1 = Instant::now().checked_sub(TOLD_EVERY);
        let told = refusals.one_more();
        assert!(told.is_some_and(|(refused, since)| refused == 3 && since.is_some()));
        assert_eq!(refusals.one_more(), None);
    }
}
