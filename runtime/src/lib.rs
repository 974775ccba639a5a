//! Hierarchical Muon: the optimizer step of every layer as independent tiles.
//!
//! Muon replaces the momentum of a weight matrix by nearly its orthogonal factor. Hierarchical Muon does so
//! tile by tile: the cost falls, and the tiles of all layers run side by side. Nothing crosses a tile, but for a coarse part
//! of low rank where one is declared (`coarse = 32`), without which tiles train worse than whole matrices.
//!
//! Declare the tile on a layer's config, name the parameters, step:
//!
//! ```
//! use himuon::optimizer::{LearningRate, MuonOptions};
//! use himuon::schedule::TileSchedule;
//! use himuon::tensor::{TensorMut, TensorRef};
//! use himuon::{HiMuon, ParameterStep, Tile, himuon};
//!
//! #[himuon(tiles = [16, "full"], steps = 5)]
//! struct Attention;
//!
//! let every_fifth = TileSchedule::periodic(Tile::square(16), Tile::Full, 5, 0.5)?;
//! let mut optimizer = HiMuon::builder()
//!     .parameter("embed.weight", &[64, 32])
//!     .parameter("blocks.0.attn.q.weight", &[32, 32])
//!     .parameter("blocks.0.attn.q.bias", &[32])
//!     .group_with("blocks.*.attn.*", MuonOptions::of::<Attention>().schedule(every_fifth))
//!     .learning_rate(0.01)
//!     .threads(1)
//!     .build()?;
//! println!("{}", optimizer.explain()?);
//!
//! let mut weights = [vec![0.5; 64 * 32], vec![0.5; 32 * 32], vec![0.5; 32]];
//! let gradients = weights.clone();
//! let mut parameters: Vec<_> = weights
//!     .iter_mut()
//!     .zip(&gradients)
//!     .map(|(weight, gradient)| ParameterStep {
//!         weight: TensorMut::F32(weight),
//!         gradient: Some(TensorRef::F32(gradient)),
//!     })
//!     .collect();
//! let report = optimizer.step(&mut parameters)?;
//! // The first step maps the whole matrix; the embedding and the bias went to AdamW.
//! assert_eq!((report.launches, report.tiles), (2, 1));
//! optimizer.set_learning_rate(0.009);
//! assert_eq!(optimizer.step(&mut parameters)?.tiles, 4);
//! # Ok::<(), himuon::Error>(())
//! ```
//!
//! Which parameters a group maps, and which go to AdamW by their shape or name, is said at
//! [`HiMuonBuilder::group`](optimizer::HiMuonBuilder::group).
//!
//! * [`optimizer`]: groups, options, the step, saving and resuming.
//! * [`schedule`]: which tile at which step. [`plan`]: what a step launches, as plain data.
//! * [`tuning`]: the fastest variant of each specification on this machine.
//! * [`diagnose`]: what tiling does to a matrix. [`master_weight`]: f32 beside bf16 weights in 16 more bits.
//! * [`messages`]: warnings, for programs without a subscriber of `tracing`.
//! * [`cpu`]: the kernels. [`mod@reference`]: the same mathematics in f64, plain and slow.

pub mod backend;
pub mod coarse;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod diagnose;
pub mod error;
pub mod launch;
pub mod master_weight;
pub mod memory;
pub mod messages;
pub mod optimizer;
pub mod overlap;
pub mod plan;
pub mod reference;
pub mod registry;
pub mod schedule;
pub mod state;
pub mod tensor;
mod text;
pub mod tuning;

pub use error::Error;
pub use himuon_macros::himuon;
pub use himuon_templates as templates;
pub use himuon_templates::{KernelSource, KernelSpec, Tile};
pub use optimizer::{HiMuon, ParameterStep};
pub use registry::LayerConfig;
