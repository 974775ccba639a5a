//! A test in a process of its own, with its own environment, on the emulated driver or on a GPU.

use std::env;
use std::process::Command;

use super::build::EmulatedDriver;
use crate::error::ToolkitError;

/// Names the test that a child process is to run.
const CHILD: &str = "HIMUON_ISOLATED_TEST";

/// What came of [`isolated`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolated {
    /// This is the child; the body has run.
    Child,
    /// This is the parent; the child has succeeded and printed this on both outputs.
    Parent {
        /// Standard output and standard error, one after the other.
        output: String,
    },
}

/// Runs `body` in a child process: the test binary again, for the one test named `test` (its full path in the
/// binary), with `environment` added and the emulated driver on the loader's path.
///
/// ```no_run
/// // In a test function named `memory_runs_out`:
/// himuon_toolkit::emulated::isolated(
///     "memory_runs_out",
///     &[("HIMUON_EMULATOR_DEVICES", "sm_80,memory=1MiB")],
///     || { /* allocate two megabytes and expect an error */ },
/// )?;
/// # Ok::<(), himuon_toolkit::ToolkitError>(())
/// ```
///
/// # Errors
///
/// [`ToolkitError::Isolated`] with the child's output if it fails, or if it has no test of that name.
pub fn isolated(
    test: &str,
    environment: &[(&str, &str)],
    body: impl FnOnce(),
) -> Result<Isolated, ToolkitError> {
    apart(
        test,
        environment,
        || EmulatedDriver::build().map(Some),
        body,
    )
}

/// As [`isolated`], with the driver of this machine. The caller has found that there is one.
///
/// # Errors
///
/// As for [`isolated`].
pub fn isolated_on_gpu(
    test: &str,
    environment: &[(&str, &str)],
    body: impl FnOnce(),
) -> Result<Isolated, ToolkitError> {
    apart(test, environment, || Ok(None), body)
}

/// Runs `body` in the child, and the child in the parent.
fn apart(
    test: &str,
    environment: &[(&str, &str)],
    driver: fn() -> Result<Option<EmulatedDriver>, ToolkitError>,
    body: impl FnOnce(),
) -> Result<Isolated, ToolkitError> {
    if env::var_os(CHILD).is_some_and(|name| name == test) {
        body();
        return Ok(Isolated::Child);
    }
    run_child(test, environment, driver()?)
}

/// The parent's part.
fn run_child(
    test: &str,
    environment: &[(&str, &str)],
    driver: Option<EmulatedDriver>,
) -> Result<Isolated, ToolkitError> {
    let executable = env::current_exe().map_err(ToolkitError::io("find", "the running test"))?;
    let mut command = Command::new(&executable);
    command.args(["--exact", test, "--nocapture", "--test-threads", "1"]);
    command.env(CHILD, test).envs(environment.iter().copied());
    if let Some(driver) = driver {
        driver.provide_to(&mut command);
    }
    let output = command
        .output()
        .map_err(ToolkitError::io("run", executable))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() && printed.contains("1 passed") {
        return Ok(Isolated::Parent { output: printed });
    }
    Err(ToolkitError::Isolated {
        test: test.to_owned(),
        status: output.status.to_string(),
        output: printed,
    })
}
