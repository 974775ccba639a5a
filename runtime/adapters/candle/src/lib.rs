//! HiMuon as an optimizer for [candle](candle_core).
//!
//! [`HiMuon`] implements candle-nn's [`Optimizer`](candle_nn::Optimizer) over the variables of a
//! [`VarMap`](candle_nn::VarMap). Parameters are known by their names in the map, so that groups are name patterns and
//! a saved state fits the model that it was saved for:
//!
//! ```
//! use candle_core::{DType, Device, Module, Tensor};
//! use candle_nn::{Optimizer, VarBuilder, VarMap, linear_no_bias};
//! use himuon_candle::{HiMuon, HiMuonConfig};
//!
//! #[himuon::himuon(tile = 16, steps = 5)]
//! struct Projection;
//!
//! # fn main() -> candle_core::Result<()> {
//! let variables = VarMap::new();
//! let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
//! let model = linear_no_bias(32, 48, vb.pp("projection"))?;
//!
//! let config = HiMuonConfig::new(&variables).with(|builder| builder.group::<Projection>("projection.*"));
//! let mut optimizer = HiMuon::new(variables.all_vars(), config)?;
//!
//! let x = Tensor::randn(0.0_f32, 1.0, (8, 32), &Device::Cpu)?;
//! let loss = model.forward(&x)?.sqr()?.mean_all()?;
//! optimizer.backward_step(&loss)?;
//! assert!(model.forward(&x)?.sqr()?.mean_all()?.to_scalar::<f32>()? < loss.to_scalar::<f32>()?);
//! # Ok(())
//! # }
//! ```
//!
//! All variables are passed to the optimizer in one call, so that the tiles of all layers form one list of work. Weights
//! and gradients may be f32, bf16 or f16; layers whose variables are not f32 declare it, `element = "bf16"` in the attribute.
//! `HiMuon` takes those on the CPU; with the feature `cuda`, `CudaHiMuon` takes those on a CUDA device, on candle's own
//! stream and pointers.
//!
//! A step has the values of all variables at the same time. No other thread may run anything on them meanwhile, as a validation
//! pass: candle locks one variable after the other, and the two would wait for each other.
//!
//! A checkpoint is the weights, which [`VarMap::save`](candle_nn::VarMap::save) writes, and the state:
//!
//! ```no_run
//! # fn checkpoint(optimizer: &mut himuon_candle::HiMuon) -> Result<(), himuon::Error> {
//! optimizer.inner().save_state("optimizer.safetensors")?;
//! optimizer.inner_mut().load_state("optimizer.safetensors")?; // its step and learning rate too
//! # Ok(())
//! # }
//! ```
//!
//! Which variables are embeddings and heads, and go to AdamW, is read off their names: see
//! [`HiMuonBuilder::group`](himuon::optimizer::HiMuonBuilder::group). This version is for candle 0.11.

#[cfg(feature = "cuda")]
mod cuda;
mod error;
mod optimizer;
mod stack;
mod variables;
mod weights;

#[cfg(feature = "cuda")]
pub use cuda::CudaHiMuon;
pub use error::CandleError;
pub use optimizer::{HiMuon, HiMuonConfig};
