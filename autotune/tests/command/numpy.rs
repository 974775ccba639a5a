//! `himuon apply` against numpy's decomposition.

use crate::common::{Folder, apply};
use himuon::templates::Element;
use himuon_tests::inputs::{gaussian, rounded};
use himuon_tests::random::Random;
use himuon_toolkit::python_packages;
use std::process::Command;

/// Reads both files without any library but numpy and prints the relative error to U V^T.
const SCRIPT: &str = r#"
import json, struct, sys
import numpy as np

def matrix(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entry = json.loads(file.read(length))["w"]
        begin, end = entry["data_offsets"]
        file.seek(8 + length + begin)
        return np.frombuffer(file.read(end - begin), "<f4").reshape(entry["shape"]).astype(np.float64)

given, mapped = matrix(sys.argv[1]), matrix(sys.argv[2])
left, _, right = np.linalg.svd(given, full_matrices=False)
polar = left @ right
print(np.linalg.norm(mapped - polar) / np.linalg.norm(polar))
"#;

#[test]
fn the_polar_factor_of_numpy() {
    let numpy = match python_packages("numpy", &["numpy"]) {
        Ok(folder) => folder,
        Err(reason) => {
            println!("SKIPPED: python3 with numpy is not installed: {reason}");
            return;
        }
    };
    let folder = Folder::new();
    let matrix = rounded(&gaussian(48, 120, &mut Random::new(1)), Element::F32);
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
    let python = Command::new("python3")
        .arg("-c")
        .arg(SCRIPT)
        .args([&input, &output])
        .envs(numpy.map(|folder| ("PYTHONPATH", folder)))
        .output()
        .unwrap();
    assert!(
        python.status.success(),
        "{}",
        String::from_utf8_lossy(&python.stderr)
    );
    let error: f64 = String::from_utf8(python.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    // Relative Frobenius distance, Gaussian input; measured 2.2e-7.
    assert!(error < 6.7e-7, "{error}");
}
