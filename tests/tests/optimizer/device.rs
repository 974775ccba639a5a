//! A device that fails in the middle of a step.

use himuon::backend::{Backend, BackendError, CpuBackend};
use himuon::launch::{AdamWTensor, LaunchReport, MatrixDemand, MatrixStep};
use himuon::optimizer::{HiMuonBuilder, Protection, StepError};
use himuon::plan::{Chunk, Launch, Plan, WorkspaceModel};
use himuon::tensor::TensorRef;
use himuon::tuning::DeviceFingerprint;
use himuon::{Error, KernelSpec};

use crate::model::Model;
use crate::refusals::state_of;

/// The CPU, whose element-wise update (the last launch of a step) fails from step `from` to step `until`.
#[derive(Debug)]
pub(crate) struct Failing {
    cpu: CpuBackend,
    from: usize,
    until: usize,
    updates: usize,
    /// Whether it says that nothing of what fails has run.
    refuses: bool,
    /// What the next check of earlier steps finds, once.
    earlier: Option<BackendError>,
}

impl Failing {
    pub(crate) fn boxed(from: usize, until: usize) -> Box<Self> {
        Box::new(Failing {
            cpu: CpuBackend::new(Some(1)).unwrap(),
            from,
            until,
            updates: 0,
            refuses: false,
            earlier: None,
        })
    }

    fn refusing(self: Box<Self>) -> Box<Self> {
        Box::new(Failing {
            refuses: true,
            ..*self
        })
    }

    fn finding(self: Box<Self>, earlier: BackendError) -> Box<Self> {
        Box::new(Failing {
            earlier: Some(earlier),
            ..*self
        })
    }
}

impl WorkspaceModel for Failing {
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

impl Backend for Failing {
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
    fn check(&mut self) -> Result<(), BackendError> {
        self.earlier.take().map_or(Ok(()), Err)
    }
    fn prepare(&mut self, plan: &Plan) -> Result<(), BackendError> {
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
        let number = self.updates;
        self.updates += 1;
        if (self.from..self.until).contains(&number) {
            let (spec, reason) = ("adamw".to_owned(), "unplugged".to_owned());
            return Err(match self.refuses {
                true => BackendError::Refused { spec, reason },
                false => BackendError::Launch { spec, reason },
            });
        }
        self.cpu.adamw(tensors)
    }
    fn all_finite(&mut self, tensors: &[TensorRef<'_>]) -> Result<Vec<bool>, BackendError> {
        self.cpu.all_finite(tensors)
    }
}

#[test]
fn a_torn_step_says_so_and_refuses_the_next_until_a_state_is_loaded() {
    let mut model = Model::mixed();
    let mut optimizer = model
        .grouped()
        .backend(Failing::boxed(1, 2))
        .build()
        .unwrap();
    model.step(&mut optimizer);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    optimizer.save_state(&path).unwrap();
    let saved = model.clone();
    let gradients = model.gradients(1);
    let torn = model.step_with(&mut optimizer, &gradients);
    let Err(Error::Step(StepError::Torn {
        launched, total, ..
    })) = torn
    else {
        panic!("{torn:?}");
    };
    assert_eq!((launched, total), (1, 2));
    assert_ne!(model.bits(), saved.bits());
    let next = model.step_with(&mut optimizer, &gradients);
    assert!(
        matches!(next, Err(Error::Step(StepError::StillTorn { .. }))),
        "{next:?}"
    );
    let kept = optimizer.save_state(&path);
    assert!(
        matches!(kept, Err(Error::Step(StepError::StillTorn { .. }))),
        "{kept:?}"
    );
    optimizer.load_state(&path).unwrap();
    model = saved.clone();
    model.step(&mut optimizer);
    let mut undisturbed = saved;
    let mut other = undisturbed.grouped().build().unwrap();
    other.load_state(&path).unwrap();
    undisturbed.step(&mut other);
    assert_eq!(model.bits(), undisturbed.bits());
}

#[test]
fn a_snapshot_puts_every_bit_back() {
    let mut model = Model::mixed();
    let protected = model.grouped().protection(Protection::Snapshot);
    let mut optimizer = protected.backend(Failing::boxed(2, 3)).build().unwrap();
    let explained = optimizer.explain().unwrap().totals;
    let weights: usize = model.weights.iter().map(|weight| 4 * weight.len()).sum();
    assert_eq!(
        explained.snapshot_bytes,
        weights as u64 + explained.state_bytes
    );
    model.step(&mut optimizer);
    model.step(&mut optimizer);
    let bits = model.bits();
    let state = state_of(&optimizer);
    let gradients = model.gradients(2);
    let failed = model.step_with(&mut optimizer, &gradients);
    assert!(
        matches!(failed, Err(Error::Step(StepError::Restored { .. }))),
        "{failed:?}"
    );
    assert_eq!(model.bits(), bits);
    assert!(state_of(&optimizer) == state);
    model.step(&mut optimizer);
    assert_eq!(optimizer.steps_taken(), 3);
}

/// A first step that fails with an error of the backend itself and changes nothing; those after it go on as if it had not
/// been tried.
fn fails_once(
    mut model: Model,
    build: impl Fn(&Model) -> HiMuonBuilder,
    failing: Box<Failing>,
) -> BackendError {
    let mut optimizer = build(&model).backend(failing).build().unwrap();
    let mut other = build(&model).build().unwrap();
    let mut undisturbed = model.clone();
    let gradients = model.gradients(0);
    let failed = model.step_with(&mut optimizer, &gradients);
    let Err(Error::Backend(error)) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(model.bits(), undisturbed.bits());
    assert_eq!(optimizer.steps_taken(), 0);
    for _ in 0..2 {
        model.step(&mut optimizer);
        undisturbed.step(&mut other);
    }
    assert_eq!(model.bits(), undisturbed.bits());
    assert!(state_of(&optimizer) == state_of(&other));
    error
}

#[test]
fn a_refusal_before_the_first_launch_is_no_torn_step() {
    let model = Model::new(&[("norm", &[24]), ("bias", &[8])]);
    for protection in [Protection::None, Protection::Snapshot] {
        let build = |model: &Model| model.builder().protection(protection);
        let failing = Failing::boxed(0, 1).refusing();
        let error = fails_once(model.clone(), build, failing);
        assert!(matches!(error, BackendError::Refused { .. }), "{error}");
    }
    // Behind another launch it is one: that has run.
    let mut model = Model::mixed();
    let failing = Failing::boxed(0, 1).refusing();
    let mut optimizer = model.grouped().backend(failing).build().unwrap();
    let gradients = model.gradients(0);
    let torn = model.step_with(&mut optimizer, &gradients);
    assert!(
        matches!(
            torn,
            Err(Error::Step(StepError::Torn {
                launched: 1,
                total: 2,
                ..
            }))
        ),
        "{torn:?}"
    );
}

#[test]
fn only_a_lost_device_leaves_earlier_steps_torn() {
    let found = |lost| BackendError::Device {
        action: "a kernel that was submitted before".to_owned(),
        reason: "an error of something else".to_owned(),
        lost,
    };
    let failing = Failing::boxed(9, 9).finding(found(false));
    let error = fails_once(Model::mixed(), Model::grouped, failing);
    assert!(error.to_string().contains("something else"), "{error}");
    let mut model = Model::mixed();
    let failing = Failing::boxed(9, 9).finding(found(true));
    let mut optimizer = model.grouped().backend(failing).build().unwrap();
    let gradients = model.gradients(0);
    let lost = model.step_with(&mut optimizer, &gradients);
    assert!(
        matches!(lost, Err(Error::Step(StepError::Lost { .. }))),
        "{lost:?}"
    );
    let next = model.step_with(&mut optimizer, &gradients);
    assert!(
        matches!(next, Err(Error::Step(StepError::StillTorn { .. }))),
        "{next:?}"
    );
}
