//! Tuned choices: where they lie, how they are read, and how the CPU's are made.
//!
//! ```no_run
//! use himuon::{KernelSpec, Tile};
//! use himuon::tuning::{cache_folder, tune_cpu};
//! use std::time::Duration;
//!
//! let specs = [KernelSpec::new(Tile::square(64))];
//! let shapes = [(384, 384), (1536, 384)];
//! let table = tune_cpu(&specs, &shapes, Duration::from_secs(5), None, &mut |progress| {
//!     eprintln!("{} of {}: {}", progress.done + 1, progress.total, progress.stage);
//! })?;
//! table.save(&cache_folder()?)?;
//! # Ok::<(), himuon::tuning::TuningError>(())
//! ```

mod cpu;
mod fingerprint;
mod folder;
mod samples;
mod table;

pub use cpu::{TuneProgress, tune_cpu};
pub use folder::{TuningError, cache_folder};
pub use table::{DeviceFingerprint, Measurement, SCHEMA, TuningEntry, TuningTable};
