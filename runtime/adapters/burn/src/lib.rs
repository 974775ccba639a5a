//! HiMuon as an optimizer for [burn](https://burn.dev).
//!
//! [`HiMuonConfig::init`] makes a [`HiMuon`] for a module, and [`HiMuon::step`] takes what the step of burn's own
//! optimizers takes: a learning rate, the module, its gradients. Parameters are known by their paths in the module, so that
//! groups are name patterns and a saved state fits the model that it was saved for:
//!
//! ```
//! use burn_core::tensor::{Device, Distribution, Tensor};
//! use burn_core as burn;
//! use burn_core::module::Module;
//! use burn_nn::{Linear, LinearConfig};
//! use burn_optim::GradientsParams;
//! use himuon_burn::HiMuonConfig;
//!
//! #[himuon::himuon(tile = 16, steps = 5)]
//! struct Projection;
//!
//! #[derive(Module, Debug)]
//! struct Model {
//!     projection: Linear,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::default().autodiff();
//! let mut model = Model { projection: LinearConfig::new(32, 48).init(&device) };
//! let mut optimizer = HiMuonConfig::new()
//!     .with(|builder| builder.group::<Projection>("projection.*"))
//!     .init(&model)?;
//!
//! let x = Tensor::<2>::random([8, 32], Distribution::Default, &device);
//! let loss = |model: &Model| model.projection.forward(x.clone()).square().mean();
//! let before = loss(&model);
//! let gradients = GradientsParams::from_grads(before.backward(), &model);
//! model = optimizer.step(0.02, &model, gradients)?;
//! assert!(loss(&model).into_scalar::<f32>() < before.into_scalar::<f32>());
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("optimizer.safetensors");
//! optimizer.inner().save_state(&path)?; // optimizer.inner_mut().load_state(&path)? goes on with the same bits
//! # Ok(())
//! # }
//! ```
//!
//! burn's `ModuleOptimizer` hands an optimizer one tensor at a time. Here all parameters are passed in one call, so that the
//! tiles of all layers form one list of work; that is why `HiMuon` stands beside it and is no `burn_optim::Optimizer`. How
//! a model under burn-train's `Learner` steps it is shown [below](#burn-trains-learner).
//!
//! * **Any backend.** Weights and gradients that take part are read to the host, stepped by the CPU kernels and written
//!   back: those of a GPU backend make that trip at every step.
//! * **Types**: f32, bf16 and f16, a gradient in the type of its weight. Integer and boolean parameters have no gradient and
//!   are left out, and so are frozen ones of another type, such as quantized weights below an adapter.
//! * **Layout**: burn's layers store a weight as inputs x outputs, so groups have [`Layout::InOut`](himuon::optimizer::Layout)
//!   unless they say otherwise: tiles are stated as outputs x inputs all the same. A convolution's outputs come first in burn
//!   too, and it is taken so.
//! * **Frozen** parameters get no gradient from burn and stay as they are; they are declared, so that they may be thawed.
//!   A batch norm's running statistics are among them.
//! * **Shared** parameters, of one identifier, are stepped once, under the first path on which they are trainable. Every
//!   trainable place gets the new weight, so those of two shapes, types or devices are refused, and clones whose numbers
//!   have come apart all become the first one's. Frozen copies, such as a teacher, stay as they are, of whatever type.
//! * **Gradients** go by identifiers, which `load_record` and a new model change: a step refuses gradients of which none is
//!   of its module, and leaves out the others where some are.
//!
//! # burn-train's `Learner`
//!
//! A model under a `Learner` overrides both methods of `TrainStep` that step, and steps a `HiMuon` that it holds behind a
//! lock in a skipped field; the learner's own optimizer is left idle. The example is not compiled against burn-train, which
//! is too large for this crate's tests, but against a copy of the two signatures of its version 0.22.1.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//!
//! use burn_core as burn;
//! use burn_core::module::Module;
//! use burn_nn::Linear;
//! use burn_optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
//! use burn_optim::{GradientsParams, ModuleOptimizer, MultiGradientsParams};
//! use himuon_burn::HiMuon;
//!
//! # trait TrainStep {
//! #     fn optimize(self, optim: &mut ModuleOptimizer, lr_module: ModuleLearningRate, grads: GradientsParams) -> Self
//! #     where
//! #         Self: Module + Sized;
//! #     fn optimize_multi(
//! #         self,
//! #         optim: &mut ModuleOptimizer,
//! #         lr_module: ModuleLearningRate,
//! #         grads: MultiGradientsParams,
//! #     ) -> Self
//! #     where
//! #         Self: Module + Sized;
//! # }
//! #
//! #[derive(Module, Debug)]
//! struct Model {
//!     layer: Linear,
//!     /// Put here when the model is there, from which it is made.
//!     #[module(skip)]
//!     optimizer: Option<Arc<Mutex<HiMuon>>>,
//! }
//!
//! impl TrainStep for Model {
//!     // Input, Output and step: as with any optimizer.
//!
//!     fn optimize(self, _: &mut ModuleOptimizer, rate: ModuleLearningRate, gradients: GradientsParams) -> Self {
//!         let weight = &self.layer.weight;
//!         assert!(!weight.is_distributed(), "the workers of DistributedDataParallel would share one HiMuon");
//!         let optimizer = self.optimizer.clone().expect("the optimizer is put in before training");
//!         let mut optimizer = optimizer.lock().expect("no earlier step has panicked");
//!         optimizer.step(rate.base(), &self, gradients).expect("gradients of this model")
//!     }
//!
//!     fn optimize_multi(self, _: &mut ModuleOptimizer, _: ModuleLearningRate, _: MultiGradientsParams) -> Self {
//!         panic!("HiMuon steps on one device: train with MultiDeviceOptim::OptimMainDevice, not OptimSharded")
//!     }
//! }
//! #
//! # use burn_core::tensor::{Device, Tensor};
//! # use burn_nn::LinearConfig;
//! # use burn_optim::SgdConfig;
//! # use himuon_burn::HiMuonConfig;
//! #
//! # let device = Device::default().autodiff();
//! # let mut model = Model { layer: LinearConfig::new(8, 8).init(&device), optimizer: None };
//! # let optimizer = Arc::new(Mutex::new(HiMuonConfig::new().init(&model).unwrap()));
//! # model.optimizer = Some(optimizer.clone());
//! # let gradients = |model: &Model| {
//! #     let loss = model.layer.forward(Tensor::<2>::ones([3, 8], &device)).square().mean();
//! #     GradientsParams::from_grads(loss.backward(), model)
//! # };
//! # let idle = || SgdConfig::new().init();
//! # let before = model.layer.weight.val().into_data();
//! # let first = gradients(&model);
//! # let model = model.optimize(&mut idle(), 0.02.into(), first);
//! # assert_ne!(model.layer.weight.val().into_data(), before);
//! # assert_eq!(optimizer.lock().unwrap().inner().steps_taken(), 1);
//! # assert_eq!(optimizer.lock().unwrap().inner().learning_rate(), 0.02);
//! #
//! # let several = || model.optimize_multi(&mut idle(), 0.02.into(), MultiGradientsParams::default());
//! # assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(several)).is_err());
//! # assert_eq!(optimizer.lock().unwrap().inner().steps_taken(), 1);
//! ```
//!
//! * **Devices**: one, or several with `MultiDeviceOptim::OptimMainDevice`, which steps once for all. `OptimSharded` calls
//!   `optimize_multi`, whose default steps the idle optimizer instead. `DistributedDataParallel` clones the model for each
//!   device, and clones share what a skipped field points to: N workers would step one `HiMuon` N times.
//! * **Rates**: `base` is the rate of the schedule for all parameters. Rates of a `ModuleLrScheduler` for a part of them are
//!   not taken: declare them as those of a [group](himuon::optimizer::LearningRate).
//! * **Checkpoints**: save the state by [`himuon::HiMuon::save_state`]; the learner's checkpointer does not know it.

mod error;
mod host;
mod optimizer;
mod parameters;

pub use error::BurnError;
pub use optimizer::{HiMuon, HiMuonConfig};
