//! Where the tools are looked for, and what goes first. Each case runs in a process of its own, as it is the environment
//! that decides.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use himuon_toolkit::Toolkit;
use tempfile::TempDir;

const CHILD: &str = "HIMUON_TEST_SEARCH_CHILD";
const SEARCHED: [&str; 5] = [
    "CUDA_HOME",
    "CUDA_PATH",
    "HIMUON_NVRTC_PATH",
    "HIMUON_PTXAS_PATH",
    "HIMUON_NVDISASM_PATH",
];

/// A folder with links to the real tools, laid out as given: NVRTC's folder, and that of the programs.
fn root(libraries: &str, programs: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let toolkit = Toolkit::locate_or_install().unwrap();
    let link = |folder: &str, target: &Path| {
        let folder = root.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        symlink(target, folder.join(target.file_name().unwrap())).unwrap();
    };
    link(libraries, toolkit.nvrtc_library());
    link(programs, toolkit.ptxas());
    link(programs, toolkit.nvdisasm());
    root
}

/// NVRTC and ptxas as a process with that environment finds them, which runs `test` again.
fn found(test: &str, environment: &[(&str, &Path)]) -> [PathBuf; 2] {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1");
    for variable in SEARCHED {
        command.env_remove(variable);
    }
    let output = command
        .env("HIMUON_TOOLKIT_OFFLINE", "1")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    ["nvrtc: ", "ptxas: "].map(|label| {
        let line = text.lines().find_map(|line| line.strip_prefix(label));
        PathBuf::from(line.unwrap_or_else(|| panic!("no `{label}` in\n{text}")))
    })
}

/// Whether this is the child; it tells what it finds.
fn is_child() -> bool {
    let child = env::var_os(CHILD).is_some();
    if child {
        let toolkit = Toolkit::locate_or_install().unwrap();
        // The harness writes the test's name without a line end.
        println!("\nnvrtc: {}", toolkit.nvrtc_library().display());
        println!("ptxas: {}", toolkit.ptxas().display());
    }
    child
}

#[test]
fn the_environment_goes_first() {
    if is_child() {
        return;
    }
    let test = "the_environment_goes_first";
    let (home, path) = (root("lib64", "bin"), root("lib64", "bin"));
    let inside = |found: &[PathBuf; 2], root: &TempDir| {
        assert!(
            found.iter().all(|tool| tool.starts_with(root.path())),
            "{found:?}"
        );
    };
    let both = [("CUDA_HOME", home.path()), ("CUDA_PATH", path.path())];
    inside(&found(test, &both), &home);
    inside(&found(test, &both[1..]), &path);
    // A root that lacks a tool is passed over.
    fs::remove_file(home.path().join("bin/ptxas")).unwrap();
    inside(&found(test, &both), &path);
    // A variable that names one tool replaces that one only.
    let ptxas = path.path().join("bin/ptxas");
    let named = [
        ("CUDA_HOME", home.path()),
        ("HIMUON_PTXAS_PATH", ptxas.as_path()),
    ];
    let [nvrtc, chosen] = found(test, &named);
    assert!(nvrtc.starts_with(home.path()), "{}", nvrtc.display());
    assert_eq!(chosen, ptxas);
}

#[test]
fn the_packages_of_python_are_searched() {
    if is_child() {
        return;
    }
    if Path::new("/usr/local/cuda").exists() {
        println!("SKIPPED: /usr/local/cuda exists and goes before the packages of Python");
        return;
    }
    // The `python3` that a user would call says where its packages lie.
    let programs = tempfile::tempdir().unwrap();
    let packages = root("nvidia/cu13/lib", "nvidia/cu13/bin");
    let python = programs.path().join("python3");
    fs::write(
        &python,
        format!("#!/bin/sh\necho '{}'\n", packages.path().display()),
    )
    .unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let test = "the_packages_of_python_are_searched";
    for tool in found(test, &[("PATH", programs.path())]) {
        assert!(tool.starts_with(packages.path()), "{}", tool.display());
    }
}
