//! What `himuon apply` refuses: it says why, exits with 1 or 2, and leaves no file behind.

use crate::common::{Folder, Run, apply, himuon};
use himuon::reference::Matrix;

fn matrix() -> Matrix {
    Matrix::from_fn(4, 6, |row, column| 1.0 + row as f64 - 0.5 * column as f64)
}

fn refused(run: &Run, code: i32, says: &[&str]) {
    assert_eq!(run.code, code, "{} {}", run.out, run.err);
    for part in says {
        assert!(run.err.contains(part), "{part} is not in: {}", run.err);
    }
    assert!(!run.err.contains("panicked"), "{}", run.err);
}

#[test]
fn files_that_are_no_safetensors() {
    let folder = Folder::new();
    let whole = std::fs::read(folder.write_matrix("m.safetensors", &matrix())).unwrap();
    let output = folder.path("o.safetensors");
    let damaged: [(&str, &[u8]); 5] = [
        ("empty", &[]),
        ("text", b"these are words, not tensors"),
        ("header alone", &whole[..whole.len() - 96]),
        ("cut in the header", &whole[..20]),
        ("cut in the numbers", &whole[..whole.len() - 1]),
    ];
    for (name, bytes) in damaged {
        let input = folder.path("bad.safetensors");
        std::fs::write(&input, bytes).unwrap();
        let run = apply(&input, &output, &["--tile", "4"]);
        refused(&run, 1, &["bad.safetensors", "no whole safetensors file"]);
        assert!(!output.exists(), "{name}");
    }
    assert_eq!(folder.files(), ["bad.safetensors", "m.safetensors"]);
}

#[test]
fn files_that_cannot_be_read_or_written() {
    let folder = Folder::new();
    let input = folder.write_matrix("m.safetensors", &matrix());
    let output = folder.path("o.safetensors");
    let run = apply(&folder.path("absent"), &output, &["--tile", "4"]);
    refused(&run, 1, &["absent", "cannot be read"]);
    let nowhere = folder.path("no/folder/o.safetensors");
    let run = apply(&input, &nowhere, &["--tile", "4"]);
    refused(&run, 1, &["cannot be written"]);
    assert_eq!(folder.files(), ["m.safetensors"]);
}

#[test]
fn an_output_that_is_the_input() {
    let folder = Folder::new();
    let input = folder.write_matrix("m.safetensors", &matrix());
    let before = std::fs::read(&input).unwrap();
    let roundabout = folder.path(".").join("m.safetensors");
    for output in [&input, &roundabout] {
        let run = apply(&input, output, &["--tile", "4"]);
        refused(&run, 2, &["both input and output"]);
    }
    assert_eq!(std::fs::read(&input).unwrap(), before);
}

#[test]
fn an_output_that_exists_is_kept_when_the_input_is_bad() {
    let folder = Folder::new();
    let output = folder.write_matrix("o.safetensors", &matrix());
    let before = std::fs::read(&output).unwrap();
    let input = folder.path("bad.safetensors");
    std::fs::write(&input, b"no tensors").unwrap();
    refused(&apply(&input, &output, &["--tile", "4"]), 1, &[]);
    assert_eq!(std::fs::read(&output).unwrap(), before);
}

#[test]
fn arguments_that_do_not_read_or_go_together() {
    let folder = Folder::new();
    let input = folder.write_matrix("m.safetensors", &matrix());
    let output = folder.path("o.safetensors");
    let cases: [(&[&str], &[&str]); 11] = [
        (&[], &["--tile"]),
        (&["--tile", "big"], &["big", "64x256", "full"]),
        (&["--tile", "12x"], &["12x"]),
        (&["--tile", "0"], &["found 0", "1 to 65536"]),
        (&["--tile", "4", "--power", "2"], &["power", "1/2 or 0.5"]),
        (
            &["--tile", "4", "--power", "1/7", "--recurrence", "fitted"],
            &["1/4, 1/3, 1/2"],
        ),
        (
            &["--tile", "4", "--power", "1/2", "--coefficients", "muon"],
            &["power"],
        ),
        (
            &["--tile", "4", "--coefficients", "fast"],
            &["fast", "polar-express"],
        ),
        (
            &[
                "--tile",
                "4",
                "--coefficients",
                "polar-express",
                "--steps",
                "3",
            ],
            &["minimax"],
        ),
        (&["--tile", "4", "--element", "f64"], &["f64", "bf16"]),
        // Before anybody looks for a device.
        (
            &["--tile", "4", "--coarse", "2", "--device", "cuda"],
            &["on the CPU alone: leave --device out"],
        ),
    ];
    for (more, says) in cases {
        refused(&apply(&input, &output, more), 2, says);
        assert!(!output.exists(), "{more:?}");
    }
}

#[test]
fn without_a_driver_a_device_explains_itself() {
    let folder = Folder::new();
    let input = folder.write_matrix("m.safetensors", &Matrix::zeros(4, 4));
    let output = folder.path("o.safetensors");
    let run = apply(&input, &output, &["--tile", "4", "--device", "cuda"]);
    if himuon(["devices", "--json"]).json()["cuda"]["available"] == true {
        println!("SKIPPED: this machine has a CUDA driver");
        return;
    }
    let tune = himuon(["tune", "--tile", "16", "--device", "cuda:0"]);
    for run in [run, tune] {
        assert_eq!(run.code, 1);
        assert!(
            run.err.contains("no CUDA driver") && run.err.contains("LD_LIBRARY_PATH"),
            "{}",
            run.err
        );
    }
    assert!(!output.exists());
}

#[test]
fn errors_are_json_too() {
    let folder = Folder::new();
    let run = apply(
        &folder.path("absent"),
        &folder.path("o"),
        &["--tile", "4", "--json"],
    );
    assert_eq!(run.code, 1);
    assert_eq!(run.json()["exit_code"], 1);
    assert!(run.json()["error"].as_str().unwrap().contains("absent"));
}
