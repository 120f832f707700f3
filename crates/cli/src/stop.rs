//! When to stop: Ctrl-C or SIGTERM. A second one ends the process at once.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Becomes true when the process is asked to stop.
pub fn on_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        for again in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if again {
                std::process::exit(130);
            }
            stop.send_replace(true);
            kernel::crash::point("shutdown.begun");
        }
    });
    Ok(stopped)
}
