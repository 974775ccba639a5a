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
//! tiles of all layers form one list of work; that is why `HiMuon` stands beside it and is no `burn_optim::Optimizer`. With
//! burn-train's `Learner` a model overrides `TrainStep::optimize` and steps a `HiMuon` that it holds behind a lock in a
//! field of `#[module(skip)]`; state files are saved by [`himuon::HiMuon::save_state`] then, not by the learner's
//! checkpointer.
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
//!   trainable place gets the new weight; frozen copies, such as a teacher, stay as they are.

mod error;
mod host;
mod optimizer;
mod parameters;

pub use error::BurnError;
pub use optimizer::{HiMuon, HiMuonConfig};
