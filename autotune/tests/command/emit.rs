//! `himuon emit`: bundles and resource tables.

use crate::common::{Folder, Run, himuon, himuon_with};
use himuon_toolkit::Toolkit;
use std::path::{Path, PathBuf};

/// With the compiler of the tests.
fn with_compiler(arguments: &[&str]) -> Run {
    let toolkit = Toolkit::locate_or_install().unwrap();
    let environment = [
        ("HIMUON_NVRTC_PATH", toolkit.nvrtc_library()),
        ("HIMUON_PTXAS_PATH", toolkit.ptxas()),
        ("HIMUON_NVDISASM_PATH", toolkit.nvdisasm()),
    ];
    himuon_with(
        &environment.map(|(name, path)| (name, path.as_os_str())),
        arguments,
    )
}

#[test]
fn a_bundle_has_text_ptx_cubin_and_manifest() {
    let folder = Folder::new();
    let out = folder.path("kernels");
    let out = out.to_str().unwrap();
    let run = with_compiler(&[
        "emit", "--tile", "16", "--steps", "5", "--arch", "sm_86", "--out", out, "--json",
    ]);
    assert_eq!(run.code, 0, "{}", run.err);
    let json = run.json();
    assert_eq!(json["compiled"], true);
    let bundle = PathBuf::from(json["folder"].as_str().unwrap());
    for name in ["kernel.cu", "kernel.ptx", "kernel.cubin", "manifest.json"] {
        assert!(bundle.join(name).is_file(), "{name}");
    }
    let manifest = std::fs::read_to_string(bundle.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["target"], "sm_86");
    assert_eq!(manifest["id"], json["id"]);
    assert!(manifest["resources"][0]["instructions"]["total"].as_u64() > Some(0));
}

#[test]
fn coupled_tiles_come_with_what_couples_them() {
    let folder = Folder::new();
    let out = folder.path("kernels");
    let run = with_compiler(&[
        "emit",
        "--tile",
        "16",
        "--coarse",
        "8",
        "--arch",
        "sm_86",
        "--out",
        out.to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(run.code, 0, "{}", run.err);
    let json = run.json();
    let bundles = json["bundles"].as_array().unwrap();
    let read = |bundle: &serde_json::Value, name: &str| {
        let folder = PathBuf::from(bundle["folder"].as_str().unwrap());
        std::fs::read_to_string(folder.join(name)).unwrap()
    };
    let [tiles, around] = bundles.as_slice() else {
        panic!("{json}")
    };
    for (bundle, entry) in [(tiles, "himuon_step("), (around, "himuon_couple_basis(")] {
        assert!(read(bundle, "kernel.cu").contains(entry), "{entry}");
        assert!(read(bundle, "kernel.ptx").contains(".entry"), "{entry}");
        assert!(bundle["resources"][0]["registers"].as_u64() > Some(0));
    }

    let text = read(tiles, "kernel.cu");
    assert!(text.contains("// coarse part    of whatever rank"));
    let command = text.lines().nth(1).unwrap();
    let words: Vec<&str> = command.split('\'').collect();
    let architecture = words[4].trim().trim_start_matches("--architecture ");
    let again = himuon([
        "emit",
        "--spec",
        words[1],
        "--variant",
        words[3],
        "--architecture",
        architecture,
    ]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!(again.out.trim_end(), text.trim_end(), "{command}");
    assert!(again.err.contains("--out FOLDER"), "{}", again.err);
    let command = read(around, "kernel.cu");
    assert!(command.lines().nth(2).unwrap().contains("coarse=1"));
}

#[test]
fn complete_is_all_that_a_step_launches() {
    let folder = Folder::new();
    let out = folder.path("kernels");
    let out = out.to_str().unwrap();
    let arguments = [
        "emit",
        "--tile",
        "16",
        "--coarse",
        "8",
        "--arch",
        "sm_80",
        "--complete",
        "--out",
        out,
        "--json",
    ];
    let run = with_compiler(&arguments);
    assert_eq!(run.code, 0, "{}", run.err);
    let json = run.json();
    let bundles = json["bundles"].as_array().unwrap();
    let entries = ["himuon_step(", "himuon_couple_basis(", "himuon_adamw"];
    assert_eq!(bundles.len(), entries.len(), "{json}");
    for (bundle, entry) in bundles.iter().zip(entries) {
        let folder = PathBuf::from(bundle["folder"].as_str().unwrap());
        let text = std::fs::read_to_string(folder.join("kernel.cu")).unwrap();
        assert!(text.contains(entry), "{entry}");
        assert!(folder.join("kernel.cubin").is_file(), "{entry}");
    }
    // With the map alone, which the launches around it take where rows are normalised.
    let normalised = ["--row-normalised"];
    let run = with_compiler(&[&arguments[..], &normalised].concat());
    assert_eq!(run.code, 0, "{}", run.err);
    let json = run.json();
    assert_eq!(json["bundles"].as_array().unwrap().len(), 4, "{json}");
    let map = json["bundles"][1]["spec"].as_str().unwrap();
    assert!(map.contains("tile=16") && map.contains("coarse=0"), "{map}");
    let run = himuon([&arguments[..], &["--row-normalised", "--power", "1/2"]].concat());
    assert!(run.err.contains("normalised on the CPU"), "{}", run.err);
    // Without a compiler it would be of no use.
    let nowhere = folder.path("nowhere");
    let run = himuon_with(&[("HIMUON_NVRTC_PATH", nowhere.as_os_str())], &arguments);
    assert_eq!(run.code, 1, "{}", run.err);
    let run = himuon(["emit", "--tile", "16", "--complete"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("--out"), "{}", run.err);
}

#[test]
fn explain_is_a_line_for_each_entry() {
    let run = with_compiler(&["emit", "--tile", "16", "--power", "1", "--explain"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let lines: Vec<&str> = run.out.lines().collect();
    assert!(lines[0].contains("registers"), "{}", run.out);
    for entry in ["himuon_step", "himuon_norm", "himuon_update", "himuon_map"] {
        assert_eq!(run.out.matches(entry).count(), 1, "{}", run.out);
    }
    assert!(!run.out.contains('?'), "every count is known: {}", run.out);
}

#[test]
fn what_cannot_be_done_is_said() {
    let folder = Folder::new();
    let out = folder.path("kernels");
    let nowhere = folder.path("nowhere");
    let run = himuon_with(
        &[("HIMUON_NVRTC_PATH", nowhere.as_os_str())],
        &["emit", "--tile", "16", "--explain"],
    );
    assert_eq!(run.code, 1, "a library that does not load: {}", run.err);
    let run = himuon(["emit", "--all"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("--out"), "{}", run.err);
    let run = himuon([
        "emit",
        "--all",
        "--tile",
        "16",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("stock grid"), "{}", run.err);
    let run = himuon([
        "emit", "--tile", "16", "--coarse", "8", "--power", "1/2", "--steps", "8",
    ]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("coarse"), "{}", run.err);
    let run = himuon(["emit"]);
    assert_eq!(run.code, 2);
    assert!(
        run.err.contains("--tile") && run.err.contains("--all"),
        "{}",
        run.err
    );
}

#[test]
fn the_whole_stock_grid() {
    let folder = Folder::new();
    let out = folder.path("kernels");
    if let Some(library) = system_compiler() {
        println!(
            "SKIPPED: the stock grid as source: {} would compile it",
            library.display()
        );
        return;
    }
    // No toolkit and no Python to ask for its packages: source only, which is quick.
    let run = himuon_with(
        &[
            ("CUDA_HOME", folder.path("none").as_os_str()),
            ("CUDA_PATH", "".as_ref()),
            ("HIMUON_NVRTC_PATH", "".as_ref()),
            ("PATH", "".as_ref()),
        ],
        &[
            "emit",
            "--all",
            "--arch",
            "sm_90a",
            "--out",
            out.to_str().unwrap(),
        ],
    );
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("source only"), "{}", run.err);
    let bundles: Vec<_> = std::fs::read_dir(&out).unwrap().collect();
    assert_eq!(bundles.len(), 18);
}

/// The NVRTC that is found whatever the environment says.
fn system_compiler() -> Option<PathBuf> {
    let folders = ["lib64", "lib"].map(|name| Path::new("/usr/local/cuda").join(name));
    let files = folders.iter().filter_map(|folder| folder.read_dir().ok());
    let mut files = files.flatten().map(|file| file.unwrap().path());
    files.find(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("libnvrtc.so")
    })
}
