//! `himuon tune`, what it keeps, `himuon explain` and `himuon bench`.

use crate::common::{Folder, f32_bytes, himuon, himuon_with_cache};
use himuon::tuning::{DeviceFingerprint, TuningTable};
use safetensors::Dtype;

/// The CPU multiplies in f32 whatever the operand is called; an optimizer looks for the text of its specification all the same.
#[test]
fn an_entry_is_found_by_the_specification_as_it_was_stated() {
    let folder = Folder::new();
    let cache = folder.path("cache");
    let stated = ["--tile", "16", "--element", "bf16", "--shape", "48x64"];
    let tune = [
        ["tune", "--candidates", "1", "--threads", "1", "--json"].as_slice(),
        stated.as_slice(),
    ];
    let tuned = himuon_with_cache(&cache, &tune.concat());
    assert_eq!(tuned.code, 0, "{}", tuned.err);
    let spec = tuned.json()["entries"][0]["spec"].to_string();
    assert!(
        spec.contains("weight=bf16") && spec.contains("operand=bf16"),
        "{spec}"
    );
}

#[test]
fn what_is_tuned_is_kept_listed_and_cleared() {
    let folder = Folder::new();
    let cache = folder.path("cache");
    let run = |arguments: &[&str]| himuon_with_cache(&cache, arguments);
    assert_eq!(run(&["cache", "path"]).out.trim(), cache.to_str().unwrap());
    assert!(run(&["cache", "ls"]).out.contains("nothing tuned"));
    let arguments = [
        "tune",
        "--tile",
        "16",
        "--shape",
        "48x64",
        "--budget",
        "0.2",
        "--threads",
        "1",
        "--json",
    ];
    let tuned = run(&arguments);
    assert_eq!(tuned.code, 0, "{}", tuned.err);
    let json = tuned.json();
    let entry = &json["entries"][0];
    assert_eq!(entry["shapes"], serde_json::json!([[48, 64]]));
    assert_eq!(entry["class"], "tiles>=4");
    let candidates = entry["candidates"].as_array().unwrap();
    assert!(candidates.len() > 1);
    for candidate in candidates {
        // Relative Frobenius distance; graded tiles set the worst, 2.7e-5.
        assert!(candidate["error"].as_f64().unwrap() < 8.2e-5, "{candidate}");
        assert!(candidate["cold_ns"].as_array().unwrap().len() >= 2);
        assert_eq!(candidate["verdict"], "measured");
    }
    // What is known is not measured again.
    let again = run(&arguments);
    assert_eq!(again.json()["outcomes"][0], "known", "{}", again.out);
    assert!(std::path::Path::new(json["file"].as_str().unwrap()).exists());
    let listed = run(&["cache", "ls"]);
    assert!(
        listed.out.contains(entry["winner"].as_str().unwrap()),
        "{}",
        listed.out
    );
    // What is no table is neither read nor removed.
    let foreign = cache.join("tuning").join("mine.json");
    std::fs::write(&foreign, "{}").unwrap();
    let cleared = run(&["cache", "clear", "--json"]);
    assert_eq!(cleared.code, 0, "{}", cleared.err);
    assert_eq!(cleared.json()["removed"].as_array().unwrap().len(), 1);
    assert!(cleared.err.contains("mine.json"), "{}", cleared.err);
    assert!(foreign.exists());
    assert!(run(&["cache", "ls", "-q"]).out.is_empty());
}

#[test]
fn measuring_only_keeps_nothing() {
    let folder = Folder::new();
    let cache = folder.path("cache");
    let arguments = [
        "tune",
        "--tile",
        "8",
        "--shape",
        "16x16",
        "--budget",
        "0",
        "--no-save",
    ];
    let run = himuon_with_cache(&cache, &arguments);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(
        run.out.contains("variant") && run.out.contains("not kept"),
        "{}",
        run.out
    );
    assert!(!cache.exists());
}

#[test]
fn shapes_and_budgets_that_do_not_read() {
    for (option, value) in [
        ("--shape", "16"),
        ("--shape", "0x4"),
        ("--budget", "-1"),
        ("--budget", "x"),
        ("--level", "hasty"),
        ("--least-speedup", "0.9"),
        ("--device", "tpu"),
        ("--shapes", "gpt5"),
        ("--arch", "sm_70"),
    ] {
        let run = himuon(["tune", "--tile", "8", option, value]);
        assert_eq!(run.code, 2, "{option} {value}: {}", run.err);
    }
}

#[test]
fn explain_has_a_line_for_each_parameter() {
    let folder = Folder::new();
    let zeros = |count: usize| f32_bytes(&vec![0.0; count]);
    let input = folder.write(
        "model.safetensors",
        &[
            (
                "blocks.0.attn.weight",
                Dtype::F32,
                vec![32, 64],
                zeros(2048),
            ),
            (
                "blocks.0.conv.weight",
                Dtype::F32,
                vec![8, 4, 3, 3],
                zeros(288),
            ),
            ("blocks.0.experts", Dtype::F32, vec![4, 16, 24], zeros(1536)),
            ("blocks.0.norm.weight", Dtype::F32, vec![32], zeros(32)),
            ("pos_embed", Dtype::F32, vec![1, 20, 32], zeros(640)),
            ("wte.weight", Dtype::F32, vec![100, 32], zeros(3200)),
        ],
    );
    let arguments = ["explain", "--in", input.to_str().unwrap(), "--tile", "16"];
    let run = himuon(arguments);
    assert_eq!(run.code, 0, "{}", run.err);
    let line = |name: &str| {
        run.out
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("no line for {name} in {}", run.out))
    };
    // (32 / 16) (64 / 16); 1 x (36 / 16); 4 experts of 1 x 2.
    for (name, tiles) in [
        ("blocks.0.attn.weight", "8 tiles"),
        ("blocks.0.conv.weight", "3 tiles"),
        ("blocks.0.experts", "8 tiles"),
    ] {
        assert!(line(name).contains(tiles), "{}", run.out);
    }
    for name in ["blocks.0.norm.weight", "pos_embed", "wte.weight"] {
        assert!(line(name).contains("adamw"), "{}", run.out);
    }
    let stacks = "taken for stacks of matrices: 1 of three dimensions, blocks.0.experts the first";
    assert!(run.out.contains(stacks), "{}", run.out);
    let pattern = himuon(arguments.into_iter().chain(["--pattern", "blocks.*"]));
    assert!(pattern.out.contains(stacks), "{}", pattern.err);
    let json = himuon(arguments.into_iter().chain(["--json"])).json();
    assert_eq!(json["parameters"].as_array().unwrap().len(), 6);
    assert_eq!(json["totals"]["tiles"], 19);
}

/// As `himuon apply` copies them: one tensor that is no parameter is no reason to refuse a file.
#[test]
fn explain_skips_what_is_no_parameter_and_says_why() {
    let folder = Folder::new();
    let numbers = |count: usize| f32_bytes(&vec![0.0; count]);
    let tensors = [
        ("a.weight", Dtype::F32, vec![8, 8], numbers(64)),
        ("hole", Dtype::F32, vec![0, 8], numbers(0)),
        ("mask", Dtype::I64, vec![8, 8], vec![0; 512]),
    ];
    let input = folder.write("model.safetensors", &tensors);
    let arguments = ["explain", "--in", input.to_str().unwrap(), "--tile", "4"];
    let run = himuon(arguments);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("4 tiles"), "{}", run.out);
    assert!(
        run.out.contains(
            "skipped:\n  hole [0, 8]: it is empty\n  mask [8, 8]: its type is I64; F32, BF16 and F16 are mapped"
        ),
        "{}",
        run.out
    );
    let json = himuon(arguments.into_iter().chain(["--json"])).json();
    assert_eq!(json["parameters"].as_array().unwrap().len(), 1);
    assert_eq!(json["skipped"][0]["name"], "hole");
    assert_eq!(json["skipped"][0]["why"], "it is empty");
    let input = folder.write("masks.safetensors", &tensors[1..]);
    let run = himuon(["explain", "--in", input.to_str().unwrap(), "--tile", "4"]);
    assert_eq!(run.code, 1, "{}", run.out);
    assert!(run.err.contains("can be a parameter"), "{}", run.err);
}

/// A model may be larger than memory: what only asks for shapes reads the header, and finds a file that is cut all the same.
#[test]
fn explain_reads_no_numbers() {
    let folder = Folder::new();
    let tensors = [("a.weight", Dtype::F32, vec![8, 8], f32_bytes(&[0.0; 64]))];
    let input = folder.write("model.safetensors", &tensors);
    let whole = std::fs::read(&input).unwrap();
    let explain = |path: &std::path::Path| {
        himuon(["explain", "--in", path.to_str().unwrap(), "--tile", "64"])
    };
    // 1 TiB of holes.
    let sparse = folder.path("sparse.safetensors");
    let side = 1_u64 << 19;
    let header = format!(
        "{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{side},{side}],\"data_offsets\":[0,{}]}}}}",
        4 * side * side
    );
    let length = header.len() as u64;
    std::fs::write(
        &sparse,
        [&length.to_le_bytes()[..], header.as_bytes()].concat(),
    )
    .unwrap();
    let file = std::fs::File::options().write(true).open(&sparse).unwrap();
    match file.set_len(8 + length + 4 * side * side) {
        Ok(()) => {
            let run = explain(&sparse);
            assert_eq!(run.code, 0, "{}", run.err);
        }
        Err(error) => println!("SKIPPED: this file system has no file of 1 TiB ({error})"),
    }
    for bytes in [
        &[][..],
        &whole[..7],
        &whole[..20],
        &whole[..whole.len() - 1],
    ] {
        let cut = folder.path("cut.safetensors");
        std::fs::write(&cut, bytes).unwrap();
        let run = explain(&cut);
        assert_eq!(run.code, 1, "{} bytes", bytes.len());
        assert!(run.err.contains("no whole safetensors file"), "{}", run.err);
    }
}

#[test]
fn bench_measures_every_tile_beside_the_peak() {
    let arguments = [
        "bench",
        "--tile",
        "8",
        "--tile",
        "full",
        "--shape",
        "24x40",
        "--seconds",
        "0",
    ];
    let run = himuon(arguments.into_iter().chain(["--json"]));
    assert_eq!(run.code, 0, "{}", run.err);
    let json = run.json();
    let kernels = json["kernels"].as_array().unwrap();
    assert_eq!(kernels.len(), 2);
    for kernel in kernels {
        for quantity in [
            "seconds",
            "nominal_operations_per_second",
            "peak_operations_per_second",
        ] {
            assert!(kernel[quantity].as_f64().unwrap() > 0.0, "{kernel}");
        }
    }
    assert!(himuon(arguments).out.contains("% of peak"));
}

/// Not "not tuned", which would send the user to a command that cannot keep anything there.
#[test]
fn explain_names_a_tuning_table_that_does_not_read() {
    let folder = Folder::new();
    let cache = folder.path("cache");
    let tensors = [("w", Dtype::F32, vec![8, 8], f32_bytes(&[1.0; 64]))];
    let input = folder.write("m.safetensors", &tensors);
    let arguments = ["explain", "--in", input.to_str().unwrap(), "--tile", "4"];
    let explain = || himuon_with_cache(&cache, &arguments);
    assert!(explain().out.contains("not tuned; run"));
    let table = TuningTable::path_in(&cache, &DeviceFingerprint::cpu());
    std::fs::create_dir_all(table.parent().unwrap()).unwrap();
    std::fs::write(&table, "{").unwrap();
    let run = explain();
    assert_eq!(run.code, 0, "{}", run.err);
    let said = format!("what was tuned cannot be read: {}", table.display());
    assert!(run.out.contains(&said), "{}", run.out);
    let head = TuningTable::new(DeviceFingerprint::cpu());
    let mut value = head.to_value().unwrap();
    value["entries"] = serde_json::json!([{ "of": "a later version" }]);
    std::fs::write(&table, value.to_string()).unwrap();
    let run = explain();
    assert!(
        run.out.contains("1 entries of its table do not read"),
        "{}",
        run.out
    );
}

/// A matrix that no machine holds would end the process, or another one, in the middle of the work.
#[test]
fn what_memory_cannot_hold_is_not_measured() {
    if !std::path::Path::new("/proc/meminfo").exists() {
        println!("SKIPPED: this system does not say how much memory it has");
        return;
    }
    let shape = ["--tile", "16", "--shape", "16777216x16777216"];
    for verb in [&["tune", "--no-save"][..], &["bench"]] {
        let run = himuon(verb.iter().chain(&shape));
        assert_eq!(run.code, 2, "{verb:?}: {}", run.err);
        assert!(run.err.contains("name smaller matrices"), "{}", run.err);
    }
    let model = ["tune", "--level", "estimate"];
    assert_eq!(himuon(model.iter().chain(&shape)).code, 0);
}
