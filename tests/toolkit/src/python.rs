//! Python packages for tests that run Python.

use std::path::PathBuf;
use std::process::Command;

use crate::install::install_wheels;
use crate::target_folder::target_folder;

/// The folder that `python3` must search to import `module`: none where it is installed, else one below the target folder,
/// into which the wheels are installed once, without what they depend on. The error is one sentence on why there is none.
pub fn python_packages(module: &str, wheels: &[&str]) -> Result<Option<PathBuf>, String> {
    if python(&format!("import {module}")).is_ok() {
        return Ok(None);
    }
    let version = python("import sys; print('%d.%d' % sys.version_info[:2])")?;
    let folder = target_folder().join(format!("python{version}-{module}"));
    let why = format!("python3 has no {module}; installing {}", wheels.join(" "));
    install_wheels(&folder, wheels, &why)?;
    Ok(Some(folder))
}

/// What a line of Python prints.
fn python(line: &str) -> Result<String, String> {
    let output = Command::new("python3").args(["-c", line]).output();
    let output = output.map_err(|error| format!("`python3` cannot be run: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
