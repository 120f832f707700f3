//! When to stop: Ctrl-C, SIGTERM, or a terminal that is gone (SIGHUP). A second
//! Ctrl-C or SIGTERM ends the process at once, and so does SIGQUIT.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// Becomes true when the process is asked to stop.
pub fn on_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = match hangups_are_ignored() {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let mut asked = 0;
        loop {
            // A terminal that closes hangs up twice, and service managers do
            // after SIGTERM: only a person asks again.
            tokio::select! {
                _ = interrupt.recv() => asked += 1,
                _ = terminate.recv() => asked += 1,
                () = hung_up(&mut hangup) => {}
            }
            if asked > 1 {
                std::process::exit(130);
            }
            if !stop.send_replace(true) {
                kernel::crash::point("shutdown.begun");
            }
        }
    });
    Ok(stopped)
}

/// Waits until it is.
pub async fn asked(stopped: &mut watch::Receiver<bool>) {
    // What it gives locks the value, for as long as it is kept.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

/// As `nohup` leaves it: then it must stay so. Where it cannot be known, SIGHUP is
/// left as it is.
fn hangups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & 1 == 1)
}
