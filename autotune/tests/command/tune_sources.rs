//! Where specifications and matrices come from, and what is only estimated or advised.

use crate::common::{Folder, f32_bytes, himuon, himuon_with_cache};
use safetensors::Dtype;
use serde_json::Value;

fn specs(json: &Value, list: &str) -> Vec<String> {
    let entries = json[list].as_array().unwrap().iter();
    entries
        .map(|entry| entry["spec"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_crates_attributes_and_a_list_of_shapes() {
    let folder = Folder::new();
    let source = folder.path("model/src/layers");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::create_dir_all(folder.path("model/target")).unwrap();
    std::fs::write(
        source.join("attention.rs"),
        "#[himuon::himuon(tiles = [8, \"full\"], steps = 3)] pub struct Attention;",
    )
    .unwrap();
    std::fs::write(
        folder.path("model/src/lib.rs"),
        "mod layers { #[himuon(tile = 8, steps = 3)] struct Mlp; } // himuon",
    )
    .unwrap();
    std::fs::write(
        folder.path("model/target/made.rs"),
        "#[himuon(tile = 99)] struct No;",
    )
    .unwrap();
    let shapes = folder.path("shapes.json");
    std::fs::write(&shapes, "[{\"rows\": 16, \"columns\": 24, \"count\": 3}]").unwrap();
    let model = folder.path("model");
    let arguments = [
        "tune",
        "--crate",
        model.to_str().unwrap(),
        "--shapes",
        shapes.to_str().unwrap(),
    ];
    let run = himuon(
        arguments
            .into_iter()
            .chain(["--level", "estimate", "--json"]),
    );
    assert_eq!(run.code, 0, "{}", run.err);
    let json = run.json();
    let found = specs(&json, "estimates");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("tile=8") || found[1].starts_with("tile=8"),
        "{found:?}"
    );
    assert!(
        found.iter().all(|spec| spec.contains("steps=3")),
        "{found:?}"
    );
    assert_eq!(json["measured"], false);
    // 3 x (16/8) x (24/8) = 18 tiles.
    let classes: Vec<_> = json["estimates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["class"])
        .collect();
    assert!(classes.contains(&&"tiles>=16".into()), "{classes:?}");
    // A folder without attributes, and an attribute that does not compile.
    let empty = folder.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let run = himuon(["tune", "--crate", empty.to_str().unwrap()]);
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("found no #[himuon(...)] in 0"),
        "{}",
        run.err
    );
    std::fs::write(
        source.join("bad.rs"),
        "#[himuon(tile = \"big\")] struct Bad;",
    )
    .unwrap();
    let run = himuon(arguments);
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("bad.rs") && run.err.contains("`Bad`"),
        "{}",
        run.err
    );
}

#[test]
fn shapes_of_models() {
    let folder = Folder::new();
    let class = |shapes: &str| {
        let run = himuon([
            "tune", "--tile", "64", "--shapes", shapes, "--level", "estimate", "--json",
        ]);
        assert_eq!(run.code, 0, "{}", run.err);
        run.json()["estimates"][0]["class"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    // 85 M elements in tiles of 4096: 20736.
    assert_eq!(class("gpt2-small"), "tiles>=16384");
    assert_eq!(class("llama-1b"), "tiles>=65536");
    let zeros = |count: usize| f32_bytes(&vec![0.0; count]);
    let file = folder.write(
        "model.safetensors",
        &[
            (
                "blocks.0.attn.weight",
                Dtype::F32,
                vec![128, 128],
                zeros(128 * 128),
            ),
            ("norm.weight", Dtype::F32, vec![128], zeros(128)),
            ("wte.weight", Dtype::F32, vec![1024, 128], zeros(1024 * 128)),
        ],
    );
    // Embedding and norm are AdamW's.
    assert_eq!(class(file.to_str().unwrap()), "tiles>=4");
    let named = folder.path("named.json");
    std::fs::write(&named, "{\"a\": [64, 64], \"b\": [128, 64]}").unwrap();
    assert_eq!(class(named.to_str().unwrap()), "tiles>=1");
    std::fs::write(&named, "{\"a\": 3}").unwrap();
    let run = himuon(["tune", "--tile", "64", "--shapes", named.to_str().unwrap()]);
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("named.json") && run.err.contains("expected"),
        "{}",
        run.err
    );
}

#[test]
fn architectures_are_estimated_without_a_device() {
    let folder = Folder::new();
    let cache = folder.path("cache");
    for target in ["sm_75", "sm_80", "sm_90a"] {
        let run = himuon_with_cache(
            &cache,
            &[
                "tune",
                "--tile",
                "64",
                "--element",
                "f16",
                "--arch",
                target,
                "--shape",
                "4096x4096",
                "--json",
            ],
        );
        assert_eq!(run.code, 0, "{target}: {}", run.err);
        let json = run.json();
        assert_eq!(json["measured"], false);
        let spec = &json["specifications"][0];
        let floor = spec["memory_floor_seconds"].as_f64().unwrap();
        let candidates = spec["candidates"].as_array().unwrap();
        assert!(candidates.len() >= 12, "{target}: {}", candidates.len());
        let seconds = |candidate: &Value| candidate["seconds"].as_f64().unwrap();
        assert!(candidates.is_sorted_by(|a, b| seconds(a) <= seconds(b)));
        assert!(seconds(&candidates[0]) > floor && floor > 0.0);
    }
    assert!(!cache.exists());
    let run = himuon(["tune", "--stock", "--arch", "sm_80"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("nothing was measured"), "{}", run.out);
    // Six tiles in three types.
    assert_eq!(run.out.lines().count(), 1 + 18 + 1, "{}", run.out);
}

#[test]
fn tiles_are_advised_on_the_users_momentum_and_drawn() {
    let folder = Folder::new();
    let values: Vec<f32> = (0..96 * 80)
        .map(|i| ((i * 7919 % 1009) as f32 - 504.0) * (1.0 + (i % 80) as f32 / 20.0))
        .collect();
    let state = folder.write(
        "state.safetensors",
        &[
            (
                "w.momentum_buffer",
                Dtype::F32,
                vec![96, 80],
                f32_bytes(&values),
            ),
            ("other", Dtype::F32, vec![4, 4], f32_bytes(&[1.0; 16])),
        ],
    );
    let state = state.to_str().unwrap();
    let untuned = folder.path("untuned");
    let run = himuon_with_cache(&untuned, &["tune", "--advise", state, "--json"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let json = run.json();
    assert_eq!(json["matrices"].as_array().unwrap().len(), 1);
    let tiles = json["tiles"].as_array().unwrap();
    let closeness = |tile: &str| {
        let point = tiles.iter().find(|point| point["tile"] == tile).unwrap();
        point["closeness"].as_f64().unwrap()
    };
    assert_eq!(closeness("full"), 1.0);
    // A tile of the matrix's size is the matrix; smaller ones are farther away.
    assert!(closeness("128") > 0.9999, "{tiles:?}");
    assert!(
        closeness("16") < closeness("64") && closeness("16") > 0.0,
        "{tiles:?}"
    );
    assert!(tiles.iter().any(|point| point["on_front"] == true));
    let predicted = himuon(["tune", "--advise", state, "--arch", "sm_80"]);
    assert!(
        predicted.out.contains("predicted for sm_80"),
        "{}",
        predicted.err
    );
    // A GPU multiplies as it is told.
    let seconds = |element: &str| {
        let arguments = [
            "tune",
            "--advise",
            state,
            "--arch",
            "sm_80",
            "--json",
            "--element",
            element,
        ];
        let run = himuon(arguments);
        assert_eq!(run.code, 0, "{}", run.err);
        let json = run.json();
        assert_eq!(json["operand"], element);
        let tiles = json["tiles"].as_array().unwrap().clone();
        let point = tiles.iter().find(|point| point["tile"] == "64").unwrap();
        point["seconds"].as_f64().unwrap()
    };
    assert!(seconds("bf16") < seconds("f32"));
    // The same points in the report, beside what was tuned.
    let cache = folder.path("cache");
    let tune = [
        "tune",
        "--tile",
        "8",
        "--shape",
        "32x32",
        "--budget",
        "0",
        "--threads",
        "1",
    ];
    assert_eq!(himuon_with_cache(&cache, &tune).code, 0);
    let page = folder.path("report.html");
    let report = [
        "report",
        "--out",
        page.to_str().unwrap(),
        "--momentum",
        state,
    ];
    let run = himuon_with_cache(&cache, &report);
    assert_eq!(run.code, 0, "{}", run.err);
    let text = std::fs::read_to_string(&page).unwrap();
    assert_eq!(
        text.matches("<svg").count(),
        4,
        "time, roofline, prediction, front"
    );
    // Nothing from outside.
    for outside in ["<script", "<link", "src=", "url(", "@import"] {
        assert!(!text.contains(outside), "{outside}");
    }
    assert!(text.contains("predicted rank") && text.contains("operations a byte"));
    assert!(text.contains("error against f64"));
}

#[test]
fn matrices_that_tell_nothing_are_left_out_of_the_advice() {
    let folder = Folder::new();
    let good: Vec<f32> = (0..1024)
        .map(|i| (i * 7919 % 1009) as f32 - 504.0)
        .collect();
    let mut bad = good.clone();
    bad[700] = f32::NAN;
    let tensor =
        |name: &'static str, values: &[f32]| (name, Dtype::F32, vec![32, 32], f32_bytes(values));
    let mixed = [
        tensor("bad", &bad),
        tensor("good", &good),
        tensor("zero", &[0.0; 1024]),
    ];
    let closeness = |name: &str, tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]| {
        let file = folder.write(name, tensors);
        let cache = folder.path("cache");
        let run = himuon_with_cache(
            &cache,
            &["tune", "--advise", file.to_str().unwrap(), "--json"],
        );
        let points = (run.code == 0).then(|| {
            let json = run.json();
            let tiles = json["tiles"].as_array().unwrap().iter();
            tiles
                .map(|point| point["closeness"].clone())
                .collect::<Vec<_>>()
        });
        (points, run)
    };
    let (all, run) = closeness("mixed.safetensors", &mixed);
    for says in [
        "bad [32, 32] not compared: it holds a NaN",
        "zero [32, 32] not compared: it is zero",
    ] {
        assert!(run.err.contains(says), "{}", run.err);
    }
    assert_eq!(run.json()["left_out"].as_array().unwrap().len(), 2);
    let (alone, _) = closeness("good.safetensors", &mixed[1..2]);
    assert!(all.is_some() && all == alone, "{all:?} {alone:?}");
    let (none, run) = closeness("bad.safetensors", &mixed[..1]);
    assert!(none.is_none() && run.code == 1, "{}", run.out);
    assert!(
        run.err.contains("no matrix whose update can be compared"),
        "{}",
        run.err
    );
    assert!(run.err.contains("a NaN"), "{}", run.err);
}

#[test]
fn options_that_would_do_nothing_are_refused() {
    let folder = Folder::new();
    let file = folder.write(
        "s.safetensors",
        &[("w", Dtype::F32, vec![16, 16], f32_bytes(&[1.0; 256]))],
    );
    let file = file.to_str().unwrap();
    for (arguments, says) in [
        (&["--advise", file, "--tile", "64"][..], "--tile"),
        (&["--advise", file, "--device", "cuda:0"], "--device"),
        (&["--advise", file, "--again"], "--again"),
        (&["--advise", file, "--budget", "1"], "--budget"),
        (&["--advise", file, "--no-save"], "--no-save"),
        (&["--advise", file, "--coarse", "8"], "tiles alone"),
        (
            &["--stock", "--level", "estimate", "--candidates", "3"],
            "--candidates",
        ),
        (&["--stock", "--level", "estimate", "--again"], "--again"),
        (
            &["--stock", "--arch", "sm_80", "--threads", "1"],
            "--threads",
        ),
        (&["--stock", "--arch", "sm_80", "--budget", "1"], "--budget"),
        (
            &["--stock", "--arch", "sm_80", "--candidates", "3"],
            "--candidates",
        ),
        (
            &["--stock", "--device", "cuda:0", "--threads", "1"],
            "--threads",
        ),
    ] {
        let run = himuon(["tune"].iter().chain(arguments));
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.err);
        assert!(run.err.contains(says), "{arguments:?}: {}", run.err);
    }
}
