//! The processor time of a process, as Linux tells it.

use std::time::Duration;

use anyhow::Context;

/// Where proc(5) has them, counted from the process's state.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;

/// What all its threads have taken since it began, in ticks of 10 ms: a loop
/// of two seconds tells half a percent apart.
pub fn used(process: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let ticks = ticks(&text).with_context(|| format!("{path}: {text}"))?;
    let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    Ok(Duration::from_secs_f64(seconds))
}

fn ticks(stat: &str) -> Option<u64> {
    // The name, which comes before, may hold anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<_> = after_name.split_whitespace().collect();
    let user: u64 = fields.get(USER_TICKS)?.parse().ok()?;
    let system: u64 = fields.get(SYSTEM_TICKS)?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 77 0 0 0 250 31 9 9 20 0 4 0 55";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("12 (a"), None);
    }
}
