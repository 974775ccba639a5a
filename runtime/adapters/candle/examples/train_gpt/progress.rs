//! The progress of a run: a bar with the time to go on a terminal, a line per run elsewhere.

use crate::output::say;
use crate::record::RunRecord;
use indicatif::{ProgressBar, ProgressStyle};

/// Shows one run.
pub(crate) struct Progress {
    bar: ProgressBar,
    title: String,
}

impl Progress {
    /// Starts to show a run, the `number`th of `planned` (unknown for a sweep).
    pub(crate) fn of_run(record: &RunRecord, number: usize, planned: Option<usize>) -> Self {
        let settings = &record.settings;
        let count = planned.map_or_else(
            || number.to_string(),
            |planned| format!("{number}/{planned}"),
        );
        let title = format!(
            "[{count}] {:6} seed {} lr {}",
            settings.optimizer.title(),
            settings.seed,
            settings.learning_rate
        );
        let bar = ProgressBar::new(settings.steps).with_prefix(title.clone());
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix} {wide_bar} {pos}/{len} {msg} {elapsed} ETA {eta}",
        ) {
            bar.set_style(style);
        }
        bar.set_position(record.losses.len() as u64);
        bar.reset_eta();
        Self { bar, title }
    }

    /// After a step.
    pub(crate) fn step(&self, record: &RunRecord, loss: f32) {
        self.bar.set_message(format!("loss {loss:.3}"));
        self.bar.set_position(record.losses.len() as u64);
    }

    /// After the run.
    pub(crate) fn finish(&self, record: &RunRecord) {
        self.bar.finish_and_clear();
        let seconds: f64 = record.step_seconds.iter().sum();
        say!(
            "{}: {} steps in {seconds:.1} s, validation loss {:.3}",
            self.title,
            record.settings.steps,
            record.validation_loss()
        );
    }
}
