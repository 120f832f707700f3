//! Named points at which a process can be made to die, for crash trials. A
//! point costs one relaxed load where it is not armed, and release builds have
//! nothing of it. It refuses to arm itself: the program does, when told to.

/// Every point, so that a wrong name is told at once.
pub const POINTS: [&str; 21] = [
    "append.before",
    "append.after",
    "register.reserved",
    "register.admitted",
    "fold.rows",
    "fold.committed",
    "lease.renew",
    "fan_out.chunk",
    "fan_out.pushed",
    "timeline.fill",
    "migrate.middle",
    "shutdown.begun",
    "shutdown.served",
    "shutdown.worked",
    "swap.before",
    "swap.after",
    "archive.segment",
    "archive.manifest",
    "archive.published",
    "archive.trim",
    "restore.partition",
];

/// Ends the process here, without any cleaning up, if this point is armed and
/// was passed often enough.
#[cfg(debug_assertions)]
#[inline]
pub fn point(name: &str) {
    if armed::is() {
        armed::pass(name);
    }
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_: &str) {}

/// Arms the point in `name:count`: the process dies when it passes for the
/// `count`th time.
#[cfg(debug_assertions)]
pub fn arm(plan: &str) -> Result<(), UnknownPoint> {
    armed::arm(plan).ok_or_else(|| UnknownPoint(plan.to_owned()))
}

#[cfg(debug_assertions)]
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no name:count of a crash point; there are {POINTS:?}")]
pub struct UnknownPoint(String);

#[cfg(debug_assertions)]
mod armed {
    use std::{
        io::Write,
        sync::{
            OnceLock,
            atomic::{AtomicBool, AtomicU32, Ordering},
        },
    };

    use super::POINTS;

    static ARMED: AtomicBool = AtomicBool::new(false);
    static POINT: OnceLock<(String, AtomicU32)> = OnceLock::new();

    pub fn is() -> bool {
        ARMED.load(Ordering::Relaxed)
    }

    pub fn arm(plan: &str) -> Option<()> {
        let (name, count) = plan.split_once(':')?;
        let count: u32 = count.parse().ok().filter(|count| *count > 0)?;
        let name = POINTS.iter().find(|known| **known == name)?;
        POINT
            .set(((*name).to_owned(), AtomicU32::new(count)))
            .ok()?;
        ARMED.store(true, Ordering::Relaxed);
        Some(())
    }

    #[cold]
    pub fn pass(name: &str) {
        let Some((armed, left)) = POINT.get() else {
            return;
        };
        if armed == name && left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Whether or not somebody reads it: the process ends.
            let _ = writeln!(std::io::stderr(), "crash point {name}");
            std::process::abort();
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_point_and_a_count_above_zero_can_be_armed() {
        for plan in [
            "append.before",
            "append.before:0",
            "nowhere:1",
            "append.before:x",
        ] {
            assert!(arm(plan).is_err(), "{plan}");
        }
        point("append.before");
    }
}
