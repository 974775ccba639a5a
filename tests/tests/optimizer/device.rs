//! A device that fails in the middle of a step.

use himuon::backend::{Backend, BackendError, CpuBackend};
use himuon::launch::{AdamWTensor, LaunchReport, MatrixDemand, MatrixStep};
use himuon::optimizer::{Protection, StepError};
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
}

impl Failing {
    pub(crate) fn boxed(from: usize, until: usize) -> Box<Self> {
        Box::new(Failing {
            cpu: CpuBackend::new(Some(1)).unwrap(),
            from,
            until,
            updates: 0,
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
            return Err(BackendError::Launch {
                spec: "adamw".to_owned(),
                reason: "unplugged".to_owned(),
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
