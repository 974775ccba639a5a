//! Tuning a device: the target that real devices have, on the emulated driver, whose events count instructions.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use himuon::cuda::CudaTarget;
use himuon::optimizer::MuonOptions;
use himuon::templates::{Architecture, Operand, Variant};
use himuon::tuning::{
    CacheState, Candidate, CandidateRecord, Clock, DeviceFingerprint, ShapeClass, StepCase,
    Trouble, TuneJob, TuneOptions, TuneOutcome, Tuned, Tuner, TuningEntry, TuningError,
    TuningTable, TuningTarget, Verdict,
};
use himuon::{HiMuon, KernelSpec};

use crate::emulator::{MODEL_CHOOSES, emulated};
use crate::model::{Model, OnDevice, spec, update_gap};

/// A block of more threads than any device runs.
const TOO_LARGE: &str = "plain:warps=64";

/// The target with few candidates, one of which cannot run, and a record of who ran.
struct Few {
    target: CudaTarget,
    best: usize,
    /// A variant whose source is said to have changed.
    changed: Option<String>,
    runs: BTreeMap<String, usize>,
}

impl TuningTarget for Few {
    fn fingerprint(&self) -> DeviceFingerprint {
        self.target.fingerprint()
    }

    fn clock(&self) -> Clock {
        self.target.clock()
    }

    fn threads(&self) -> usize {
        self.target.threads()
    }

    fn same_bits(&self) -> bool {
        self.target.same_bits()
    }

    fn operand(&self, spec: &KernelSpec) -> Operand {
        self.target.operand(spec)
    }

    fn candidates(
        &self,
        spec: &KernelSpec,
        shapes: &[(usize, usize)],
    ) -> Result<Vec<Candidate>, String> {
        let mut candidates = self.target.candidates(spec, shapes)?;
        candidates.truncate(1 + self.best);
        for candidate in &mut candidates {
            if self.changed.as_ref() == Some(&candidate.variant) {
                candidate.digest.push('+');
            }
        }
        candidates.push(Candidate {
            variant: TOO_LARGE.to_owned(),
            digest: "0".to_owned(),
            predicted: None,
        });
        Ok(candidates)
    }

    fn trouble(&self) -> Option<Trouble> {
        self.target.trouble()
    }

    fn map(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        shape: (usize, usize),
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), String> {
        self.target.map(spec, variant, shape, input, output)
    }

    fn step(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        case: &mut StepCase,
    ) -> Result<(), String> {
        self.target.step(spec, variant, case)
    }

    fn load(&mut self, spec: &KernelSpec, shapes: &[(usize, usize)]) -> Result<(), String> {
        self.target.load(spec, shapes)
    }

    fn run(&mut self, spec: &KernelSpec, variant: &str, caches: CacheState) -> Result<u64, String> {
        *self.runs.entry(variant.to_owned()).or_default() += 1;
        self.target.run(spec, variant, caches)
    }
}

fn job() -> TuneJob {
    TuneJob {
        spec: spec("tile=16 steps=2 element=bf16"),
        shapes: vec![(16, 32)],
    }
}

fn tune(target: &mut Few, folder: &Path) -> Tuned {
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
    let test = "tuning::kernels_are_verified_timed_chosen_and_kept_apart";
    emulated(test, &[MODEL_CHOOSES], || {
        let folder = tempfile::tempdir().unwrap();
        let mut target = Few {
            target: CudaTarget::new(0).unwrap(),
            best: 2,
            changed: None,
            runs: BTreeMap::new(),
        };
        let tuned = tune(&mut target, folder.path());
        let found = entry(&tuned);
        assert_eq!(found.candidates.len(), 1 + 2 + 1, "{found:?}");
        are_right(found);
        assert!(!target.runs.contains_key(TOO_LARGE));
        // In a file of its own, which chooses nothing.
        assert_eq!(found.clock, Clock::Emulated);
        let path = tuned.table.path(folder.path());
        assert!(path.to_str().unwrap().ends_with(".emulated.json") && path.exists());
        let real = TuningTable::load(folder.path(), &target.fingerprint()).unwrap();
        assert!(real.is_none());
        assert!(tuned.table.choices(&job().spec, job().class()).is_empty());
        only_what_changed_runs_again(&mut target, found, folder.path());
    });
}

#[test]
fn a_kernel_that_faults_is_the_one_that_is_accused() {
    let test = "tuning::a_kernel_that_faults_is_the_one_that_is_accused";
    // Three launches verify the default: its map, and its step twice.
    let environment = [MODEL_CHOOSES, ("HIMUON_EMULATOR_FAIL", "launch:4")];
    emulated(test, &environment, || {
        let mut target = Few {
            target: CudaTarget::new(0).unwrap(),
            best: 2,
            changed: None,
            runs: BTreeMap::new(),
        };
        let candidates = target.candidates(&job().spec, &job().shapes).unwrap();
        let tuned =
            Tuner::new(&mut target, TuneOptions::default()).tune(&[job()], None, &mut |_| {});
        match tuned.unwrap_err() {
            TuningError::Lost { variant, .. } => assert_eq!(variant, candidates[1].variant),
            other => panic!("{other}"),
        }
    });
}

fn default_variant() -> String {
    Variant::default_for(&job().spec, Architecture::Sm80).to_string()
}

/// The candidates of the first tuning, and who has won.
fn are_right(found: &TuningEntry) {
    let right = || {
        let candidates = found.candidates.iter();
        candidates.filter(|record| record.variant != TOO_LARGE)
    };
    for record in right() {
        println!("measured: {}: {:?}", record.variant, record.error);
        // bf16 operands against f64, relative Frobenius, graded tiles; worst measured 7.7e-3.
        assert_eq!(record.verdict, Verdict::Measured, "{record:?}");
        assert!(record.error.unwrap() < 2e-2, "{record:?}");
        // The clock has no noise, and knows no caches.
        let mut samples = record.cold_ns.iter().chain(&record.warm_ns);
        let first = *samples.next().unwrap();
        assert!(
            first > 0 && samples.all(|sample| *sample == first),
            "{record:?}"
        );
    }
    let refused = found.candidate(TOO_LARGE).unwrap();
    assert_eq!(refused.verdict, Verdict::Failed);
    assert!(refused.reason.contains("2048"), "{}", refused.reason);
    // The winner is the fastest, or the default where nothing is faster by two in a hundred.
    let time = |name: &str| found.candidate(name).unwrap().cold_ns[0];
    let fastest = right().map(|record| record.cold_ns[0]).min().unwrap();
    match time(&default_variant()) as f64 >= 1.02 * fastest as f64 {
        true => assert_eq!(time(&found.winner), fastest),
        false => assert_eq!(found.winner, default_variant()),
    }
}

/// Known the next time; of a changed text only that candidate runs, beside the default and the winner.
fn only_what_changed_runs_again(target: &mut Few, found: &TuningEntry, folder: &Path) {
    target.runs.clear();
    assert_eq!(tune(target, folder).outcomes, [TuneOutcome::Known]);
    assert!(target.runs.is_empty());
    let mut names = found.candidates.iter().map(|record| record.variant.clone());
    let changed = names
        .rfind(|name| {
            ![default_variant().as_str(), &found.winner, TOO_LARGE].contains(&name.as_str())
        })
        .unwrap();
    target.changed = Some(changed.clone());
    let again = tune(target, folder);
    assert_eq!(again.outcomes, [TuneOutcome::Measured]);
    let mut ran: Vec<String> = target.runs.keys().cloned().collect();
    let mut expected = vec![changed, default_variant(), found.winner.clone()];
    expected.sort();
    expected.dedup();
    ran.sort();
    assert_eq!(ran, expected);
    assert_eq!(entry(&again).candidates.len(), found.candidates.len());
}

#[test]
fn a_target_says_what_cannot_run() {
    let test = "tuning::a_target_says_what_cannot_run";
    emulated(test, &[MODEL_CHOOSES], || {
        let mut target = CudaTarget::new(0).unwrap();
        let run = target.run(&job().spec, &default_variant(), CacheState::Cold);
        assert!(run.unwrap_err().contains("no tensors"));
        target.load(&job().spec, &job().shapes).unwrap();
        for (variant, says) in [("plain", "variant"), (TOO_LARGE, "threads")] {
            let run = target.run(&job().spec, variant, CacheState::Cold);
            let error = run.unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let far = CudaTarget::new(3).unwrap_err().to_string();
        assert!(far.contains("no CUDA device 3: 1 found"), "{far}");
    });
}

/// Two variants beside the default that compute tiles of 16.
const OTHERS: [&str; 2] = ["plain:warps=2", "plain:warps=4"];

/// Steps with a table whose choices are [`OTHERS`]; returns the variant that is used in the end.
fn stepped() -> Option<String> {
    let model = Model::new(&[("blocks.0.q.weight", &[16, 32])], 5);
    let mut device = OnDevice::new(&model);
    let tile = spec("tile=16 steps=2");
    let mut table = TuningTable::new(himuon::cuda::devices().unwrap()[0].fingerprint());
    table.insert(
        &tile,
        job().class(),
        TuningEntry {
            candidates: OTHERS.map(CandidateRecord::chosen).to_vec(),
            ..TuningEntry::chosen(OTHERS[0])
        },
    );
    let builder = HiMuon::builder()
        .parameter("blocks.0.q.weight", &[16, 32])
        .group_with("blocks.*", MuonOptions::specs([tile]))
        .tuning(table);
    let mut optimizer = device.optimizer(builder);
    device.step(&mut optimizer);
    optimizer.plan(1).unwrap().launches[0].variant.clone()
}

#[test]
fn the_table_s_winner_is_used() {
    let test = "tuning::the_table_s_winner_is_used";
    emulated(test, &[MODEL_CHOOSES], || {
        assert_eq!(stepped().as_deref(), Some(OTHERS[0]))
    });
}

#[test]
fn a_winner_that_does_not_load_gives_way_to_the_next() {
    let test = "tuning::a_winner_that_does_not_load_gives_way_to_the_next";
    emulated(
        test,
        &[MODEL_CHOOSES, ("HIMUON_EMULATOR_FAIL", "module:1")],
        || {
            assert_eq!(stepped().as_deref(), Some(OTHERS[1]));
        },
    );
}

/// 144 KiB of shared memory a block: more than 8.6 and 8.9 have, whose class is that of 8.0.
const LARGE: &str = "resident:rows=16,chunk=1,tiles=1,symmetric";

/// The variant that a tile of 128 x 128 in f32 runs in, where [`LARGE`] is the table's choice, after a step like the CPU's.
fn with_much_shared_memory() -> Option<String> {
    let mut model = Model::new(&[("blocks.0.q.weight", &[128, 128])], 7);
    let start = model.weights.clone();
    let mut device = OnDevice::new(&model);
    let tile = spec("tile=128 steps=2");
    let mut table = TuningTable::new(himuon::cuda::devices().unwrap()[0].fingerprint());
    table.insert(
        &tile,
        ShapeClass::of(tile.tile, [(128, 128)]),
        TuningEntry::chosen(LARGE),
    );
    let specs = [tile];
    let mut optimizer = device.optimizer(model.builder(&specs).tuning(table));
    device.step(&mut optimizer);
    model.step_on_cpu(&mut model.builder(&specs).build().unwrap());
    let gap = update_gap(&start, &device.read(), &model.weights);
    println!("measured: {gap:.1e} from the CPU");
    assert!(gap < 1e-4, "{gap:e}");
    optimizer.plan(1).unwrap().launches[0].variant.clone()
}

#[test]
fn a_device_gives_what_its_class_need_not_have() {
    let test = "tuning::a_device_gives_what_its_class_need_not_have";
    emulated(test, &[("HIMUON_EMULATOR_DEVICES", "sm_80")], || {
        assert_eq!(with_much_shared_memory().as_deref(), Some(LARGE));
    });
}

#[test]
fn a_device_of_the_same_class_with_less_runs_the_default() {
    let test = "tuning::a_device_of_the_same_class_with_less_runs_the_default";
    emulated(test, &[("HIMUON_EMULATOR_DEVICES", "sm_86")], || {
        assert_eq!(with_much_shared_memory(), None);
    });
}

/// A plan needs no compiler.
fn choice(text: &str) -> (Option<String>, String) {
    let model = Model::new(&[("blocks.0.q.weight", &[2048, 2048])], 5);
    let stream = himuon::cuda::open(0).unwrap().new_stream().unwrap();
    let backend = himuon::cuda::CudaBackend::new(&stream).unwrap();
    let optimizer = HiMuon::builder()
        .parameters(model.parameters.iter().map(|(name, shape)| (name, shape)))
        .group_with("blocks.*", MuonOptions::specs([spec(text)]))
        .build_on(Box::new(backend))
        .unwrap();
    let plan = optimizer.plan(0).unwrap();
    (
        plan.launches[0].variant.clone(),
        plan.launches[0].reasons[0].clone(),
    )
}

#[test]
fn without_a_table_the_model_chooses_where_it_is_sure() {
    let test = "tuning::without_a_table_the_model_chooses_where_it_is_sure";
    emulated(test, &[MODEL_CHOOSES], || {
        // Two blocks of four warps to a multiprocessor instead of one of eight.
        let (variant, reason) = choice("tile=128 element=bf16");
        assert!(variant.unwrap().starts_with("resident:rows=32"), "{reason}");
        assert!(reason.contains("the model's choice"), "{reason}");
        assert!(
            reason.contains("himuon tune --device cuda --spec"),
            "{reason}"
        );
        let (variant, reason) = choice("tile=16 element=bf16");
        assert_eq!(variant, None, "{reason}");
    });
}

#[test]
fn a_deterministic_run_asks_no_model() {
    let test = "tuning::a_deterministic_run_asks_no_model";
    emulated(test, &[("HIMUON_DETERMINISTIC", "1")], || {
        let (variant, reason) = choice("tile=128 element=bf16");
        assert_eq!(variant, None);
        assert!(reason.contains("HIMUON_DETERMINISTIC"), "{reason}");
    });
}
