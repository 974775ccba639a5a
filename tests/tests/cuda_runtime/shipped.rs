//! Kernels that a program carries compiled: a step needs no compiler, and what is not among them is named.

use std::path::Path;
use std::process::Command;

use himuon::cuda::CudaBackend;
use himuon::optimizer::{HiMuonBuilder, MuonOptions, NorMuon};
use himuon::templates::CompiledKernel;
use himuon::{HiMuon, KernelSpec};
use himuon_codegen::build::{Build, Built};
use himuon_codegen::compile::{CompileError, Compiler};
use himuon_toolkit::Toolkit;
use himuon_toolkit::emulated::EmulatedDriver;

use crate::emulator::{MODEL_CHOOSES, emulated};
use crate::model::{Model, OnDevice, spec, tile, update_gap};

/// Where the child finds what the parent has built.
const BUNDLES: &str = "HIMUON_TEST_BUNDLES";
/// What the child's error must contain, separated by `|`; empty: the step succeeds.
const EXPECTED: &str = "HIMUON_TEST_EXPECTED";
const NO_COMPILER: (&str, &str) = ("HIMUON_NVRTC_PATH", "/nonexistent/libnvrtc.so");

fn compiler() -> Compiler {
    let toolkit = Toolkit::locate_or_install().unwrap();
    Compiler::new(toolkit.nvrtc_library()).with_ptxas(toolkit.ptxas())
}

/// Tiles of 16.
const BLOCKS: &str = "#[himuon::himuon(tile = 16)] struct Blocks;";
/// The same with a coarse part, beside their tiles and in one pass.
const COUPLED: &str = "#[himuon::himuon(tile = 16, coarse = 4, fine = \"projected\")] struct Coupled; \
     #[himuon::himuon(tile = 16, coarse = 2, fine = \"fused\")] struct Fused;";

/// The build script of a crate with this source, in `folder`.
fn build_of(folder: &Path, text: &str, targets: &[&str]) -> Build {
    let source = folder.join("src");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("lib.rs"), text).unwrap();
    Build::new(folder, folder).targets(targets.iter().copied())
}

/// What it makes.
fn build(
    folder: &Path,
    text: &str,
    targets: &[&str],
    compiler: Result<Compiler, CompileError>,
) -> Built {
    build_of(folder, text, targets).run(compiler).unwrap()
}

/// What `himuon::bundles!()` would give.
fn bundles(folder: &Path) -> &'static [CompiledKernel] {
    let leak = |text: String| -> &'static str { String::leak(text) };
    let folders = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let name = |path: &Path| leak(path.file_name().unwrap().to_str().unwrap().to_owned());
    let mut kernels = Vec::new();
    for target in folders(&folder.join("himuon-kernels")) {
        for kernel in folders(&target) {
            let text = |file: &str| std::fs::read_to_string(kernel.join(file)).ok().map(leak);
            let cubin = std::fs::read(kernel.join("kernel.cubin")).ok();
            kernels.push(CompiledKernel {
                id: name(&kernel),
                specification: "",
                target: name(&target),
                text: text("kernel.cu").unwrap(),
                manifest: "",
                ptx: text("kernel.ptx"),
                cubin: cubin.map(|bytes| &*Vec::leak(bytes)),
            });
        }
    }
    Vec::leak(kernels)
}

/// A step of a model with blocks of `specs`, in so many launches, with what the environment names.
fn step(specs: &[KernelSpec], launches: usize) {
    let model = Model::mixed();
    let builder = || model.builder(specs);
    step_of(&model, &builder, launches);
}

/// As `step`, of an optimizer that `builder` declares.
fn step_of(model: &Model, builder: &dyn Fn() -> HiMuonBuilder, launches: usize) {
    let expected = std::env::var(EXPECTED).unwrap();
    let folder = std::env::var(BUNDLES).unwrap();
    let mut model = model.clone();
    let start = model.weights.clone();
    let mut device = OnDevice::new(&model);
    let backend = CudaBackend::new(&device.stream).unwrap();
    let backend = Box::new(backend.kernels(bundles(Path::new(&folder))));
    let mut optimizer = builder().build_on(backend).unwrap();
    match device.try_step(&mut optimizer) {
        Ok(report) => {
            assert_eq!(expected, "", "the step went well");
            assert_eq!(report.launches, launches);
            model.step_on_cpu(&mut builder().build().unwrap());
            let gap = update_gap(&start, &model.weights, &device.read());
            assert!(gap < 2e-5, "{gap:e}");
        }
        Err(error) => {
            let error = error.to_string();
            assert!(
                !expected.is_empty() && expected.split('|').all(|part| error.contains(part)),
                "{error}"
            );
            assert_eq!(device.read(), start, "nothing has changed");
        }
    }
}

#[test]
fn a_step_with_carried_kernels_needs_no_compiler() {
    let test = "shipped::a_step_with_carried_kernels_needs_no_compiler";
    if std::env::var_os("HIMUON_ISOLATED_TEST").is_some() {
        emulated(test, &[], || {
            step(&[tile(16)], 2);
            step(&[spec("tile=16 coarse=4 fine=projected")], 25);
            // Of whatever rank.
            step(&[spec("tile=16 coarse=4 fine=fused")], 18);
            let model = Model::new(&[("blocks.0.q.weight", &[20, 20])], 3);
            let normalised = || {
                let options = MuonOptions::specs([tile(16)]).row_normalisation(NorMuon::default());
                let builder = HiMuon::builder().parameters(model.parameters.iter().cloned());
                builder.threads(1).group_with("blocks.*", options)
            };
            step_of(&model, &normalised, 6);
        });
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = format!("{BLOCKS} {COUPLED}");
    let build = build_of(folder.path(), &source, &["sm_80", "sm_90a"]).row_normalised();
    build.run(Ok(compiler())).unwrap();
    let bundles = (BUNDLES, folder.path().to_str().unwrap());
    let cache = tempfile::tempdir().unwrap();
    let cache_folder = ("HIMUON_CACHE_DIR", cache.path().to_str().unwrap());
    // Machine code is refused by the emulator, then PTX is taken: of the device, and of one below it.
    for (devices, choice) in [
        ("sm_80", ("HIMUON_DETERMINISTIC", "1")),
        ("sm_86", ("HIMUON_DETERMINISTIC", "1")),
        ("sm_90", ("HIMUON_DETERMINISTIC", "1")),
        // A variant that the model chooses is not among them, and passed over.
        ("sm_80", MODEL_CHOOSES),
    ] {
        let device = ("HIMUON_EMULATOR_DEVICES", devices);
        let environment = [
            bundles,
            cache_folder,
            NO_COMPILER,
            device,
            choice,
            (EXPECTED, ""),
        ];
        emulated(test, &environment, || ());
    }
    assert!(
        !cache.path().join("modules").exists(),
        "nothing was compiled"
    );
}

#[test]
fn what_is_not_carried_is_named_and_compiled_where_that_can_be_done() {
    let test = "shipped::what_is_not_carried_is_named_and_compiled_where_that_can_be_done";
    if std::env::var_os("HIMUON_ISOLATED_TEST").is_some() {
        emulated(test, &[], || step(&[tile(16)], 2));
        return;
    }
    let compiled = tempfile::tempdir().unwrap();
    build(compiled.path(), BLOCKS, &["sm_80"], Ok(compiler()));
    let text = tempfile::tempdir().unwrap();
    let looked_at = "nowhere".to_owned();
    build(
        text.path(),
        BLOCKS,
        &["sm_80"],
        Err(CompileError::NotFound { looked_at }),
    );
    let cache = tempfile::tempdir().unwrap();
    let cache_folder = ("HIMUON_CACHE_DIR", cache.path().to_str().unwrap());
    let run = |folder: &Path, device: &str, more: &[(&str, &str)], expected: &str| {
        let mut environment = vec![
            (BUNDLES, folder.to_str().unwrap()),
            cache_folder,
            NO_COMPILER,
            ("HIMUON_EMULATOR_DEVICES", device),
            (EXPECTED, expected),
        ];
        environment.extend(more);
        emulated(test, &environment, || ());
    };
    let missing = "not among the compiled kernels|none of its 2 kernels, for sm_80|name sm_90a in build.rs|/nonexistent";
    run(compiled.path(), "sm_90", &[], missing);
    run(
        text.path(),
        "sm_80",
        &[],
        "carries this one as text alone|where there is a CUDA compiler",
    );
    // A driver that is older than the compiler of the program.
    let old = [("HIMUON_EMULATOR_DRIVER_VERSION", "12.8")];
    run(
        compiled.path(),
        "sm_80",
        &old,
        "for sm_80, which the device or its driver does not take",
    );
    let toolkit = Toolkit::locate_or_install().unwrap();
    let library = toolkit.nvrtc_library().display().to_string();
    let nvrtc = ("HIMUON_NVRTC_PATH", library.as_str());
    let both = "of CUDA 12.8|NVRTC 13.|UNSUPPORTED_PTX_VERSION (PTX|is newer than what a driver|update NVIDIA's driver";
    run(compiled.path(), "sm_80", &[old[0], nvrtc], both);
    run(compiled.path(), "sm_90", &[nvrtc], "");
}

/// The example, built by cargo where there is a compiler and run where there is none.
#[test]
fn the_example_steps_where_there_is_no_compiler() {
    let toolkit = Toolkit::locate_or_install().unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let target = himuon_toolkit::target_folder();
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--package", "himuon-example-shipped-kernels"])
        // The runtime without `jit` is compiled for this program alone, and optimising it would take most of the time.
        .args(["--config", "profile.dev.package.himuon.opt-level=0"])
        .args([
            "--message-format",
            "json-render-diagnostics",
            "--manifest-path",
        ])
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .env("HIMUON_NVRTC_PATH", toolkit.nvrtc_library())
        .env("HIMUON_PTXAS_PATH", toolkit.ptxas())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let executable = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
        .unwrap();
    let cache = tempfile::tempdir().unwrap();
    let driver = EmulatedDriver::build().unwrap();
    for devices in ["sm_86", "sm_90"] {
        let mut program = Command::new(&executable);
        program
            .env_clear()
            .env("HIMUON_CACHE_DIR", cache.path())
            .env(NO_COMPILER.0, NO_COMPILER.1)
            .env("HIMUON_EMULATOR_DEVICES", devices);
        driver.provide_to(&mut program);
        let output = program.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{devices}: {printed}");
        assert!(
            printed.contains("one step: 5 launches, no compiler"),
            "{devices}: {printed}"
        );
    }
    assert!(
        !cache.path().join("modules").exists(),
        "nothing was compiled"
    );
}
