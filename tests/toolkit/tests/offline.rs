//! Without a toolkit and without the network: the error says what to install.

use std::env;
use std::path::Path;
use std::process::Command;

use himuon_toolkit::{Toolkit, ToolkitError};

const CHILD: &str = "HIMUON_TEST_OFFLINE_CHILD";

/// Runs itself again in a process that sees neither a toolkit nor Python nor the network.
#[test]
fn the_error_says_what_to_install() {
    if env::var_os(CHILD).is_some() {
        let error = Toolkit::locate_or_install().unwrap_err();
        assert!(matches!(error, ToolkitError::NotFound { .. }), "{error}");
        println!("{error}");
        return;
    }
    if Path::new("/usr/local/cuda").exists() {
        println!("SKIPPED: /usr/local/cuda exists and cannot be hidden from the search");
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_error_says_what_to_install", "--nocapture"])
        .env(CHILD, "1")
        .env("HIMUON_TOOLKIT_OFFLINE", "1")
        .env("CARGO_TARGET_DIR", empty.path())
        .env("PATH", empty.path())
        .env("CUDA_HOME", empty.path())
        .env_remove("CUDA_PATH")
        .env_remove("HIMUON_NVRTC_PATH")
        .env_remove("HIMUON_PTXAS_PATH")
        .env_remove("HIMUON_NVDISASM_PATH")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for expected in [
        &format!(
            "{}: no libnvrtc.so, no ptxas, no nvdisasm",
            empty.path().display()
        ),
        "HIMUON_TOOLKIT_OFFLINE forbids it",
        "pip install --no-deps nvidia-cuda-nvrtc==",
        "HIMUON_NVRTC_PATH",
    ] {
        assert!(
            text.contains(expected),
            "`{expected}` is missing in\n{text}"
        );
    }
}

#[test]
fn an_override_that_names_no_file_is_refused() {
    if env::var_os(CHILD).is_some() {
        let error = Toolkit::locate_or_install().unwrap_err();
        assert!(
            error
                .to_string()
                .contains("HIMUON_PTXAS_PATH is set to `/nowhere/ptxas`"),
            "{error}"
        );
        return;
    }
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "an_override_that_names_no_file_is_refused"])
        .env(CHILD, "1")
        .env("HIMUON_PTXAS_PATH", "/nowhere/ptxas")
        .status()
        .unwrap();
    assert!(status.success());
}
