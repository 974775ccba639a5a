//! A progress bar for work that takes more than a second.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Work shorter than this shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar with an estimate of the time that is left; none where the standard error is not a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
    watched: bool,
}

impl Progress {
    pub(super) fn new(what: &str, total: u64, wanted: bool) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        if let Ok(style) =
            ProgressStyle::with_template("{msg} {wide_bar} {percent:>3} %  ETA {eta}")
        {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Progress {
            bar,
            started: Instant::now(),
            watched: wanted && std::io::stderr().is_terminal(),
        }
    }

    /// `units` more are done.
    pub(super) fn advance(&mut self, units: u64) {
        self.bar.inc(units);
        self.show();
    }

    /// `units` in all are done, and this is what is being done.
    pub(super) fn stand_at(&mut self, what: &str, units: u64) {
        self.bar.set_message(what.to_owned());
        self.bar
            .set_position(units.min(self.bar.length().unwrap_or(units)));
        self.show();
    }

    /// A fraction of all is done; the estimate of what is left follows from it.
    pub(super) fn reach(&mut self, what: &str, fraction: f64) {
        let length = self.bar.length().unwrap_or(1);
        self.stand_at(what, (fraction * length as f64) as u64);
    }

    fn show(&self) {
        if self.watched && self.bar.is_hidden() && self.started.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Seconds since the start; takes the bar away.
    pub(super) fn finish(self) -> f64 {
        self.bar.finish_and_clear();
        self.started.elapsed().as_secs_f64()
    }
}
