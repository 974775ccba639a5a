//! Bundles: every header compiles on its own, every architecture assembles, the same bytes in any folder.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test without its compiler fails"
)]

use himuon_codegen::compile::{Compiler, Part, Resources};
use himuon_codegen::pipeline::{TARGETS, emit, stock_specs};
use himuon_codegen::render;
use himuon_templates::sources::LIBRARY;
use himuon_templates::{Architecture, KernelSpec, Variant};
use himuon_tests::compiler::is_as_measured;
use himuon_tests::grid::long_tests;
use himuon_toolkit::Toolkit;
use std::path::Path;

mod build_script;
mod parts;

/// NVRTC and ptxas: what kernels take is asked for. To list what they execute takes longer, and is done where it is judged.
fn compiler() -> Compiler {
    let toolkit = Toolkit::locate_or_install().unwrap();
    Compiler::new(toolkit.nvrtc_library()).with_ptxas(toolkit.ptxas())
}

fn compiler_and_disassembler() -> Compiler {
    let toolkit = Toolkit::locate_or_install().unwrap();
    compiler().with_nvdisasm(toolkit.nvdisasm())
}

fn spec(text: &str) -> KernelSpec {
    text.parse().unwrap()
}

#[test]
fn every_header_compiles_on_its_own() {
    let compiler = compiler();
    for file in LIBRARY {
        let text = himuon_codegen::header(file.path).unwrap();
        assert!(!text.contains("#include"), "{}", file.path);
        for architecture in ["sm_75", "sm_80"] {
            if let Err(error) = compiler.ptx(&text, architecture, Part::All) {
                panic!("{} for {architecture}: {error}", file.path);
            }
        }
    }
}

/// The resources of each entry of a kernel for a target.
fn assembled(compiler: &Compiler, spec: &KernelSpec, target: &str) -> Vec<Resources> {
    let folder = tempfile::tempdir().unwrap();
    let emitted = emit(spec, None, target, Some(compiler), folder.path())
        .unwrap_or_else(|error| panic!("{spec} for {target}: {error}"));
    for file in ["kernel.cu", "kernel.ptx", "kernel.cubin", "manifest.json"] {
        assert!(emitted.folder.join(file).is_file(), "{spec}: {file}");
    }
    let entries: Vec<&str> = emitted.manifest.entries.iter().map(|e| e.name).collect();
    let mut found: Vec<&str> = emitted
        .manifest
        .resources
        .iter()
        .map(|resources| resources.entry.as_str())
        .collect();
    found.sort_unstable();
    let mut expected = entries.clone();
    expected.sort_unstable();
    assert_eq!(found, expected, "{spec} for {target}");
    for resources in &emitted.manifest.resources {
        assert!(resources.registers > 0, "{resources:?}");
        let (listed, asked) = (
            resources.instructions.is_some(),
            compiler.nvdisasm().is_some(),
        );
        assert_eq!(listed, asked, "{spec} for {target}: {resources:?}");
        let Some(counts) = &resources.instructions else {
            continue;
        };
        assert!(counts.total > 0, "{resources:?}");
        if matches!(emitted.variant, Variant::Resident(_)) && resources.entry == "himuon_step" {
            assert!(counts.of_kind("tensor", 1) > 0, "{spec} for {target}");
        }
    }
    emitted.manifest.resources
}

/// Accurate bf16 on tiles that a warp or a few hold: nothing may be spilled from compute capability 8.0 on.
fn must_not_spill(spec: &KernelSpec, target: &str) -> bool {
    spec.to_string().contains("bf16") && target != "sm_75"
}

fn check(compiler: &Compiler, spec: &KernelSpec, target: &str) {
    for resources in assembled(compiler, spec, target) {
        if must_not_spill(spec, target) {
            spills_at_most(compiler, &resources, 0);
        }
    }
}

/// Bytes that are stored and loaded because registers do not suffice.
fn spills_at_most(compiler: &Compiler, resources: &Resources, allowed: u32) {
    let spilled = resources.spill_store_bytes + resources.spill_load_bytes;
    if is_as_measured(compiler, "spills") {
        assert!(spilled <= allowed, "{resources:?}");
    }
}

#[test]
fn every_architecture_assembles() {
    let compiler = compiler_and_disassembler();
    for (target, _) in TARGETS {
        check(&compiler, &spec("tile=32 element=bf16"), target);
    }
    check(&compiler, &spec("tile=64 element=f16"), "sm_75");
    check(&compiler, &spec("tile=64 power=1/2 element=bf16"), "sm_90a");
    check(&compiler, &spec("tile=128 element=bf16"), "sm_100a");
    check(&compiler, &spec("tile=48 operand=tf32"), "sm_120");
}

/// What masters have more must not be what spills.
#[test]
fn master_weights_assemble() {
    let compiler = compiler();
    for (text, targets) in [
        ("tile=32", ["sm_75", "sm_80", "sm_90a"].as_slice()),
        ("tile=128", &["sm_80", "sm_90a"]),
        ("tile=64 power=1/2", &["sm_90a"]),
        ("tile=full", &["sm_75", "sm_90a"]),
        ("tile=full power=1/2", &["sm_80"]),
    ] {
        let spec = spec(&format!("{text} element=bf16 master_weights=true"));
        for target in targets {
            check(&compiler, &spec, target);
        }
    }
}

/// The launches around coupled tiles of this storage: nothing is spilled, but 8 bytes around a square root on sm_75.
fn the_launches_of_a_coarse_part_assemble(storage: &str, targets: &[&str]) {
    let compiler = compiler();
    let storage = spec(&format!("tile=32 {storage}")).storage;
    let rendered = render::coupling(&render::Coupling::new(&storage).unwrap()).unwrap();
    for target in targets {
        let compiled = compiler.compile(&rendered.text, target, Part::All).unwrap();
        let (_, resources) = compiled.cubin.unwrap();
        assert_eq!(resources.len(), 16, "{}", rendered.id);
        for entry in resources {
            println!(
                "measured: {} for {target}: {} registers, {} bytes of shared memory, {}",
                rendered.id, entry.registers, entry.static_shared_bytes, entry.entry
            );
            let allowed = if *target == "sm_75" { 16 } else { 0 };
            spills_at_most(&compiler, &entry, allowed);
        }
    }
}

/// Each architecture and each type that they are rendered for.
#[test]
fn launches_of_a_coarse_part_assemble() {
    let masters = "element=bf16 momentum=f32 master_weights=true";
    let cases = [
        ("element=bf16", "sm_75"),
        ("element=f16 momentum=f32 operand=f16", "sm_80"),
        ("element=bf16", "sm_86"),
        (masters, "sm_89"),
        ("element=f32", "sm_90a"),
        ("element=bf16", "sm_100a"),
        ("element=bf16", "sm_120"),
    ];
    assert_eq!(
        cases.map(|(_, target)| target),
        TARGETS.map(|(target, _)| target)
    );
    let every_target = long_tests("each type of a coarse part for each architecture");
    for (storage, target) in cases {
        match every_target {
            false => the_launches_of_a_coarse_part_assemble(storage, &[target]),
            true => {
                let targets = TARGETS.map(|(target, _)| target);
                the_launches_of_a_coarse_part_assemble(storage, &targets);
            }
        }
    }
}

/// Tiles that take their coarse part in: nothing is spilled where the tiles alone spill nothing.
#[test]
fn coupled_steps_assemble() {
    let compiler = compiler();
    let all: Vec<_> = TARGETS.iter().map(|(target, _)| *target).collect();
    for tile in [16, 32, 48, 64, 96, 128] {
        let targets: &[&str] = match tile {
            64 => &all,
            _ if long_tests("other targets of coupled steps") => &all,
            32 | 96 => &["sm_90a"],
            _ => &["sm_80"],
        };
        for target in targets.iter().filter(|target| **target != "sm_75") {
            let spec = spec(&format!("tile={tile} element=bf16")).coupled_step();
            for entry in assembled(&compiler, &spec, target) {
                println!(
                    "measured: tile {tile} for {target}: {} registers, {} bytes spilled, {} of shared memory",
                    entry.registers,
                    entry.spill_store_bytes + entry.spill_load_bytes,
                    entry.static_shared_bytes
                );
                spills_at_most(&compiler, &entry, 0);
            }
        }
    }
    check(
        &compiler,
        &spec("tile=64 element=f16").coupled_step(),
        "sm_75",
    );
    let masters = spec("tile=64 element=bf16 master_weights=true");
    check(
        &compiler_and_disassembler(),
        &masters.coupled_step(),
        "sm_90a",
    );
    check(
        &compiler,
        &spec("tile=32 element=f32").coupled_step(),
        "sm_80",
    );
    check(
        &compiler,
        &spec("tile=64x32 element=bf16").coupled_step(),
        "sm_80",
    );
}

/// Hosts write tables by what a manifest says of them.
#[test]
fn tables_lie_as_their_manifests_say() {
    let compiler = compiler();
    for spec in [
        spec("tile=16 element=f32"),
        spec("tile=16 element=bf16 momentum=f32 master_weights=true"),
        spec("tile=136 element=f32"),
        spec("tile=16 element=f32").coupled_step(),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let emitted = emit(&spec, None, "sm_80", None, folder.path()).unwrap();
        let mut text = std::fs::read_to_string(emitted.folder.join("kernel.cu")).unwrap();
        for table in &emitted.manifest.tables {
            let (name, bytes, alignment) = (table.name, table.bytes, table.alignment);
            text += &format!(
                "static_assert(sizeof({name}) == {bytes} && {alignment} % alignof({name}) == 0);\n"
            );
            for field in table.fields {
                let (of, offset) = (field.name, field.offset);
                text += &format!("static_assert(__builtin_offsetof({name}, {of}) == {offset});\n");
            }
        }
        if let Err(error) = compiler.ptx(&text, "sm_80", Part::All) {
            panic!("{spec}: {error}");
        }
    }
}

#[test]
fn tiles_of_any_size_assemble_for_every_architecture() {
    let compiler = compiler();
    for (target, _) in TARGETS {
        if target == "sm_75" {
            check(&compiler, &spec("tile=full element=f16"), target);
        } else {
            check(&compiler, &spec("tile=full element=bf16"), target);
        }
    }
    check(
        &compiler,
        &spec("tile=full power=1/2 element=bf16"),
        "sm_80",
    );
    // Two words, stored and loaded, where sums of f32 products leave the tensor cores.
    for (text, allowed) in [
        ("tile=full power=1/3 recurrence=coupled", 16),
        ("tile=144 operand=tf32 coefficients=turbo", 0),
    ] {
        for resources in assembled(&compiler, &spec(text), "sm_80") {
            spills_at_most(&compiler, &resources, allowed);
        }
    }
}

#[test]
fn the_stock_grid_assembles_for_every_architecture() {
    if !long_tests("the stock grid on every architecture") {
        return;
    }
    let compiler = compiler_and_disassembler();
    for (target, _) in TARGETS {
        for spec in stock_specs().unwrap() {
            check(&compiler, &spec, target);
        }
    }
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_bundle_is_the_same_bytes_in_any_folder() {
    let compiler = compiler_and_disassembler();
    let [first, second] = [(); 2].map(|()| {
        let folder = tempfile::tempdir().unwrap();
        let spec = spec("tile=16 element=bf16");
        let emitted = emit(&spec, None, "sm_86", Some(&compiler), folder.path()).unwrap();
        (
            emitted.folder.file_name().unwrap().to_owned(),
            files(&emitted.folder),
        )
    });
    assert_eq!(first.1.len(), 4);
    assert!(first == second);
}

#[test]
fn nvrtc_makes_machine_code_by_itself_and_the_same_ptx() {
    let kernel = small_kernel();
    let compiler = Compiler::new(compiler().nvrtc());
    for target in ["sm_80", "sm_90a"] {
        let (ptx, cubin) = compiler.ptx_and_cubin(&kernel, target, Part::All).unwrap();
        assert_eq!(
            ptx,
            compiler.ptx(&kernel, target, Part::All).unwrap(),
            "{target}"
        );
        assert!(cubin.unwrap().starts_with(b"\x7fELF"), "{target}");
    }
    let error = compiler
        .ptx_and_cubin("not CUDA", "sm_80", Part::All)
        .unwrap_err();
    assert!(error.to_string().contains("for sm_80"), "{error}");
}

#[test]
fn a_device_that_nvrtc_does_not_know_gets_ptx_of_an_older_one() {
    let kernel = small_kernel();
    let compiler = Compiler::new(compiler().nvrtc());
    let target_of = |ptx: &str| {
        let target = ptx
            .lines()
            .find_map(|line| line.strip_prefix(".target sm_"));
        target.unwrap().parse::<u32>().unwrap()
    };
    assert!(compiler.ptx(&kernel, "sm_998", Part::All).is_err());
    let (ptx, cubin) = compiler
        .ptx_and_cubin(&kernel, "sm_998", Part::All)
        .unwrap();
    assert!((90..998).contains(&target_of(&ptx)));
    assert_eq!(cubin, None);
    // One that it knows gets its own.
    let ptx = compiler
        .ptx_for_device(&kernel, "sm_80", Part::All)
        .unwrap();
    assert_eq!(target_of(&ptx), 80);
    // Of a text that it takes for none, the error names the device.
    for target in ["sm_80", "sm_90a", "sm_998"] {
        let error = compiler
            .ptx_for_device("not CUDA", target, Part::All)
            .unwrap_err();
        assert!(
            error.to_string().contains(&format!("for {target}")),
            "{error}"
        );
    }
}

fn small_kernel() -> String {
    let spec = spec("tile=16");
    let variant = Variant::default_for(&spec, Architecture::Sm80);
    render(&spec, &variant, Architecture::Sm80).unwrap().text
}
