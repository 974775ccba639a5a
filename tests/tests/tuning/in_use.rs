//! Tuning of the CPU kernels, and what the optimizer makes of the table.

use std::time::Duration;

use himuon::backend::{Backend, BackendError, CpuBackend};
use himuon::launch::{AdamWTensor, LaunchReport, MatrixDemand, MatrixStep};
use himuon::optimizer::MuonOptions;
use himuon::plan::{Chunk, Launch, Plan, Prediction, WorkspaceModel};
use himuon::templates::{CoefficientSet, Element, Mode, Power, Recurrence, Storage};
use himuon::tensor::{TensorMut, TensorRef};
use himuon::tuning::{
    CandidateRecord, DeviceFingerprint, ShapeClass, TuningEntry, TuningTable, Verdict,
    cpu_digest_of, tune_cpu,
};
use himuon::{HiMuon, KernelSpec, ParameterStep, Tile};

pub(super) const SHAPE: (usize, usize) = (48, 40);

pub(super) fn spec() -> KernelSpec {
    KernelSpec::new(Tile::square(16))
}

pub(super) fn class() -> ShapeClass {
    ShapeClass::of(spec().tile, [SHAPE])
}

/// A table of this machine with these candidates, the winner first, as if they had been measured.
pub(super) fn table(variants: &[&str]) -> TuningTable {
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
            .any(|(done, total, stage)| (*done, *total) == (1, 2)
                && stage.starts_with("verifying 1 of "))
    );
    for spec in &specs {
        let class = ShapeClass::of(spec.tile, shapes);
        let entry = table.entry(spec, class).unwrap();
        assert_eq!(entry.shapes, shapes);
        // Of whole matrices there is the default alone without AVX-512.
        let least = if spec.tile == Tile::Full { 1 } else { 2 };
        assert!(entry.candidates.len() >= least, "{entry:?}");
        for record in &entry.candidates {
            assert_eq!(record.verdict, Verdict::Measured, "{record:?}");
            // f32 products against f64, relative Frobenius; graded tiles set the worst, 5.7e-5.
            assert!(record.error.unwrap() < 1.7e-4, "{record:?}");
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
pub(super) fn two_others() -> [String; 2] {
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

/// The CPU, on which some variants do not load, or with a model that says something else.
#[derive(Debug)]
pub(super) struct Poisoned {
    pub(super) cpu: CpuBackend,
    pub(super) poison: Vec<String>,
    pub(super) predictions: Vec<Prediction>,
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
    fn predicted(&self, _: &KernelSpec, _: &[(usize, usize)], _: usize) -> Vec<Prediction> {
        self.predictions.clone()
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
            predictions: Vec::new(),
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
