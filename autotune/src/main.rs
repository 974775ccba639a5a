//! The `himuon` command.

use himuon_autotune::command;
use std::process::ExitCode;

fn main() -> ExitCode {
    command::run()
}
