//! What the library says while it works, for programs without a subscriber of `tracing`.
//!
//! Warnings and notes are events of `tracing`, which a program in Rust takes by a subscriber of its own, and nobody sees
//! without one. [`forward`] hands them to a function as text: so do the command and the bindings to C and Python. No step
//! says anything unless something is wrong.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{NoSubscriber, set_global_default, with_default};
use tracing::{Event, Metadata, Subscriber};

pub use tracing::Level;
pub use tracing::level_filters::LevelFilter;

/// Why messages are not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessagesError {
    /// They already go somewhere, for as long as the process runs.
    #[error(
        "messages already go to a subscriber of tracing, which the program set before and which holds for as long as it \
         runs; take them there"
    )]
    Taken,
}

/// Hands every message of `least` or more severe to `receiver`, for as long as the process runs: in the middle of the call
/// that it is about, on whichever thread has something to say, several at a time where several threads have.
///
/// # Errors
/// The process has a subscriber of `tracing` already.
pub fn forward(
    least: LevelFilter,
    receiver: impl Fn(Level, &str) + Send + Sync + 'static,
) -> Result<(), MessagesError> {
    set_global_default(Forwarding { least, receiver }).map_err(|_| MessagesError::Taken)
}

/// Runs `work`, whose messages on this thread are dropped: for what is tried out, and will be said again.
pub fn silenced<T>(work: impl FnOnce() -> T) -> T {
    with_default(NoSubscriber::new(), work)
}

struct Forwarding<Receiver> {
    least: LevelFilter,
    receiver: Receiver,
}

impl<Receiver: Fn(Level, &str) + 'static> Subscriber for Forwarding<Receiver> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= self.least
            && metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.least)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        (self.receiver)(*event.metadata().level(), &text.0);
    }

    // There are no spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The message of an event, and behind it whatever else it holds.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing into a text does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What a receiver of messages of `least` is handed while `work` runs on this thread.
    fn handed(least: LevelFilter, work: impl FnOnce()) -> Vec<(Level, String)> {
        let said = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&said);
        let receiver = move |level, text: &str| seen.lock().unwrap().push((level, text.to_owned()));
        with_default(Forwarding { least, receiver }, work);
        said.lock().unwrap().clone()
    }

    #[test]
    fn messages_of_the_library_that_are_severe_enough() {
        let said = handed(LevelFilter::INFO, || {
            tracing::error!("{} tiles", 3);
            tracing::warn!(step = 4, "late");
            tracing::info!("a note");
            tracing::debug!("a detail");
            tracing::warn!(target: "rayon", "somebody else's");
            silenced(|| tracing::warn!("tried out"));
        });
        let expected = [
            (Level::ERROR, "3 tiles"),
            (Level::WARN, "late step=4"),
            (Level::INFO, "a note"),
        ];
        let expected = expected.map(|(level, text)| (level, text.to_owned()));
        assert_eq!(said, expected);
        assert!(handed(LevelFilter::OFF, || tracing::error!("nothing")).is_empty());
    }
}
