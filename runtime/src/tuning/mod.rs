//! Tuned choices: made by measuring, kept in a table, used by the optimizer.
//!
//! Every candidate of a specification is first compared with the same map in f64 on hard input; one that is wrong or
//! fails is recorded and excluded as long as its source is the same. The others run in turns, after the caches
//! were emptied and again right afterwards, until the order is settled; the incumbent keeps its place unless a
//! candidate is surely faster. [`Tuner`] does this for any [`TuningTarget`]; [`CpuTarget`] is this processor.
//!
//! [`TuningTable`] is one JSON file for each device in [`cache_folder`], by specification and [`ShapeClass`], with
//! every sample. Writing is atomic and locked; entries that do not read are skipped with a warning and stay.
//!
//! | variable | effect |
//! |---|---|
//! | `HIMUON_CACHE_DIR` | the cache folder |
//! | `HIMUON_CACHE_READONLY` | tables are read, never written |
//! | `HIMUON_DETERMINISTIC` | tables are not read: default variants everywhere |
//! | `HIMUON_AUTOTUNE` | `measure` or `patient`: an optimizer tunes what the table lacks when it is built; `estimate`: it takes the model's choice there |
//!
//! **Ranks.** With `HIMUON_AUTOTUNE` the process of rank 0 tunes and the others wait as long as it does; everybody reads the
//! same file. [`TuningTable::to_json`] and [`HiMuonBuilder::tuning`](crate::optimizer::HiMuonBuilder::tuning) hand a table
//! to ranks that do not share a folder.
//!
//! ```no_run
//! use himuon::{KernelSpec, Tile};
//! use himuon::tuning::{CpuTarget, TuneJob, TuneOptions, Tuner, cache_folder};
//!
//! let job = TuneJob {
//!     spec: KernelSpec::new(Tile::square(64)),
//!     shapes: vec![(384, 384), (1536, 384)],
//! };
//! let mut target = CpuTarget::new(None)?;
//! Tuner::new(&mut target, TuneOptions::default()).tune(
//!     &[job],
//!     Some(&cache_folder()?),
//!     &mut |progress| eprintln!("{:3.0} % {}", 100.0 * progress.fraction, progress.stage),
//! )?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attempt;
mod cpu;
mod entry;
mod environment;
mod error;
mod fingerprint;
mod folder;
mod hard;
mod json;
mod level;
mod on_build;
mod race;
mod records;
mod samples;
mod shape_class;
mod statistics;
mod table;
mod target;
mod tuner;
mod turn;
mod union;
mod verify;

pub use cpu::{CpuTarget, digest as cpu_digest, digest_of as cpu_digest_of, tune_cpu};
pub use entry::{CandidateRecord, TuningEntry, Verdict};
pub use environment::{deterministic, rank, read_only};
pub use error::TuningError;
pub use fingerprint::DeviceFingerprint;
pub use folder::{LockedFolder, cache_folder};
pub use level::{Clock, Level};
pub use shape_class::ShapeClass;
pub use table::{Choice, SCHEMA, TuningTable};
pub use target::{CacheState, Candidate, StepCase, Trouble, TuningTarget};
pub use tuner::{TuneJob, TuneOptions, TuneOutcome, TuneProgress, Tuned, Tuner};

pub(crate) use cpu::{predicted as predicted_on_cpu, variant_named};
pub(crate) use on_build::{hint, tune_missing};
#[cfg(any(feature = "cuda", test))]
pub(crate) use samples::Gaussian;
#[cfg(feature = "cuda")]
pub(crate) use samples::SAMPLE_SCALARS;
