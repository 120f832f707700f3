//! Shows on standard error which figure is being measured; one line each where
//! that is no terminal.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

const TICK_MILLISECONDS: u64 = 200;

pub struct Progress {
    bar: ProgressBar,
    began: Instant,
}

impl Progress {
    pub fn start(steps: usize) -> Self {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(steps as u64),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(TICK_MILLISECONDS));
        Self {
            bar,
            began: Instant::now(),
        }
    }

    /// The step before is done.
    pub fn begin(&self, name: &'static str) {
        if self.bar.is_hidden() {
            eprintln!("{:4.0} s {name}", self.began.elapsed().as_secs_f64());
        }
        if !self.bar.message().is_empty() {
            self.bar.inc(1);
        }
        self.bar.set_message(name);
    }

    /// Prints without being drawn over.
    pub fn aside(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
