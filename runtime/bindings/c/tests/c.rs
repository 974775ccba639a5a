//! A program in C and the same in Rust take the same steps, bit for bit; one that takes them on a CUDA device follows them. As
//! C++ the header compiles too.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use himuon::optimizer::MuonOptions;
use himuon::tensor::{TensorMut, TensorRef};
use himuon::{HiMuon, ParameterStep};
#[cfg(unix)]
use himuon_toolkit::{Toolkit, emulated::EmulatedDriver};

const SHAPE: [usize; 2] = [48, 32];

fn fill(len: usize, mut seed: u32) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / 16_777_216.0 - 0.5
    };
    (0..len).map(|_| next()).collect()
}

/// What `examples/step.c` prints of its steps.
fn in_rust() -> Vec<String> {
    let options = MuonOptions::specs(["tile=16 steps=5".parse().unwrap()]).weight_decay(0.05);
    let mut optimizer = HiMuon::builder()
        .parameter("layer.weight", &SHAPE)
        .parameter("layer.bias", &SHAPE[..1])
        .group_with("layer.*", options)
        .learning_rate(0.01)
        .threads(1)
        .build()
        .unwrap();
    let (matrix, vector) = (SHAPE[0] * SHAPE[1], SHAPE[0]);
    let mut weights = [fill(matrix, 1), fill(vector, 2)];
    let step = |step: u32| {
        let gradients = [fill(matrix, 10 + 2 * step), fill(vector, 11 + 2 * step)];
        let mut parameters: Vec<_> = weights
            .iter_mut()
            .zip(&gradients)
            .map(|(weight, gradient)| ParameterStep {
                weight: TensorMut::F32(weight),
                gradient: Some(TensorRef::F32(gradient)),
            })
            .collect();
        let report = optimizer.step(&mut parameters).unwrap();
        format!(
            "step {}: {} launches, {} tiles, weight {:08x}",
            report.step,
            report.launches,
            report.tiles,
            weights[0][0].to_bits()
        )
    };
    (0..4).map(step).collect()
}

/// The compiler that links Rust programs here links these too.
fn compiler(name: &str) -> Option<Command> {
    let found = Command::new(name).arg("--version").output();
    found
        .is_ok_and(|o| o.status.success())
        .then(|| Command::new(name))
}

/// The static library, which cargo puts beside the folder of the tests.
fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().join("libhimuon_c.a")
}

fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[cfg(unix)]
fn a_program_in_c_takes_the_steps_of_one_in_rust() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(mut compile) = compiler("cc") else {
        println!("SKIPPED: there is no C compiler `cc`");
        return;
    };
    let made = tempfile::tempdir().unwrap();
    let program = made.path().join("step");
    compile
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(folder.join("include"))
        .arg(folder.join("examples/step.c"))
        .arg(library())
        .args(["-lm", "-lpthread", "-ldl", "-o"])
        .arg(&program);
    run(compile);
    let mut step = Command::new(program);
    step.arg(made.path().join("state"));
    let said = run(step);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..4], in_rust());
    assert_eq!(
        lines[4],
        "refused: the weights are null, expected 2 tensors"
    );
}

/// Difference of a weight of 1/4 from that of the CPU in four steps at rate 0.01. Measured: 6.0e-8, two units in its last place.
const GAP: f32 = 3e-7;

/// The device is the emulated one, and `cuda.h` declares no more than the program uses.
#[test]
#[cfg(unix)]
fn a_program_in_c_takes_its_steps_on_a_device() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(mut compile) = compiler("cc") else {
        println!("SKIPPED: there is no C compiler `cc`");
        return;
    };
    let driver = EmulatedDriver::build().unwrap();
    let made = tempfile::tempdir().unwrap();
    let program = made.path().join("step_cuda");
    compile
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(folder.join("include"))
        .arg("-I")
        .arg(folder.join("tests/cuda"))
        .arg(folder.join("examples/step_cuda.c"))
        .arg(library())
        .arg("-L")
        .arg(driver.folder())
        .args(["-lcuda", "-lm", "-lpthread", "-ldl", "-o"])
        .arg(&program);
    run(compile);
    let mut step = Command::new(program);
    driver.provide_to(&mut step);
    let toolkit = Toolkit::locate_or_install().unwrap();
    step.env("HIMUON_NVRTC_PATH", toolkit.nvrtc_library())
        .env(
            "HIMUON_CACHE_DIR",
            himuon_toolkit::target_folder().join("cuda-test-cache"),
        )
        .env("HIMUON_DETERMINISTIC", "1");
    let said = run(step);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[4], "0 tiles left alone");
    for (found, expected) in lines.iter().zip(in_rust()) {
        let split = |line: &str| {
            let (report, weight) = line.rsplit_once(' ').unwrap();
            let bits = u32::from_str_radix(weight, 16).unwrap();
            (report.to_owned(), f32::from_bits(bits))
        };
        let ((found, on_device), (expected, on_cpu)) = (split(found), split(&expected));
        let gap = (on_device - on_cpu).abs();
        println!("measured: {found} {on_device}, gap {gap:.1e}");
        assert_eq!(found, expected);
        assert!(gap < GAP, "{found}: {on_device} and {on_cpu}");
    }
}

/// Linked by its path in one folder, found by its name in another.
#[test]
#[cfg(target_os = "linux")]
fn a_program_that_is_linked_by_path_finds_the_library_by_its_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(mut compile) = compiler("cc") else {
        println!("SKIPPED: there is no C compiler `cc`");
        return;
    };
    let dynamic = library().with_extension("so");
    if !dynamic.exists() {
        println!("SKIPPED: this target has no dynamic libraries");
        return;
    }
    let made = tempfile::tempdir().unwrap();
    let [before, after] = ["before", "after"].map(|name| made.path().join(name));
    std::fs::create_dir(&before).unwrap();
    std::fs::copy(dynamic, before.join("libhimuon_c.so")).unwrap();
    let program = made.path().join("step");
    compile
        .args(["-std=c11", "-I"])
        .arg(folder.join("include"))
        .arg(folder.join("examples/step.c"))
        .arg(before.join("libhimuon_c.so"))
        .arg("-o")
        .arg(&program);
    run(compile);
    std::fs::rename(&before, &after).unwrap();
    let mut step = Command::new(program);
    step.arg(made.path().join("state"))
        .env("LD_LIBRARY_PATH", &after);
    assert!(run(step).starts_with(&in_rust()[0]));
}

#[test]
#[cfg(unix)]
fn the_header_is_also_one_of_cplusplus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(mut compile) = compiler("c++") else {
        println!("SKIPPED: there is no C++ compiler `c++`");
        return;
    };
    let made = tempfile::tempdir().unwrap();
    let program = made.path().join("program.cpp");
    let text = "#include \"himuon.h\"
        int main() {
          himuon_report report{sizeof report};
          himuon_counts counts{sizeof counts};
          return report.size == sizeof(himuon_report) && counts.uncoupled_matrices == 0 ? 0 : 1;
        }
    ";
    std::fs::write(&program, text).unwrap();
    compile
        .args(["-std=c++17", "-Wall", "-Werror", "-fsyntax-only", "-I"])
        .arg(folder.join("include"))
        .arg(program);
    run(compile);
}
