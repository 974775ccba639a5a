//! The command line: arguments, output, exit codes.
//!
//! 0: done. 1: the work failed. 2: the request was wrong.

mod console;
mod error;
mod output;
mod progress;
mod spec_arguments;
mod table;
mod verbs;

pub use error::CommandError;

use clap::{Args, CommandFactory, Parser, Subcommand};
use console::Console;
use std::process::ExitCode;

/// Hierarchical Muon from the command line.
#[derive(Debug, Parser)]
#[command(
    name = "himuon",
    version,
    about = "Hierarchical Muon: map, explain, tune and measure",
    after_help = "Example:\n  himuon apply --in m.safetensors --out o.safetensors --tile 128\n\n\
        HIMUON_LOG=off|error|warn|info|debug: what is printed of what the library says while it works\n\n\
        The command ends with 0 when the work is done, 1 when it failed, 2 when the request is wrong."
)]
struct Command {
    #[command(flatten)]
    output: OutputArguments,
    #[command(subcommand)]
    verb: Verb,
}

/// How every verb prints.
#[derive(Args, Clone, Copy, Debug, Default)]
#[command(next_help_heading = "Output")]
struct OutputArguments {
    /// Print one JSON object on the standard output instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Print errors only, and what a verb is asked to print: a kernel's text, a path, a page
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Devices(verbs::devices::Arguments),
    Emit(verbs::emit::Arguments),
    Tune(verbs::tune::Arguments),
    Bench(verbs::bench::Arguments),
    Apply(verbs::apply::Arguments),
    BatchSize(verbs::batch_size::Arguments),
    Diagnose(verbs::diagnose::Arguments),
    Explain(verbs::explain::Arguments),
    Cache(verbs::cache::Arguments),
    Report(verbs::report::Arguments),
    Completions(verbs::completions::Arguments),
    Man(verbs::man::Arguments),
}

impl Verb {
    /// Whether what is printed is what was asked for, not a word about it: `--quiet` leaves it.
    fn prints_its_product(&self) -> bool {
        match self {
            Verb::Emit(arguments) => arguments.prints_text(),
            Verb::Cache(arguments) => arguments.prints_path(),
            Verb::Man(arguments) => arguments.prints_page(),
            Verb::Completions(_) => true,
            _ => false,
        }
    }
}

/// Runs the command with the arguments of the process.
pub fn run() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(refusal) => return console::refusal(&refusal),
    };
    let console = Console::new(command.output);
    if let Err(error) = console.follow_library() {
        return console.error(&error);
    }
    let result = match &command.verb {
        Verb::Devices(arguments) => verbs::devices::run(arguments, &console),
        Verb::Emit(arguments) => verbs::emit::run(arguments, &console),
        Verb::Tune(arguments) => verbs::tune::run(arguments, &console),
        Verb::Bench(arguments) => verbs::bench::run(arguments, &console),
        Verb::Apply(arguments) => verbs::apply::run(arguments, &console),
        Verb::BatchSize(arguments) => verbs::batch_size::run(arguments, &console),
        Verb::Diagnose(arguments) => verbs::diagnose::run(arguments, &console),
        Verb::Explain(arguments) => verbs::explain::run(arguments, &console),
        Verb::Cache(arguments) => verbs::cache::run(arguments, &console),
        Verb::Report(arguments) => verbs::report::run(arguments, &console),
        Verb::Completions(arguments) => {
            verbs::completions::run(arguments, <Command as CommandFactory>::command())
        }
        Verb::Man(arguments) => verbs::man::run(arguments, <Command as CommandFactory>::command()),
    };
    match result {
        Ok(outcome) => console.outcome(&outcome, command.verb.prints_its_product()),
        Err(error) => console.error(&error),
    }
}
