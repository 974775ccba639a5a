//! Building the driver library and linking it under the names that programs look for.
#![allow(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::inspect::Inspection;
use crate::error::ToolkitError;
use crate::target_folder::target_folder;

const PACKAGE: &str = "himuon-emulator-driver";
const LIBRARY_NAMES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];

/// The built driver in its private folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmulatedDriver {
    folder: PathBuf,
}

impl EmulatedDriver {
    /// Builds the driver with the cargo profile of the running test, if it is not built, and links it.
    ///
    /// `HIMUON_EMULATED_DRIVER` names a finished library instead.
    ///
    /// # Errors
    ///
    /// [`ToolkitError::DriverBuild`] with cargo's messages; [`ToolkitError::Io`] if the links cannot be made.
    pub fn build() -> Result<Self, ToolkitError> {
        static FOLDER: OnceLock<PathBuf> = OnceLock::new();
        if let Some(folder) = FOLDER.get() {
            return Ok(Self {
                folder: folder.clone(),
            });
        }
        let profile = if is_release() { "release" } else { "debug" };
        let parent = target_folder();
        let folder = parent.join(format!("emulated-driver-{profile}"));
        fs::create_dir_all(&folder).map_err(ToolkitError::io("make", &folder))?;
        // Several test processes may start at once: one builds and links, the others wait and find it done.
        let lock_path = parent.join("emulated-driver.lock");
        let lock = File::create(&lock_path).map_err(ToolkitError::io("create", &lock_path))?;
        lock.lock().map_err(ToolkitError::io("lock", &lock_path))?;
        let library = match env::var_os("HIMUON_EMULATED_DRIVER").map(PathBuf::from) {
            Some(path) if path.is_file() => path,
            Some(path) => {
                return Err(ToolkitError::OverrideMissing {
                    variable: "HIMUON_EMULATED_DRIVER",
                    path,
                });
            }
            None => cargo_build(&parent)?,
        };
        for name in LIBRARY_NAMES {
            link(&library, &folder.join(name))?;
        }
        Ok(Self {
            folder: FOLDER.get_or_init(|| folder).clone(),
        })
    }

    /// The folder that holds `libcuda.so` and `libcuda.so.1` and nothing else.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a child process find this driver before any other.
    pub fn provide_to(&self, command: &mut Command) {
        let mut path = OsString::from(&self.folder);
        if let Some(present) = env::var_os("LD_LIBRARY_PATH").filter(|value| !value.is_empty()) {
            path.push(":");
            path.push(present);
        }
        command.env("LD_LIBRARY_PATH", path);
    }

    /// Loads the driver into this process for good; what is looked up as `libcuda.so` from now on is the emulator.
    ///
    /// # Errors
    ///
    /// [`ToolkitError::Load`] if it cannot be loaded; [`ToolkitError::ForeignDriver`] if another `libcuda.so` was
    /// loaded before.
    pub fn load(&self) -> Result<Inspection, ToolkitError> {
        let path = self.folder.join(LIBRARY_NAMES[0]);
        // SAFETY: the library is the one that this process has just built; its initialisers are those of Rust's
        // standard library and have no preconditions.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }
            .map_err(|source| ToolkitError::Load { path, source })?;
        // cudarc keeps function pointers for the life of the process, so the library must never go.
        std::mem::forget(library);
        Inspection::open()
    }
}

/// Whether the running test was built with `--release`: it lies in `release/deps` then.
fn is_release() -> bool {
    let executable = env::current_exe().unwrap_or_default();
    executable
        .ancestors()
        .nth(2)
        .is_some_and(|profile| profile.ends_with("release"))
}

/// Builds the package and returns the shared library that cargo names in its messages.
fn cargo_build(target: &Path) -> Result<PathBuf, ToolkitError> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--package",
            PACKAGE,
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target);
    if is_release() {
        command.arg("--release");
    }
    let output = command
        .output()
        .map_err(ToolkitError::io("run cargo in", target))?;
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(ToolkitError::DriverBuild { output: messages });
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .find_map(|message| shared_library(&message))
        .ok_or(ToolkitError::DriverBuild {
            output: "cargo named no shared library".to_owned(),
        })
}

/// The shared library of a `compiler-artifact` message of the driver's package.
fn shared_library(message: &serde_json::Value) -> Option<PathBuf> {
    if message["reason"] != "compiler-artifact"
        || message["target"]["name"] != PACKAGE.replace('-', "_")
    {
        return None;
    }
    message["filenames"]
        .as_array()?
        .iter()
        .filter_map(|name| name.as_str())
        .find(|name| name.ends_with(".so"))
        .map(PathBuf::from)
}

/// Makes `link` a symbolic link to `library`; leaves it alone if it is one.
fn link(library: &Path, link: &Path) -> Result<(), ToolkitError> {
    if fs::read_link(link).is_ok_and(|present| present == library) {
        return Ok(());
    }
    match fs::remove_file(link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(ToolkitError::io("replace", link)(error));
        }
        _ => {}
    }
    std::os::unix::fs::symlink(library, link).map_err(ToolkitError::io("link", link))
}
