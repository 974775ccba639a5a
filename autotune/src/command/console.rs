//! What is printed, and where: results on the standard output, all else on the standard error.

use super::error::CommandError;
use super::{OutputArguments, progress::Progress};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

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
    warnings: RefCell<Vec<String>>,
}

impl Console {
    pub(super) fn new(arguments: OutputArguments) -> Console {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Console {
            arguments,
            colour: !plain && std::io::stderr().is_terminal(),
            warnings: RefCell::default(),
        }
    }

    /// Something the user should know, though the work goes on.
    pub(super) fn warn(&self, text: &str) {
        if !self.arguments.quiet {
            aside(&format!("{} {text}", self.coloured("33", "warning:")));
        }
        self.warnings.borrow_mut().push(text.to_owned());
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

    /// Prints the result.
    pub(super) fn outcome(&self, outcome: &Outcome) -> ExitCode {
        let text = if self.arguments.json {
            let mut object = outcome.json.clone();
            if let Some(object) = object.as_object_mut() {
                object.insert("warnings".to_owned(), json!(*self.warnings.borrow()));
            }
            format!("{object:#}")
        } else if self.arguments.quiet || outcome.text.is_empty() {
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
        aside(&format!("{} {error}", self.coloured("31", "error:")));
        if self.arguments.json {
            let object = json!({ "error": error.to_string(), "exit_code": error.exit_code() });
            let _ = writeln!(std::io::stdout(), "{object:#}");
        }
        ExitCode::from(error.exit_code())
    }

    fn coloured(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[1;{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
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
