//! Tuning tables: written whole, read with care, and what tuning puts into them.

use std::path::Path;
use std::time::Duration;

use himuon::cpu::InstructionSet;
use himuon::optimizer::MuonOptions;
use himuon::templates::{CoefficientSet, Element, Mode, Power, Recurrence, Storage};
use himuon::tuning::{DeviceFingerprint, TuningEntry, TuningError, TuningTable, tune_cpu};
use himuon::{KernelSpec, Tile};

use crate::model::Model;

fn table(variant: &str) -> TuningTable {
    let mut table = TuningTable::new(DeviceFingerprint::cpu());
    table.insert(&KernelSpec::new(Tile::square(16)), entry(variant));
    table
}

fn entry(variant: &str) -> TuningEntry {
    TuningEntry {
        variant: variant.to_owned(),
        shapes: vec![(32, 32)],
        threads: 1,
        measurements: Vec::new(),
    }
}

fn load(folder: &Path) -> Result<Option<TuningTable>, TuningError> {
    TuningTable::load(folder, &DeviceFingerprint::cpu())
}

#[test]
fn a_table_is_read_back_and_merged_with_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    assert!(load(folder.path()).unwrap().is_none());
    table("first").save(folder.path()).unwrap();
    assert_eq!(load(folder.path()).unwrap().unwrap(), table("first"));
    let mut other = TuningTable::new(DeviceFingerprint::cpu());
    let full = KernelSpec::new(Tile::Full);
    other.insert(&full, entry("second"));
    other.save(folder.path()).unwrap();
    let both = load(folder.path()).unwrap().unwrap();
    assert_eq!(both.variant_for(&full), Some("second"));
    assert_eq!(
        both.variant_for(&KernelSpec::new(Tile::square(16))),
        Some("first")
    );
    assert_eq!(both.variant_for(&KernelSpec::new(Tile::square(8))), None);
}

#[test]
fn damaged_and_foreign_tables_are_refused_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = table("first").save(folder.path()).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    let later = good.replace("\"schema\": 1", "\"schema\": 2");
    let elsewhere = good.replace("\"kind\": \"cpu\"", "\"kind\": \"cuda\"");
    let binary = [0xff, 0xfe, 0x00];
    for bad in [
        &good.as_bytes()[..good.len() / 2],
        later.as_bytes(),
        elsewhere.as_bytes(),
        &binary,
        b"{}",
    ] {
        assert_ne!(bad, good.as_bytes());
        std::fs::write(&path, bad).unwrap();
        let error = load(folder.path()).unwrap_err();
        assert!(
            matches!(
                error,
                TuningError::Damaged { .. } | TuningError::Foreign { .. }
            ),
            "{error}"
        );
        assert!(table("second").save(folder.path()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), bad);
    }
}

#[test]
fn tables_written_at_the_same_time_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for edge in 1..=8 {
            let folder = folder.path();
            scope.spawn(move || {
                let mut table = TuningTable::new(DeviceFingerprint::cpu());
                table.insert(&KernelSpec::new(Tile::square(edge)), entry("any"));
                table.save(folder).unwrap();
            });
        }
    });
    assert_eq!(load(folder.path()).unwrap().unwrap().entries.len(), 8);
}

#[test]
fn tuning_verifies_and_times_every_variant_and_the_optimizer_uses_the_winner() {
    let specs = [
        KernelSpec::new(Tile::square(16)),
        KernelSpec::new(Tile::Full),
    ];
    let shapes = [(48, 40), (33, 70)];
    let mut stages = Vec::new();
    let table = tune_cpu(&specs, &shapes, Duration::ZERO, Some(1), &mut |progress| {
        stages.push((progress.done, progress.total, progress.stage.to_owned()));
    })
    .unwrap();
    assert_eq!(stages.len(), 4);
    for spec in &specs {
        let entry = table.entry(spec).unwrap();
        assert_eq!(entry.shapes, shapes);
        let mut variants = himuon::cpu::CpuKernel::variants(spec);
        let best = InstructionSet::best();
        variants.retain(|v| {
            best == InstructionSet::Portable || v.instruction_set != InstructionSet::Portable
        });
        assert_eq!(entry.measurements.len(), variants.len());
        for measurement in &entry.measurements {
            // f32 products against f64 on Gaussian tiles.
            assert!(measurement.error < 1e-5, "{measurement:?}");
            assert!(measurement.seconds.is_some_and(|seconds| seconds > 0.0));
        }
        let winner = entry
            .measurements
            .iter()
            .find(|m| m.variant == entry.variant)
            .unwrap();
        assert!(
            entry
                .measurements
                .iter()
                .all(|m| m.seconds >= winner.seconds)
        );
    }
    let model = Model::new(&[("w", &[48, 40])]);
    let options = || MuonOptions::specs([specs[0].clone()]);
    let built = model
        .builder()
        .group_with("w", options())
        .tuning(table.clone())
        .build();
    let plan = built.unwrap().plan(0).unwrap();
    assert_eq!(
        plan.launches[0].variant.as_deref(),
        table.variant_for(&specs[0])
    );
}

#[test]
fn a_variant_that_this_processor_lacks_gives_way_to_the_default() {
    let model = Model::new(&[("w", &[48, 40])]);
    let options = MuonOptions::specs([KernelSpec::new(Tile::square(16))]);
    let builder = model.builder().group_with("w", options);
    let optimizer = builder.tuning(table("no-such-variant")).build().unwrap();
    let plan = optimizer.plan(0).unwrap();
    assert_eq!(plan.launches[0].variant, None);
    assert!(plan.launches[0].reasons[0].contains("no-such-variant"));
}

/// The part of [`the_cache_folder_is_read_and_a_bad_table_in_it_stops_nothing`] that runs in a process of
/// its own, because the environment belongs to the whole process.
const CHILD: &str = "HIMUON_TEST_EXPECTED_VARIANT";

#[test]
fn the_cache_folder_is_read_and_a_bad_table_in_it_stops_nothing() {
    let build = || {
        let options = MuonOptions::specs([KernelSpec::new(Tile::square(16))]);
        let builder = himuon::HiMuon::builder()
            .parameter("w", &[48, 40])
            .threads(1);
        let plan = builder
            .group_with("w", options)
            .build()
            .unwrap()
            .plan(0)
            .unwrap();
        plan.launches[0].variant.clone().unwrap_or_default()
    };
    if let Ok(expected) = std::env::var(CHILD) {
        assert_eq!(build(), expected);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let in_child = |expected: &str| {
        let name = "tuning::the_cache_folder_is_read_and_a_bad_table_in_it_stops_nothing";
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(CHILD, expected)
            .env("HIMUON_CACHE_DIR", folder.path())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "expected {expected:?}");
    };
    in_child("");
    let spec = KernelSpec::new(Tile::square(16));
    let variants = himuon::cpu::CpuKernel::variants(&spec);
    let last = variants.last().unwrap().name();
    let path = table(&last).save(folder.path()).unwrap();
    in_child(&last);
    std::fs::write(path, "{\"schema\": 1").unwrap();
    in_child("");
}

/// Each kind of specification has its own bound in tuning; none may refuse a kernel that is right.
#[test]
fn specifications_of_every_kind_pass_verification() {
    let base = || KernelSpec::new(Tile::square(64));
    let power = |numerator, denominator, recurrence, steps| KernelSpec {
        power: Power::new(numerator, denominator).unwrap(),
        recurrence,
        steps,
        ..base()
    };
    let set = |set, steps| KernelSpec {
        recurrence: Recurrence::NewtonSchulz(set),
        steps,
        ..base()
    };
    let half = Storage {
        weight: Element::Bf16,
        momentum: Element::Bf16,
    };
    let specs = [
        (base(), 5e-6),
        (set(CoefficientSet::PolarExpress, 5), 5e-6),
        (set(CoefficientSet::Turbo, 4), 5e-6),
        (power(1, 2, Recurrence::Fitted, 6), 5e-6),
        (power(1, 3, Recurrence::Authors, 6), 5e-6),
        (power(3, 4, Recurrence::Coupled, 6), 5e-6),
        (
            KernelSpec {
                mode: Mode::Reference,
                ..base()
            },
            4e-2,
        ),
        (
            KernelSpec {
                storage: half,
                ..base()
            },
            1e-5,
        ),
        (
            KernelSpec {
                tile: Tile::Sized {
                    rows: 300,
                    columns: 20,
                },
                ..base()
            },
            1e-5,
        ),
    ];
    for (spec, bound) in specs {
        let list = [spec.clone()];
        let table = tune_cpu(&list, &[(64, 96)], Duration::ZERO, Some(1), &mut |_| {}).unwrap();
        let entry = table.entry(&spec).unwrap();
        let worst = entry
            .measurements
            .iter()
            .map(|m| m.error)
            .fold(0.0, f64::max);
        println!("{worst:.1e} {spec}");
        assert!(
            entry.measurements.iter().all(|m| m.refused.is_empty()),
            "{entry:?}"
        );
        assert!(worst < bound, "{spec}: {worst:e}");
    }
}
