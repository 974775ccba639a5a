//! `himuon diagnose` on whole, odd and damaged files.

use crate::common::{Folder, f32_bytes, himuon};
use himuon::optimizer::MuonOptions;
use himuon::reference::Matrix;
use himuon::tensor::{TensorMut, TensorRef};
use himuon::{HiMuon, KernelSpec, ParameterStep, Tile};
use himuon_tests::inputs::gaussian;
use himuon_tests::random::Random;
use safetensors::Dtype;

const QUICK: [&str; 4] = ["--tiles", "8..16,full", "--powers", "0,1/2"];

fn diagnose(file: &std::path::Path, more: &[&str]) -> crate::common::Run {
    let file = file.to_str().unwrap();
    himuon(
        ["diagnose", file]
            .into_iter()
            .chain(QUICK)
            .chain(more.iter().copied()),
    )
}

#[test]
fn the_momenta_of_a_state_file_alone_are_measured() {
    let folder = Folder::new();
    let mut optimizer = HiMuon::builder()
        .parameter("embed.weight", &[20, 32])
        .parameter("blocks.0.w", &[48, 32])
        .group_with(
            "blocks.*",
            MuonOptions::specs([KernelSpec::new(Tile::square(16))]),
        )
        .threads(1)
        .build()
        .unwrap();
    let gradients =
        [20 * 32, 48 * 32].map(|len| gaussian(1, len, &mut Random::new(len as u64)).to_f32());
    let mut weights = gradients.clone();
    let mut parameters: Vec<_> = weights
        .iter_mut()
        .zip(&gradients)
        .map(|(weight, gradient)| ParameterStep {
            weight: TensorMut::F32(weight),
            gradient: Some(TensorRef::F32(gradient)),
        })
        .collect();
    optimizer.step(&mut parameters).unwrap();
    let state = folder.path("optimizer.safetensors");
    optimizer.save_state(&state).unwrap();

    let json = diagnose(&state, &["--json"]).json();
    let matrices = json["matrices"].as_array().unwrap();
    assert_eq!(matrices.len(), 1);
    assert_eq!(matrices[0]["name"], "blocks.0.w.momentum_buffer");
    assert_eq!(matrices[0]["method"]["name"], "exact");
    assert_eq!(
        matrices[0]["spectrum"]["values"].as_array().unwrap().len(),
        32
    );
    let tiles = matrices[0]["tiles"].as_array().unwrap();
    let names: Vec<_> = tiles
        .iter()
        .map(|tile| tile["tile"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["8", "16", "full"]);
    for tile in tiles {
        for map in tile["maps"].as_array().unwrap() {
            let cosine = map["cosine"]["value"].as_f64().unwrap();
            assert!((0.5..1.0 + 1e-6).contains(&cosine), "{map}");
            assert!(
                map["operations"].as_u64().unwrap() > 0
                    && map["workspace_bytes"].as_u64().unwrap() > 0
            );
        }
    }
    assert!(
        matrices[0]["recommendation"]["reason"]
            .as_str()
            .unwrap()
            .len()
            > 20
    );
    let all = diagnose(&state, &["--json", "--all"]).json();
    assert_eq!(all["matrices"].as_array().unwrap().len(), 3);
    let some = diagnose(&state, &["--json", "--all", "--only", "exp_avg_sq"]).json();
    assert_eq!(some["matrices"].as_array().unwrap().len(), 1);
}

#[test]
fn the_report_stands_alone() {
    let folder = Folder::new();
    let matrix = gaussian(40, 64, &mut Random::new(1));
    let input = folder.write(
        "m.safetensors",
        &[(
            "<b>&",
            Dtype::F32,
            vec![40, 64],
            f32_bytes(&matrix.to_f32()),
        )],
    );
    let report = folder.path("report.html");
    let run = diagnose(&input, &["--html", report.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.err);
    for part in [
        "cosine",
        "stable rank",
        "-> tile",
        "Muon = 1",
        " would hold 50 % of the nuclear norm",
        "measured in",
        "report written to",
    ] {
        assert!(run.out.contains(part), "{part}: {}", run.out);
    }
    let page = std::fs::read_to_string(&report).unwrap();
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(page.contains("&lt;b&gt;&amp;") && !page.contains("<b>&"));
    for outside in ["src=", "href=", "@import", "<?xml"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for name in [
        "singular values",
        "cosine to the map",
        "norm of each tile",
        "condition of each tile",
        "p = 1/2",
    ] {
        assert!(page.contains(name), "{name}");
    }
}

#[test]
fn what_cannot_be_measured_is_named_and_the_rest_measured() {
    let folder = Folder::new();
    let matrix = gaussian(16, 24, &mut Random::new(2)).to_f32();
    let mut poisoned = matrix.clone();
    poisoned[30] = f32::INFINITY;
    let stack: Vec<f32> = matrix.iter().chain(&vec![0.0; 16 * 24]).copied().collect();
    let input = folder.write(
        "m.safetensors",
        &[
            ("bias", Dtype::F32, vec![3], f32_bytes(&[1.0, 2.0, 3.0])),
            ("good", Dtype::F32, vec![16, 24], f32_bytes(&matrix)),
            ("ids", Dtype::I64, vec![1, 2], vec![7; 16]),
            ("none", Dtype::F32, vec![0, 24], Vec::new()),
            ("poisoned", Dtype::F32, vec![16, 24], f32_bytes(&poisoned)),
            ("stack", Dtype::F32, vec![2, 16, 24], f32_bytes(&stack)),
        ],
    );
    let run = diagnose(&input, &["--json"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let json = run.json();
    let names: Vec<_> = json["matrices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["name"].clone())
        .collect();
    assert_eq!(names, ["good", "stack[0]"]);
    let skipped: Vec<String> = json["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| format!("{}: {}", s["name"], s["why"]))
        .collect();
    for (skipped, reason) in skipped.iter().zip([
        "vector",
        "I64",
        "empty",
        "first in row 1, column 6",
        "are zero",
    ]) {
        assert!(skipped.contains(reason), "{skipped:?}");
    }
    assert_eq!(skipped.len(), 5);
    assert!(run.err.contains("poisoned"), "{}", run.err);
}

#[test]
fn files_without_a_matrix_and_damaged_ones_are_refused() {
    let folder = Folder::new();
    let vector = folder.write(
        "v.safetensors",
        &[("bias", Dtype::F32, vec![2], f32_bytes(&[1.0, 2.0]))],
    );
    let empty = folder.write("e.safetensors", &[]);
    let damaged = folder.path("d.safetensors");
    std::fs::write(&damaged, b"no tensors").unwrap();
    let nothing = folder.path("z.safetensors");
    std::fs::write(&nothing, b"").unwrap();
    for (file, says) in [
        (&vector, "it is a vector"),
        (&empty, "no tensor of a selected name"),
        (&damaged, "no whole safetensors file"),
        (&nothing, "no whole safetensors file"),
        (&folder.path("absent"), "cannot be read"),
    ] {
        let run = diagnose(file, &[]);
        assert_eq!(run.code, 1, "{}", run.err);
        assert!(
            run.err.contains(says) && !run.err.contains("panicked"),
            "{}",
            run.err
        );
    }
    for wrong in [
        ["--tiles", "64..16"],
        ["--powers", "3/2"],
        ["--criteria", "rank(1)"],
        ["--floor", "2"],
    ] {
        let file = vector.to_str().unwrap();
        assert_eq!(
            himuon(["diagnose", file].into_iter().chain(wrong)).code,
            2,
            "{wrong:?}"
        );
    }
    // A power without fitted coefficients.
    let file = vector.to_str().unwrap();
    assert_eq!(himuon(["diagnose", file, "--powers", "2/7"]).code, 2);
}

#[test]
fn above_the_limit_the_output_says_that_it_was_sampled() {
    let folder = Folder::new();
    let input = folder.write_matrix("m.safetensors", &gaussian(80, 90, &mut Random::new(3)));
    let run = diagnose(&input, &["--dense-limit", "64"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(
        run.out.contains("sampled with 8 random vectors"),
        "{}",
        run.out
    );
    let json = diagnose(&input, &["--dense-limit", "64", "--json"]).json();
    assert_eq!(json["matrices"][0]["method"]["name"], "sampled");
    assert!(json["matrices"][0]["tiles"][0]["maps"][0]["cosine"]["standard_error"].is_f64());
    let whole = diagnose(&input, &["--json"]).json();
    assert!(whole["matrices"][0]["tiles"][0]["maps"][0]["cosine"]["standard_error"].is_null());
}

#[test]
fn ten_thousand_columns_of_few_rows_need_no_sampling() {
    let folder = Folder::new();
    let input = folder.write_matrix("m.safetensors", &gaussian(24, 10_000, &mut Random::new(4)));
    let json = diagnose(&input, &["--json"]).json();
    let matrix = &json["matrices"][0];
    assert_eq!(matrix["method"]["name"], "exact");
    assert!(
        matrix["seconds"].as_f64().unwrap() > 0.0
            && matrix["memory_bytes"].as_u64().unwrap() > 3 * 960_000
    );
    let statistics = &matrix["tiles"][0]["statistics"];
    // 3 x 1250 tiles of 8 x 8: all of them.
    assert_eq!(
        (
            statistics["tiles"].as_u64(),
            statistics["measured"].as_u64()
        ),
        (Some(3750), Some(3750))
    );
}

#[test]
fn one_tile_that_is_the_matrix_needs_no_heat_map() {
    let folder = Folder::new();
    let matrix = Matrix::from_fn(4, 4, |row, column| f64::from(u8::from(row == column)));
    let input = folder.write_matrix("m.safetensors", &matrix);
    let report = folder.path("r.html");
    let run = diagnose(&input, &["--html", report.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.err);
    // 8, 16 and full are one tile here.
    assert!(run.out.contains("-> tile full"), "{}", run.out);
    assert_eq!(
        std::fs::read_to_string(report)
            .unwrap()
            .matches("<svg")
            .count(),
        2
    );
}
