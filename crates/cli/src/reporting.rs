//! Shows how far long work is, on standard error: a bar on a terminal, now and
//! then a line elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{sync::watch, task::JoinHandle};
use worker::rebuilding::{Report, Reports};

const REDRAW_MILLISECONDS: u64 = 200;
const LINE_SECONDS: u64 = 5;
const BAR: &str = "{msg} {bar:30} {percent}% {human_pos} of {human_len}, {per_sec}, {eta} left";
const SPINNER: &str = "{msg} {spinner} {human_pos}, {elapsed}";

/// Shows what is reported until it is dropped.
pub struct Shown {
    pub reports: Reports,
    showing: JoinHandle<()>,
}

impl Shown {
    pub fn start() -> Self {
        let (reports, told) = watch::channel(Report::default());
        Self {
            reports,
            showing: tokio::spawn(show(told)),
        }
    }

    /// Lets other lines be written.
    pub async fn end(self) {
        drop(self.reports);
        // It ends by itself; a panic of it concerns nobody.
        let _ = self.showing.await;
    }
}

async fn show(mut told: watch::Receiver<Report>) {
    let terminal = crate::terminal::is_smart(&std::io::stderr());
    let mut stage = "";
    let mut bar = ProgressBar::hidden();
    let mut written = Instant::now();
    loop {
        let Report {
            stage: now,
            done,
            all,
        } = *told.borrow_and_update();
        if now != stage {
            bar.finish_and_clear();
            stage = now;
            bar = of(stage, all, terminal);
            if !terminal {
                eprintln!("{stage}");
            }
            // What was done before is no rate.
            bar.set_position(done);
            bar.reset_eta();
        }
        bar.set_position(done);
        if !terminal && written.elapsed() > Duration::from_secs(LINE_SECONDS) {
            match all {
                0 => eprintln!("{stage}: {done}"),
                all => eprintln!("{stage}: {done} of {all}"),
            }
            written = Instant::now();
        }
        if told.changed().await.is_err() {
            bar.finish_and_clear();
            return;
        }
        tokio::time::sleep(Duration::from_millis(REDRAW_MILLISECONDS)).await;
    }
}

fn of(stage: &'static str, all: u64, terminal: bool) -> ProgressBar {
    let bar = match all {
        0 => ProgressBar::new_spinner(),
        all => ProgressBar::new(all),
    };
    if let Ok(style) = ProgressStyle::with_template(if all == 0 { SPINNER } else { BAR }) {
        bar.set_style(style);
    }
    if !terminal {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.with_message(stage)
}
