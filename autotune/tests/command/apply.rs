//! `himuon apply` against an independent decomposition and against the map in f64.

use crate::common::{Folder, apply, f32_bytes, read, read_matrix};
use half::bf16;
use himuon::reference::{Matrix, Normalisation, ReferenceMap};
use himuon::templates::KernelSpec;
use himuon_tests::inputs::{gaussian, rounded};
use himuon_tests::random::Random;
use himuon_tests::svd::{relative_error, svd};
use safetensors::Dtype;

fn normal(rows: usize, columns: usize, seed: u64) -> Matrix {
    rounded(
        &gaussian(rows, columns, &mut Random::new(seed)),
        himuon::templates::Element::F32,
    )
}

#[test]
fn many_quintic_steps_on_the_full_matrix_are_the_polar_factor() {
    let folder = Folder::new();
    // The smallest singular value must grow to 1 in ten steps: rectangles are far from singular.
    for (rows, columns) in [(40, 100), (100, 40), (96, 24)] {
        let matrix = normal(rows, columns, 1);
        let input = folder.write_matrix("m.safetensors", &matrix);
        let output = folder.path("o.safetensors");
        let run = apply(
            &input,
            &output,
            &[
                "--tile",
                "full",
                "--coefficients",
                "quintic",
                "--steps",
                "10",
            ],
        );
        assert_eq!(run.code, 0, "{}", run.err);
        let found = read_matrix(&output, "w", rows, columns);
        let error = relative_error(&found, &svd(&matrix).polar());
        // Measured: 3e-7.
        assert!(error < 2e-6, "{rows} x {columns}: {error}");
    }
}

#[test]
fn every_tile_and_recurrence_agrees_with_the_map_in_f64() {
    let folder = Folder::new();
    let matrix = normal(70, 150, 2);
    let input = folder.write_matrix("m.safetensors", &matrix);
    let output = folder.path("o.safetensors");
    let recurrences: [&[&str]; 6] = [
        &[],
        &["--coefficients", "polar-express"],
        &["--coefficients", "turbo"],
        &["--power", "1/2"],
        &["--power", "0.75", "--recurrence", "coupled"],
        &["--power", "1"],
    ];
    for tile in ["1", "7", "16", "64x20", "128", "full"] {
        for more in recurrences {
            let arguments: Vec<&str> = ["--tile", tile]
                .into_iter()
                .chain(more.iter().copied())
                .collect();
            let run = apply(&input, &output, &arguments);
            assert_eq!(run.code, 0, "{arguments:?}: {}", run.err);
            let text: Vec<String> = arguments
                .chunks(2)
                .map(|pair| format!("{}={}", pair[0].trim_start_matches('-'), pair[1]))
                .collect();
            let spec: KernelSpec = text.join(" ").parse().unwrap();
            let expected = ReferenceMap::new(&spec).unwrap().matrix(&matrix).values;
            let error = relative_error(&read_matrix(&output, "w", 70, 150), &expected);
            // Relative Frobenius distance, Gaussian input; worst measured 3.7e-6.
            assert!(error < 1.2e-5, "{arguments:?}: {error}");
        }
    }
}

#[test]
fn scales() {
    let folder = Folder::new();
    // Rows of different size: with p > 0 the tiles' norms matter.
    let normal = normal(50, 60, 3);
    let matrix = Matrix::from_fn(50, 60, |row, column| {
        f64::from((normal.get(row, column) * 0.9f64.powi(row as i32)) as f32)
    });
    let input = folder.write_matrix("m.safetensors", &matrix);
    let output = folder.path("o.safetensors");
    for (scale, normalisation) in [
        ("none", Normalisation::None),
        ("tile", Normalisation::Tile { factor: 0.2 }),
        ("rms", Normalisation::Rms { factor: 0.2 }),
    ] {
        for power in ["0", "1/2"] {
            let run = apply(
                &input,
                &output,
                &["--tile", "16", "--power", power, "--scale", scale],
            );
            assert_eq!(run.code, 0, "{}", run.err);
            let spec: KernelSpec = format!("tile=16 power={power}").parse().unwrap();
            let expected = ReferenceMap::new(&spec)
                .unwrap()
                .apply(&matrix, normalisation);
            let error = relative_error(&read_matrix(&output, "w", 50, 60), &expected);
            // Relative Frobenius distance, graded rows; worst measured 6.9e-7.
            assert!(error < 2.1e-6, "{scale} {power}: {error}");
        }
    }
}

#[test]
fn stacks_convolutions_types_and_the_rest() {
    let folder = Folder::new();
    let (first, second) = (normal(6, 10, 4), normal(6, 10, 5));
    let stack: Vec<f32> = first.to_f32().into_iter().chain(second.to_f32()).collect();
    let low: Vec<u8> = first
        .values()
        .iter()
        .flat_map(|v| bf16::from_f64(*v).to_le_bytes())
        .collect();
    let input = folder.write(
        "m.safetensors",
        &[
            ("bf16", Dtype::BF16, vec![6, 10], low),
            (
                "bias",
                Dtype::F32,
                vec![3],
                f32_bytes(&[1.0, 2.0, f32::NAN]),
            ),
            (
                "conv",
                Dtype::F32,
                vec![6, 5, 1, 2],
                f32_bytes(&first.to_f32()),
            ),
            ("ids", Dtype::I64, vec![1, 2], vec![7; 16]),
            ("stack", Dtype::F32, vec![2, 6, 10], f32_bytes(&stack)),
        ],
    );
    let output = folder.path("o.safetensors");
    let run = apply(&input, &output, &["--tile", "4", "--json"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let map = ReferenceMap::new(&"tile=4".parse().unwrap()).unwrap();
    let near = |found: &Matrix, input: &Matrix| {
        let error = relative_error(found, &map.matrix(input).values);
        // Relative Frobenius distance, Gaussian input; worst measured 7.4e-7.
        assert!(error < 2.3e-6, "{error}");
    };
    near(&read_matrix(&output, "conv", 6, 10), &first);
    near(
        &read_matrix(&output, "bf16", 6, 10),
        &rounded(&first, himuon::templates::Element::Bf16),
    );
    let found = read_matrix(&output, "stack", 12, 10);
    for (index, matrix) in [&first, &second].into_iter().enumerate() {
        near(
            &Matrix::from_fn(6, 10, |row, column| found.get(6 * index + row, column)),
            matrix,
        );
    }
    for copied in ["bias", "ids"] {
        assert_eq!(read(&output, copied), read(&input, copied));
        assert!(run.err.contains(&format!("{copied} ")), "{}", run.err);
    }
    let json = run.json();
    assert_eq!(json["matrices"].as_array().unwrap().len(), 3);
    assert_eq!(json["matrices"][2]["count"], 2);
    assert_eq!(json["matrices"][2]["tiles"], 2 * 2 * 3);
    assert_eq!(json["copied"].as_array().unwrap().len(), 2);
    assert_eq!(json["warnings"].as_array().unwrap().len(), 2);
    let written = std::fs::read(&output).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&written).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
}

#[test]
fn element_rounds_what_is_mapped() {
    let folder = Folder::new();
    let matrix = normal(32, 32, 6);
    let input = folder.write_matrix("m.safetensors", &matrix);
    let output = folder.path("o.safetensors");
    let run = apply(&input, &output, &["--tile", "16", "--element", "bf16"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let map = ReferenceMap::new(&"tile=16".parse().unwrap()).unwrap();
    let expected = map
        .matrix(&rounded(&matrix, himuon::templates::Element::Bf16))
        .values;
    let error = relative_error(&read_matrix(&output, "w", 32, 32), &expected);
    // Relative Frobenius distance, Gaussian input rounded to bf16; measured 7.4e-7.
    assert!(error < 2.3e-6, "{error}");
}

/// What rounds to an infinity is no number to map: its tile stays as the file has it.
#[test]
fn a_tile_that_element_makes_infinite_is_left_as_it_is() {
    let folder = Folder::new();
    let normal = normal(32, 32, 7);
    let matrix = Matrix::from_fn(32, 32, |row, column| match (row, column) {
        (3, 20) => 1e5,
        _ => normal.get(row, column),
    });
    let input = folder.write_matrix("m.safetensors", &matrix);
    let output = folder.path("o.safetensors");
    let run = apply(&input, &output, &["--tile", "16", "--element", "f16"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("left as they are"), "{}", run.err);
    let found = read_matrix(&output, "w", 32, 32);
    let original = read_matrix(&input, "w", 32, 32);
    for (row, column) in (0..16).flat_map(|row| (16..32).map(move |column| (row, column))) {
        assert_eq!(found.get(row, column), original.get(row, column));
    }
    assert_ne!(found.get(0, 0), original.get(0, 0));
}

/// Both levels from a cold start against the same map in f64, in every form and orientation.
#[test]
fn coupled_tiles_agree_with_the_reference() {
    let folder = Folder::new();
    let output = folder.path("o.safetensors");
    let mut worst = 0.0_f64;
    for (rows, columns) in [(96, 130), (130, 96)] {
        let matrix = normal(rows, columns, 8);
        let input = folder.write_matrix("m.safetensors", &matrix);
        for (fine, power) in [
            ("projected", "0"),
            ("fused", "0"),
            ("none", "0"),
            ("fused", "1/2"),
        ] {
            let arguments = [
                "--tile", "32", "--coarse", "16", "--fine", fine, "--power", power,
            ];
            let run = apply(&input, &output, &[&arguments[..], &["--json"]].concat());
            assert_eq!(run.code, 0, "{}", run.err);
            assert_eq!(run.json()["power_iterations"], 8);
            let spec = format!("tile=32 coarse=16 fine={fine} power={power}");
            let map = ReferenceMap::new(&spec.parse().unwrap()).unwrap();
            let factor = 1.0 / 130.0_f64.sqrt();
            let expected = map.two_levels_cold(&matrix, factor).unwrap().update;
            let error = relative_error(&read_matrix(&output, "w", rows, columns), &expected);
            // Relative Frobenius distance, Gaussian input; worst measured 5.9e-6.
            assert!(error < 1.8e-5, "{rows}x{columns} {fine} {power}: {error:e}");
            worst = worst.max(error);
        }
    }
    println!("worst {worst:e}");
}

#[test]
fn a_tile_with_a_nan_is_left_as_it_is_and_counted() {
    let folder = Folder::new();
    let clean = normal(8, 12, 7);
    let mut poisoned = clean.clone();
    poisoned.set(5, 6, f64::NAN);
    let (clean_input, input) = (
        folder.write_matrix("c.safetensors", &clean),
        folder.write_matrix("m.safetensors", &poisoned),
    );
    let (clean_output, output) = (folder.path("co.safetensors"), folder.path("o.safetensors"));
    assert_eq!(apply(&clean_input, &clean_output, &["--tile", "4"]).code, 0);
    let run = apply(&input, &output, &["--tile", "4", "--json"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(run.json()["matrices"][0]["non_finite_tiles"], 1);
    assert!(run.err.contains("1 of 6 tiles"), "{}", run.err);
    let (found, mapped) = (
        read_matrix(&output, "w", 8, 12),
        read_matrix(&clean_output, "w", 8, 12),
    );
    for row in 0..8 {
        for column in 0..12 {
            let inside = row >= 4 && (4..8).contains(&column);
            let expected = if inside {
                poisoned.get(row, column)
            } else {
                mapped.get(row, column)
            };
            let value = found.get(row, column);
            assert!(value == expected || (value.is_nan() && expected.is_nan()));
        }
    }
}
