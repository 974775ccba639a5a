//! Tuning of the CPU kernels, and what the optimizer makes of the table.

use std::path::Path;
use std::time::Duration;

use himuon::backend::{Backend, BackendError, CpuBackend};
use himuon::launch::{AdamWTensor, LaunchReport, MatrixDemand, MatrixStep};
use himuon::optimizer::MuonOptions;
use himuon::plan::{Chunk, Launch, Plan, WorkspaceModel};
use himuon::templates::{CoefficientSet, Element, Mode, Power, Recurrence, Storage};
use himuon::tensor::{TensorMut, TensorRef};
use himuon::tuning::{
    CandidateRecord, DeviceFingerprint, ShapeClass, TuningEntry, TuningTable, Verdict,
    cpu_digest_of, tune_cpu,
};
use himuon::{HiMuon, KernelSpec, ParameterStep, Tile};

const SHAPE: (usize, usize) = (48, 40);

fn spec() -> KernelSpec {
    KernelSpec::new(Tile::square(16))
}

fn class() -> ShapeClass {
    ShapeClass::of(spec().tile, [SHAPE])
}

/// A table of this machine with these candidates, the winner first, as if they had been measured.
fn table(variants: &[&str]) -> TuningTable {
    let record = |variant: &&str| CandidateRecord {
        digest: cpu_digest_of(variant).unwrap_or_default(),
        ..CandidateRecord::chosen(*variant)
    };
    let mut table = TuningTable::new(DeviceFingerprint::cpu());
    table.insert(
        &spec(),
        class(),
        TuningEntry {
            candidates: variants.iter().map(record).collect(),
            ..TuningEntry::chosen(variants[0])
        },
    );
    table
}

fn optimizer(table: TuningTable, backend: Option<Box<dyn Backend>>) -> HiMuon {
    let builder = HiMuon::builder()
        .parameter("w", &[SHAPE.0, SHAPE.1])
        .threads(1)
        .group_with("w", MuonOptions::specs([spec()]))
        .tuning(table);
    match backend {
        Some(backend) => builder.backend(backend).build().unwrap(),
        None => builder.build().unwrap(),
    }
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
    assert!(
        stages
            .iter()
            .any(|(done, total, stage)| (*done, *total) == (1, 2) && stage == "verifying")
    );
    for spec in &specs {
        let class = ShapeClass::of(spec.tile, shapes);
        let entry = table.entry(spec, class).unwrap();
        assert_eq!(entry.shapes, shapes);
        assert!(entry.candidates.len() > 1, "{entry:?}");
        for record in &entry.candidates {
            assert_eq!(record.verdict, Verdict::Measured, "{record:?}");
            // f32 products against f64; graded tiles set the worst.
            assert!(record.error.unwrap() < 1e-3, "{record:?}");
            assert_eq!(
                Some(&record.digest),
                cpu_digest_of(&record.variant).as_ref()
            );
            assert!(record.cold_ns.len() >= 2 && record.predicted_rank > 0);
        }
    }
    let plan = optimizer(table.clone(), None).plan(0).unwrap();
    assert_eq!(
        plan.launches[0].variant,
        table.variant_for(&specs[0], &[SHAPE])
    );
}

/// Names of two variants that this processor has, neither the default.
fn two_others() -> [String; 2] {
    let mut variants = himuon::cpu::CpuKernel::variants(&spec());
    variants.retain(|variant| variant.batch == 1);
    let mut names = variants.iter().map(himuon::cpu::CpuVariant::name);
    [names.next().unwrap(), names.next().unwrap()]
}

#[test]
fn a_variant_that_this_processor_lacks_gives_way_to_the_next() {
    let plan = optimizer(table(&["no-such-variant"]), None)
        .plan(0)
        .unwrap();
    assert_eq!(plan.launches[0].variant, None);
    assert!(plan.launches[0].reasons[0].contains("no-such-variant"));
    let [next, _] = two_others();
    let plan = optimizer(table(&["no-such-variant", &next]), None)
        .plan(0)
        .unwrap();
    assert_eq!(plan.launches[0].variant, Some(next));
}

#[test]
fn times_of_other_source_are_not_believed() {
    let [first, second] = two_others();
    let mut table = table(&[&first, &second]);
    for entry in table.entries.values_mut() {
        entry.candidates[0].digest = "0123".to_owned();
    }
    let plan = optimizer(table, None).plan(0).unwrap();
    assert_eq!(plan.launches[0].variant.as_deref(), Some(second.as_str()));
    assert!(plan.launches[0].reasons[0].contains("other source"));
}

/// The CPU, on which some variants do not load.
#[derive(Debug)]
struct Poisoned {
    cpu: CpuBackend,
    poison: Vec<String>,
}

impl WorkspaceModel for Poisoned {
    fn workspace_bytes(
        &self,
        spec: &KernelSpec,
        variant: Option<&str>,
        matrices: &[MatrixDemand],
        threads: usize,
    ) -> Result<u64, BackendError> {
        self.cpu.workspace_bytes(spec, variant, matrices, threads)
    }
}

impl Backend for Poisoned {
    fn name(&self) -> &'static str {
        self.cpu.name()
    }
    fn fingerprint(&self) -> DeviceFingerprint {
        self.cpu.fingerprint()
    }
    fn threads(&self) -> usize {
        self.cpu.threads()
    }
    fn kernel_id(&self, spec: &KernelSpec, variant: Option<&str>) -> String {
        self.cpu.kernel_id(spec, variant)
    }
    fn table_entry_bytes(&self) -> u64 {
        self.cpu.table_entry_bytes()
    }
    fn allocator(&self) {}
    fn prepare(&mut self, plan: &Plan) -> Result<(), BackendError> {
        for launch in &plan.launches {
            let variant = launch.variant.clone().unwrap_or_default();
            if self.poison.contains(&variant) {
                return Err(BackendError::Variant {
                    spec: Box::new(launch.spec.clone()),
                    variant,
                    reason: "device kernel image is invalid".to_owned(),
                });
            }
        }
        self.cpu.prepare(plan)
    }
    fn launch(
        &mut self,
        launch: &Launch,
        chunk: &Chunk,
        matrices: &mut [MatrixStep<'_>],
    ) -> Result<LaunchReport, BackendError> {
        self.cpu.launch(launch, chunk, matrices)
    }
    fn adamw(&mut self, tensors: &mut [AdamWTensor<'_>]) -> Result<(), BackendError> {
        self.cpu.adamw(tensors)
    }
    fn all_finite(&mut self, tensors: &[TensorRef<'_>]) -> Result<Vec<bool>, BackendError> {
        self.cpu.all_finite(tensors)
    }
}

#[test]
fn a_winner_that_does_not_load_is_dropped_and_the_next_is_used() {
    let [first, second] = two_others();
    let stepped = |poison: &[&String]| {
        let backend = Poisoned {
            cpu: CpuBackend::new(Some(1)).unwrap(),
            poison: poison.iter().map(|name| (*name).clone()).collect(),
        };
        let mut optimizer = optimizer(table(&[&first, &second]), Some(Box::new(backend)));
        let gradient: Vec<f32> = (0..SHAPE.0 * SHAPE.1)
            .map(|i| (i % 7) as f32 - 3.0)
            .collect();
        let mut weight = vec![1.0; gradient.len()];
        for _ in 0..2 {
            let mut parameters = [ParameterStep {
                weight: TensorMut::F32(&mut weight),
                gradient: Some(TensorRef::F32(&gradient)),
            }];
            optimizer.step(&mut parameters).unwrap();
        }
        (
            optimizer.plan(2).unwrap().launches[0].variant.clone(),
            weight,
        )
    };
    let (variant, weight) = stepped(&[]);
    assert_eq!(variant.as_ref(), Some(&first));
    let (variant, after) = stepped(&[&first]);
    assert_eq!(variant.as_ref(), Some(&second));
    assert_eq!(after, weight);
    let (variant, after) = stepped(&[&first, &second]);
    assert_eq!(variant, None);
    assert_eq!(after, weight);
}

/// The part of the tests below that runs in a process of its own, because the environment belongs to the whole
/// process.
const CHILD: &str = "HIMUON_TEST_EXPECTED_VARIANT";

#[test]
fn the_part_of_a_child() {
    let Ok(expected) = std::env::var(CHILD) else {
        return;
    };
    let built = HiMuon::builder()
        .parameter("w", &[SHAPE.0, SHAPE.1])
        .threads(1)
        .group_with("w", MuonOptions::specs([spec()]))
        .build()
        .unwrap();
    let launch = &built.plan(0).unwrap().launches[0];
    if expected != "any" {
        assert_eq!(launch.variant.clone().unwrap_or_default(), expected);
    }
    println!("{}", launch.reasons[0]);
}

/// Builds an optimizer in a child process and returns why it uses the variant that it uses.
fn in_child(folder: &Path, expected: &str, environment: &[(&str, &str)]) -> String {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_use::the_part_of_a_child", "--nocapture"])
        .env(CHILD, expected)
        .env("HIMUON_CACHE_DIR", folder)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "expected {expected:?}: {text}");
    text
}

#[test]
fn the_cache_folder_is_read_and_a_bad_table_in_it_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let why = in_child(folder.path(), "", &[]);
    assert!(why.contains("himuon tune --spec 'tile=16"), "{why}");
    let [name, _] = two_others();
    let path = table(&[&name]).save(folder.path()).unwrap();
    in_child(folder.path(), &name, &[]);
    let why = in_child(folder.path(), "", &[("HIMUON_DETERMINISTIC", "1")]);
    assert!(why.contains("HIMUON_DETERMINISTIC"), "{why}");
    std::fs::write(path, "{\"schema\": 2").unwrap();
    in_child(folder.path(), "", &[]);
}

#[test]
fn rank_0_tunes_and_the_others_read() {
    let folder = tempfile::tempdir().unwrap();
    let spawn = |rank: &'static str| {
        let folder = folder.path().to_owned();
        std::thread::spawn(move || {
            let environment = [("HIMUON_AUTOTUNE", "measure"), ("RANK", rank)];
            in_child(&folder, "any", &environment)
        })
    };
    // The reader comes first, and waits.
    let other = spawn("1");
    std::thread::sleep(Duration::from_millis(200));
    let first = spawn("0");
    let (first, other) = (first.join().unwrap(), other.join().unwrap());
    let reason = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with("variant "))
            .unwrap();
        line.to_owned()
    };
    assert_eq!(reason(&first), reason(&other));
    let table = TuningTable::load(folder.path(), &DeviceFingerprint::cpu())
        .unwrap()
        .unwrap();
    assert!(reason(&first).contains(&table.entry(&spec(), class()).unwrap().winner));
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
        ..Storage::F32
    };
    let specs = [
        (base(), 2e-4),
        (set(CoefficientSet::PolarExpress, 5), 2e-4),
        (set(CoefficientSet::Turbo, 4), 2e-4),
        (power(1, 2, Recurrence::Fitted, 6), 2e-4),
        (power(1, 3, Recurrence::Authors, 6), 2e-4),
        (power(3, 4, Recurrence::Coupled, 6), 2e-4),
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
            5e-3,
        ),
        (
            KernelSpec {
                tile: Tile::Sized {
                    rows: 300,
                    columns: 20,
                },
                ..base()
            },
            2e-4,
        ),
    ];
    for (spec, bound) in specs {
        let list = [spec.clone()];
        let table = tune_cpu(&list, &[(64, 96)], Duration::ZERO, Some(1), &mut |_| {}).unwrap();
        let class = ShapeClass::of(spec.tile, [(64, 96)]);
        let entry = table.entry(&spec, class).unwrap();
        let errors = entry.candidates.iter().map(|record| record.error.unwrap());
        let worst = errors.fold(0.0, f64::max);
        println!("{worst:.1e} {spec}");
        assert!(
            entry
                .candidates
                .iter()
                .all(|record| record.reason.is_empty()),
            "{entry:?}"
        );
        assert!(worst < bound, "{spec}: {worst:e}");
    }
}
