//! Installing the pinned wheels: once, under a lock, and all or nothing.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::target_folder::target_folder;

const VERSION: &str = "13.5.37";

/// The version of NVRTC in the pinned wheels, with which all bounds in tests were measured.
pub const MEASURED_NVRTC: &str = "13.5";

/// The PyPI wheels that are installed where no toolkit is found.
pub const PINNED_WHEELS: [&str; 3] = [
    "nvidia-cuda-nvrtc==13.5.37",
    "nvidia-cuda-nvcc==13.5.37",
    "nvidia-cuda-nvdisasm==13.5.37",
];

/// The private folder that the wheels go into.
pub(crate) fn folder() -> PathBuf {
    target_folder().join(format!("cuda-toolkit-{VERSION}"))
}

/// Installs the compiler's wheels and returns their folder; the error is one sentence on why it failed.
pub(crate) fn install() -> Result<PathBuf, String> {
    let destination = folder();
    let why = format!(
        "no CUDA compiler found; installing {} (110 MB)",
        PINNED_WHEELS.join(" ")
    );
    install_wheels(&destination, &PINNED_WHEELS, &why)?;
    Ok(destination)
}

/// Installs wheels into a folder below the target folder, unless it is there; the error is one sentence on why it failed.
///
/// Several test processes may come here at once: one installs, the others wait for the lock and
/// find the folder complete. The folder appears by one rename, so that an interrupted installation
/// leaves nothing that looks finished.
pub(crate) fn install_wheels(destination: &Path, wheels: &[&str], why: &str) -> Result<(), String> {
    let parent = target_folder();
    fs::create_dir_all(&parent)
        .map_err(|error| format!("cannot make `{}`: {error}", parent.display()))?;
    let lock_path = parent.join("python-wheels.lock");
    let lock = File::create(&lock_path)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| format!("cannot lock `{}`: {error}", lock_path.display()))?;
    if destination.is_dir() {
        return Ok(());
    }
    if env::var_os("HIMUON_TOOLKIT_OFFLINE").is_some_and(|value| value != "0") {
        return Err("HIMUON_TOOLKIT_OFFLINE forbids it".to_owned());
    }
    announce(why, destination);
    let incoming = tempfile::Builder::new()
        .prefix("python-wheels-incoming-")
        .tempdir_in(&parent)
        .map_err(|error| format!("cannot make a folder in `{}`: {error}", parent.display()))?;
    run_installers(incoming.path(), wheels)?;
    fs::rename(incoming.path(), destination).map_err(|error| {
        format!(
            "cannot move the wheels to `{}`: {error}",
            destination.display()
        )
    })?;
    // The folder now lives under its final name: nothing is left to remove.
    let _ = incoming.keep();
    drop(lock);
    Ok(())
}

/// Tells the person at the terminal, past the test harness, which captures `eprintln!`.
fn announce(why: &str, destination: &Path) {
    let message = format!("himuon-toolkit: {why} into {}\n", destination.display());
    // A closed stderr must not fail the installation.
    let _ = std::io::stderr().write_all(message.as_bytes());
}

fn run_installers(target: &Path, wheels: &[&str]) -> Result<(), String> {
    let installers: [(&str, &[&str]); 2] = [
        (
            "python3",
            &[
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-input",
                "--disable-pip-version-check",
            ],
        ),
        ("uv", &["pip", "install", "--quiet"]),
    ];
    let mut reasons = Vec::new();
    for (program, arguments) in installers {
        let outcome = Command::new(program)
            .args(arguments)
            .args(["--no-deps", "--only-binary", ":all:", "--target"])
            .arg(target)
            .args(wheels)
            .output();
        match outcome {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => reasons.push(format!(
                "`{program} {}` failed ({}): {}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Err(error) => reasons.push(format!("`{program}` cannot be run: {error}")),
        }
    }
    Err(reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else every bound would be skipped.
    #[test]
    fn what_is_pinned_is_what_was_measured() {
        let version = format!("=={MEASURED_NVRTC}.");
        assert!(PINNED_WHEELS.iter().all(|wheel| wheel.contains(&version)));
    }
}
