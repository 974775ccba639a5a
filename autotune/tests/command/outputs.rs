//! What the command writes: whole, with the rights of any file, and never over what it reads.

use crate::common::{Folder, apply, himuon, himuon_with_cache};
use himuon::reference::Matrix;
use himuon::tuning::{DeviceFingerprint, ShapeClass, TuningEntry, TuningTable};
use himuon::{KernelSpec, Tile};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const RUNS: &str = "batch,steps\n32,410\n64,240\n128,185\n256,160\n512,146\n";

fn matrix() -> Matrix {
    Matrix::from_fn(16, 24, |row, column| {
        ((7 * row + 5 * column) % 11) as f64 - 4.5
    })
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Commands that read `input`, or the cache, and write `output`.
fn writers(folder: &Folder, output: &Path) -> Vec<(PathBuf, Vec<OsString>)> {
    let tensors = folder.write_matrix("m.safetensors", &matrix());
    let runs = folder.path("runs.csv");
    std::fs::write(&runs, RUNS).unwrap();
    let cache = folder.path("cache");
    let mut table = TuningTable::new(DeviceFingerprint::cpu());
    let tile = Tile::square(8);
    let class = ShapeClass::of(tile, [(16, 16)]);
    table.insert(&KernelSpec::new(tile), class, TuningEntry::chosen("any"));
    let table = table.save(&cache).unwrap();
    let words = |parts: &[&OsStr]| parts.iter().map(|part| (*part).to_owned()).collect();
    let text = OsStr::new;
    let (m, r, t, o) = (
        tensors.as_os_str(),
        runs.as_os_str(),
        table.as_os_str(),
        output.as_os_str(),
    );
    vec![
        (
            tensors.clone(),
            words(&[
                text("apply"),
                text("--in"),
                m,
                text("--out"),
                o,
                text("--tile=8"),
            ]),
        ),
        (
            tensors.clone(),
            words(&[
                text("diagnose"),
                m,
                text("--tiles=8"),
                text("--powers=0"),
                text("--html"),
                o,
            ]),
        ),
        (
            runs.clone(),
            words(&[text("batch-size"), r, text("--svg"), o]),
        ),
        (
            tensors.clone(),
            words(&[text("report"), text("--momentum"), m, text("--out"), o]),
        ),
        (table.clone(), words(&[text("cache"), text("export"), o])),
        (
            table.clone(),
            words(&[text("cache"), text("merge"), t, text("--out"), o]),
        ),
    ]
}

fn run(folder: &Folder, arguments: &[OsString]) -> crate::common::Run {
    crate::common::run(
        std::process::Command::new(env!("CARGO_BIN_EXE_himuon"))
            .args(arguments)
            .env("HIMUON_CACHE_DIR", folder.path("cache")),
    )
}

#[test]
fn an_output_keeps_its_mode_and_its_link_and_is_no_input() {
    let folder = Folder::new();
    let output = folder.path("output");
    let any = folder.path("any");
    std::fs::write(&any, "").unwrap();
    for index in 0..writers(&folder, &output).len() {
        let (input, arguments) = writers(&folder, &output).swap_remove(index);
        let ran = run(&folder, &arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
        assert_eq!(mode(&output), mode(&any), "{arguments:?}");
        std::fs::set_permissions(&output, std::fs::Permissions::from_mode(0o640)).unwrap();
        let link = folder.path("link");
        symlink(&output, &link).unwrap();
        let (_, through) = writers(&folder, &link).swap_remove(index);
        assert_eq!(run(&folder, &through).code, 0, "{through:?}");
        assert!(link.is_symlink() && mode(&output) == 0o640, "{through:?}");
        std::fs::remove_file(&link).unwrap();
        std::fs::remove_file(&output).unwrap();
        // The input by another path.
        let before = std::fs::read(&input).unwrap();
        let parts = [input.parent().unwrap(), Path::new(".")];
        let place: PathBuf = parts
            .iter()
            .collect::<PathBuf>()
            .join(input.file_name().unwrap());
        symlink(&place, &link).unwrap();
        for same in [&place, &link] {
            let (_, arguments) = writers(&folder, same).swap_remove(index);
            let refused = run(&folder, &arguments);
            assert_eq!(refused.code, 2, "{arguments:?}: {}", refused.err);
            assert!(
                refused.err.contains("both input and output"),
                "{}",
                refused.err
            );
        }
        std::fs::remove_file(&link).unwrap();
        // A table is written again by `writers`, to the same bytes.
        assert_eq!(std::fs::read(&input).unwrap(), before, "{arguments:?}");
    }
}

#[test]
fn a_plot_of_no_fit_is_not_written() {
    let folder = Folder::new();
    let (runs, svg) = (folder.path("runs.csv"), folder.path("plot.svg"));
    std::fs::write(&runs, "batch,steps\n1,10\n4,11\n16,12\n").unwrap();
    let arguments = [
        "batch-size",
        runs.to_str().unwrap(),
        "--svg",
        svg.to_str().unwrap(),
    ];
    let run = himuon(arguments);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(!svg.exists());
}

#[test]
fn paths_need_not_be_unicode() {
    let folder = Folder::new();
    let odd = folder.path("").join(OsStr::from_bytes(b"odd-\xff"));
    std::fs::create_dir(&odd).unwrap();
    let output = odd.join(OsStr::from_bytes(b"out-\xfe"));
    for (_, arguments) in writers(&folder, &output) {
        let mut arguments = arguments;
        arguments.push("--json".into());
        let ran = run(&folder, &arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
        let _ = ran.json();
        assert!(output.exists(), "{arguments:?}");
    }
    // A cache, a state file, a folder of bundles and one of manual pages.
    let state = odd.join("state.safetensors");
    std::fs::copy(folder.path("m.safetensors"), &state).unwrap();
    let text = OsStr::new;
    let emitted = [
        text("emit"),
        text("--tile=16"),
        text("--out"),
        odd.as_os_str(),
        text("--json"),
    ];
    let environment = [
        ("PATH", text("")),
        ("CUDA_HOME", text("")),
        ("CUDA_PATH", text("")),
    ];
    let commands: [&[&OsStr]; 8] = [
        &[
            text("tune"),
            text("--advise"),
            state.as_os_str(),
            text("--json"),
        ],
        &[
            text("tune"),
            text("--tile=8"),
            text("--shape=8x8"),
            text("--budget=0"),
            text("--json"),
        ],
        &[text("cache"), text("path"), text("--json")],
        &[text("cache"), text("ls"), text("--json")],
        &[
            text("cache"),
            text("gc"),
            text("--older-than=0"),
            text("--json"),
        ],
        &[text("cache"), text("clear"), text("--json")],
        &[text("man"), text("--out"), odd.as_os_str(), text("--json")],
        &emitted,
    ];
    for arguments in commands {
        let ran = crate::common::run(
            std::process::Command::new(env!("CARGO_BIN_EXE_himuon"))
                .args(arguments)
                .envs(environment)
                .env("HIMUON_CACHE_DIR", &odd),
        );
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
        let _ = ran.json();
    }
}

#[test]
fn numbers_that_no_machine_has_are_refused() {
    let folder = Folder::new();
    let cache = folder.path("cache");
    let run = |arguments: &[&str]| himuon_with_cache(&cache, arguments);
    let days = u64::MAX.to_string();
    let kept = run(&["cache", "gc", "--older-than", &days]);
    assert_eq!(kept.code, 0, "{}", kept.err);
    let input = folder.write_matrix("m.safetensors", &matrix());
    let input = input.to_str().unwrap();
    for arguments in [
        &["tune", "--tile", "8", "--threads", "100000"][..],
        &[
            "apply",
            "--in",
            input,
            "--out",
            "o",
            "--tile",
            "8",
            "--threads",
            "100000",
        ],
        &["diagnose", input, "--threads", "100000"],
        &[
            "explain",
            "--in",
            input,
            "--tile",
            "8",
            "--threads",
            "100000",
        ],
        &["tune", "--tile", "8", "--shape", "4294967295x4294967295"],
    ] {
        let refused = run(arguments);
        assert_eq!(refused.code, 2, "{arguments:?}: {}", refused.err);
        assert!(!refused.err.contains("panicked"), "{}", refused.err);
    }
    let shapes = folder.path("shapes.json");
    std::fs::write(&shapes, "[{\"rows\": 8, \"columns\": 8, \"cuont\": 3}]").unwrap();
    let refused = run(&["tune", "--tile=8", "--shapes", shapes.to_str().unwrap()]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("unknown field `cuont`"),
        "{}",
        refused.err
    );
    assert_eq!(
        apply(
            Path::new(input),
            &folder.path("o"),
            &["--tile=8", "--threads=2"]
        )
        .code,
        0
    );
}
