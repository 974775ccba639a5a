//! What is printed, and where: results on the standard output, all else on the standard error.

use super::error::CommandError;
use super::{OutputArguments, progress::Progress};
use himuon::messages::{Level, LevelFilter, forward};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

/// What a verb has to say: the same as text and as JSON.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// For people; no newline at the end. Empty: nothing.
    pub(super) text: String,
    /// For programs: an object.
    pub(super) json: Value,
}

/// Where the output goes.
#[derive(Debug)]
pub(super) struct Console {
    arguments: OutputArguments,
    colour: bool,
    warnings: Warnings,
}

/// What the user should know, of the command and of the library.
#[derive(Clone, Debug, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn push(&self, text: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(text.to_owned());
    }

    fn all(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }
}

impl Console {
    pub(super) fn new(arguments: OutputArguments) -> Console {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Console {
            arguments,
            colour: !plain && std::io::stderr().is_terminal(),
            warnings: Warnings::default(),
        }
    }

    /// Something the user should know, though the work goes on.
    pub(super) fn warn(&self, text: &str) {
        if !self.arguments.quiet {
            aside_as(Level::WARN, text, self.colour);
        }
        self.warnings.push(text);
    }

    /// Prints from now on what the library says while it works: its warnings and errors, with `--verbose` all, with `--quiet`
    /// errors, else of what HIMUON_LOG names and the more severe.
    ///
    /// # Errors
    /// HIMUON_LOG names no level.
    pub(super) fn follow_library(&self) -> Result<(), CommandError> {
        let shown = match self.arguments {
            OutputArguments { quiet: true, .. } => LevelFilter::ERROR,
            OutputArguments { verbose: true, .. } => LevelFilter::DEBUG,
            _ => level_of_environment()?,
        };
        let (warnings, colour) = (self.warnings.clone(), self.colour);
        let receiver = move |level, text: &str| {
            if level <= shown {
                aside_as(level, text, colour);
            }
            if level <= Level::WARN {
                warnings.push(text);
            }
        };
        forward(shown.max(LevelFilter::WARN), receiver)
            .map_err(|error| CommandError::Request(error.to_string()))
    }

    /// Something for `--verbose`.
    pub(super) fn detail(&self, text: &str) {
        if self.arguments.verbose {
            aside(text);
        }
    }

    /// A bar for `total` units of work; silent with `--quiet` and where no one watches.
    pub(super) fn progress(&self, what: &str, total: u64) -> Progress {
        Progress::new(what, total, !self.arguments.quiet)
    }

    /// Prints the result; with `--quiet` where it is the `product` that was asked for.
    pub(super) fn outcome(&self, outcome: &Outcome, product: bool) -> ExitCode {
        let text = if self.arguments.json {
            let mut object = outcome.json.clone();
            if let Some(object) = object.as_object_mut() {
                object.insert("warnings".to_owned(), json!(self.warnings.all()));
            }
            format!("{object:#}")
        } else if (self.arguments.quiet && !product) || outcome.text.is_empty() {
            return ExitCode::SUCCESS;
        } else {
            outcome.text.clone()
        };
        // A reader that has gone away (`| head`) is no failure.
        match writeln!(std::io::stdout(), "{text}") {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                aside(&format!("standard output: {error}"));
                ExitCode::from(1)
            }
            _ => ExitCode::SUCCESS,
        }
    }

    /// Prints why the verb stopped.
    pub(super) fn error(&self, error: &CommandError) -> ExitCode {
        aside_as(Level::ERROR, &error.to_string(), self.colour);
        if self.arguments.json {
            let object = json!({ "error": error.to_string(), "exit_code": error.exit_code() });
            let _ = writeln!(std::io::stdout(), "{object:#}");
        }
        ExitCode::from(error.exit_code())
    }
}

/// What HIMUON_LOG names: how severe what the library says must be to be shown. Warnings where it is unset or empty.
fn level_of_environment() -> Result<LevelFilter, CommandError> {
    let found = std::env::var_os("HIMUON_LOG").unwrap_or_default();
    match found.to_str() {
        Some("") | Some("warn") => Ok(LevelFilter::WARN),
        Some("off") => Ok(LevelFilter::OFF),
        Some("error") => Ok(LevelFilter::ERROR),
        Some("info") => Ok(LevelFilter::INFO),
        Some("debug") => Ok(LevelFilter::DEBUG),
        _ => Err(CommandError::Request(format!(
            "HIMUON_LOG is {found:?}, expected off, error, warn, info or debug"
        ))),
    }
}

/// A line on the standard error, behind a word for what it is.
fn aside_as(level: Level, text: &str, colour: bool) {
    let (code, word) = match level {
        Level::ERROR => ("31", "error:"),
        Level::WARN => ("33", "warning:"),
        _ => return aside(text),
    };
    match colour {
        true => aside(&format!("\u{1b}[1;{code}m{word}\u{1b}[0m {text}")),
        false => aside(&format!("{word} {text}")),
    }
}

/// A line on the standard error. One that is closed or full is no reason to stop the work, as it would be to `eprintln!`.
fn aside(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints why the arguments were refused, or the help that was asked for.
pub(super) fn refusal(refusal: &clap::Error) -> ExitCode {
    let _ = refusal.print();
    let code = u8::try_from(refusal.exit_code()).unwrap_or(1);
    if refusal.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = refusal.render().to_string();
        let object = json!({ "error": text.trim_end(), "exit_code": code });
        let _ = writeln!(std::io::stdout(), "{object:#}");
    }
    ExitCode::from(code)
}
