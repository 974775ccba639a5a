//! The tuner over generated CUDA kernels on the emulated driver: search space and order of the model, verification of
//! every kernel through cudarc, rounds under a test clock, and a table that no runtime believes.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers fail their test.

use himuon::KernelSpec;
use himuon::launch::MatrixStep;
use himuon::reference::Normalisation;
use himuon::templates::variant::effective_operand;
use himuon::templates::{Architecture, Element, Operand, Variant};
use himuon::tensor::{TensorMut, TensorRef};
use himuon::tuning::{
    CacheState, Candidate, Clock, DeviceFingerprint, StepCase, TuneJob, TuneOptions, TuneOutcome,
    Tuned, Tuner, TuningEntry, TuningTable, TuningTarget, Verdict,
};
use himuon_autotune::model::device::Device;
use himuon_autotune::model::ranked;
use himuon_tests::backend::{Backend, Refusal};
use himuon_tests::cuda::CudaBackend;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const TARGET: &str = "sm_80";
/// A block of more threads than any device runs.
const TOO_LARGE: &str = "plain:warps=64";

/// An emulated device under the tuner. It keeps no time: a launch lasts as long as the busiest pipe would be, by
/// the emulator's counters, one nanosecond a cycle.
struct Emulated {
    backend: CudaBackend,
    /// How many of the model's best candidates are offered beside the default.
    best: usize,
    /// A variant whose source is said to have changed.
    changed: Option<String>,
    loaded: Vec<StepCase>,
    runs: BTreeMap<String, usize>,
}

impl Emulated {
    fn new(best: usize) -> Emulated {
        Emulated {
            backend: CudaBackend::new(TARGET).unwrap(),
            best,
            changed: None,
            loaded: Vec::new(),
            runs: BTreeMap::new(),
        }
    }

    fn select(&mut self, variant: &str) -> Result<(), String> {
        let variant: Variant = variant.parse().map_err(|e| format!("{e}"))?;
        self.backend.select(Some(variant));
        Ok(())
    }

    /// Nanoseconds of everything since the counters were reset.
    fn elapsed(&self, caches: CacheState) -> u64 {
        let counters = self.backend.device().inspection().counters();
        let sum = |count: fn(&himuon_toolkit::emulated::KernelCounters) -> u64| {
            counters.values().map(count).sum::<u64>()
        };
        let sectors = sum(|c| c.global_sectors_read + c.global_sectors_written);
        let pipes = [
            sum(|c| c.warp_instructions) / 4,
            sum(|c| c.shared_wavefronts),
            2 * sum(|c| c.mma.values().sum()),
            sectors,
        ];
        let miss = if caches == CacheState::Cold {
            3 * sectors
        } else {
            0
        };
        pipes.into_iter().max().unwrap_or(0) + miss
    }
}

fn words(refusal: Refusal) -> String {
    match refusal {
        Refusal::Unsupported(words) | Refusal::Failed(words) => words,
    }
}

fn step(backend: &mut CudaBackend, spec: &KernelSpec, case: &mut StepCase) -> Result<(), String> {
    let mut matrices = [MatrixStep {
        rows: case.rows,
        columns: case.columns,
        gradient: TensorRef::F32(&case.gradient),
        gradient_leading: case.columns,
        momentum: TensorMut::F32(&mut case.momentum),
        weight: TensorMut::F32(&mut case.weight),
        weight_leading: case.columns,
        row_normalisation: None,
        coarse: None,
        scalars: case.scalars,
        diagnostics: None,
    }];
    backend.step(spec, &mut matrices).map(drop).map_err(words)
}

impl TuningTarget for Emulated {
    fn fingerprint(&self) -> DeviceFingerprint {
        DeviceFingerprint {
            kind: "cuda".to_owned(),
            name: "Emulated".to_owned(),
            architecture: "8.0".to_owned(),
            ..DeviceFingerprint::default()
        }
    }

    fn clock(&self) -> Clock {
        Clock::Emulated
    }

    fn threads(&self) -> usize {
        1
    }

    fn same_bits(&self) -> bool {
        false
    }

    fn operand(&self, spec: &KernelSpec) -> Operand {
        effective_operand(spec)
    }

    fn candidates(
        &self,
        spec: &KernelSpec,
        shapes: &[(usize, usize)],
    ) -> Result<Vec<Candidate>, String> {
        let device = Device::of(TARGET).ok_or("no such device")?;
        let default = Variant::default_for(spec, device.class);
        let all = ranked(spec, &device, shapes, &|_| None);
        let of_default = all.iter().filter(|estimate| estimate.variant == default);
        let others = all.iter().filter(|estimate| estimate.variant != default);
        let mut candidates = Vec::new();
        for estimate in of_default.chain(others.take(self.best)) {
            let rendered = himuon_codegen::render(spec, &estimate.variant, Architecture::Sm80)
                .map_err(|error| error.to_string())?;
            let variant = estimate.variant.to_string();
            let mark = if self.changed.as_ref() == Some(&variant) {
                "+"
            } else {
                ""
            };
            candidates.push(Candidate {
                digest: format!("{:08x}{mark}", rendered.id.digest()),
                variant,
                predicted: Some(estimate.seconds),
            });
        }
        candidates.push(Candidate {
            variant: TOO_LARGE.to_owned(),
            digest: "0".to_owned(),
            predicted: None,
        });
        Ok(candidates)
    }

    fn map(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        (rows, columns): (usize, usize),
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), String> {
        self.select(variant)?;
        let input = TensorRef::F32(input);
        let mapped = self
            .backend
            .map(spec, input, rows, columns, Normalisation::None);
        let (values, _) = mapped.map_err(words)?;
        output.copy_from_slice(&values);
        Ok(())
    }

    fn step(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        case: &mut StepCase,
    ) -> Result<(), String> {
        self.select(variant)?;
        step(&mut self.backend, spec, case)
    }

    fn load(&mut self, spec: &KernelSpec, shapes: &[(usize, usize)]) -> Result<(), String> {
        assert_eq!(spec.storage.weight, Element::F32);
        let case = |&(rows, columns): &(usize, usize)| {
            let numbers = |seed: usize| {
                let number = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0;
                (0..rows * columns).map(number).collect::<Vec<f32>>()
            };
            StepCase {
                rows,
                columns,
                gradient: numbers(1),
                momentum: numbers(2),
                weight: numbers(3),
                scalars: himuon::launch::GroupScalars {
                    learning_rate: 0.02,
                    weight_decay: 0.1,
                    mu: 0.95,
                    c: 1.0,
                    alpha: 1.0,
                    beta: 0.95,
                    scale_factor: 0.2,
                    scale: himuon::launch::ScaleRule::Exact,
                },
            }
        };
        self.loaded = shapes.iter().map(case).collect();
        Ok(())
    }

    fn run(&mut self, spec: &KernelSpec, variant: &str, caches: CacheState) -> Result<u64, String> {
        *self.runs.entry(variant.to_owned()).or_default() += 1;
        self.select(variant)?;
        self.backend.device().inspection().reset_counters();
        for case in &mut self.loaded.clone() {
            step(&mut self.backend, spec, case)?;
        }
        Ok(self.elapsed(caches))
    }
}

fn job() -> TuneJob {
    TuneJob {
        spec: "tile=16 steps=2 operand=bf16".parse().unwrap(),
        shapes: vec![(16, 32)],
    }
}

fn tune(target: &mut Emulated, folder: &Path) -> Tuned {
    let options = TuneOptions {
        budget: Duration::from_secs(600),
        ..TuneOptions::default()
    };
    Tuner::new(target, options)
        .tune(&[job()], Some(folder), &mut |_| {})
        .unwrap()
}

fn entry(tuned: &Tuned) -> &TuningEntry {
    tuned.table.entry(&job().spec, job().class()).unwrap()
}

#[test]
fn kernels_are_verified_timed_chosen_and_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut target = Emulated::new(3);
    let tuned = tune(&mut target, folder.path());
    let found = entry(&tuned);
    assert_eq!(found.candidates.len(), 1 + 3 + 1, "{found:?}");
    for record in &found.candidates {
        println!(
            "{} {:?} {:?} cold {:?} warm {:?} predicted {}",
            record.variant,
            record.verdict,
            record.error,
            record.cold_ns.first(),
            record.warm_ns.first(),
            record.predicted_rank
        );
    }
    // bf16 operands against f64, of every candidate that could be launched.
    let right = || {
        found
            .candidates
            .iter()
            .filter(|record| record.variant != TOO_LARGE)
    };
    for record in right() {
        assert_eq!(record.verdict, Verdict::Measured, "{record:?}");
        assert!(record.error.unwrap() < 2e-2, "{record:?}");
        // The test clock has no noise, and a cold run is longer.
        assert!(
            record.cold_ns.windows(2).all(|pair| pair[0] == pair[1]),
            "{record:?}"
        );
        assert!(record.cold_ns[0] > record.warm_ns[0]);
    }
    let refused = found.candidate(TOO_LARGE).unwrap();
    assert_eq!(refused.verdict, Verdict::Failed);
    assert!(!refused.reason.is_empty());
    assert!(!target.runs.contains_key(TOO_LARGE));
    // The winner is the fastest, or the default where nothing is faster by two in a hundred.
    let default = Variant::default_for(&job().spec, Architecture::Sm80).to_string();
    let time = |name: &str| found.candidate(name).unwrap().cold_ns[0];
    let fastest = right().map(|record| record.cold_ns[0]).min().unwrap();
    let threshold = 1.02 * fastest as f64;
    match time(&default) as f64 >= threshold {
        true => assert_eq!(time(&found.winner), fastest),
        false => assert_eq!(found.winner, default),
    }
    // In a file of its own, which chooses nothing.
    assert_eq!(found.clock, Clock::Emulated);
    let path = tuned.table.path(folder.path());
    assert!(path.to_str().unwrap().ends_with(".emulated.json") && path.exists());
    let real = TuningTable::load(folder.path(), &target.fingerprint()).unwrap();
    assert!(real.is_none());
    assert!(tuned.table.choices(&job().spec, job().class()).is_empty());
    // Known the next time; of a changed text only that candidate runs, beside the default and the winner.
    target.runs.clear();
    assert_eq!(
        tune(&mut target, folder.path()).outcomes,
        [TuneOutcome::Known]
    );
    assert!(target.runs.is_empty());
    let winner = found.winner.clone();
    let mut changed = right().map(|record| record.variant.clone());
    let changed = changed
        .rfind(|name| *name != default && *name != winner)
        .unwrap();
    target.changed = Some(changed.clone());
    let again = tune(&mut target, folder.path());
    assert_eq!(again.outcomes, [TuneOutcome::Measured]);
    let mut ran: Vec<String> = target.runs.keys().cloned().collect();
    let mut expected = vec![changed, default, winner];
    expected.sort();
    expected.dedup();
    ran.sort();
    assert_eq!(ran, expected);
    assert_eq!(entry(&again).candidates.len(), found.candidates.len());
}
