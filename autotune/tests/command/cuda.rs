//! `himuon devices`, and `himuon apply` and `himuon tune` with `--device cuda`, on the emulated driver.

use crate::common::{Folder, read_matrix, run};
use himuon::reference::{Matrix, Normalisation, ReferenceMap};
use himuon::templates::KernelSpec;
use himuon_tests::inputs::{gaussian, rounded};
use himuon_tests::random::Random;
use himuon_tests::svd::relative_error;
use himuon_toolkit::Toolkit;
use himuon_toolkit::emulated::EmulatedDriver;
use std::path::{Path, PathBuf};
use std::process::Command;

fn emulated(arguments: &[&str]) -> crate::common::Run {
    emulated_with_cache(&shared_cache(), arguments)
}

/// Where all tests keep compiled kernels.
fn shared_cache() -> PathBuf {
    himuon_toolkit::target_folder().join("cuda-test-cache")
}

fn emulated_with_cache(cache: &Path, arguments: &[&str]) -> crate::common::Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_himuon"));
    EmulatedDriver::build().unwrap().provide_to(&mut command);
    let toolkit = Toolkit::locate_or_install().unwrap();
    command
        .args(arguments)
        .env("HIMUON_NVRTC_PATH", toolkit.nvrtc_library())
        .env("HIMUON_CACHE_DIR", cache)
        .env("HIMUON_EMULATOR_DEVICES", "sm_80;sm_90");
    run(&mut command)
}

#[test]
fn devices_lists_every_device_and_says_that_they_are_emulated() {
    let found = emulated(&["devices", "--json"]);
    assert_eq!(found.code, 0, "{}", found.err);
    let devices = found.json()["cuda"]["devices"].as_array().unwrap().clone();
    assert_eq!(devices.len(), 2);
    assert_eq!(
        (&devices[0]["target"], &devices[1]["target"]),
        (&"sm_80".into(), &"sm_90a".into())
    );
    let name = devices[0]["name"].as_str().unwrap().to_lowercase();
    assert!(name.contains("emulat"), "{name}");
}

#[test]
fn apply_on_a_device_is_the_map_in_f64() {
    let folder = Folder::new();
    let normal = rounded(
        &gaussian(40, 50, &mut Random::new(4)),
        himuon::templates::Element::F32,
    );
    let matrix = Matrix::from_fn(40, 50, |row, column| {
        f64::from((normal.get(row, column) * 0.9f64.powi(row as i32)) as f32)
    });
    let input = folder.write_matrix("m.safetensors", &matrix);
    let output = folder.path("o.safetensors");
    let tile = Normalisation::Tile { factor: 0.2 };
    let rms = Normalisation::Rms { factor: 0.2 };
    for (scale, text, normalisation) in [
        ("none", "tile=16", Normalisation::None),
        ("tile", "tile=16", tile),
        ("rms", "tile=16 power=1/2", rms),
        // Some tiles fail the criterion, and are left as they are or scaled.
        ("tile", "tile=16 criterion=nuclear_rank(0.6)", tile),
        ("rms", "tile=16 criterion=nuclear_rank(0.6)", rms),
        (
            "tile",
            "tile=16 criterion=nuclear_rank(0.6) otherwise=rms-matched",
            tile,
        ),
        (
            "rms",
            "tile=16 criterion=nuclear_rank(0.6) otherwise=rms-matched",
            rms,
        ),
    ] {
        let run = emulated(&[
            "apply",
            "--in",
            input.to_str().unwrap(),
            "--out",
            output.to_str().unwrap(),
            "--spec",
            text,
            "--scale",
            scale,
            "--device",
            "cuda",
        ]);
        assert_eq!(run.code, 0, "{}", run.err);
        let spec: KernelSpec = text.parse().unwrap();
        let expected = ReferenceMap::new(&spec)
            .unwrap()
            .apply(&matrix, normalisation);
        let error = relative_error(&read_matrix(&output, "w", 40, 50), &expected);
        println!("{scale} {text}: {error:.1e}");
        // Relative Frobenius distance, Gaussian input; worst measured 1.1e-6.
        assert!(error < 3.3e-6, "{scale} {text}: {error}");
    }
}

#[test]
fn a_device_that_is_not_there_is_named_and_threads_on_one_are_refused() {
    let folder = Folder::new();
    let input = folder.write_matrix("m.safetensors", &Matrix::zeros(4, 4));
    let output = folder.path("o.safetensors");
    let arguments = [
        "apply",
        "--in",
        input.to_str().unwrap(),
        "--out",
        output.to_str().unwrap(),
        "--tile",
        "16",
        "--device",
        "cuda:2",
    ];
    let run = emulated(&[&arguments[..], &["--threads", "2"]].concat());
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(run.err.contains("--threads is of the CPU"), "{}", run.err);
    let run = emulated(&arguments);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("no CUDA device 2: 2 found"), "{}", run.err);
    assert!(!output.exists());
}

#[test]
fn tune_goes_all_the_way_on_a_device_and_keeps_emulated_times_apart() {
    let folder = Folder::new();
    let cache = folder.path("cache");
    std::fs::create_dir_all(shared_cache().join("modules")).unwrap();
    std::fs::create_dir_all(&cache).unwrap();
    std::os::unix::fs::symlink(shared_cache().join("modules"), cache.join("modules")).unwrap();
    let arguments = [
        "tune",
        "--device",
        "cuda:0",
        "--spec",
        "tile=16 steps=2",
        "--shape",
        "32x48",
        "--candidates",
        "3",
        "--json",
    ];
    let tuned = emulated_with_cache(&cache, &arguments);
    assert_eq!(tuned.code, 0, "{}", tuned.err);
    assert!(tuned.err.contains("chooses nothing"), "{}", tuned.err);
    let json = tuned.json();
    assert_eq!(json["device"]["kind"], "cuda");
    assert_eq!(json["outcomes"][0], "measured");
    let entry = &json["entries"][0];
    assert_eq!(entry["clock"], "emulated");
    let candidates = entry["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 3);
    for candidate in candidates {
        assert_eq!(candidate["verdict"], "measured", "{candidate}");
        // Relative Frobenius distance; measured 4.7e-7.
        assert!(candidate["error"].as_f64().unwrap() < 1.5e-6, "{candidate}");
        assert!(candidate["cold_ns"][0].as_u64().unwrap() > 0);
    }
    let file = json["file"].as_str().unwrap();
    assert!(
        file.ends_with(".emulated.json") && Path::new(file).exists(),
        "{file}"
    );
    // Known the second time, listed, and of no effect on another device's file.
    let again = emulated_with_cache(&cache, &arguments);
    assert_eq!(again.json()["outcomes"][0], "known", "{}", again.out);
    let listed = emulated_with_cache(&cache, &["cache", "ls"]);
    assert!(listed.out.contains("emulat"), "{}", listed.out);
    let estimated = emulated_with_cache(
        &cache,
        &[
            "tune",
            "--device",
            "cuda:1",
            "--tile",
            "64",
            "--element",
            "bf16",
            "--level",
            "estimate",
            "--json",
        ],
    );
    assert_eq!(estimated.code, 0, "{}", estimated.err);
    assert_eq!(estimated.json()["measured"], false);
    let count = estimated.json()["estimates"][0]["candidates"]
        .as_array()
        .unwrap()
        .len();
    assert!(count >= 12, "{count}");
}
