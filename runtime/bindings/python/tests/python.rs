//! The package's own tests, run by `python3` on the module that cargo built.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test without its files fails"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use himuon_toolkit::python_packages;

/// The folder of the package, beside the module under the name that Python looks for.
fn installed(folder: &Path) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/himuon");
    let package = folder.join("himuon");
    std::fs::create_dir(&package).unwrap();
    for entry in std::fs::read_dir(sources).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), package.join(entry.file_name())).unwrap();
        }
    }
    let (prefix, ending, name) = match std::env::consts::OS {
        "windows" => ("", "dll", "_himuon.pyd"),
        "macos" => ("lib", "dylib", "_himuon.abi3.so"),
        _ => ("lib", "so", "_himuon.abi3.so"),
    };
    // cargo puts it beside the tests.
    let test = std::env::current_exe().unwrap();
    let module = test
        .parent()
        .unwrap()
        .join(format!("{prefix}_himuon.{ending}"));
    std::fs::copy(module, package.join(name)).unwrap();
    folder.to_owned()
}

/// Gives a program the emulated driver, the compiler, and the cache of compiled kernels that tests share.
#[cfg(unix)]
fn with_device(command: &mut Command) {
    let toolkit = himuon_toolkit::Toolkit::locate_or_install().unwrap();
    let driver = himuon_toolkit::emulated::EmulatedDriver::build().unwrap();
    driver.provide_to(command);
    let cache = himuon_toolkit::target_folder().join("cuda-test-cache");
    command
        .env("HIMUON_NVRTC_PATH", toolkit.nvrtc_library())
        .env("HIMUON_CACHE_DIR", cache)
        .env("HIMUON_EMULATOR_DEVICES", "sm_80;sm_80")
        .env("HIMUON_DETERMINISTIC", "1");
}

/// There is no emulated driver, and the tests say so.
#[cfg(not(unix))]
fn with_device(_command: &mut Command) {}

#[test]
fn the_tests_of_the_package() {
    let numpy = match python_packages("numpy", &["numpy"]) {
        Ok(folder) => folder,
        Err(reason) => {
            println!("SKIPPED: the tests of the Python package need numpy: {reason}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let paths = [installed(folder.path())].into_iter().chain(numpy);
    let mut command = Command::new("python3");
    with_device(&mut command);
    let output = command
        .args([
            "-W",
            "error::DeprecationWarning:himuon",
            "-m",
            "unittest",
            "discover",
            "--verbose",
            "--start-directory",
        ])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"))
        .env("PYTHONPATH", std::env::join_paths(paths).unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{said}");
    for line in said.lines().filter(|line| line.contains("... skipped")) {
        println!("SKIPPED: {line}");
    }
    for file in [
        "test_numpy",
        "test_torch",
        "test_torch_refusals",
        "test_torch_states",
        "test_torch_warnings",
        "test_torch_devices",
        "test_torch_distributed",
        "test_cuda",
    ] {
        assert!(said.contains(file), "{file} was not found: {said}");
    }
}
